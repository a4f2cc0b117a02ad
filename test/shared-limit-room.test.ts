/** What is forgotten where clients name more sessions and addresses than threads have memory for: nobody's names push out what another one has spent. */
import { describe, expect, test } from "bun:test";
import { type Limit, LONGEST_WINDOW_MS } from "../src/accounts/limits/limiter.ts";
import { sessionCountId } from "../src/accounts/limits/session-order.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";

const BUDGET = 10;
const session = (owner: string, name: string | number): Limit => ({
	...{ id: sessionCountId(owner, `${name}`), unit: "spend", max: BUDGET, amount: BUDGET, certain: 1 },
	windowMs: LONGEST_WINDOW_MS,
});
const minute = (id: string): Limit => ({ id, unit: "requests", max: 1, amount: 1, windowMs: 60_000 });

/** A process of two threads, on one clock: calls go to them in turn. */
function twoThreads(blocks = 600) {
	const memory = makeBlocks(blocks);
	const threads = [0, 1].map((thread) => new SharedLimiter(new SharedBlocks(memory, blocks, thread), 0));
	let calls = 0;
	const next = () => threads[calls++ % 2]!;
	return {
		main: threads[0]!,
		/** Makes a call that spends all there is. Whether it was let in. */
		call(limit: Limit, now: number): boolean {
			const limiter = next();
			const decision = limiter.take([limit], now);
			if (decision.isAllowed) limiter.settle(decision.reservation, 0, now, BUDGET);
			return decision.isAllowed;
		},
	};
}

describe("what a session has spent is known, however many there are", () => {
	test("of another key", () => {
		const { call } = twoThreads();
		expect([call(session("a", "s"), 0), call(session("a", "s"), 1)]).toEqual([true, false]);
		for (let at = 0; at < 3_000; at++) expect(call(session("b", at), 2 + at)).toBe(true);
		expect(call(session("a", "s"), 4_000)).toBe(false);
		// Its own make room: the latest are known.
		for (let at = 2_950; at < 3_000; at++) expect(call(session("b", at), 4_001)).toBe(false);
		expect(call(session("b", 0), 4_002)).toBe(true);
	});

	test("of other keys, each as many as it has a share for", () => {
		const { call } = twoThreads();
		for (let at = 0; at < 50; at++) for (const owner of ["a", "b", ""]) call(session(owner, at), at);
		for (let at = 0; at < 3_000; at++) call(session("c", at), 100 + at);
		for (let at = 0; at < 50; at++)
			for (const owner of ["a", "b", ""]) expect(call(session(owner, at), 4_000)).toBe(false);
	});

	test("of addresses", () => {
		const { call } = twoThreads();
		for (let at = 0; at < 100; at++) call(session(`key ${at % 10}`, at), 0);
		for (let at = 0; at < 3_000; at++) expect(call(minute(`address:${at}`), 1 + at)).toBe(true);
		for (let at = 0; at < 100; at++) expect(call(session(`key ${at % 10}`, at), 4_000)).toBe(false);
	});

	test("of another key after another process has gone on with what was counted", () => {
		const before = twoThreads();
		before.call(session("a", "s"), 0);
		for (let at = 0; at < 100; at++) before.call(session("b", at), at);
		const after = twoThreads();
		after.main.takeOver(before.main.handOn(100), 0);
		for (let at = 0; at < 3_000; at++) after.call(session("b", `later ${at}`), 100 + at);
		expect(after.call(session("a", "s"), 4_000)).toBe(false);
	});

	test("of another key where one thread had counted before", () => {
		const before = new SlidingWindowLimiter();
		const decision = before.take([session("a", "s")], 0);
		if (decision.isAllowed) before.settle(decision.reservation, 0, 0, BUDGET);
		const after = twoThreads();
		after.main.takeOver(before.handOn(1), 0);
		for (let at = 0; at < 3_000; at++) after.call(session("b", at), 2 + at);
		expect(after.call(session("a", "s"), 4_000)).toBe(false);
	});
});

test("no number of sessions pushes out what is counted of keys and addresses", () => {
	const { call } = twoThreads();
	for (let at = 0; at < 100; at++) expect(call(minute(`key:${at}`), 0)).toBe(true);
	for (let at = 0; at < 3_000; at++) call(session("b", at), 1 + at);
	for (let at = 0; at < 100; at++) expect(call(minute(`key:${at}`), 4_000)).toBe(false);
});

test("a session that a call holds stays", () => {
	const { main, call } = twoThreads();
	const held = session("b", "held");
	const decision = main.take([held], 0);
	for (let at = 0; at < 3_000; at++) call(session("b", at), 1 + at);
	if (decision.isAllowed) main.settle(decision.reservation, 0, 4_000, BUDGET);
	expect(call(held, 4_001)).toBe(false);
});
