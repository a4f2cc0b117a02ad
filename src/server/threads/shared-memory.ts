/**
 * The memory that all threads of the process see. The main thread makes it once, before the first worker, and hands it to each worker at its
 * start. What is shared so has a member here (`limits: SharedArrayBuffer`), is made in `createSharedMemory`, is used by the worker's parts
 * (`worker-router.ts`), and frees what a dead worker held by what `main-thread.ts` gives `onEnded`.
 */
import { type LimitsView, makeLimits, sharedLimits } from "../../accounts/limits/shared-limiter.ts";
import { makeRunaways, type RunawayMemory, Runaways } from "../../accounts/runaway/runaways.ts";
import { makeEndUsers, sharedEndUsers } from "../../accounts/usage/shared-end-users.ts";
import { makeEnergyMeters, SharedEnergyMeters } from "../../accounts/usage/shared-energy-meters.ts";
import { makeHardwareClocks, SharedHardwareClocks } from "../../accounts/usage/shared-hardware-clocks.ts";
import { makeLearned, SharedLearnedUsage } from "../../accounts/usage/shared-learned-usage.ts";
import { type CacheMemory, cacheMemory } from "../../cache/cache-memory.ts";
import type { Config } from "../../config/schema.ts";
import type { TextMemory } from "../../memory/shared-text.ts";
import { SharedThinking, type SharedThinkingMemory, sharedThinkingMemory } from "../../proxy/net/shared-thinking.ts";
import type { ProxyParts } from "../../proxy/proxy-state.ts";
import { makeBudgets, SharedBudgets } from "../../proxy/shared-budgets.ts";
import { type KeyMemory, makeKeys, SharedKeyRotation } from "../../proxy/shared-key-rotation.ts";
import { makeQueues, type QueueMemory } from "../../proxy/shared-queues.ts";
import { makeRefused, SharedRefusedAdditions } from "../../proxy/shared-refused-additions.ts";
import { makeSuspects, SharedSuspects } from "../../proxy/shared-suspects.ts";
import { makeRoutingMemory, type RoutingMemory, SharedRoutingState } from "../../routing/shared-routing-state.ts";

/** What the main thread makes. Each part is read and written by one file alone, which says what stands in it. */
export interface SharedMemory {
	/** What is the same for all threads and never changes: see {@link SharedFacts}. */
	readonly facts: SharedFacts;
	/** Counters of limits, and what keys have spent: `accounts/limits/shared-limiter.ts`. */
	readonly limits: SharedArrayBuffer;
	/** Agents that have run away: `accounts/runaway/runaways.ts`. */
	readonly runaways: RunawayMemory;
	/** How long hardware has worked that has a price by the hour: `accounts/usage/shared-hardware-clocks.ts`. */
	readonly clocks: SharedArrayBuffer;
	/** What engines draw, and which calls get it: `accounts/usage/shared-energy-meters.ts`. */
	readonly energy: SharedArrayBuffer;
	/** End users that have sums of their own: `accounts/usage/shared-end-users.ts`. */
	readonly endUsers: SharedArrayBuffer;
	/** What calls come to: `accounts/usage/shared-learned-usage.ts`. */
	readonly learned: SharedArrayBuffer;
	/** How many retries and hedges may be made: `proxy/shared-budgets.ts`. */
	readonly budgets: SharedArrayBuffer;
	/** Queues in front of models: `proxy/shared-queues.ts`. */
	readonly queues: QueueMemory;
	/** What is known of targets: `routing/shared-routing-state.ts`. */
	readonly targets: RoutingMemory;
	/** What targets have refused of what the router adds: `proxy/shared-refused-additions.ts`. */
	readonly refused: TextMemory;
	/** Keys of providers, which of them are out of use, and whose turn is next: `proxy/shared-key-rotation.ts`. */
	readonly keys: KeyMemory;
	/** Calls that may have killed an engine: `proxy/shared-suspects.ts`. */
	readonly suspects: TextMemory;
	/** Answers, and who makes which call; undefined where nothing is cached. */
	readonly answers: CacheMemory | undefined;
	/** What upstreams have signed of thoughts. */
	readonly thinking: SharedThinkingMemory;
}

/** Plain data that every thread has to know alike. */
export interface SharedFacts {
	/** This server among routers: a call that leads back to another thread of it is a loop, too. */
	readonly instance: string;
	/** How many workers there are. */
	readonly workers: number;
}

/** A thread, as what it shares with others sees it. */
export interface ThreadMemory {
	/** Of the thread: 0 is the main one, workers count from 1. A worker that takes a dead one's place has its number. */
	readonly thread: number;
	/** How far the main thread's `performance.now()` is ahead of this thread's, ms. */
	readonly offset: number;
	readonly memory: SharedMemory;
}

/** What is shared frees what a dead worker held: locks, and what its calls had taken. Called by the main thread. */
export type FreeThread = (thread: number) => void;

/** Takes no memory before it is written to. @param config of the start: sizes are not changed by a reload */
export function createSharedMemory(config: Config, workers: number): SharedMemory {
	return {
		facts: { instance: crypto.randomUUID().slice(0, 8), workers },
		limits: makeLimits(),
		runaways: makeRunaways(),
		clocks: makeHardwareClocks(),
		energy: makeEnergyMeters(),
		endUsers: makeEndUsers(),
		learned: makeLearned(),
		budgets: makeBudgets(),
		queues: makeQueues(),
		targets: makeRoutingMemory(),
		refused: makeRefused(),
		keys: makeKeys(),
		suspects: makeSuspects(),
		answers: cacheMemory(config),
		thinking: sharedThinkingMemory(),
	};
}

/** A thread's views of what is known of callers. */
export function accountParts({ thread, offset, memory }: ThreadMemory) {
	return {
		limits: (ledger: LimitsView["ledger"]) => sharedLimits({ memory: memory.limits, thread, offset, ledger }),
		runaways: new Runaways(memory.runaways, thread, () => performance.now() + offset),
		clocks: new SharedHardwareClocks(memory.clocks, thread, offset),
		energy: new SharedEnergyMeters(memory.energy, thread, offset),
		endUsers: sharedEndUsers(memory.endUsers, thread),
		learned: new SharedLearnedUsage(memory.learned, thread, () => performance.now() + offset),
	};
}

/** A thread's views of what is known of upstreams. */
export function proxyParts({ thread, offset, memory }: ThreadMemory) {
	return {
		targets: new SharedRoutingState(memory.targets, { thread, offset }),
		budgets: new SharedBudgets(memory.budgets, thread, offset),
		thinking: new SharedThinking(memory.thinking, thread),
		refused: new SharedRefusedAdditions(memory.refused, thread, offset),
		keys: new SharedKeyRotation(memory.keys, thread, offset),
		suspects: new SharedSuspects(memory.suspects, thread, offset),
	} satisfies ProxyParts;
}
