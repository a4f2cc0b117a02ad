/** How long an upstream may take, and what that depends on. */
import { describe, expect, test } from "bun:test";
import { isReasoning } from "../src/openai/reasoning.ts";
import { type Haste, isHasty, type LimitInputs, limitsOf } from "../src/proxy/limits.ts";

const MINUTE = 60_000;
const timeouts = { total: 10 * MINUTE, first_token: 10 * MINUTE, stall: 10 * MINUTE, connect: 5_000 };
const limits = (more: Partial<LimitInputs> = {}) =>
	limitsOf({
		timeouts,
		set: [],
		hasOthers: true,
		canGoOn: false,
		learned: undefined,
		isReasoning: () => false,
		...more,
	});
const learned = (count: number, p99: number) => ({
	count,
	percentile: (share: number) => (share === 0.99 ? p99 : Number.NaN),
});

describe("the first token, where another target is left", () => {
	test.each([
		["nothing known", undefined, false, 30_000],
		["nothing known of a call that reasons", undefined, true, 120_000],
		["19 calls known", learned(19, 100), false, 30_000],
		["19 calls known, reasoning", learned(19, 100), true, 120_000],
		["20 calls known", learned(20, 5_000), true, 15_000],
		["a fast one", learned(500, 200), true, 10_000],
		["a slow one", learned(500, 90_000), false, 120_000],
	] as const)("%s", (_, known, reasons, ms) => {
		expect(limits({ learned: known, isReasoning: () => reasons }).firstTokenMs).toBe(ms);
	});

	test("where none is left, ten minutes", () => {
		expect(limits({ hasOthers: false, learned: learned(100, 200) }).firstTokenMs).toBe(10 * MINUTE);
	});

	test("never longer than what is set for all", () => {
		expect(limits({ timeouts: { ...timeouts, first_token: 2_000 } }).firstTokenMs).toBe(2_000);
	});
});

test("silence is borne for 30 s where the answer can go on elsewhere, else ten minutes", () => {
	expect([limits().stallMs, limits({ canGoOn: true }).stallMs]).toEqual([10 * MINUTE, 30_000]);
	expect(limits({ canGoOn: true, timeouts: { ...timeouts, stall: 9_000 } }).stallMs).toBe(9_000);
});

test("before its first piece of text a stream may be as silent as before its first event", () => {
	const thinking = { canGoOn: true, isReasoning: () => true };
	expect(limits(thinking)).toMatchObject({ thinkMs: 120_000, stallMs: 30_000 });
	expect(limits({ ...thinking, learned: learned(20, 1_000) })).toMatchObject({ thinkMs: 30_000, stallMs: 30_000 });
	expect(limits({ ...thinking, set: [{ stall: 5_000 }] })).toMatchObject({ thinkMs: 5_000, stallMs: 5_000 });
	expect(limits({ ...thinking, timeouts: { ...timeouts, stall: 9_000 } }).thinkMs).toBe(9_000);
});

test("whole answers and connections have one limit each, whatever else there is", () => {
	for (const hasOthers of [true, false]) {
		expect(limits({ hasOthers })).toMatchObject({ totalMs: 10 * MINUTE, connectMs: 5_000 });
	}
});

test("what is set for the call comes before the alias, that before the provider, all before what is learned", () => {
	const call = { first_token: 1 };
	const alias = { first_token: 2, stall: 2 };
	const provider = { first_token: 3, stall: 3, total: 3, connect: 3 };
	const set = (...each: object[]) => limits({ set: each, canGoOn: true, learned: learned(100, 1_000) });
	expect(set(call, alias, provider)).toEqual({ firstTokenMs: 1, thinkMs: 2, stallMs: 2, totalMs: 3, connectMs: 3 });
	expect(set(provider)).toEqual({ firstTokenMs: 3, thinkMs: 3, stallMs: 3, totalMs: 3, connectMs: 3 });
});

describe("a call reasons", () => {
	test.each([
		[{ reasoning_effort: "high" }, "m", true],
		[{ reasoning_effort: "none" }, "o3", false],
		[{ reasoning_effort: "minimal" }, "gpt-5-mini", false],
		[{ reasoning: { effort: "low" } }, "m", true],
		[{ reasoning: { enabled: false } }, "o3", false],
		[{ thinking: { type: "enabled", budget_tokens: 1024 } }, "m", true],
		[{ thinking: { type: "disabled" } }, "claude-thinking", false],
		[{ chat_template_kwargs: { enable_thinking: true } }, "Qwen/Qwen3-8B", true],
		[{ chat_template_kwargs: { enable_thinking: false } }, "qwq-32b", false],
		[{}, "o4-mini", true],
		[{}, "openai/gpt-5", true],
		[{}, "deepseek/deepseek-r1", true],
		[{}, "openai/gpt-oss-20b", true],
		[{}, "qwen3-30b-a3b-thinking-2507", true],
		[{}, "gpt-4o", false],
		[{}, "llama-3.1-8b", false],
		[{ reasoning_effort: null, reasoning: null, thinking: null }, "gpt-4o", false],
	])("%j to %s: %p", (body, model, expected) => {
		expect(isReasoning({ model, ...body }, model)).toBe(expected);
	});
});

describe("a call ran out of time by its own making", () => {
	const usual = { connectMs: 5_000, firstTokenMs: 30_000, thinkMs: 30_000, stallMs: 30_000, totalMs: 600_000 };
	const hasty = (more: Partial<Haste>) =>
		isHasty(
			{ isStream: true, limits: undefined, timeLeftMs: Number.POSITIVE_INFINITY, hasBegun: false, ...more },
			usual,
		);
	test.each([
		["that says nothing", {}, false],
		["whole, with less time than usual", { isStream: false, timeLeftMs: 599_999 }, true],
		["whole, with as much", { isStream: false, timeLeftMs: 600_000 }, false],
		["streamed, with little time in all", { timeLeftMs: 1_000 }, true],
		["streamed, and had begun by then", { timeLeftMs: 1_000, hasBegun: true }, false],
		["that wants its first token soon", { limits: { first_token: 100 } }, true],
		["that waits longer than usual", { limits: { first_token: 40_000, stall: 40_000 } }, false],
		["that bears no silence", { limits: { stall: 100 }, hasBegun: true }, true],
		["that bears no silence, before its first piece", { limits: { stall: 100 } }, true],
	])("one %s", (_, more, is) => expect(hasty(more)).toBe(is));
});
