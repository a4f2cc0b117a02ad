/** The memory of the cache of a process with several threads. */
import type { Config } from "../config/schema.ts";
import { type RingMemory, ringMemory } from "../memory/shared-ring.ts";
import { CLAIM_BYTES } from "./claim-table.ts";
import { recentMemory } from "./exact-match.ts";
import type { AbandonedCalls, ClaimPort } from "./thread-store.ts";

/** Made once, by the main thread, and handed to each thread. Takes no memory before it is written to. */
export interface CacheMemory {
	readonly ring: RingMemory;
	/** Calls on their way upstream. */
	readonly claims: SharedArrayBuffer;
	/** Of the keys' hash: the same call has the same key in each thread. */
	readonly secret: Uint8Array;
}

/** One of the threads that share it. */
export interface CacheThread {
	readonly memory: CacheMemory;
	/** Its number. */
	readonly thread: number;
	/** How many answer calls: each remembers its part of what came lately. */
	readonly threads: number;
	readonly port: ClaimPort;
	readonly abandoned?: AbandonedCalls | undefined;
}

/** The memory of a configuration's cache; undefined where that switches it off. */
export function cacheMemory({ cache }: Pick<Config, "cache">): CacheMemory | undefined {
	if (!cache.enabled) return undefined;
	return {
		ring: ringMemory(cache.memory - recentMemory(cache.memory)),
		claims: new SharedArrayBuffer(CLAIM_BYTES),
		secret: crypto.getRandomValues(new Uint8Array(16)),
	};
}
