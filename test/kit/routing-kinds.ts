/** Both ways in which a router remembers what is known of targets: in the heap of its one thread, and in memory that all threads share. */
import { HardwareClocks, type Meter } from "../../src/accounts/usage/hardware-clocks.ts";
import { makeHardwareClocks, SharedHardwareClocks } from "../../src/accounts/usage/shared-hardware-clocks.ts";
import { SharingThreads } from "../../src/memory/recoverable-lock.ts";
import { PrefixCache } from "../../src/routing/affinity.ts";
import { LATENCY_CELLS, Latency, type LatencyView, SharedLatency } from "../../src/routing/latency.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { MOST_SLABS, makePrefixes, PrefixSlabs } from "../../src/routing/shared-prefixes.ts";
import { makeRoutingMemory, SharedRoutingState } from "../../src/routing/shared-routing-state.ts";
import { MOST_CACHES, type RoutingState } from "../../src/routing/target-state.ts";
import { Clock } from "./routes.ts";

/** One of them. */
export interface RoutingKind {
	/** What is known of targets. @param time its clock, ms */
	state(time: () => number): RoutingState;
	/** One replica's cached prompts. */
	prefixCache(): PrefixCache;
	/** Of how many targets it remembers cached prompts. */
	readonly caches: number;
	latency(): LatencyView & { add(ms: number, now: number): void };
	clocks(time: () => number): { start(target: string): Meter };
	/** Clocks with such a state. */
	readonly Clock: new () => Clock;
}

/** A worker's clock that began so long after the main thread's, ms. */
const OFFSET = 1_000_000;
const worker = { thread: 1, offset: OFFSET };
const threads = new SharingThreads(new Int32Array(new SharedArrayBuffer(64)), 0, worker.thread);

const local: Omit<RoutingKind, "Clock"> = {
	state: (time) => new LocalRoutingState(time),
	prefixCache: () => new PrefixCache(),
	caches: MOST_CACHES,
	latency: () => new Latency(),
	clocks: (time) => new HardwareClocks(time),
};

const shared: Omit<RoutingKind, "Clock"> = {
	state: (time) => new SharedRoutingState(makeRoutingMemory(), worker, time),
	prefixCache: () =>
		new PrefixSlabs(makePrefixes(), new Int32Array(new SharedArrayBuffer(4)), threads, () => 0).cache(0),
	caches: MOST_SLABS,
	latency: () => new SharedLatency(new Float64Array(new SharedArrayBuffer(LATENCY_CELLS * 8)), 0, 0),
	clocks: (time) => new SharedHardwareClocks(makeHardwareClocks(), worker.thread, OFFSET, time),
};

function withClock(kind: Omit<RoutingKind, "Clock">): RoutingKind {
	class ClockOfKind extends Clock {
		constructor() {
			super(kind.state);
		}
	}
	return { ...kind, Clock: ClockOfKind };
}

/** Rows of tests that hold for each. */
export const ROUTING_KINDS: [name: string, kind: RoutingKind][] = [
	["one worker", withClock(local)],
	["one of several workers", withClock(shared)],
];
