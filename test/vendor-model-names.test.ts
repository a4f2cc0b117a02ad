/** What Claude and Gemini models take, told by their names. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { claude, defaultMaxTokens, hasTrait, thinkingFor } from "../src/providers/anthropic/models.ts";
import { isThird, thinkingConfig, versionOf } from "../src/providers/gemini/models.ts";

test.each([
	["claude-opus-4-7", "opus", 407],
	["claude-sonnet-4-20250514", "sonnet", 400],
	["claude-haiku-4-5-20251001", "haiku", 405],
	["claude-3-7-sonnet-20250219", "sonnet", 307],
	["claude-3-opus-20240229", "opus", 300],
	["claude-3-5-haiku-latest", "haiku", 305],
	["claude-opus-5", "opus", 500],
	["claude-fable-5-2", "fable", 502],
	["claude-mythos-preview", "mythos", undefined],
	["anthropic/claude-sonnet-4.5", "sonnet", 405],
	["us.anthropic.claude-opus-4-6-v1:0", "opus", 406],
	["claude-opus-4-1@20250805", "opus", 401],
	["claude-opus-4-1-20250805", "opus", 401],
	["Claude-Opus-5-5", "opus", 505],
	["anthropic.claude-v2:1", undefined, 200],
	["claude-2.1", undefined, 201],
	["claude-opus-latest", "opus", undefined],
	["my-own-model", undefined, undefined],
])("%s is %s %p", (name, family, version) => expect(claude(name)).toEqual({ family, version }));

test.each([
	["claude-3-haiku-20240307", 4096],
	["claude-3-5-sonnet-20240620", 8192],
	["claude-3-7-sonnet-20250219", 64_000],
	["claude-opus-4-20250514", 32_000],
	["claude-opus-4-1", 32_000],
	["claude-sonnet-4-20250514", 64_000],
	["claude-opus-4-5", 64_000],
	["claude-haiku-4-5", 64_000],
	["claude-sonnet-4-6", 128_000],
	["claude-haiku-5-5", 128_000],
	["claude-opus-9", 128_000],
	["claude-mythos-preview", 128_000],
	["my-own-model", 32_000],
])("without a limit %s gets %p tokens", (name, tokens) => expect(defaultMaxTokens(claude(name))).toBe(tokens));

test.each([
	["claude-opus-4-6", false, false],
	["claude-opus-4-7", true, false],
	["claude-opus-4-8", true, true],
	["claude-sonnet-5", true, false],
	["claude-sonnet-5-5", true, true],
	["claude-haiku-5-5", true, true],
	["my-own-model", false, true],
])("%s refuses sampling: %p, takes later system messages: %p", (name, refuses, takes) => {
	expect([hasTrait(claude(name), "refusesSampling"), hasTrait(claude(name), "takesSystemTurns")]).toEqual([
		refuses,
		takes,
	]);
});

test.each([
	["claude-opus-4-5", false],
	["claude-opus-4-6", false],
	["claude-opus-5", false],
	["claude-opus-5-5", true],
	["claude-sonnet-5-5", true],
	["claude-haiku-5-5", false],
	["claude-fable-5", false],
	["claude-fable-5-1", true],
	["claude-mythos-5-1", true],
	["claude-mythos-preview", true],
	["my-own-model", true],
])("%s refuses a forced tool: %p", (name, refuses) => {
	expect(hasTrait(claude(name), "refusesForcedTools")).toBe(refuses);
});

test.each([
	["claude-3-5-sonnet-20241022", false],
	["claude-opus-4-1-20250805", false],
	["claude-sonnet-4-20250514", false],
	["claude-haiku-4-5-20251001", true],
	["claude-opus-5-5", true],
	["my-own-model", true],
])("%s holds its answer to a schema: %p", (name, holds) => {
	expect(hasTrait(claude(name), "holdsSchemas")).toBe(holds);
});

test.each([
	["claude-opus-5", false],
	["claude-opus-5-5", true],
	["claude-sonnet-5", false],
	["claude-sonnet-5-5", true],
	["claude-haiku-5-5", true],
	["claude-fable-5", false],
	["claude-fable-5-1", true],
	["claude-mythos-5-2", true],
	["claude-opus-4-8", false],
	["my-own-model", false],
])("%s binds thoughts to what stood before them: %p", (name, binds) =>
	expect(hasTrait(claude(name), "bindsThoughts")).toBe(binds),
);

describe("reasoning_effort at Claude", () => {
	const asked = (effort: Parameters<typeof thinkingFor>[0], name: string, max = 64_000, isOpenLoop = false) =>
		thinkingFor(effort, claude(name), max, isOpenLoop);
	const shown = { type: "adaptive", display: "summarized" };
	const budget = (budget_tokens: number) => ({ thinking: { type: "enabled", budget_tokens } });

	test.each([
		[null, "claude-opus-4-7", {}],
		["low", "claude-opus-4-7", { thinking: shown, effort: "low" }],
		["minimal", "claude-opus-4-7", { thinking: shown, effort: "low" }],
		["xhigh", "claude-opus-4-7", { thinking: shown, effort: "xhigh" }],
		["max", "claude-opus-5", { thinking: shown, effort: "max" }],
		["xhigh", "claude-opus-4-6", { thinking: { type: "adaptive" }, effort: "high" }],
		["max", "claude-opus-4-6", { thinking: { type: "adaptive" }, effort: "max" }],
		["high", "my-own-model", { thinking: shown, effort: "high" }],
		["none", "claude-opus-4-8", {}],
		["none", "claude-opus-5", { thinking: { type: "disabled" } }],
		["none", "claude-sonnet-5-5", { thinking: { type: "between_tools" } }],
		["none", "claude-haiku-5-5", { thinking: { type: "disabled" } }],
		["none", "my-own-model", {}],
		["minimal", "claude-sonnet-4-5", budget(1024)],
		["low", "claude-sonnet-4-5", budget(4096)],
		["medium", "claude-sonnet-4-5", budget(8192)],
		["high", "claude-sonnet-4-5", budget(16_384)],
		["xhigh", "claude-sonnet-4-5", budget(32_768)],
		["max", "claude-sonnet-4-5", budget(49_152)],
		["none", "claude-3-5-sonnet-20240620", {}],
	] as const)("%p for %s", (effort, name, wanted) => expect(asked(effort, name)).toEqual(wanted));

	test("a budget leaves a fifth of the limit, and is never too small for the API", () => {
		expect(asked("high", "claude-sonnet-4-5", 10_000)).toEqual(budget(8000));
		expect(asked("high", "claude-sonnet-4-5", 1100)).toEqual(budget(1024));
	});

	test("in a loop whose thinking is not known, only models with a budget go on without", () => {
		expect(asked("high", "claude-sonnet-4-5", 64_000, true)).toEqual({});
		expect(asked("high", "claude-opus-4-7", 64_000, true)).toEqual(asked("high", "claude-opus-4-7"));
	});

	test.each([
		["high", "claude-sonnet-4-5", 1024],
		["low", "claude-3-5-sonnet-20240620", 8192],
		["none", "claude-opus-5-5", 8192],
		["none", "claude-fable-5", 8192],
		["none", "claude-mythos-preview", 8192],
	] as const)("%s for %s within %p tokens is refused by name", (effort, name, max) => {
		expect(() => asked(effort, name, max)).toThrow(RouterError);
		expect(() => asked(effort, name, max)).toThrow(/"reasoning_effort"/);
	});
});

describe("Gemini", () => {
	test.each([
		["gemini-2.5-flash", 205, false],
		["gemini-3-pro-preview", 300, true],
		["gemini-3.1-flash-lite", 301, true],
		["gemini-flash-latest", undefined, true],
		["gemini-1.5-flash", 105, false],
	])("%s is %p, of the third generation: %p", (name, version, third) => {
		expect([versionOf(name), isThird(name)]).toEqual([version, third]);
	});

	const level = (thinkingLevel: string) => ({ thinkingLevel, includeThoughts: true });
	const budget = (thinkingBudget: number) => ({ thinkingBudget, includeThoughts: true });
	test.each([
		[null, "gemini-3-flash", undefined],
		["minimal", "gemini-3-flash", level("MINIMAL")],
		["minimal", "gemini-3.6-flash", level("MINIMAL")],
		["minimal", "gemini-3.8-flash", level("LOW")],
		["minimal", "gemini-3.1-flash-lite", level("MINIMAL")],
		["minimal", "gemini-flash-latest", level("LOW")],
		["minimal", "gemini-3-pro", level("LOW")],
		["low", "gemini-3-pro", level("LOW")],
		["medium", "gemini-3-flash", level("MEDIUM")],
		["high", "gemini-3-flash", level("HIGH")],
		["max", "gemini-3-flash", level("HIGH")],
		["none", "gemini-2.5-flash", { thinkingBudget: 0 }],
		["minimal", "gemini-2.5-flash", budget(1024)],
		["low", "gemini-2.5-pro", budget(1024)],
		["medium", "gemini-2.5-pro", budget(8192)],
		["high", "gemini-2.5-pro", budget(24_576)],
		["none", "gemini-2.0-flash", undefined],
	] as const)("thinks %p as %s does", (effort, name, wanted) => expect(thinkingConfig(effort, name)).toEqual(wanted));

	test.each([
		["none", "gemini-3-flash"],
		["none", "gemini-2.5-pro"],
		["low", "gemini-2.0-flash"],
	] as const)("%s for %s is refused by name", (effort, name) => {
		expect(() => thinkingConfig(effort, name)).toThrow(/"reasoning_effort"/);
	});
});
