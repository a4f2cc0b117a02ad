/** Limits while one process takes another one's place: one count, whichever of the two a call comes to. */
import { expect, test } from "bun:test";
import {
	HandedLimiter,
	type LimitsOwner,
	PredecessorLimits,
	type ToldDecision,
} from "../src/accounts/limits/handed-limits.ts";
import type { Limit, LimitDecision, Limiter } from "../src/accounts/limits/limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";

const MINUTE = 60_000;
/** The new process's clock begins so much later, ms. */
const BEHIND = 5_000_000;
const requests = (max: number): Limit => ({ id: "key:a", unit: "requests", max, windowMs: MINUTE, amount: 1 });
const tokens = (max: number, amount: number): Limit => ({ id: "key:a", unit: "tokens", max, windowMs: MINUTE, amount });
const concurrency = (max: number): Limit => ({ id: "key:a", unit: "concurrency", max, windowMs: MINUTE, amount: 1 });

const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
const sentDecision = (decision: ToldDecision | undefined) => decision && sent(decision);

/** Two processes, of which the second takes over at `time` of the first; what they say to each other goes through JSON. */
function takeOver(old: SlidingWindowLimiter, time: { now: number }) {
	const next = new SlidingWindowLimiter();
	const handed = sent({ now: time.now, ...old.handOn(time.now) });
	const predecessor = new PredecessorLimits(next, handed, () => time.now - BEHIND);
	const link: { isGone: boolean } = { isGone: false };
	const owner: LimitsOwner = {
		take: async (limits) => (link.isGone ? undefined : sentDecision(predecessor.take(sent(limits)))),
		end: (end) => predecessor.end(sent(end)),
	};
	return { next, predecessor, link, limiter: new HandedLimiter(old, owner) };
}

const isAllowed = async (limiter: Limiter, limits: readonly Limit[], now: number): Promise<LimitDecision> =>
	await limiter.take(limits, now);

test("a limit that is used up in one process is in the other: neither lets one call more through", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	for (let call = 0; call < 3; call++) expect(old.take([requests(5)], time.now).isAllowed).toBe(true);
	const { next, limiter } = takeOver(old, time);
	expect((await isAllowed(limiter, [requests(5)], time.now)).isAllowed).toBe(true);
	expect(next.take([requests(5)], time.now - BEHIND).isAllowed).toBe(true);
	expect(next.take([requests(5)], time.now - BEHIND).isAllowed).toBe(false);
	const refused = await isAllowed(limiter, [requests(5)], time.now);
	expect(refused).toMatchObject({ isAllowed: false, refused: requests(5) });
	expect(refused.statuses[0]).toMatchObject({ remaining: 0 });
});

test("what leaves the window of the old process leaves that of the new one at the same moment, whatever their clocks say", () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	old.take([requests(1)], time.now - MINUTE + 10);
	const { next } = takeOver(old, time);
	expect(next.take([requests(1)], time.now + 9 - BEHIND)).toMatchObject({ isAllowed: false, retryAfterMs: 1 });
	expect(next.take([requests(1)], time.now + 10 - BEHIND).isAllowed).toBe(true);
});

test("a call that began before settles in both: its place is free, and its tokens are what it used", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	const limits = [concurrency(1), tokens(100, 90)];
	const running = old.take(limits, time.now);
	if (!running.isAllowed) throw new Error("refused");
	const { next, limiter } = takeOver(old, time);
	expect(next.take([concurrency(1)], time.now - BEHIND).isAllowed).toBe(false);
	limiter.settle(running.reservation, 30, time.now);
	expect(next.take([concurrency(1)], time.now - BEHIND).isAllowed).toBe(true);
	expect(next.counted({ id: "key:a", unit: "tokens" }, time.now - BEHIND)).toBe(30);
	expect(old.counted({ id: "key:a", unit: "tokens" }, time.now)).toBe(30);
});

test("what a call of a session has cost is counted in both, in the place of what it might have", () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	const limit: Limit = { id: "session:a", unit: "spend", max: 1_000, windowMs: MINUTE, amount: 400 };
	const running = old.take([limit], time.now);
	if (!running.isAllowed) throw new Error("refused");
	const { next, limiter } = takeOver(old, time);
	limiter.settle(running.reservation, 10, time.now, 250);
	expect(next.counted(limit, time.now - BEHIND)).toBe(250);
	expect(old.counted(limit, time.now)).toBe(250);
});

test("a call that is cancelled has taken nothing, in either, and one that began since settles by what the new process has given it", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	const { next, limiter } = takeOver(old, time);
	next.take([tokens(100, 10)], time.now - BEHIND);
	const one = await isAllowed(limiter, [tokens(100, 20)], time.now);
	const other = await isAllowed(limiter, [tokens(100, 40)], time.now);
	if (!one.isAllowed || !other.isAllowed) throw new Error("refused");
	limiter.cancel(one.reservation, time.now);
	limiter.settle(other.reservation, 5, time.now);
	expect(next.counted({ id: "key:a", unit: "tokens" }, time.now - BEHIND)).toBe(15);
	expect(old.counted({ id: "key:a", unit: "tokens" }, time.now)).toBe(5);
});

test("what calls of the old process held is free when that ends, however it does; what they took of a window stays in it", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	old.take([concurrency(3), requests(9)], time.now);
	const { next, limiter, predecessor } = takeOver(old, time);
	await limiter.take([concurrency(3), requests(9)], time.now);
	next.take([concurrency(3)], time.now - BEHIND);
	expect(next.take([concurrency(3)], time.now - BEHIND).isAllowed).toBe(false);
	predecessor.ended();
	expect(next.counted({ id: "key:a", unit: "concurrency" }, time.now - BEHIND)).toBe(1);
	expect(next.counted({ id: "key:a", unit: "requests" }, time.now - BEHIND)).toBe(2);
});

test("a call of the first process frees its place at the third one, which has taken over from the second meanwhile", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	const limits = [concurrency(2), tokens(100, 40)];
	const before = old.take(limits, time.now);
	const first = takeOver(old, time);
	const since = await isAllowed(first.limiter, limits, time.now);
	if (!before.isAllowed || !since.isAllowed) throw new Error("refused");
	const now = time.now - BEHIND;
	const handed = sent({ now, ...first.next.handOn(now) });
	const third = new SlidingWindowLimiter();
	const second = new PredecessorLimits(third, handed, () => time.now);
	first.predecessor.forward({ take: async (asked) => second.take(asked), end: (end) => second.end(sent(end)) });
	expect(third.counted({ id: "key:a", unit: "concurrency" }, time.now)).toBe(2);
	const alone = await isAllowed(first.limiter, [tokens(100, 7)], time.now);
	if (!alone.isAllowed) throw new Error("refused");
	for (const { reservation } of [before, since, alone]) first.limiter.settle(reservation, 10, time.now);
	expect(third.counted({ id: "key:a", unit: "concurrency" }, time.now)).toBe(0);
	expect(third.counted({ id: "key:a", unit: "tokens" }, time.now)).toBe(20);
});

test("a call that the new process does not decide in time is decided here; what it takes there all the same is given back at once", async () => {
	const answer = Promise.withResolvers<ToldDecision>();
	const ended: unknown[] = [];
	const owner: LimitsOwner = { take: () => answer.promise, end: (end) => ended.push(end) };
	const limiter = new HandedLimiter(new SlidingWindowLimiter(), owner, 1);
	const late = await limiter.take([requests(1)], 0);
	if (!late.isAllowed) throw new Error("refused");
	expect(await limiter.take([requests(1)], 0)).toMatchObject({ isAllowed: false });
	answer.resolve({ statuses: [{ remaining: 0, resetMs: 1 }], held: { amounts: [1], entries: [7] } });
	await answer.promise;
	expect(ended).toEqual([{ limits: [requests(1)], entries: [7] }]);
	limiter.settle(late.reservation, 5, 0);
	expect(ended).toHaveLength(1);
});

test("where the new process goes away again, the old one counts on with all that came to it meanwhile", async () => {
	const time = { now: 10_000_000 };
	const old = new SlidingWindowLimiter();
	old.take([requests(4)], time.now);
	const { limiter, link } = takeOver(old, time);
	await limiter.take([requests(4)], time.now);
	link.isGone = true;
	expect((await isAllowed(limiter, [requests(4)], time.now)).isAllowed).toBe(true);
	limiter.giveBack();
	expect((await isAllowed(limiter, [requests(4)], time.now)).isAllowed).toBe(true);
	expect((await isAllowed(limiter, [requests(4)], time.now)).isAllowed).toBe(false);
});
