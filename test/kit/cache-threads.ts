/** Caches that share their memory as the threads of a process do, without the threads: each has its number, and messages go from one to the other. */
import { type CacheMemory, type CacheThread, cacheMemory } from "../../src/cache/cache-memory.ts";
import { CLAIMS_HEAD } from "../../src/cache/claim-table.ts";
import type { ClaimMessage, ClaimPort } from "../../src/cache/thread-store.ts";
import type { Config } from "../../src/config/schema.ts";

/** The threads: number 0 is the main one. */
export interface CacheThreads {
	readonly memory: CacheMemory;
	/** What was posted, in its order. */
	readonly posted: { readonly to: number; readonly message: ClaimMessage }[];
	/** One of them. */
	of(thread: number): CacheThread;
	/** Whether one of them waits for what another makes. */
	isWaiting(thread: number): boolean;
}

/** Makes them. */
export function cacheThreads(config: Pick<Config, "cache">, count: number): CacheThreads {
	const memory = cacheMemory(config)!;
	const posted: { to: number; message: ClaimMessage }[] = [];
	const ports: ClaimPort[] = Array.from({ length: count + 1 }, () => ({
		post(to, message) {
			posted.push({ to, message });
			setImmediate(() => ports[to]?.onMessage?.(message));
		},
		onMessage: undefined,
	}));
	return {
		memory,
		posted,
		of: (thread) => ({ memory, thread, threads: count, port: ports[thread]! }),
		isWaiting: (thread) => waits(memory, thread),
	};
}

/** Whether a thread has had itself written down as one that waits: the last of the ten cells of each claim, behind the head. */
export function waits({ claims }: CacheMemory, thread: number): boolean {
	const cells = new Int32Array(claims);
	for (let at = CLAIMS_HEAD; at < cells.length; at += 10) {
		if (cells[at + 8] !== 0 && cells[at + 9]! & (1 << thread)) return true;
	}
	return false;
}

/** Where a cache has its answers: in memory of its own, or in memory that threads share, of which the other one is idle. */
export const CACHE_STORAGES = [
	["of one thread", () => undefined],
	["that threads share", (config: Config) => cacheThreads(config, 2).of(1)],
] as const satisfies readonly (readonly [string, (config: Config) => CacheThread | undefined])[];
