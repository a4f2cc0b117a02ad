/** What servers of the user's own say when they have too many calls: what they mean, and what is none of it. */
import { describe, expect, test } from "bun:test";
import type { Upstream } from "../src/providers/registry.ts";
import { failureOf, readError } from "../src/providers/upstream-error.ts";
import { type ProviderType, VENDORS } from "../src/vendors.ts";

const box = (type: ProviderType) => ({ name: "box", row: VENDORS[type] }) as unknown as Upstream;

function kindAt(type: ProviderType, status: number, body: unknown, headers: Record<string, string> = {}) {
	const error = readError(typeof body === "string" ? body : JSON.stringify(body), status);
	return failureOf(box(type), status, error, new Headers(headers)).kind;
}

const vllm = (message: string, type: string, code = 503) => ({ error: { message, type, param: null, code } });

describe("vLLM with all the calls that it may have", () => {
	const FULL = "Too many requests in flight: the limit is 4096. Please retry later.";

	test.each([
		["a dead engine's", 503, vllm("EngineCore encountered an issue.", "ServiceUnavailableError"), "engine_died"],
		["an agent whose model does not come up", 503, vllm("not ready within 600 s", "api_error"), "overloaded"],
		["a proxy's", 503, "<html><h1>503 Service Temporarily Unavailable</h1></html>", "overloaded"],
		["a proxy's plain words", 503, "no healthy upstream", "overloaded"],
		["the type under another status", 500, vllm("m", "ServiceUnavailableError", 500), "transport"],
	] as const)("is not %s", (_, status, body, kind) => expect(kindAt("vllm", status, body)).toBe(kind));

	test.each(["openai", "openrouter", "anthropic"] as const)("is no word of %s", (type) => {
		expect(kindAt(type, 503, vllm(FULL, "ServiceUnavailableError"))).toBe("overloaded");
	});

	test.each(["ServiceUnavailableError", "Service Unavailable"])("is busy, not ill, by the type %p", (word) => {
		for (const type of ["vllm", "local", "llm-d", "openai-compatible"] as const)
			expect(kindAt(type, 503, vllm(FULL, word))).toBe("busy");
	});
});

describe("a call that llm-d dropped", () => {
	const dropped = (reason: string, status = 429, type: ProviderType = "llm-d") =>
		kindAt(type, status, `inference error: ${status} - dropped`, { "x-llm-d-request-dropped-reason": reason });

	test.each([
		["", 429, "rate"],
		["rejected", 429, "rate"],
		["rejected-by-somebody", 429, "rate"],
		["rejected-saturated, x", 429, "rate"],
		["evictedly", 429, "rate"],
		// Of these each further call would hear the same.
		["rejected-no-endpoints", 503, "overloaded"],
		["rejected-shutting-down", 503, "overloaded"],
		["rejected-internal", 500, "transport"],
	] as const)("for %p with %d is %s", (reason, status, kind) => expect(dropped(reason, status)).toBe(kind));

	test("says it to nobody but llm-d's own upstream", () => {
		for (const type of ["openai", "vllm", "openai-compatible"] as const)
			expect(dropped("evicted-priority", 429, type)).toBe("rate");
	});

	test.each([
		["rejected-saturated", 429],
		["rejected-ttl-expired", 429],
		["rejected-context-cancelled", 503],
	])("before an engine had it (%s) is made elsewhere: llm-d is busy", (reason, status) => {
		expect(dropped(reason, status)).toBe("busy");
	});

	test.each(["evicted", "evicted-queue-pressure", "evicted-priority"])(
		"by an engine that had it (%s) is not made there again",
		(reason) => {
			expect(dropped(reason)).toBe("evicted");
		},
	);
});
