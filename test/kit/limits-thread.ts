/** A worker that takes of limits that other threads take of, too, and answers what it was given. */
import type { Limit, LimitUnit } from "../../src/accounts/limits/limiter.ts";
import { sharedLimits } from "../../src/accounts/limits/shared-limiter.ts";
import { SharedBudgets } from "../../src/proxy/shared-budgets.ts";
import { random } from "./random.ts";

declare const self: Worker;

/** What all threads of a test share: memory of limits and of budgets, and counts of its own. */
export interface SharedTest {
	readonly limits: SharedArrayBuffer;
	readonly budgets: SharedArrayBuffer;
	/** Cells, see {@link CELLS}. */
	readonly cells: SharedArrayBuffer;
	/** Threads that begin at once. */
	readonly threads: number;
}

/** What a worker is to do. */
export interface ThreadJob extends SharedTest {
	readonly thread: number;
	readonly what: keyof typeof JOBS;
	readonly rounds: number;
	/** Of the limits in question. */
	readonly max: number;
}

/** Cells of a test: threads that have come, calls inside at once and the most of them, readings of the ledger, rounds that were begun. */
export const CELLS = { arrived: 0, inside: 1, most: 2, readings: 3, rounds: 4 } as const;

/** A limit on an hour: nothing leaves it during a test. */
export const limitOf = (id: string, unit: LimitUnit, max: number, amount = 1): Limit => ({
	...{ id, unit, max, amount, windowMs: 3_600_000 },
	...(unit === "usd" ? { spending: { key: id, period: "2026-01-31", usd: 0 } } : {}),
});

/** Names that are taken of. */
export const IDS = Array.from({ length: 50 }, (_, at) => `key:${at}`);

interface Tools {
	readonly job: ThreadJob;
	readonly cells: Int32Array;
	readonly view: ReturnType<typeof sharedLimits>;
	readonly below: (limit: number) => number;
}

/** Each answers a number for each of {@link IDS}, or one. */
const JOBS = {
	/** Takes of all ids in turn, in an order of its own, and gives nothing back. */
	takes({ job: { rounds, max }, view: { limiter }, below }: Tools): number[] {
		const taken = IDS.map(() => 0);
		for (let round = 0; round < rounds; round++) {
			const at = below(IDS.length);
			if (limiter.take([limitOf(IDS[at]!, "requests", max)], performance.now()).isAllowed) taken[at]!++;
		}
		return taken;
	},

	/** Is one of a few at once, again and again. */
	holds({ job: { rounds, max }, view: { limiter }, cells }: Tools): number[] {
		let allowed = 0;
		for (let round = 0; round < rounds; round++) {
			const limits = [limitOf("all", "concurrency", max), limitOf("all", "tokens", 1e9, 10)];
			const decision = limiter.take(limits, performance.now());
			if (!decision.isAllowed) continue;
			allowed++;
			const inside = Atomics.add(cells, CELLS.inside, 1) + 1;
			let most = Atomics.load(cells, CELLS.most);
			while (inside > most) most = Atomics.compareExchange(cells, CELLS.most, most, inside);
			Atomics.sub(cells, CELLS.inside, 1);
			limiter.settle(decision.reservation, 5, performance.now());
		}
		return [allowed];
	},

	/** Spends of one budget until there is none left. Each call costs what was reserved, or less. Answers thousandths of a USD. */
	spends({ job: { max }, view: { limiter, spend }, below }: Tools): number[] {
		let spent = 0;
		for (;;) {
			const most = 1 + below(20);
			const [limit] = [limitOf("spender", "usd", max, most / 1000)];
			const usd = spend.spent("spender", "2026-01-31");
			const asked = { ...limit, spending: { key: "spender", period: "2026-01-31", usd } };
			const decision = limiter.take([asked], performance.now());
			if (!decision.isAllowed) {
				if (decision.retryAfterMs === Number.POSITIVE_INFINITY) return [spent];
				continue;
			}
			const cost = 1 + below(most);
			spent += cost;
			for (const period of ["2026-01-31", "2026-01", "total"]) spend.add("spender", period, cost / 1000);
			limiter.settle(decision.reservation, 0, performance.now());
		}
	},

	/** Never ends: makes counters, fills them, gives back most of it. */
	toils({ job: { max }, view: { limiter, spend }, cells, below }: Tools): number[] {
		for (let round = 0; ; round++) {
			Atomics.add(cells, CELLS.rounds, 1);
			const id = IDS[below(IDS.length)]!;
			const limits = [
				limitOf(id, "usd", 1e9, 1),
				limitOf(id, "requests", 1e9),
				limitOf(id, "tokens", 1e9, 3),
				limitOf(id, "concurrency", max),
				limitOf(`address:${round}`, "requests", 1),
			];
			const decision = limiter.take(limits, performance.now());
			spend.add(id, "total", 0.001);
			if (decision.isAllowed && below(max) > 0) limiter.settle(decision.reservation, 2, performance.now());
		}
	},

	/** Makes retries, while there is room. */
	retries({ job }: Tools): number[] {
		const { retries } = new SharedBudgets(job.budgets, job.thread, 0);
		const now = 1_000_000;
		for (let call = 0; call < job.rounds; call++) retries.call(now);
		meet(job, new Int32Array(job.cells), 2);
		let made = 0;
		for (let call = 0; call < job.rounds; call++) if (retries.has(now) && retries.spend(now)) made++;
		return [made];
	},

	/** Saves hedges up, and makes them. */
	hedges({ job }: Tools): number[] {
		const hedges = new SharedBudgets(job.budgets, job.thread, 0).hedges("fast", false);
		let made = 0;
		for (let call = 0; call < job.rounds; call++) {
			hedges.call();
			if (hedges.take()) made++;
		}
		return [made];
	},
};

/** Waits for all threads to come here for the `time`th time, from 1. */
function meet({ threads }: SharedTest, cells: Int32Array, time: number): void {
	const all = threads * time;
	if (Atomics.add(cells, CELLS.arrived, 1) + 1 === all) Atomics.notify(cells, CELLS.arrived);
	for (let now = 0; now < all; now = Atomics.load(cells, CELLS.arrived)) Atomics.wait(cells, CELLS.arrived, now, 100);
}

self.onmessage = ({ data: job }: MessageEvent<ThreadJob>) => {
	const cells = new Int32Array(job.cells);
	const ledger = {
		spenders: () => [],
		spent: () => {
			Atomics.add(cells, CELLS.readings, 1);
			return 0;
		},
	};
	const view = sharedLimits({ memory: job.limits, thread: job.thread, offset: 0, ledger });
	meet(job, cells, 1);
	self.postMessage(JOBS[job.what]({ job, cells, view, below: random(job.thread).below }));
};
