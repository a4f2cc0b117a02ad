/** A worker that takes keys of a provider, at the same time as its siblings. */
import { type KeyMemory, SharedKeyRotation } from "../../src/proxy/shared-key-rotation.ts";
import { providerWith } from "./key-kinds.ts";

declare const self: Worker;

/** What it is to do. */
export interface KeyJob {
	readonly memory: KeyMemory;
	readonly thread: number;
	readonly keys: readonly string[];
	readonly rounds: number;
	/** From when a refused key may be tried again, this worker's clock, ms. */
	readonly now: number;
}

/** What it has taken: how often each key, and how often to find out whether it is good again. */
export interface TakenKeys {
	readonly counts: readonly number[];
	readonly probes: number;
}

if (!Bun.isMainThread) {
	self.onmessage = ({ data: { memory, thread, keys, rounds, now } }: MessageEvent<KeyJob>) => {
		const accounts = new SharedKeyRotation(memory, thread, 0).accountsOf(providerWith("p", keys), keys.length);
		const counts = keys.map(() => 0);
		let probes = 0;
		for (let round = 0; round < rounds; round++) {
			const account = accounts.take("m", now);
			if (!account) continue;
			counts[account.index]!++;
			if (account.isProbe) probes++;
		}
		self.postMessage({ counts, probes } satisfies TakenKeys);
	};
}
