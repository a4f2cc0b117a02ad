/** What a router makes of what Redis has said of a limit, while it can't ask, or has no answer yet. */
import { describe, expect, test } from "bun:test";
import { ALONE } from "../src/accounts/limits/fair-share.ts";
import { goesOn, HeardLimits, hear as hearAnswer, othersOf, withOthers } from "../src/accounts/limits/heard-limits.ts";
import type { Limit } from "../src/accounts/limits/limiter.ts";

const MINUTE = 60_000;
const limit: Limit = { id: "key:a", unit: "requests", max: 300, windowMs: MINUTE, amount: 1 };
type Heard = ReturnType<HeardLimits["of"]>;
/** An answer by which so much is left by this router's own count, and so much of all. */
const hear = (heard: Heard, own: number, all: number, now: number, lacks: boolean) =>
	hearAnswer(heard, { own, all, max: 300, used: 300 - own }, now, lacks);
/** Of a limit of which this router has left so much by its own count, and all together so much, at 0 ms. */
function heardOf(own: number, all: number) {
	const heard = new HeardLimits().of("a", limit);
	hear(heard, own, all, 0, false);
	return heard;
}

describe("what others have taken", () => {
	test("stands for a window, and is gone after another one", () => {
		const heard = heardOf(250, 100);
		expect([0, MINUTE, 1.5 * MINUTE, 2 * MINUTE, 9 * MINUTE].map((now) => othersOf(heard, now))).toEqual([
			150, 150, 75, 0, 0,
		]);
		expect(withOthers(heard, { limit, remaining: 40, resetMs: 5 }, MINUTE).remaining).toBe(-110);
	});

	test("is never less than before while others may not have put back what Redis has lost", () => {
		const heard = heardOf(250, 100);
		hear(heard, 240, 239, 1_000, true);
		expect(othersOf(heard, 1_000)).toBe(150);
		hear(heard, 240, 40, 2_000, true);
		expect(othersOf(heard, 2_000)).toBe(200);
		hear(heard, 240, 239, 3_000, false);
		expect(othersOf(heard, 3_000)).toBe(1);
	});

	test("goes on at the pace that was seen, for as long as that, and not where there was none", () => {
		const heard = heardOf(300, 300);
		hear(heard, 270, 210, 6_000, false);
		hear(heard, 250, 150, 10_000, false);
		// 100 in ten seconds.
		expect([10_000, 12_000, 20_000, 40_000, 60_000].map((now) => othersOf(heard, now))).toEqual([
			100, 120, 200, 200, 200,
		]);
		hear(heard, 250, 150, 12_000, false);
		hear(heard, 250, 150, 18_000, false);
		expect(othersOf(heard, 20_000)).toBe(100);
	});

	test("is nothing where Redis knows less than this router", () => {
		expect(othersOf(heardOf(100, 120), 0)).toBe(0);
	});
});

describe("a call goes on before Redis has answered", () => {
	test("not where it has never answered", () => {
		expect(goesOn(new HeardLimits().of("a", limit), 300, ALONE)).toBe(false);
	});

	test("only while a sixteenth of what is left has no answer", () => {
		const heard = heardOf(300, 300);
		heard.unanswered = 10;
		expect([goesOn(heard, 160, ALONE), goesOn(heard, 159, ALONE)]).toEqual([true, false]);
		// Of ten routers each may let in a tenth of what is left, whichever of its threads does.
		const fleet = { routers: 10, rank: 0 };
		expect([goesOn(heard, 400, fleet), goesOn(heard, 399, fleet)]).toEqual([true, false]);
	});

	test("not where as much as is left may be gone in a second or two", () => {
		const heard = heardOf(300, 300);
		hear(heard, 270, 200, 900, false);
		expect([goesOn(heard, 200, ALONE), goesOn(heard, 199, ALONE)]).toEqual([true, false]);
		// What was taken in the seconds before counts no longer.
		hear(heard, 270, 200, 2_000, false);
		hear(heard, 270, 199, 3_100, false);
		expect(goesOn(heard, 20, ALONE)).toBe(true);
	});
});

test("a limit that nobody has asked for in long makes room for others", () => {
	const limits = new HeardLimits();
	const first = limits.of("first", limit);
	for (let at = 0; at < 20_000; at++) limits.of(`key ${at}`, { ...limit, unit: at % 2 === 0 ? "tokens" : "usd" });
	expect(limits.of("first", limit)).not.toBe(first);
	expect([...limits.windows()].length).toBeWithin(9_990, 10_010);
});

test("a limit that is asked for stays, however many others come", () => {
	const limits = new HeardLimits();
	const first = limits.of("first", limit);
	for (let at = 0; at < 40_000; at++) {
		limits.of(`key ${at}`, limit);
		if (at % 10_000 === 0) expect(limits.of("first", limit)).toBe(first);
	}
	expect(limits.of("first", limit)).toBe(first);
});
