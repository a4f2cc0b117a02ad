/** A directory that `model` names: what is wrong with it is said before a container is made, and none is made in its place. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContainerOwner } from "../src/agent/docker/container-owner.ts";
import type { Hardware } from "../src/agent/gpu/hardware.ts";
import { directoryProblem } from "../src/agent/gpu/model-directory.ts";
import { modelInfo } from "../src/agent/gpu/model-size.ts";
import type { AgentSettings } from "../src/agent/models/agent-settings.ts";
import { ContainerSpecs } from "../src/agent/models/container-spec.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import { type AgentHost, becomes, startAgentHost } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";

let root: string;
beforeEach(() => {
	root = mkdtempSync(join(tmpdir(), "models-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));
const model = (name: string, file = "config.json") => {
	mkdirSync(join(root, name), { recursive: true });
	writeFileSync(join(root, name, file), "{}");
	return join(root, name);
};

describe("a model's directory", () => {
	test("that does not exist is named, with the models that are where it should be", async () => {
		model("qwen3-8b");
		model("gemma");
		mkdirSync(join(root, "empty"));
		expect(await directoryProblem(join(root, "qwen"))).toEqual({
			reason: `there is no directory ${root}/qwen on this host`,
			fix: `correct \`model\`: ${root} holds gemma, qwen3-8b`,
		});
		expect((await directoryProblem(join(root, "Gemma")))?.fix).toBe(`correct \`model\` to ${root}/gemma`);
	});

	test.each([
		["/nowhere/at/all", "has no slash at its beginning"],
		["/nowhere", "has no slash at its beginning"],
	])("that does not exist, nor what is above it: %s", async (path, fix) => {
		expect((await directoryProblem(path))?.fix).toContain(fix);
	});

	test("beside which there is no model is told how to fill", async () => {
		expect((await directoryProblem(join(root, "qwen")))?.fix).toContain(`--local-dir ${root}/qwen`);
	});

	test("that is empty, or holds other files, holds no model", async () => {
		expect((await directoryProblem(root))?.reason).toBe(`${root} is empty: vLLM finds no model there`);
		writeFileSync(join(root, "model.safetensors"), "");
		expect((await directoryProblem(root))?.reason).toContain("holds no config.json");
	});

	test("of directories with models names them", async () => {
		model("qwen3-8b");
		expect((await directoryProblem(root))?.fix).toContain(`the model's own directory: ${root}/qwen3-8b`);
	});

	test("of links that lead out of it, as Hugging Face's cache has them, is told by its id", async () => {
		const blobs = model("hub/models--Qwen--Qwen3-8B/blobs", "1f0c");
		const snapshot = join(root, "hub/models--Qwen--Qwen3-8B/snapshots/abc");
		mkdirSync(snapshot, { recursive: true });
		symlinkSync(join(blobs, "1f0c"), join(snapshot, "config.json"));
		const problem = await directoryProblem(snapshot);
		expect(problem?.reason).toContain("links that lead out of it");
		expect(problem?.fix).toContain("`Qwen/Qwen3-8B`");
	});

	test.each(["config.json", "params.json", "model-Q4_K_M.gguf"])("with %s is one", async (file) => {
		expect(await directoryProblem(model("good", file))).toBeUndefined();
	});

	test("may be a GGUF file, and no other", async () => {
		const directory = model("files", "x.gguf");
		expect(await directoryProblem(join(directory, "x.gguf"))).toBeUndefined();
		writeFileSync(join(directory, "config.json"), "{}");
		expect((await directoryProblem(join(directory, "config.json")))?.reason).toContain("is a file");
	});

	test("is not judged where the engine mounts the files of another host", async () => {
		const source = { cacheDir: root, endpoint: "http://127.0.0.1:9", get: () => Promise.reject(new Error("no")) };
		const missing = join(root, "missing");
		expect((await modelInfo(missing, { ...source, isEngineHere: false })).refused).toBeUndefined();
		expect((await modelInfo(missing, { ...source, isEngineHere: true })).refused?.reason).toContain(missing);
	});
});

needing("docker").describe("an agent", () => {
	let host: AgentHost;
	beforeAll(async () => {
		host = await startAgentHost();
	}, 60_000);
	afterAll(() => host?.stop(), 60_000);

	test("says that a model's directory is missing, makes none, and starts the model once it is there", async () => {
		const path = join(host.engine.directory, "my-model");
		const agent = await host.agent({ models: [{ model: path, name: "small", image: "not-there.invalid/vllm:v1" }] });
		try {
			const failed = await becomes(agent, "small", "failed");
			expect(failed.reason).toBe(`there is no directory ${path} on this host`);
			expect(failed.retry_at).toBeUndefined();
			expect(existsSync(path)).toBe(false);
			expect(await host.containers(true)).toEqual([]);
		} finally {
			await agent.stop();
		}
		const next = await host.agent({ models: [{ model: path, name: "small" }] });
		try {
			await becomes(next, "small", "failed");
			mkdirSync(path);
			writeFileSync(join(path, "config.json"), "{}");
			await becomes(next, "small", "ready");
			const [id] = await host.containers();
			const [{ Mounts }] = JSON.parse(await host.engine.docker("inspect", id!));
			expect(Mounts).toContainEqual(expect.objectContaining({ Source: path, Destination: path, RW: false }));
		} finally {
			await next.stop();
		}
	}, 60_000);
});

describe("the model cache", () => {
	const problemWith = (command: "docker" | "podman", cacheDir: string) => {
		const registry = new ModelRegistry([{ model: "a/b", name: "small", load: "always" }], {
			content: {},
			update: () => undefined,
		});
		const variables = { DOCKER_HOST: "unix:///nowhere/docker.sock", CONTAINER_HOST: "unix:///nowhere/podman.sock" };
		const settings = { command, cacheDir, variables } as unknown as AgentSettings;
		const owner = { labels: () => ({}) } as unknown as ContainerOwner;
		const hardware = { known: undefined } as unknown as Hardware;
		const specs = new ContainerSpecs(registry, settings, hardware, owner, { at: () => undefined });
		return specs.filesProblem("small#0");
	};

	test.each(["docker", "podman"] as const)("is made where there is none, under %s", async (command) => {
		const cacheDir = join(root, "cache/huggingface");
		expect(await problemWith(command, cacheDir)).toBeUndefined();
		expect(existsSync(cacheDir)).toBe(true);
	});

	test("that can't be made is said under podman, which makes none either; Docker may", async () => {
		writeFileSync(join(root, "file"), "");
		const cacheDir = join(root, "file/huggingface");
		expect((await problemWith("podman", cacheDir))?.reason).toBe(
			`the model cache ${cacheDir} does not exist and can't be made (ENOTDIR)`,
		);
		expect(await problemWith("docker", cacheDir)).toBeUndefined();
	});
});
