/** Limits that threads share: what several take at once, what one that dies leaves, and that all is decided as by one thread. */
import { describe, expect, test } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import { Death, dyingBlocks } from "./kit/dying-blocks.ts";
import { CELLS, IDS, limitOf } from "./kit/limits-thread.ts";
import { runThreads, sharedTest, startThread } from "./kit/limits-threads.ts";
import { random } from "./kit/random.ts";
import { until } from "./kit/until.ts";

const MINUTE = 60_000;
const minute = (unit: "requests" | "tokens", max: number, amount = 1, id = "a"): Limit => ({
	...{ id, unit, max, amount, windowMs: MINUTE },
});
function taken(decision: LimitDecision): Reservation {
	if (!decision.isAllowed) throw new Error(`refused by ${decision.refused.id} ${decision.refused.unit}`);
	return decision.reservation;
}
/** Views of one memory by threads 0 to 3. */
function views(blocks = 2_000) {
	const memory = makeBlocks(blocks);
	const view = (thread: number, offset = 0) => {
		const own = new SharedBlocks(memory, blocks, thread);
		return { blocks: own, limiter: new SharedLimiter(own, offset) };
	};
	return { main: view(0), one: view(1), two: view(2), three: view(3), view };
}

describe("threads that take at the same time", () => {
	test("get of each of 50 limits exactly what it has: 20,000 calls by four", async () => {
		const { shared, limiter } = sharedTest(4);
		const max = 70;
		const taken = await runThreads(shared, { what: "takes", rounds: 5_000, max });
		expect(taken).toEqual(IDS.map(() => max));
		for (const id of IDS) expect(limiter.take([limitOf(id, "requests", max)], performance.now()).isAllowed).toBe(false);
	}, 60_000);

	test("are never more at once than there may be, and give everything back", async () => {
		const { shared, limiter, cells } = sharedTest(4);
		const [allowed] = await runThreads(shared, { what: "holds", rounds: 5_000, max: 2 });
		expect(allowed).toBeGreaterThan(100);
		expect(cells[CELLS.most]).toBeWithin(1, 3);
		const { statuses } = limiter.take(
			[limitOf("all", "concurrency", 2), limitOf("all", "tokens", 1e9, 0)],
			performance.now(),
		);
		expect(statuses.map(({ remaining }) => remaining)).toEqual([1, 1e9 - 5 * allowed!]);
	}, 60_000);

	test("pass a budget by one call at most, and ask the ledger once for each period", async () => {
		const { shared, spend, cells } = sharedTest(4);
		const max = 5;
		const [spent] = await runThreads(shared, { what: "spends", rounds: 0, max });
		expect(spend.spent("spender", "2026-01-31")).toBe(spent! / 1000);
		expect(spent! / 1000).toBeWithin(max, max + 0.02);
		expect(cells[CELLS.readings]).toBe(3);
	}, 60_000);
});

describe("threads that agree on a number", () => {
	test("go by the first one's, unless they have heard something since that", () => {
		const { one, two, view } = views();
		const limit = minute("requests", 300);
		expect(one.limiter.agreed(limit, 0, 50, 7)).toBe(7);
		taken(one.limiter.take([limit], 50));
		expect(one.limiter.agreed(limit, Number.NEGATIVE_INFINITY, 100, 120)).toBe(120);
		expect(two.limiter.agreed(limit, 90, 150, 130)).toBe(120);
		expect(two.limiter.agreed(limit, Number.NEGATIVE_INFINITY, 150, 130)).toBe(120);
		// A thread whose clock began 80 ms later.
		expect(view(3, 80).limiter.agreed(limit, 19, 70, 140)).toBe(120);
		expect(view(3, 80).limiter.agreed(limit, 1_021, 1_070, 140)).toBe(140);
		expect(one.limiter.agreed(limit, 1_140, 1_160, 150)).toBe(140);
	});

	test("go by the smaller one where they heard something when another one, which did not, had just given its own", () => {
		const { one, two } = views();
		const limit = minute("requests", 300);
		taken(one.limiter.take([limit], 50));
		expect(one.limiter.agreed(limit, 90, 100, 120)).toBe(120);
		expect(two.limiter.agreed(limit, 110, 1_000, 118)).toBe(118);
		expect(one.limiter.agreed(limit, 90, 1_010, 125)).toBe(118);
		// That does not go on for ever.
		expect(two.limiter.agreed(limit, 1_101, 1_200, 125)).toBe(125);
	});

	test("go by the one of whoever has heard of the limit last", () => {
		const { one, two, view } = views();
		const limit = minute("requests", 300);
		taken(one.limiter.take([limit], 50));
		expect(one.limiter.agreed(limit, 45, 100, 120, 40)).toBe(120);
		expect(two.limiter.agreed(limit, 48, 101, 118, 47)).toBe(118);
		expect(one.limiter.agreed(limit, 45, 102, 120, 40)).toBe(118);
		// A thread whose clock began 80 ms later.
		expect(view(3, 80).limiter.agreed(limit, -40, 22, 125, -34)).toBe(118);
		expect(view(3, 80).limiter.agreed(limit, -40, 22, 125, -32)).toBe(125);
		expect(one.limiter.agreed(limit, 45, 110, 120, 40)).toBe(125);
	});

	test("know what all had taken of a window before a moment", () => {
		const { one, two, view } = views();
		taken(one.limiter.take([minute("tokens", 300, 40)], 0));
		const late = taken(two.limiter.take([minute("tokens", 300, 2)], 100));
		expect(one.limiter.countedBefore(minute("tokens", 300), 100)).toBe(40);
		expect(view(3, 80).limiter.countedBefore(minute("tokens", 300), 21)).toBe(42);
		two.limiter.cancel(late, 110);
		expect(one.limiter.countedBefore(minute("tokens", 300), 101)).toBe(40);
		expect(one.limiter.countedBefore(minute("requests", 300), 101)).toBe(0);
	});

	test("go by the first one's of a budget though no call of it has come in long, and anew in each period", () => {
		const { one, two } = views();
		const budget = (period: string): Limit => ({
			...{ id: "a", unit: "usd", max: 10, windowMs: 0, amount: 0.1 },
			spending: { key: "a", period, usd: 0 },
		});
		const today = budget("2026-01-31");
		one.limiter.settle(taken(one.limiter.take([today], 50)), 0, 50);
		expect(one.limiter.agreed(today, 0, 60, 3.4)).toBe(3.4);
		// All counters are looked through for idle ones.
		taken(one.limiter.take([minute("requests", 300)], 2 * MINUTE));
		taken(two.limiter.take([today], 3 * MINUTE));
		expect(two.limiter.agreed(today, Number.NEGATIVE_INFINITY, 3 * MINUTE, 6.8)).toBe(3.4);
		expect(two.limiter.agreed(budget("2026-02-01"), 0, 3 * MINUTE, 3.3)).toBe(3.3);
		expect(one.limiter.agreed(budget("2026-02-01"), 0, 3 * MINUTE, 9.9)).toBe(3.3);
	});

	test("forget a budget's in the end", () => {
		const { one } = views();
		const budget: Limit = { id: "a", unit: "usd", max: 10, windowMs: 0, amount: 0.1 };
		one.limiter.settle(taken(one.limiter.take([budget], 50)), 0, 50);
		expect(one.limiter.agreed(budget, 0, 60, 3.4)).toBe(3.4);
		taken(one.limiter.take([minute("requests", 300)], 1_441 * MINUTE));
		taken(one.limiter.take([budget], 1_442 * MINUTE));
		expect(one.limiter.agreed(budget, 0, 1_442 * MINUTE, 6.8)).toBe(6.8);
	});

	test("count for the others what all have taken, and forget it with its window", () => {
		const { one, two } = views();
		expect(one.limiter.counted(minute("tokens", 300), 0)).toBe(0);
		taken(one.limiter.take([minute("tokens", 300, 40)], 0));
		taken(two.limiter.take([minute("tokens", 300, 2)], 10));
		expect(one.limiter.counted(minute("tokens", 300), 20)).toBe(42);
		expect(one.limiter.counted(minute("tokens", 300), MINUTE + 5)).toBe(2);
	});
});

describe("a thread that dies", () => {
	test("at work, several times, leaves limits that others can take, all it held given back", async () => {
		const { shared, limiter, cells } = sharedTest(1);
		const max = 1_000;
		for (let round = 1; round <= 5; round++) {
			Atomics.store(cells, CELLS.arrived, 0);
			const before = Atomics.load(cells, CELLS.rounds);
			const thread = startThread(shared, { what: "toils", thread: 1, rounds: 0, max: 10 });
			await until(() => Atomics.load(cells, CELLS.rounds) > before + 2_000, "the thread to be at work");
			await thread.end();
			limiter.freed(1);
			const now = performance.now();
			for (const id of IDS) {
				const held = limiter.take([limitOf(id, "concurrency", max), limitOf(id, "usd", max, 1)], now);
				expect(held.statuses.map(({ remaining }) => remaining)).toEqual([max - 1, max - 1]);
				limiter.settle(taken(held), 0, now);
			}
		}
	}, 60_000);

	test("gives back calls at once and what was reserved, and of a window nothing: that leaves with it", () => {
		const { main, one, two } = views();
		const limits = [
			limitOf("a", "usd", 10, 4),
			minute("requests", 10),
			minute("tokens", 100, 60),
			limitOf("a", "concurrency", 2),
		];
		taken(one.limiter.take(limits, 0));
		const other = taken(two.limiter.take([limitOf("a", "usd", 10, 1), limitOf("a", "concurrency", 2)], 0));
		main.limiter.freed(1);
		const { statuses } = two.limiter.take(limits.slice(0, 2), 1);
		expect(statuses.map(({ remaining }) => remaining)).toEqual([5, 8]);
		expect(two.limiter.take([minute("tokens", 100, 41)], 1).isAllowed).toBe(false);
		// A guess is let in alone: nobody is under way any more.
		expect(two.limiter.take([{ ...minute("tokens", 100, 90), certain: 40 }], 1).isAllowed).toBe(true);
		two.limiter.settle(other, 0, 2);
		expect(two.limiter.take([minute("tokens", 100, 60)], MINUTE).isAllowed).toBe(true);
		taken(two.limiter.take([limitOf("a", "concurrency", 1)], 3));
	});

	/** What a thread has on its hands when it dies: a window in which much came and went, calls under way, idle counters. */
	function busy() {
		const all = views(40);
		const { limiter } = all.one;
		const limits = (id: string) => [
			...[limitOf(id, "usd", 10, 1), minute("requests", 200, 1, id), minute("tokens", 10_000, 10, id)],
			limitOf(id, "concurrency", 50),
		];
		for (let call = 0; call < 40; call++) limiter.settle(taken(limiter.take(limits("a"), call)), 5, call);
		const held = taken(limiter.take(limits("a"), 30_000));
		taken(all.two.limiter.take(limits("a"), 30_001));
		limiter.settle(taken(limiter.take([minute("requests", 9, 1, "idle")], 0)), 0, 1);
		return { ...all, held, limits };
	}
	type Busy = ReturnType<typeof busy>;
	const OPERATIONS: readonly (readonly [string, number, (all: Busy, now: number) => unknown])[] = [
		["takes", 30_002, ({ one, limits }, now) => one.limiter.take(limits("a"), now)],
		["takes for the first time", 30_002, ({ one, limits }, now) => one.limiter.take(limits("b"), now)],
		["takes after much has left", MINUTE + 20, ({ one, limits }, now) => one.limiter.take(limits("a"), now)],
		["drops what is idle", 2 * MINUTE, ({ one, limits }, now) => one.limiter.take(limits("b"), now)],
		["settles", 30_002, ({ one, held }, now) => one.limiter.settle(held, 25, now)],
		["cancels", MINUTE + 20, ({ one, held }, now) => one.limiter.cancel(held, now)],
	];
	/** What another thread finds then: what is left of a budget, of calls at once, and of two windows, and when these are empty. */
	function found({ two, limits }: Busy, now: number) {
		const { statuses } = two.limiter.take(limits("a"), now);
		const [usd, requests, tokens, concurrency] = statuses.map(
			({ remaining, resetMs }) => [remaining, resetMs] as const,
		);
		return { held: [usd![0], concurrency![0]], requests, tokens };
	}
	test.each(OPERATIONS)("while it %s, at whatever write, leaves counts that are right", (_, now, operation) => {
		const before = found(busy(), now + 1);
		const done = busy();
		operation(done, now);
		const after = found(done, now + 1);
		let deaths = 0;
		for (let write = 0; ; write++) {
			const all = busy();
			dyingBlocks(all.one.blocks, write);
			try {
				operation(all, now);
				break;
			} catch (error) {
				if (!(error instanceof Death)) throw error;
				deaths++;
			}
			all.main.limiter.freed(1);
			const { limiter, blocks } = all.two;
			// The other thread's calls are all that is under way, and of each window what was there before, or is since.
			const { held, requests, tokens } = found(all, now + 1);
			expect(held).toEqual([8, 48]);
			expect([before.requests, after.requests]).toContainEqual(requests);
			expect([before.tokens, after.tokens]).toContainEqual(tokens);
			// What is counted leaves, and all blocks are there again.
			limiter.take([], 4 * MINUTE);
			const [window] = limiter.take([minute("requests", 200)], 4 * MINUTE).statuses;
			expect(window!.remaining).toBe(199);
			all.main.limiter.freed(2);
			limiter.take([], 6 * MINUTE);
			blocks.acquire();
			let count = 0;
			while (blocks.make(9, blocks.nameOf(9, String(count))) !== 0) count++;
			blocks.release();
			expect(count).toBe(40);
		}
		expect(deaths).toBeGreaterThan(3);
	});
});

describe("where there is no room", () => {
	test("for further counters the least recently used ones go, and never one that a call holds", () => {
		const { one } = views(50);
		const { limiter } = one;
		taken(limiter.take([minute("requests", 1, 1, "held"), limitOf("held", "concurrency", 1)], 0));
		for (let address = 0; address < 500; address++) {
			const limits = [minute("requests", 1, 1, `address:${address}`)];
			limiter.settle(taken(limiter.take(limits, address)), 0, address);
			expect(limiter.take(limits, address).isAllowed).toBe(false);
		}
		expect(limiter.take([limitOf("held", "concurrency", 1)], 500).isAllowed).toBe(false);
		expect(limiter.take([minute("requests", 1, 1, "held")], 500).isAllowed).toBe(false);
	});

	test("at all calls are not counted, and not refused", () => {
		const { one } = views(2);
		taken(one.limiter.take([minute("requests", 5), limitOf("a", "concurrency", 5)], 0));
		const uncounted = taken(one.limiter.take([limitOf("b", "concurrency", 1)], 0));
		taken(one.limiter.take([limitOf("b", "concurrency", 1)], 0));
		one.limiter.settle(uncounted, 0, 1);
	});

	test("for entries a window lets no more in, though it frees later", () => {
		const { one } = views(4);
		const { limiter } = one;
		let count = 0;
		for (let now = 0; now < 1_000; now++) if (limiter.take([minute("requests", 500)], now).isAllowed) count++;
		expect(count).toBe(500);
		expect(limiter.take([minute("requests", 500)], MINUTE + 32).isAllowed).toBe(true);
		expect(limiter.take([minute("requests", 500)], 2 * MINUTE).isAllowed).toBe(true);
	});
});

test("a window with more calls than it has exact entries holds no more than its limit, and frees within a 4,096th of it", () => {
	const { one, two } = views(4_000);
	const max = 30_000;
	const limit = { ...minute("requests", max), windowMs: 40_960 };
	const times: number[] = [];
	let first = 0;
	for (let call = 0; call < 200_000; call++) {
		const now = call;
		while (first < times.length && times[first]! + limit.windowMs <= now) first++;
		const { limiter } = call % 3 ? one : two;
		const decision = limiter.take([limit], now);
		const inside = times.length - first;
		if (decision.isAllowed) {
			expect(inside).toBeLessThan(max);
			times.push(now);
			limiter.settle(decision.reservation, 0, now);
		} else expect(inside).toBeGreaterThanOrEqual(max - 11);
	}
});

test("the clocks of threads are one clock", () => {
	const { view } = views();
	const early = view(1, 5_000).limiter;
	const late = view(2, 1_000).limiter;
	taken(early.take([minute("requests", 1)], 0));
	const decision = late.take([minute("requests", 1)], 5_000);
	expect(decision.isAllowed ? 0 : decision.retryAfterMs).toBe(MINUTE - 1_000);
	taken(late.take([minute("requests", 1)], 4_000 + MINUTE));
});

test.each([1, 2, 3, 4])(
	"whatever is taken and given back, by three threads in turn, is decided as by one alone: seed %d",
	(seed) => {
		const { below, pick } = random(seed);
		const { one, two, three } = views();
		const threads = [one, two, three].map(({ limiter }) => limiter);
		const alone = new SlidingWindowLimiter();
		const open: { readonly by: number; readonly shared: Reservation; readonly alone: Reservation }[] = [];
		let now = 0;
		const limit = (): Limit => {
			const id = pick(["a", "b", "c"]);
			const tokens = 1 + below(400);
			return pick<Limit>([
				minute("requests", 20, 1, id),
				minute("tokens", 1_500, tokens, id),
				{ ...minute("tokens", 1_500, tokens + 1_000, id), certain: tokens },
				limitOf(id, "concurrency", 4),
				{
					...limitOf(id, "usd", 1, (1 + below(500)) / 1000),
					spending: { key: id, period: "total", usd: below(1_100) / 1000 },
				},
			]);
		};
		let refused = 0;
		for (let step = 0; step < 20_000; step++) {
			now += below(3) === 0 ? below(5_000) : below(20);
			if (below(3) === 0 && open.length > 0) {
				const [over] = open.splice(below(open.length), 1);
				const tokens = below(800);
				const how = pick(["settle", "cancel"] as const);
				if (how === "settle") {
					threads[over!.by]!.settle(over!.shared, tokens, now);
					alone.settle(over!.alone, tokens, now);
				} else {
					threads[over!.by]!.cancel(over!.shared, now);
					alone.cancel(over!.alone, now);
				}
				continue;
			}
			const limits = new Map(Array.from({ length: 1 + below(4) }, limit).map((each) => [each.id + each.unit, each]));
			const by = below(3);
			const [shared, expected] = [threads[by]!, alone].map((each) => each.take([...limits.values()], now));
			expect(facts(shared!)).toEqual(facts(expected!));
			if (shared!.isAllowed && expected!.isAllowed) {
				open.push({ by, shared: shared!.reservation, alone: expected!.reservation });
			} else refused++;
		}
		expect(refused).toBeGreaterThan(2_000);
	},
);

/** A decision, with sums of USD as exact as they are counted. */
function facts(decision: LimitDecision) {
	const statuses = decision.statuses.map(({ limit, remaining, resetMs }) => {
		return [limit, limit.unit === "usd" ? Math.round(remaining * 1e9) : remaining, resetMs];
	});
	if (!decision.isAllowed) return { statuses, refused: decision.refused, retryAfterMs: decision.retryAfterMs };
	return { statuses, limits: decision.reservation.limits };
}
