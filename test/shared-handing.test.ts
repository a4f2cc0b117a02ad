/** Limits that threads count together, while another process takes their process's place: one count, whichever of the two a call comes to. */
import { describe, expect, test } from "bun:test";
import type { HandableLimiter } from "../src/accounts/limits/handed-counts.ts";
import { HandedLimiter, type LimitsOwner, PredecessorLimits } from "../src/accounts/limits/handed-limits.ts";
import type { Limit, LimitDecision } from "../src/accounts/limits/limiter.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";

const MINUTE = 60_000;
const BLOCKS = 2_000;
const NOW = 10_000_000;
/** The new process's clock begins so much later, ms. */
const BEHIND = 5_000_000;
const limit = (unit: Limit["unit"], max: number, amount = 1): Limit => ({
	...{ id: "key:a", unit, max, amount, windowMs: MINUTE },
	...(unit === "usd" && { spending: { key: "a", period: "total", usd: 0 } }),
});
const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** The views that the main thread and two workers of a process have. */
function threads() {
	const memory = makeBlocks(BLOCKS);
	return [0, 1, 2].map((thread) => new SharedLimiter(new SharedBlocks(memory, BLOCKS, thread), 0));
}

/** Another process goes on with what `own` counts, and answers the workers of that one. */
function takeOver(own: HandableLimiter, next: HandableLimiter, workers: readonly SharedLimiter[]) {
	const predecessor = new PredecessorLimits(next, sent({ now: NOW, ...own.handOn(NOW) }), () => NOW - BEHIND);
	const owner: LimitsOwner = {
		take: async (limits) => sent(predecessor.take(sent(limits))),
		end: (end) => predecessor.end(sent(end)),
	};
	return { predecessor, asking: workers.map((each) => new HandedLimiter(each, owner, 1_500, () => each.handedOn)) };
}

function taken(decision: LimitDecision) {
	if (!decision.isAllowed) throw new Error(`refused by ${decision.refused.unit}`);
	return decision.reservation;
}
const count = (limiter: HandableLimiter, unit: Limit["unit"], now = NOW - BEHIND) =>
	limiter.counted({ id: "key:a", unit }, now);

const successors: [string, () => HandableLimiter][] = [
	["several threads", () => threads()[0]!],
	["one thread", () => new SlidingWindowLimiter()],
];

describe.each(successors)("a process of %s that goes on with the counts of one of several", (_name, make) => {
	test("lets no call more through than a limit has left, at either of them", async () => {
		const [main, one, two] = threads() as [SharedLimiter, SharedLimiter, SharedLimiter];
		for (let call = 0; call < 60; call++) taken((call % 2 ? one : two).take([limit("requests", 100)], NOW));
		const next = make();
		const { asking } = takeOver(main, next, [one, two]);
		let through = 0;
		for (let call = 0; call < 30; call++) {
			for (const each of [...asking, next]) {
				const decision = await each.take([limit("requests", 100)], each === next ? NOW - BEHIND : NOW);
				if (decision.isAllowed) through++;
			}
		}
		expect(through).toBe(40);
	});

	test("has places and parts of budgets that calls of the other one hold, and what they came to, until they end", async () => {
		const [main, one, two] = threads() as [SharedLimiter, SharedLimiter, SharedLimiter];
		const limits = [limit("concurrency", 3), limit("usd", 5, 1.5), limit("tokens", 1_000, 100)];
		const before = taken(one.take(limits, NOW));
		const next = make();
		const { predecessor, asking } = takeOver(main, next, [one, two]);
		expect([count(next, "concurrency"), count(next, "usd"), count(next, "tokens")]).toEqual([1, 1.5, 100]);
		const since = taken(await asking[1]!.take(limits, NOW));
		const cancelled = taken(await asking[1]!.take(limits, NOW));
		expect([count(next, "concurrency"), count(next, "usd"), count(next, "tokens")]).toEqual([3, 4.5, 300]);
		expect((await next.take(limits, NOW - BEHIND)).isAllowed).toBe(false);
		asking[0]!.settle(before, 7, NOW);
		asking[1]!.settle(since, 20, NOW);
		asking[1]!.cancel(cancelled, NOW);
		expect([count(next, "concurrency"), count(next, "usd"), count(next, "tokens")]).toEqual([0, 0, 27]);
		taken(await asking[0]!.take(limits, NOW));
		predecessor.ended();
		expect([count(next, "concurrency"), count(next, "usd"), count(next, "tokens")]).toEqual([0, 0, 127]);
	});

	test("has what leaves a window leave it at the same moment, of many entries that have no number of theirs twice", () => {
		const [main, one] = threads() as [SharedLimiter, SharedLimiter];
		const calls = Array.from({ length: 1_000 }, (_, at) =>
			taken(one.take([limit("tokens", 1e6, 10)], NOW - 1_000 + at)),
		);
		const next = make();
		const { asking } = takeOver(main, next, [one]);
		for (const [at, call] of calls.entries()) asking[0]!.settle(call, at, NOW);
		expect(count(next, "tokens")).toBe((999 * 1_000) / 2);
		expect(count(next, "tokens", NOW - 1_000 + MINUTE - BEHIND)).toBe((999 * 1_000) / 2);
		expect(count(next, "tokens", NOW - 501 + MINUTE - BEHIND)).toBe((999 * 1_000) / 2 - (499 * 500) / 2);
	});
});

test("a process of several threads goes on with the counts of one of one thread, and hands them to a third", async () => {
	const old = new SlidingWindowLimiter();
	for (let call = 0; call < 20; call++) taken(old.take([limit("requests", 40)], NOW));
	const held = taken(old.take([limit("concurrency", 2)], NOW));
	const [main, one] = threads() as [SharedLimiter, SharedLimiter];
	const first = new PredecessorLimits(main, sent({ now: NOW, ...old.handOn(NOW) }), () => NOW);
	for (let call = 0; call < 5; call++) taken(one.take([limit("requests", 40)], NOW));
	const third = new SlidingWindowLimiter();
	const second = new PredecessorLimits(third, sent({ now: NOW, ...main.handOn(NOW) }), () => NOW);
	first.forward({ take: async () => undefined, end: (end) => second.end(sent(end)) });
	expect([count(third, "requests", NOW), count(third, "concurrency", NOW)]).toEqual([25, 1]);
	first.end(sent({ ...old.heldBy(held), tokens: 1 }));
	expect([count(main, "concurrency", NOW), count(third, "concurrency", NOW)]).toEqual([0, 0]);
});

test("threads whose process is left by the new one again count alone, with all that came meanwhile; the next one is told all of it", async () => {
	const [main, one] = threads() as [SharedLimiter, SharedLimiter];
	const gone = takeOver(main, threads()[0]!, [one]);
	const meanwhile = taken(await gone.asking[0]!.take([limit("concurrency", 2)], NOW));
	main.takeBack();
	expect(one.take([limit("requests", 1)], NOW).isAllowed).toBe(true);
	expect(one.handedOn).toBe(0);
	const next = new SlidingWindowLimiter();
	const second = new PredecessorLimits(next, sent({ now: NOW, ...main.handOn(NOW) }), () => NOW);
	expect([count(next, "requests", NOW), count(next, "concurrency", NOW)]).toEqual([1, 1]);
	one.settle(meanwhile, 0, NOW);
	expect(one.handedOn).toBe(2);
	second.end(sent({ ...one.heldBy(meanwhile), tokens: 0 }));
	expect(count(next, "concurrency", NOW)).toBe(0);
});

test("memory in which something has a name already does not take names that are hashed in another way", () => {
	const [main] = threads() as [SharedLimiter];
	const [other] = threads() as [SharedLimiter];
	taken(main.take([limit("requests", 1)], NOW));
	expect(() => main.takeOver(other.handOn(NOW), 0)).toThrow("hashed already");
});
