/** Limits in one process, by one thread or by several: exact sliding windows, all or nothing, reserved and settled. */
import { describe, expect, test } from "bun:test";
import type { Limit, LimitDecision, Limiter, LocalLimiter, Reservation } from "../src/accounts/limits/limiter.ts";
import { MOST_SESSION_COUNTS, sessionCountId } from "../src/accounts/limits/session-order.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import { random } from "./kit/random.ts";

const requests = (limit: number, id = "key:a"): Limit => ({
	id,
	unit: "requests",
	max: limit,
	windowMs: 60_000,
	amount: 1,
});
const tokens = (limit: number, amount: number, id = "key:a"): Limit => ({
	id,
	unit: "tokens",
	max: limit,
	windowMs: 60_000,
	amount,
});
const atOnce = (limit: number, id = "key:a"): Limit => ({
	id,
	unit: "concurrency",
	max: limit,
	windowMs: 0,
	amount: 1,
});

/** Limiters of a process that has one thread, and of one of several. */
const LIMITERS: readonly (readonly [string, () => Pick<Limiter, "settle" | "cancel"> & Taking])[] = [
	["of one thread", () => new SlidingWindowLimiter()],
	["that threads share", () => new SharedLimiter(new SharedBlocks(makeBlocks(BLOCKS), BLOCKS, 3), 17.5)],
];
interface Taking extends Pick<LocalLimiter, "counted" | "takenBefore"> {
	take(limits: readonly Limit[], now: number): LimitDecision;
}
const BLOCKS = 20_000;

function taken(decision: LimitDecision): Reservation {
	if (!decision.isAllowed) throw new Error(`refused by ${decision.refused.id} ${decision.refused.unit}`);
	return decision.reservation;
}
function refused(decision: LimitDecision) {
	if (decision.isAllowed) throw new Error("it was admitted");
	return decision;
}

test("a key's new sessions, however many, push out none of another key's", () => {
	const limiter = new SlidingWindowLimiter();
	const spend = (owner: string, name: string): Limit => ({
		...{ id: sessionCountId(owner, name), unit: "spend", max: 10, windowMs: 86_400_000, amount: 10, certain: 1 },
	});
	const spent = (owner: string, name: string, now: number) =>
		limiter.settle(taken(limiter.take([spend(owner, name)], now)), 0, now, 10);
	spent("key_a", "spent", 0);
	spent("key_b", "kept", 0);
	for (let call = 1; call < MOST_SESSION_COUNTS + 5_000; call++) {
		spent("key_b", `new ${call}`, call);
		// It is used, though it may not spend anything.
		expect(limiter.take([spend("key_b", "kept")], call).isAllowed).toBe(false);
	}
	expect(refused(limiter.take([spend("key_a", "spent")], 30_000)).refused.unit).toBe("spend");
	const counted = limiter.handOn(30_000).counts.map(({ id }) => id);
	expect(counted).toHaveLength(MOST_SESSION_COUNTS);
	expect(counted).not.toContain(sessionCountId("key_b", "new 1"));
	// Another process goes on with what was counted, and makes room as this one.
	const next = new SlidingWindowLimiter();
	next.takeOver(limiter.handOn(30_000), 0);
	for (let call = 0; call < 100; call++) next.take([spend("key_b", `newer ${call}`)], 30_000);
	expect(refused(next.take([spend("key_a", "spent")], 30_000)).refused.unit).toBe("spend");
});

describe.each(LIMITERS)("a limiter %s", (_, limiterOf) => {
	describe("a window", () => {
		test("slides: what was taken comes back one by one, to the millisecond", () => {
			const limiter = limiterOf();
			for (const now of [0, 100, 200]) taken(limiter.take([requests(3)], now));
			expect(refused(limiter.take([requests(3)], 300)).retryAfterMs).toBe(59_700);
			expect(limiter.take([requests(3)], 59_999).isAllowed).toBe(false);
			taken(limiter.take([requests(3)], 60_000));
			expect(refused(limiter.take([requests(3)], 60_000)).retryAfterMs).toBe(100);
			taken(limiter.take([requests(3)], 60_100));
		});

		test("of which no minute, wherever it begins, holds more than the limit: 200,000 random calls against a count by hand", () => {
			const { below } = random(11);
			const limiter = limiterOf();
			const let_in: number[] = [];
			let now = 0;
			let refusals = 0;
			for (let call = 0; call < 200_000; call++) {
				now += below(4) === 0 ? below(400) : below(3);
				while (let_in.length > 0 && let_in[0]! + 1_000 <= now) let_in.shift();
				const decision = limiter.take([{ ...requests(50), windowMs: 1_000 }], now);
				expect(decision.isAllowed).toBe(let_in.length < 50);
				if (decision.isAllowed) let_in.push(now);
				else {
					refusals++;
					expect(decision.retryAfterMs).toBe(let_in[0]! + 1_000 - now);
				}
			}
			expect(refusals).toBeGreaterThan(1_000);
			expect(let_in.length).toBeGreaterThan(0);
		});

		test("that is waited for is free when it said, and not before", () => {
			const { below } = random(12);
			const limiter = limiterOf();
			let now = 0;
			for (let call = 0; call < 5_000; call++) {
				now += below(50);
				const limit = tokens(1_000, 1 + below(900));
				const decision = limiter.take([limit], now);
				if (decision.isAllowed) continue;
				const { retryAfterMs } = decision;
				expect(limiter.take([limit], now + retryAfterMs - 1).isAllowed).toBe(false);
				now += retryAfterMs;
				expect(limiter.take([limit], now).isAllowed).toBe(true);
			}
		});

		test("never has room for more than its limit, and says so", () => {
			expect(refused(limiterOf().take([tokens(100, 101)], 0)).retryAfterMs).toBe(Number.POSITIVE_INFINITY);
		});

		test("of one name is shared, of another is not", () => {
			const limiter = limiterOf();
			taken(limiter.take([requests(1)], 0));
			expect(limiter.take([requests(1)], 1).isAllowed).toBe(false);
			taken(limiter.take([requests(1, "key:b")], 1));
			taken(limiter.take([tokens(1, 1)], 1));
		});

		test("says how it stands", () => {
			const limiter = limiterOf();
			taken(limiter.take([requests(10), tokens(500, 120)], 0));
			const decision = limiter.take([requests(10), tokens(500, 80)], 20_000);
			expect(decision.statuses.map(({ remaining, resetMs }) => [remaining, resetMs])).toEqual([
				[8, 60_000],
				[300, 60_000],
			]);
		});
	});

	describe("several limits", () => {
		test("are all looked at before any is touched: a refused call takes nothing", () => {
			const limiter = limiterOf();
			const limits = [requests(5), tokens(100, 60), atOnce(9), requests(1, "model:m")];
			taken(limiter.take(limits, 0));
			for (let call = 0; call < 20; call++) refused(limiter.take(limits, 1));
			expect(limiter.take([requests(5)], 2).statuses[0]?.remaining).toBe(3);
			expect(limiter.take([tokens(100, 40)], 2).isAllowed).toBe(true);
			expect(limiter.take([atOnce(9)], 2).statuses[0]?.remaining).toBe(7);
		});

		test("name the one that is in the way for longest", () => {
			const limiter = limiterOf();
			taken(limiter.take([requests(1)], 0));
			taken(limiter.take([tokens(10, 10, "model:m")], 30_000));
			const { refused: limit, retryAfterMs } = refused(limiter.take([requests(1), tokens(10, 1, "model:m")], 40_000));
			expect([limit.id, limit.unit, retryAfterMs]).toEqual(["model:m", "tokens", 50_000]);
		});
	});

	describe("tokens", () => {
		test("are what the call really used, once that is known: more or less than was reserved", () => {
			const limiter = limiterOf();
			const [less, more] = [
				taken(limiter.take([tokens(1_000, 400)], 0)),
				taken(limiter.take([tokens(1_000, 400)], 10)),
			];
			refused(limiter.take([tokens(1_000, 400)], 20));
			limiter.settle(less, 100, 30);
			taken(limiter.take([tokens(1_000, 400)], 40));
			limiter.settle(more, 1_500, 50);
			// What was overdrawn is paid back first.
			const { retryAfterMs } = refused(limiter.take([tokens(1_000, 1)], 60));
			expect(retryAfterMs).toBe(10 + 60_000 - 60);
		});

		test("stand at the time that the call began, and are gone a minute later even if it has not ended", () => {
			const limiter = limiterOf();
			const long = taken(limiter.take([tokens(100, 90)], 0));
			taken(limiter.take([tokens(100, 90)], 60_000));
			limiter.settle(long, 5_000, 61_000);
			expect(limiter.take([tokens(100, 10)], 61_000).isAllowed).toBe(true);
		});

		test("settle once, whatever is said later", () => {
			const limiter = limiterOf();
			const held = taken(limiter.take([tokens(100, 50), atOnce(2)], 0));
			limiter.settle(held, 10, 1);
			limiter.settle(held, 90, 2);
			limiter.cancel(held, 3);
			const { statuses } = limiter.take([tokens(100, 20), atOnce(2)], 4);
			expect(statuses.map(({ remaining }) => remaining)).toEqual([70, 1]);
		});

		test("and requests come back where a call was never made", () => {
			const limiter = limiterOf();
			const held = taken(limiter.take([requests(1), tokens(100, 100), atOnce(1)], 0));
			limiter.cancel(held, 1);
			taken(limiter.take([requests(1), tokens(100, 100), atOnce(1)], 2));
		});
	});

	describe("a guess", () => {
		const guess = (limit: number, certain: number, amount: number): Limit => ({ ...tokens(limit, amount), certain });

		test("that does not fit keeps no call out while none is under way: then what is certain is taken", () => {
			const limiter = limiterOf();
			const first = taken(limiter.take([guess(5_000, 100, 4_196)], 0));
			expect(first.limits[0]?.amount).toBe(4_196);
			refused(limiter.take([guess(5_000, 100, 4_196)], 1));
			limiter.settle(first, 1_000, 2);
			const alone = limiter.take([guess(5_000, 100, 4_196)], 3);
			expect(alone.statuses[0]?.remaining).toBe(3_900);
			refused(limiter.take([guess(5_000, 100, 4_196)], 4));
			limiter.settle(taken(alone), 1_000, 5);
			taken(limiter.take([guess(5_000, 100, 4_196)], 6));
		});

		test("larger than the limit still lets calls in, what is certain and larger does not", () => {
			const limiter = limiterOf();
			limiter.settle(taken(limiter.take([guess(500, 100, 4_196)], 0)), 450, 1);
			const { retryAfterMs } = refused(limiter.take([guess(500, 100, 4_196)], 2));
			expect(retryAfterMs).toBe(59_998);
			expect(refused(limiter.take([guess(500, 600, 4_196)], 3)).retryAfterMs).toBe(Number.POSITIVE_INFINITY);
		});

		test.each([
			["larger than the limit", 4_196, 0],
			["that fits only without the other", 450, 0],
			["that would fit a minute later", 450, 50],
		])(
			"%s beside another call is worth another try a second later: what is certain fits once that is over",
			(_, amount, before) => {
				const limiter = limiterOf();
				limiter.settle(taken(limiter.take([tokens(500, before)], 0)), before, 1);
				const other = taken(limiter.take([tokens(500, 100)], 2));
				expect(refused(limiter.take([guess(500, 100, amount)], 3)).retryAfterMs).toBe(1_000);
				expect(refused(limiter.take([guess(500, 501, 4_196)], 3)).retryAfterMs).toBe(Number.POSITIVE_INFINITY);
				limiter.settle(other, 100, 4);
				taken(limiter.take([guess(500, 100, amount)], 1_003));
			},
		);

		test("beside another call whose certain part does not fit either waits until that does, and no longer than for all of it", () => {
			const limiter = limiterOf();
			limiter.settle(taken(limiter.take([tokens(500, 300)], 0)), 300, 1);
			taken(limiter.take([tokens(500, 150)], 30_000));
			expect(refused(limiter.take([guess(500, 100, 4_196)], 30_001)).retryAfterMs).toBe(29_999);
			expect(refused(limiter.take([guess(500, 100, 200)], 59_900)).retryAfterMs).toBe(100);
		});

		test("is not taken beside a call that has been under way for longer than its window", () => {
			const limiter = limiterOf();
			const long = taken(limiter.take([tokens(500, 100)], 0));
			taken(limiter.take([{ ...requests(9), id: "other" }], 61_000));
			expect(refused(limiter.take([guess(500, 100, 4_196)], 130_000)).retryAfterMs).toBe(1_000);
			limiter.settle(long, 100, 130_001);
			taken(limiter.take([guess(500, 100, 4_196)], 130_002));
		});
	});

	describe("a budget", () => {
		const usd = (amount: number, spent = 0): Limit => ({
			...requests(1),
			unit: "usd",
			amount,
			spending: { key: "a", period: "total", usd: spent },
		});

		test("takes what fits beside what is spent and reserved, and gives it back once", () => {
			const limiter = limiterOf();
			const held = Array.from({ length: 10 }, () => taken(limiter.take([usd(0.1)], 0)));
			expect(refused(limiter.take([usd(0.1)], 1)).retryAfterMs).toBe(1000);
			limiter.settle(held[0]!, 0, 2);
			limiter.settle(held[0]!, 0, 3);
			limiter.cancel(held[0]!, 4);
			taken(limiter.take([usd(0.1)], 5));
			refused(limiter.take([usd(0.1)], 6));
		});

		test("lets one call in that needs more than is left, and none beside it", () => {
			const limiter = limiterOf();
			const large = taken(limiter.take([usd(7, 0.9)], 0));
			expect(refused(limiter.take([usd(0.01, 0.9)], 1)).retryAfterMs).toBe(1000);
			limiter.settle(large, 0, 2);
			taken(limiter.take([usd(7, 0.9)], 3));
		});

		test("that is spent lets nothing in", () => {
			const limiter = limiterOf();
			expect(refused(limiter.take([usd(0.01, 1)], 1)).retryAfterMs).toBe(Number.POSITIVE_INFINITY);
		});

		test("is not touched by a call that another limit keeps out", () => {
			const limiter = limiterOf();
			taken(limiter.take([requests(1)], 0));
			for (let at = 0; at < 5; at++) refused(limiter.take([usd(0.9), requests(1)], 1));
			taken(limiter.take([usd(1)], 2));
		});
	});

	test("what calls under way may cost of a session is not spent: it is worth another try at once, until they have cost it", () => {
		const limiter = limiterOf();
		const spend = (amount: number): Limit => ({
			...{ id: "session:a", unit: "spend", max: 10, windowMs: 86_400_000 },
			...{ amount, certain: 1 },
		});
		const calls = [1, 2].map(() => taken(limiter.take([spend(5)], 0)));
		expect(refused(limiter.take([spend(5)], 1)).retryAfterMs).toBe(1_000);
		limiter.settle(calls[0]!, 0, 2, 10);
		limiter.settle(calls[1]!, 0, 2, 0);
		expect(refused(limiter.take([spend(5)], 3)).retryAfterMs).toBe(86_399_997);
	});

	test("a day of a session's calls, free ones or not, takes no more memory than some thousand, and is counted", () => {
		const limiter = limiterOf();
		const spend = (id: string): Limit => ({
			...{ id: `session:key:${id}`, unit: "spend", max: 1e12, windowMs: 86_400_000, amount: 10, certain: 1 },
		});
		const day = (id: string, usd: number) => {
			for (let now = 0; now < 86_400_000; now += 200) {
				limiter.settle(taken(limiter.take([spend(id)], now)), 0, now + 50, usd);
			}
		};
		day("paid", 7);
		day("free", 0);
		const name = { id: "session:key:paid", unit: "spend" as const };
		const end = 86_399_999;
		expect(limiter.counted(name, end)).toBe(432_000 * 7);
		expect(limiter.takenBefore(name, Number.POSITIVE_INFINITY).length).toBeLessThan(9_000);
		expect(limiter.takenBefore({ ...name, id: "session:key:free" }, Number.POSITIVE_INFINITY).length).toBeLessThan(
			9_000,
		);
		// What came within some seconds leaves together, and not before it may.
		const left = limiter.counted(name, end + 43_200_000);
		expect(left).toBeGreaterThanOrEqual(216_000 * 7);
		expect(left).toBeLessThan(216_300 * 7);
		expect(limiter.counted(name, end + 86_500_000)).toBe(0);
	});

	test("calls at once are free again when they are over, however long they took", () => {
		const limiter = limiterOf();
		const first = taken(limiter.take([atOnce(2)], 0));
		taken(limiter.take([atOnce(2)], 1));
		expect(refused(limiter.take([atOnce(2)], 3_600_000)).refused.unit).toBe("concurrency");
		limiter.settle(first, 0, 3_600_001);
		taken(limiter.take([atOnce(2)], 3_600_002));
	});

	test("300,000 names that are over take no memory for long", () => {
		const limiter = limiterOf();
		Bun.gc(true);
		const before = process.memoryUsage().heapUsed;
		let now = 0;
		for (let call = 0; call < 300_000; call++) {
			now += 1;
			limiter.settle(taken(limiter.take([requests(5, `address:${call}`), atOnce(5, `address:${call}`)], now)), 0, now);
		}
		limiter.take([requests(5)], now + 120_000);
		Bun.gc(true);
		const { heapUsed } = process.memoryUsage();
		expect(limiter.take([requests(5)], now + 120_001).isAllowed).toBe(true);
		// 300,000 windows would be 100 MB.
		expect(heapUsed - before).toBeLessThan(40e6);
	});
});
