/** How long an upstream may take, and what that depends on. */
import { describe, expect, test } from "bun:test";
import { isReasoning } from "../src/openai/reasoning.ts";
import {
	type ClientTimeout,
	isClientTimeout,
	type LimitInputs,
	limitsOf,
	type WholeInputs,
} from "../src/proxy/timeouts.ts";

const MINUTE = 60_000;
const timeouts = { total: 10 * MINUTE, first_token: 10 * MINUTE, stall: 10 * MINUTE, connect: 5_000 };
const limits = (more: Partial<LimitInputs> = {}) =>
	limitsOf({
		timeouts,
		set: [],
		hasOthers: true,
		isResumable: false,
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
	expect([limits().stallMs, limits({ isResumable: true }).stallMs]).toEqual([10 * MINUTE, 30_000]);
	expect(limits({ isResumable: true, timeouts: { ...timeouts, stall: 9_000 } }).stallMs).toBe(9_000);
});

test("before its first piece of text a stream may be as silent as before its first event", () => {
	const thinking = { isResumable: true, isReasoning: () => true };
	expect(limits(thinking)).toMatchObject({ thinkMs: 120_000, stallMs: 30_000 });
	expect(limits({ ...thinking, learned: learned(20, 1_000) })).toMatchObject({ thinkMs: 30_000, stallMs: 30_000 });
	expect(limits({ ...thinking, set: [{ stall: 5_000 }] })).toMatchObject({ thinkMs: 5_000, stallMs: 5_000 });
	expect(limits({ ...thinking, timeouts: { ...timeouts, stall: 9_000 } }).thinkMs).toBe(9_000);
});

test("connections have one limit, whatever else there is", () => {
	for (const hasOthers of [true, false]) expect(limits({ hasOthers }).connectMs).toBe(5_000);
});

describe("a whole answer, where another target is left", () => {
	const none = { count: 0, percentile: () => undefined };
	const whole = (more: Partial<WholeInputs> = {}): WholeInputs => ({
		...{ learned: none, tokens: none, maxTokens: undefined, isLoading: false },
		...more,
	});
	const longest = (count: number) => ({ count: 20, percentile: () => count });
	test.each([
		["nothing known", whole(), false, 120_000, 20_000],
		["nothing known of a call that reasons", whole(), true, 300_000, 20_000],
		["nothing known of a short one", whole({ maxTokens: 16 }), false, 60_000, 10_000],
		["nothing known of a long one", whole({ maxTokens: 4_000 }), false, 200_000, 20_000],
		["nothing known of a very long one", whole({ maxTokens: 100_000 }), false, 300_000, 20_000],
		["19 answers known", whole({ learned: learned(19, 100) }), false, 120_000, 20_000],
		["20 answers known", whole({ learned: learned(20, 15_000) }), true, 45_000, 45_000],
		["short ones", whole({ learned: learned(20, 100) }), false, 30_000, 10_000],
		["very long ones", whole({ learned: learned(20, 200_000) }), false, 300_000, 200_000],
		[
			"one that may be twice as long as any",
			whole({ learned: learned(20, 15_000), tokens: longest(500), maxTokens: 1_000 }),
			false,
			90_000,
			90_000,
		],
		[
			"one that may be shorter",
			whole({ learned: learned(20, 15_000), tokens: longest(500), maxTokens: 5 }),
			false,
			45_000,
			45_000,
		],
		["one whose model is being loaded", whole({ isLoading: true }), false, 20 * MINUTE, undefined],
	] as const)("%s", (_, of, reasons, totalMs, lateMs) => {
		expect(limits({ whole: of, isReasoning: () => reasons })).toMatchObject({ totalMs, lateMs });
	});

	test("no longer than its owner says, also while its model is being loaded", () => {
		expect(limits({ whole: whole({ isLoading: true }), set: [{ total: 9_000 }] }).totalMs).toBe(9_000);
	});

	test("ten minutes, where none is left", () => {
		expect(limits({ hasOthers: false, whole: whole({ learned: learned(20, 100) }) }).totalMs).toBe(10 * MINUTE);
	});

	test("never longer than what is set for all, and another is asked within a third of that", () => {
		const all = { timeouts: { ...timeouts, total: 9_000, first_token: 6_000 } };
		expect(limits({ ...all, whole: whole() })).toMatchObject({ totalMs: 9_000, lateMs: 3_000 });
		expect(limits(all).lateMs).toBe(2_000);
	});

	test("another is asked within a third of what is set for the call, the alias or the provider", () => {
		expect(limits({ whole: whole(), set: [{ total: 9_000 }, { total: 3_000 }] }).lateMs).toBe(3_000);
		expect(limits({ set: [undefined, { first_token: 3_000 }] }).lateMs).toBe(1_000);
		const patient = { timeouts: { ...timeouts, total: 9_000 }, whole: whole(), set: [{ total: 60_000 }] };
		expect(limits(patient).lateMs).toBe(20_000);
	});

	test("as long as is set for the call, the alias or the provider", () => {
		expect(limits({ whole: whole(), set: [{ total: 400_000 }] })).toMatchObject({ totalMs: 400_000, lateMs: 20_000 });
	});
});

test("a first token of a target that is not known is waited for alone for 10 s, of one that is as long as it may take", () => {
	expect([limits().lateMs, limits({ isReasoning: () => true }).lateMs]).toEqual([10_000, 10_000]);
	expect(limits({ learned: learned(20, 5_000) }).lateMs).toBeUndefined();
});

test("what is set for the call comes before the alias, that before the provider, all before what is learned", () => {
	const call = { first_token: 1 };
	const alias = { first_token: 2, stall: 2 };
	const provider = { first_token: 3, stall: 3, total: 3, connect: 3 };
	const set = (...each: object[]) => limits({ set: each, isResumable: true, learned: learned(100, 1_000) });
	expect(set(call, alias, provider)).toMatchObject({
		firstTokenMs: 1,
		thinkMs: 2,
		stallMs: 2,
		totalMs: 3,
		connectMs: 3,
	});
	expect(set(provider)).toMatchObject({ firstTokenMs: 3, thinkMs: 3, stallMs: 3, totalMs: 3, connectMs: 3 });
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
	const hasty = (more: Partial<ClientTimeout>) =>
		isClientTimeout(
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
