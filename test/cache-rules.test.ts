/** Which calls the cache is for, what it may do for them, and for how long. */
import { describe, expect, test } from "bun:test";
import { type CacheSettings, cacheUse } from "../src/cache/rules.ts";
import { RouterError } from "../src/errors.ts";
import type { Operation } from "../src/openai/operations.ts";
import { factsOf } from "./kit/facts.ts";

const HOUR = 3_600_000;
const usual: CacheSettings = { ttl: HOUR };

function use(
	fields: Record<string, unknown>,
	headers: Record<string, string> = {},
	settings = usual,
	operation: Operation = "chat",
) {
	return cacheUse({ operation, facts: factsOf(fields, operation), headers: new Headers(headers) }, settings);
}
const both = { looksUp: true, stores: true, maxAgeMs: HOUR, ttlMs: HOUR };

describe("on its own account", () => {
	test.each([
		["an explicit temperature of 0", { temperature: 0 }, both],
		["several choices at that temperature", { temperature: 0, n: 3 }, both],
		["the client's own tools", { temperature: 0, tools: [{ type: "function" }, { type: "custom" }] }, both],
		["no temperature, which counts as 1", {}, undefined],
		["null, which is none", { temperature: null }, undefined],
		["another temperature", { temperature: 0.1 }, undefined],
		["a seed, which promises nothing", { seed: 1 }, undefined],
		["a search of the web", { temperature: 0, web_search_options: {} }, undefined],
		["a tool that the vendor runs", { temperature: 0, tools: [{ type: "web_search" }] }, undefined],
		["a tool that Google runs", { temperature: 0, gemini: { tools: [{ googleSearch: {} }] } }, undefined],
		["an answer that the vendor keeps", { temperature: 0, store: true }, undefined],
		["sound", { temperature: 0, audio: { voice: "x" } }, undefined],
	])("%s", (_, fields, expected) => {
		expect(use(fields)).toEqual(expected);
	});

	test("embeddings, which are always the same", () => {
		expect(use({ input: "hi" }, {}, usual, "embeddings")).toEqual(both);
	});
});

describe("asked for", () => {
	test("by the model's settings: every call, for as long as they say", () => {
		expect(use({ temperature: 1 }, {}, { enabled: true, ttl: 1000 })).toEqual({ ...both, maxAgeMs: 1000, ttlMs: 1000 });
	});

	test("by max-age: for that long, and not older", () => {
		const wanted = { ...both, maxAgeMs: 60_000, ttlMs: 60_000 };
		expect(use({}, { "cache-control": "max-age=60" })).toEqual(wanted);
		expect(use({ temperature: 0 }, { "cache-control": "foo, MAX-AGE=60" })).toEqual(wanted);
	});

	test("at most for 30 days", () => {
		expect(use({}, { "cache-control": "max-age=9999999999" })?.ttlMs).toBe(30 * 86_400_000);
	});

	test("still not what has effects at the vendor", () => {
		expect(use({ store: true }, {}, { enabled: true, ttl: HOUR })).toBeUndefined();
	});
});

describe("declined", () => {
	test("by the settings", () => {
		expect(use({ temperature: 0 }, {}, { enabled: false, ttl: HOUR })).toBeUndefined();
		expect(use({ temperature: 0 }, {}, { ttl: 0 })).toBeUndefined();
	});

	test.each([
		[{ "x-router-cache": "bypass" }, undefined],
		[{ "x-router-cache": "no-store" }, { ...both, stores: false }],
		[{ "x-router-cache": "No-Cache" }, { ...both, looksUp: false }],
		[{ "cache-control": "no-store" }, { ...both, stores: false }],
		[{ "cache-control": "no-cache" }, { ...both, looksUp: false }],
		[{ "cache-control": "no-cache, no-store" }, undefined],
		[{ "cache-control": "max-age=0" }, { ...both, looksUp: false, maxAgeMs: 0 }],
		[{ "cache-control": "max-age=soon" }, both],
	] as [Record<string, string>, unknown][])("by %p", (headers, expected) => {
		expect(use({ temperature: 0 }, headers)).toEqual(expected as never);
	});

	test("a word that is none of these is the caller's mistake", () => {
		const asked = () => use({}, { "x-router-cache": "yes" });
		expect(asked).toThrow(RouterError);
		expect(asked).toThrow("x-router-cache must be bypass, no-cache or no-store.");
	});
});
