/** The models an agent may run, and what it remembers of API calls. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentFile } from "../src/agent/models/agent-file.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import { RouterError, StartError } from "../src/errors.ts";

let dir: string;
beforeEach(() => {
	dir = mkdtempSync(join(tmpdir(), "registry-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const configured = [{ model: "Qwen/Qwen3-8B", name: "big", load: "always" as const }];
const registry = (models = configured) => new ModelRegistry(models, agentFile(dir));
function refusal(act: () => unknown): RouterError {
	try {
		act();
	} catch (error) {
		if (error instanceof RouterError) return error;
		throw error;
	}
	throw new Error("it was taken");
}

describe("the registry", () => {
	test("calls a model without a name what it is", () => {
		expect(registry([{ model: "a/b", load: "manual" } as never]).get("a/b")?.load).toBe("manual");
	});

	test("remembers orders and models of API calls over a restart, for its user alone to read", () => {
		const first = registry();
		expect(first.order("big", "unload")).toBeUndefined();
		first.order("new", "load", { model: "a/b", gpu_memory: "6GiB", ttl: "10m", load: "on-demand" });
		const second = registry();
		expect(second.get("big")?.order).toBe("unload");
		expect(second.get("new")).toEqual({
			spec: { name: "new", model: "a/b", gpu_memory: 6 * 1024 ** 3, ttl: 600_000, load: "on-demand" },
			load: "on-demand",
			order: "load",
			isConfigured: false,
		});
		expect(statSync(join(dir, "agent.json")).mode & 0o777).toBe(0o600);
		second.clearOrder("new");
		expect(registry().get("new")?.order).toBeUndefined();
	});

	test("is not changed by a call where the configuration speaks, nor by one about nothing", () => {
		expect(refusal(() => registry().order("big", "load", { model: "a/b" })).message).toContain("configuration");
		expect(refusal(() => registry().order("none", "load")).errorCode).toBe("model_not_found");
		expect(refusal(() => registry().order("none", "unload")).errorCode).toBe("model_not_found");
	});

	test.each([
		[{ model: "--privileged" }, "model"],
		[{ model: "/etc" }, "model"],
		[{ model: "a/b", args: ["--port", "1"] }, "args"],
		[{ model: "a/b", gpu_memory: "lots" }, "gpu_memory"],
		[{ model: "a/b", unknown: 1 }, "unknown"],
		[{}, undefined],
	] as [object, string | undefined][])("refuses %p, naming %s", (body, field) => {
		const error = refusal(() => registry().order("x", "load", body));
		expect(error.body.error.param).toBe(field ?? "model");
	});

	test("refuses a configuration that can't be run, with its place", () => {
		expect(() => registry([{ model: "a/b", args: ["--port", "1"], load: "always" } as never])).toThrow(StartError);
	});

	test("counts a file that is none as empty, and says why it can't write one", () => {
		writeFileSync(join(dir, "agent.json"), "{");
		expect(registry().all()).toHaveLength(1);
		const nowhere = agentFile(join(dir, "agent.json", "below"));
		expect(nowhere.update({ driver: "1" })).toContain("can't be written");
		expect(nowhere.content.driver).toBe("1");
	});

	test("keeps what it does not know of its file", () => {
		writeFileSync(join(dir, "agent.json"), '{"later":true,"vllm_key":"0123456789abcdef"}');
		registry().order("big", "unload");
		expect(JSON.parse(readFileSync(join(dir, "agent.json"), "utf8"))).toMatchObject({
			later: true,
			vllm_key: "0123456789abcdef",
		});
	});
});
