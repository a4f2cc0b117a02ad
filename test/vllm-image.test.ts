/** Which vLLM a model's containers run: the image, what follows from its version, and that a newer one restarts nothing. */
import { describe, expect, test } from "bun:test";
import { containerSpec, specHash } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, SpecSettings } from "../src/agent/models/model-spec.ts";
import { containerImage, pinnedImage } from "../src/agent/vllm/vllm-image.ts";
import { SETTINGS, SPEC } from "./kit/model-spec.ts";

const argsOf = (spec: Partial<ModelSpec>) =>
	containerSpec({ ...SPEC, ...spec }, { replica: 0, devices: [0], bytes: 0, port: 20001 }, SETTINGS).args;

test("the pinned version is no part of the hash: what an agent started that pinned an older one runs on", () => {
	// As the agent made it that pinned v0.30.0.
	expect(specHash(SPEC, SETTINGS)).toBe("6ba5cbe62abdd546e12d0bad1e2daa67");
	expect(pinnedImage("nvidia")).toBe("vllm/vllm-openai:v0.33.0");
	expect(specHash({ ...SPEC, image: pinnedImage("nvidia") }, SETTINGS)).not.toBe(specHash(SPEC, SETTINGS));
});

describe("flags that older versions end at", () => {
	const NEWER = /--max-num-queued-reqs|--sse-keep-alive-interval/;
	const flags = (image: string) => argsOf({ image }).join(" ");

	test.each([
		"vllm/vllm-openai:v0.30.0",
		"vllm/vllm-openai:0.9.2",
		"vllm/vllm-openai:latest",
		"vllm/vllm-openai:nightly-0.33",
		"nvcr.io/nvidia/vllm:25.09-py3",
		"mirror.internal:5000/vllm",
		"mine@sha256:0f3c",
		"a:v0.33.0/b",
	])("are not for %s", (image) => expect(flags(image)).not.toMatch(NEWER));

	test.each([
		"vllm/vllm-openai:v0.32.0",
		"vllm/vllm-openai:v0.33.0-cu129",
		"mirror.internal:5000/vllm:0.33.1",
		"mine:v1.0.0@sha256:0f3c",
		"mine:v0.100.0rc1",
	])("are for %s", (image) => expect(flags(image)).toMatch(NEWER));

	test("are the model's own where it has them", () => {
		const args = argsOf({ args: ["--max_num_queued_reqs=8", "--sse-keep-alive-interval", "0"] });
		expect(args.join(" ").match(/keep-alive-interval|queued.reqs/g)).toHaveLength(2);
	});
});

describe("the image", () => {
	const image = (spec: Partial<ModelSpec>, settings: Partial<SpecSettings> = {}) =>
		containerImage({ ...SPEC, ...spec }, { ...SETTINGS, ...settings });

	test("is the model's, else the agent's, else the pinned one for the host", () => {
		expect(image({ image: "a:1" }, { image: "b:1" })).toBe("a:1");
		expect(image({}, { image: "b:1" })).toBe("b:1");
		expect(image({})).toMatch(/^vllm\/vllm-openai:v[\d.]+$/);
		expect(image({}, { driver: "570.133.20" })).toMatch(/^vllm\/vllm-openai:v[\d.]+-cu129$/);
		expect(image({}, { driver: "580.65.06" })).toBe(image({}));
	});

	test("comes from the mirror where its name has no registry of its own", () => {
		const registry = "mirror.internal:5000/";
		expect(image({}, { registry })).toBe(`mirror.internal:5000/${image({})}`);
		expect(image({ image: "docker.io/vllm/vllm-openai:v1" }, { registry })).toBe(
			"mirror.internal:5000/vllm/vllm-openai:v1",
		);
		expect(image({ image: "quay.io/x/y:1" }, { registry })).toBe("quay.io/x/y:1");
		expect(image({ image: "localhost/y:1" }, { registry })).toBe("localhost/y:1");
	});
});
