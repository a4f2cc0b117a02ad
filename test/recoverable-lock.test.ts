/** A worker that is ended in the midst of what it shares: the main thread, which has not heard of that yet, does not wait for it. */
import { afterEach, describe, expect, test } from "bun:test";
import { makeLimits, sharedLimits } from "../src/accounts/limits/shared-limiter.ts";
import { makeHardwareClocks, SharedHardwareClocks } from "../src/accounts/usage/shared-hardware-clocks.ts";
import { RecoverableLock, SharingThreads } from "../src/memory/recoverable-lock.ts";
import { makeBudgets, SharedBudgets } from "../src/proxy/shared-budgets.ts";
import type { DyingJob } from "./kit/dying-thread.ts";

let worker: Worker | undefined;
afterEach(() => worker?.terminate());

/** What the main thread shares with a worker that is in the midst of this, and how that is ended. */
async function withWorkerIn(midst: DyingJob["midst"]) {
	const [memory, budgets, clocks] = [makeLimits(), makeBudgets(), makeHardwareClocks()];
	const ledger = { spent: () => 2, spenders: () => [] };
	const { limiter, spend } = sharedLimits({ memory, thread: 0, offset: 0, ledger });
	const { retries } = new SharedBudgets(budgets, 0, 0);
	const started = new Worker(new URL("./kit/dying-thread.ts", import.meta.url));
	worker = started;
	const here = Promise.withResolvers<void>();
	started.onmessage = () => here.resolve();
	started.postMessage({ limits: memory, budgets, clocks, midst } satisfies DyingJob);
	await here.promise;
	return {
		limiter,
		spend,
		retries,
		hardware: new SharedHardwareClocks(clocks, 0, 0),
		end: () => void started.terminate(),
	};
}

describe("a worker that is ended in the midst of", () => {
	test("a decision gives back the lock, and what it held", async () => {
		const { limiter, end } = await withWorkerIn("a decision");
		end();
		const limit = { id: "key", unit: "concurrency", max: 1, amount: 1, windowMs: 0 } as const;
		expect(limiter.take([limit], performance.now())).toMatchObject({ isAllowed: true });
		expect(limiter.take([limit], performance.now())).toMatchObject({ isAllowed: false });
	});

	test("a reading of the ledger leaves it to the main thread", async () => {
		const { spend, end } = await withWorkerIn("a reading of the ledger");
		end();
		expect(spend.spent("key", "total")).toBe(2);
	});

	test("a retry gives back the lock", async () => {
		const { retries, end } = await withWorkerIn("a retry");
		end();
		expect(retries.has(performance.now())).toBe(true);
	});

	test("a look at a clock gives back the lock, and its share of the hardware", async () => {
		const { hardware, end } = await withWorkerIn("a look at a clock");
		end();
		// Another worker's end is heard of first.
		hardware.freed(2);
		const meter = hardware.start("a");
		meter.stop();
		expect(meter.ms()).toBeGreaterThanOrEqual(0);
	});
});

describe("where the system does not say which threads there are", () => {
	test("who has kept the main thread waiting for 15 s counts as ended, and no one before", () => {
		const cells = new Int32Array(new SharedArrayBuffer(64));
		const ended: number[] = [];
		const main = new SharingThreads(cells, 1, 0);
		main.onEnded = (thread) => ended.push(thread);
		const worker = new SharingThreads(cells, 1, 3, () => 0);
		main.recover(3, 14_980);
		worker.recover(3, 60_000);
		expect(ended).toEqual([]);
		main.recover(3, 15_000);
		expect(ended).toEqual([3]);
	});

	test("it gets the lock of one that is gone, and waits anew for each holder", () => {
		const cells = new Int32Array(new SharedArrayBuffer(64));
		const main = new SharingThreads(cells, 1, 0);
		new SharingThreads(cells, 1, 1, () => 0);
		const holders = [2, ...Array<number>(700).fill(1), 2, ...Array<number>(800).fill(1)];
		let looks = 0;
		/** A lock that each look finds held. */
		class Held extends RecoverableLock {
			override acquireWithin(): boolean {
				const holder = holders[looks++];
				if (cells[0] !== -1) cells[0] = (holder ?? 1) + 1;
				return cells[0] === -1;
			}
		}
		main.onEnded = () => {
			cells[0] = -1;
		};
		new Held(cells, 0, main).acquire();
		// Of the 15 s of the last one: 20 ms a look.
		expect(looks).toBe(1 + 700 + 1 + 751 + 1);
	});
});

test("the main thread that takes a lock twice is told so", () => {
	const cells = new Int32Array(new SharedArrayBuffer(64));
	const lock = new RecoverableLock(cells, 0, new SharingThreads(cells, 1, 0));
	lock.acquire();
	expect(() => lock.acquire()).toThrow("a thread has taken a lock twice");
	lock.release();
	lock.acquire();
});
