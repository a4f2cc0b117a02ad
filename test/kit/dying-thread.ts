/** A worker that says that it is in the midst of something, and stays there until it is ended. */
import { sharedLimits } from "../../src/accounts/limits/shared-limiter.ts";
import { SharedHardwareClocks } from "../../src/accounts/usage/shared-hardware-clocks.ts";
import { SharedBudgets } from "../../src/proxy/shared-budgets.ts";
import { stay } from "./stay.ts";

declare const self: Worker;

/** What it is in the midst of. */
export interface DyingJob {
	readonly limits: SharedArrayBuffer;
	readonly budgets: SharedArrayBuffer;
	readonly clocks: SharedArrayBuffer;
	readonly midst: "a decision" | "a reading of the ledger" | "a retry" | "a look at a clock";
}

const stayHere = (): never => {
	self.postMessage("here");
	stay();
};

self.onmessage = ({ data: { limits: memory, budgets, clocks, midst } }: MessageEvent<DyingJob>) => {
	if (midst === "a look at a clock") new SharedHardwareClocks(clocks, 1, 0, stayHere).start("a");
	const ledger = { spent: stayHere, spenders: () => [] };
	const { limiter, spend } = sharedLimits({ memory, thread: 1, offset: 0, ledger });
	if (midst === "a reading of the ledger") spend.spent("key", "total");
	const now = { [Symbol.toPrimitive]: stayHere } as unknown as number;
	if (midst === "a retry") new SharedBudgets(budgets, 1, 0).retries.has(now);
	limiter.take([{ id: "key", unit: "concurrency", max: 1, amount: 1, windowMs: 0 }], 0);
	// The amount is looked at while the lock is held.
	limiter.take([{ id: "key", unit: "concurrency", max: 1, amount: now, windowMs: 0 }], 0);
};
