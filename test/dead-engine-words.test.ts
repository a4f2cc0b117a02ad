/** What servers say of their dead engines: by whose words it is known, and what callers are told. */
import { describe, expect, test } from "bun:test";
import { errorOf } from "../src/providers/failure.ts";
import type { Upstream } from "../src/providers/registry.ts";
import { failureOf, readError } from "../src/providers/upstream-error.ts";
import { type ProviderType, VENDORS } from "../src/vendors.ts";

describe("a dead engine", () => {
	const box = (type: ProviderType) => ({ name: "box", row: VENDORS[type] }) as unknown as Upstream;
	const kindAt = (type: ProviderType, status: number, body: unknown) =>
		failureOf(box(type), status, readError(JSON.stringify(body), status)).kind;
	const vllm = (message: string, code = 500) => ({
		error: { message, type: "InternalServerError", param: null, code },
	});
	const POINTER = "EngineCore encountered an issue. See stack trace (above) for the root cause.";

	test.each([
		["a 500 that is not about it", 500, vllm("CUDA out of memory")],
		["a server that is being stopped", 500, vllm("cannot schedule new futures after shutdown")],
		["a prompt that speaks of it", 400, vllm(`[{'msg': 'Input should be a string', 'input': '${POINTER}'}]`, 400)],
	] as const)("is not seen in %s", (_, status, body) => {
		expect(kindAt("vllm", status, body)).not.toBe("engine_died");
	});

	test.each(["openai", "openrouter", "anthropic"] as const)("of %s is the vendor's own affair", (type) => {
		expect(kindAt(type, 500, vllm(POINTER))).toBe("transport");
	});

	test.each([
		["vLLM's", 500, vllm(POINTER)],
		["vLLM's under a 400", 400, vllm(POINTER, 400)],
		["vLLM's with its class", 500, vllm(`EngineDeadError('${POINTER}')`)],
		["an older one's", 500, { object: "error", ...vllm("Background loop has errored already.").error }],
		["its other engine's", 500, vllm("Engine loop is not running. Inspect the stacktrace to find the original error")],
	] as const)("is known by %s words", (_, status, body) => {
		for (const type of ["vllm", "local", "llm-d", "openai-compatible"] as const)
			expect(kindAt(type, status, body)).toBe("engine_died");
	});

	test.each([
		["the pointer to a log", POINTER],
		["the pointer with its class", `EngineDeadError('${POINTER}')`],
		["an older pointer", "Engine loop is not running. Inspect the stacktrace to find the original error"],
	])("is told in the router's words, never by %s", (_, message) => {
		const failure = failureOf(box("vllm"), 500, readError(JSON.stringify(vllm(message)), 500));
		const error = errorOf(failure, { model: "m", provider: { name: "box", keySetting: "K" } });
		expect(error.message).toBe(
			"box lost its engine while this call ran, and it has to be started again: call again then",
		);
		expect(error.headers["retry-after"]).toBe("30");
	});

	test("is told with what it died of, where its agent has read that in its log", () => {
		const failure = failureOf(
			box("vllm"),
			500,
			readError(JSON.stringify(vllm("EngineDeadError: the GPU failed: xid 31")), 500),
		);
		expect(failure.message).toBe(
			"lost its engine while this call ran (the GPU failed: xid 31), and it has to be started again: call again then",
		);
	});

	test("is known by an agent's code; another router, which says so too, has tried all that it has", () => {
		const body = { error: { message: "m", type: "upstream_error", code: "engine_died" } };
		expect(kindAt("local", 503, body)).toBe("engine_died");
		expect(kindAt("openai-compatible", 503, body)).toBe("overloaded");
	});

	test("a call that another router refuses as poisonous is not tried elsewhere", () => {
		const body = { error: { message: "m", type: "invalid_request_error", code: "poisonous_request" } };
		expect(kindAt("openai-compatible", 422, body)).toBe("poisonous");
		expect(kindAt("openai", 422, body)).toBe("caller");
	});
});
