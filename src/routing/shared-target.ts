/** What is known of one target, in its slot of memory that threads share. */
import { RecoverableLock, type SharingThreads } from "../memory/recoverable-lock.ts";
import { MOST_THREADS } from "../memory/shared-lock.ts";
import type { SlotAddress } from "../memory/slot-memory.ts";
import type { PrefixCache } from "./affinity.ts";
import { type Breaker, CLOSED } from "./breaker.ts";
import { clearLatency, LATENCY_CELLS, SharedLatency } from "./latency.ts";
import {
	BREAKER_CELLS,
	type BreakerAddress,
	freeBreaker,
	isProber,
	SharedBreaker,
	writeBreaker,
} from "./shared-breaker.ts";
import {
	PAUSE_REASONS,
	type PauseReason,
	pauseReasonOf,
	type TargetHealth,
	type TargetLoad,
	type TargetView,
} from "./target-state.ts";

/** 32-bit cells of a slot. */
const LOCK = 0;
const SEQUENCE = 1;
const PROBER = 2;
const SLAB = 3;
const IS_UNREACHABLE = 4;
const PAUSED_FOR = 5;
/** Attempts that wait for their first token, by thread: see `OTHERS`. */
const WAITING = 6;
/** Behind one for each thread. */
const HELD = 15;
const INTS = 16;
/** 64-bit cells behind them. */
const PAUSED_UNTIL = 0;
const ANSWERED_AT = 1;
/** Characters that have yet to be computed, by thread. */
const QUEUED = 2;
/** When the attempt of a thread that waits longest began; infinite where none waits. */
const SINCE = QUEUED + MOST_THREADS;
const BREAKER = SINCE + MOST_THREADS;
const FIRST_TOKEN = BREAKER + BREAKER_CELLS;
const ANSWER = FIRST_TOKEN + LATENCY_CELLS;
const ANSWER_TOKENS = ANSWER + LATENCY_CELLS;
const WAIT_PER_CALL = ANSWER_TOKENS + LATENCY_CELLS;
const FLOATS = WAIT_PER_CALL + LATENCY_CELLS;

/** The main thread makes no calls: in its column stands what other routers have under way. */
const OTHERS = 0;

/** Bytes of a target's cells. */
export const TARGET_BYTES = Math.ceil((INTS * 4 + FLOATS * 8) / 64) * 64;

/** What all targets of one thread have in common. */
export interface TargetMemory {
	/** Views that grow with the memory. */
	readonly ints: Int32Array<SharedArrayBuffer>;
	readonly floats: Float64Array<SharedArrayBuffer>;
	readonly thread: number;
	/** Those that share the memory, of which it is one. */
	readonly threads: SharingThreads;
	/** How far the clock of all threads is ahead of this thread's, ms. */
	readonly offset: number;
	/** This thread's clock, ms. */
	time(): number;
	/** What a slab's target is remembered to have. @param slab from 0 @param held the set of what its engine says it has, from 0; -1: none */
	prefixes(slab: number, held: number): PrefixCache;
	/** A breaker has opened. */
	opened(): void;
}

/** An attempt whose prompt has yet to be computed. */
export interface QueuedAttempt {
	/** On the clock of all threads, ms. */
	readonly startedAt: number;
	readonly isStream: boolean;
	/** Characters that the target has to compute for it. */
	readonly uncached: number;
	/** Of this thread's streams at the target: the one before it, and the one after it. */
	previous: QueuedAttempt | undefined;
	next: QueuedAttempt | undefined;
}

/** Where in `ints` a target says which slab of prefixes it has, plus 1. */
export const slabCellOf = ({ cells }: SlotAddress): number => cells / 4 + SLAB;
/** And where it says which set of blocks its engine has, plus 1. */
export const heldCellOf = ({ cells }: SlotAddress): number => cells / 4 + HELD;

/** One thread's view of a target; its times are on that thread's clock. */
export class SharedTarget implements TargetView {
	readonly #ints: Int32Array<SharedArrayBuffer>;
	readonly #floats: Float64Array<SharedArrayBuffer>;
	/** Where its cells of 32 and of 64 bits begin. */
	readonly #at: number;
	readonly #floatsAt: number;
	readonly #holders: number;
	readonly lock: RecoverableLock;
	readonly health: SharedBreaker;
	readonly firstToken: SharedLatency;
	readonly answer: SharedLatency;
	readonly answerTokens: SharedLatency;
	readonly waitPerCall: SharedLatency;
	#prefixes: PrefixCache | undefined;
	/** The slab that they are in, plus 1. */
	#slab = 0;
	/** The set of what its engine has, plus 1. */
	#held = 0;
	/** Streamed attempts of this thread that wait for their first token. */
	#oldest: QueuedAttempt | undefined;
	#newest: QueuedAttempt | undefined;

	constructor(
		readonly memory: TargetMemory,
		address: SlotAddress,
	) {
		const { thread, threads, offset } = memory;
		// Of a fixed length, which are read faster than those that grow along.
		const end = address.cells + TARGET_BYTES;
		const ints = new Int32Array(memory.ints.buffer, 0, end / 4);
		const floats = new Float64Array(memory.floats.buffer, 0, end / 8);
		this.#ints = ints;
		this.#floats = floats;
		this.#at = address.cells / 4;
		this.#floatsAt = floatsOf(address);
		this.#holders = address.holders;
		this.lock = new RecoverableLock(ints, this.#at + LOCK, threads);
		this.health = new SharedBreaker(breakerAt({ ints, floats }, address), thread, offset);
		this.firstToken = new SharedLatency(floats, this.#floatsAt + FIRST_TOKEN, offset);
		this.answer = new SharedLatency(floats, this.#floatsAt + ANSWER, offset);
		this.answerTokens = new SharedLatency(floats, this.#floatsAt + ANSWER_TOKENS, offset);
		this.waitPerCall = new SharedLatency(floats, this.#floatsAt + WAIT_PER_CALL, offset);
	}

	get inFlight(): number {
		return countOf(this.#ints, this.#holders);
	}

	get waiting(): number {
		return countOf(this.#ints, this.#at + WAITING);
	}

	get waitingSince(): number | undefined {
		let oldest = Number.POSITIVE_INFINITY;
		for (let thread = 0; thread < MOST_THREADS; thread++) {
			oldest = Math.min(oldest, this.#floats[this.#floatsAt + SINCE + thread]!);
		}
		return oldest === Number.POSITIVE_INFINITY ? undefined : oldest - this.memory.offset;
	}

	get queuedCharacters(): number {
		let sum = 0;
		for (let thread = 0; thread < MOST_THREADS; thread++) sum += this.#floats[this.#floatsAt + QUEUED + thread]!;
		return sum;
	}

	get breaker(): Breaker {
		return this.health.view;
	}

	get isUnreachable(): boolean {
		return this.#ints[this.#at + IS_UNREACHABLE] === 1;
	}

	get prefixes(): PrefixCache | undefined {
		const slab = this.#ints[this.#at + SLAB]!;
		const held = this.#ints[this.#at + HELD]!;
		if (slab !== this.#slab || held !== this.#held) {
			this.#prefixes = slab === 0 ? undefined : this.memory.prefixes(slab - 1, held - 1);
			this.#slab = slab;
			this.#held = held;
		}
		return this.#prefixes;
	}

	get pausedUntil(): number {
		return this.#floats[this.#floatsAt + PAUSED_UNTIL]! - this.memory.offset;
	}

	get pausedFor(): PauseReason {
		return PAUSE_REASONS[this.#ints[this.#at + PAUSED_FOR]!]!;
	}

	/** The clock of all threads, ms. */
	now(): number {
		return this.memory.time() + this.memory.offset;
	}

	/** An attempt begins while it is not known to be well. Whether that is the one that finds out. @param now on the clock of all threads */
	begun(now: number): boolean {
		this.lock.acquire();
		try {
			return this.health.begun(now);
		} finally {
			this.lock.release();
		}
	}

	/** When it last answered anybody, on the clock of all threads. */
	get answeredAt(): number {
		return this.#floats[this.#floatsAt + ANSWERED_AT]!;
	}

	/** Under its lock. @param now on the clock of all threads */
	answered(now: number): void {
		this.#floats[this.#floatsAt + ANSWERED_AT] = now;
		this.#ints[this.#at + IS_UNREACHABLE] = 0;
	}

	/** Under its lock. */
	failed(isRefused: boolean): void {
		this.#ints[this.#at + IS_UNREACHABLE] = isRefused ? 1 : 0;
	}

	/** Under its lock. @param until on the clock of all threads; -Infinity: it is no longer paused */
	pause(until: number, why: PauseReason): void {
		this.#floats[this.#floatsAt + PAUSED_UNTIL] = until;
		this.#ints[this.#at + PAUSED_FOR] = PAUSE_REASONS.indexOf(why);
	}

	/** Another process has found that out. Under its lock. Times are on this thread's clock. */
	learn({ breaker, pausedUntil, pausedFor }: TargetHealth): void {
		this.health.set(breaker);
		this.pause(pausedUntil + this.memory.offset, pauseReasonOf(pausedFor));
	}

	/** Puts an attempt of this thread into the queue; a stream waits for its first token from now on. */
	enqueue(attempt: QueuedAttempt): void {
		this.#floats[this.#floatsAt + QUEUED + this.memory.thread]! += attempt.uncached;
		if (!attempt.isStream) return;
		attempt.previous = this.#newest;
		if (this.#newest) this.#newest.next = attempt;
		else this.#setOldest(attempt);
		this.#newest = attempt;
		this.#ints[this.#at + WAITING + this.memory.thread]! += 1;
	}

	/** Its prompt is computed, or it is over. */
	dequeue(attempt: QueuedAttempt): void {
		this.#floats[this.#floatsAt + QUEUED + this.memory.thread]! -= attempt.uncached;
		if (!attempt.isStream) return;
		const { previous, next } = attempt;
		if (previous) previous.next = next;
		else this.#setOldest(next);
		if (next) next.previous = previous;
		else this.#newest = previous;
		attempt.previous = undefined;
		attempt.next = undefined;
		this.#ints[this.#at + WAITING + this.memory.thread]! -= 1;
	}

	#setOldest(attempt: QueuedAttempt | undefined): void {
		this.#oldest = attempt;
		const since = this.#oldest?.startedAt ?? Number.POSITIVE_INFINITY;
		this.#floats[this.#floatsAt + SINCE + this.memory.thread] = since;
	}
}

/** Makes a slot's cells those of a target of which nothing is known. */
export function resetTarget(memory: TargetMemory, address: SlotAddress): void {
	const { ints, floats, threads } = memory;
	const at = address.cells / 4;
	const floatsAt = floatsOf(address);
	const lock = new RecoverableLock(ints, at + LOCK, threads);
	lock.acquire();
	try {
		ints[at + PROBER] = 0;
		ints[at + IS_UNREACHABLE] = 0;
		ints[at + PAUSED_FOR] = 0;
		ints[at + HELD] = 0;
		ints.fill(0, at + WAITING, at + WAITING + MOST_THREADS);
		floats[floatsAt + PAUSED_UNTIL] = Number.NEGATIVE_INFINITY;
		floats[floatsAt + ANSWERED_AT] = Number.NEGATIVE_INFINITY;
		floats.fill(0, floatsAt + QUEUED, floatsAt + QUEUED + MOST_THREADS);
		floats.fill(Number.POSITIVE_INFINITY, floatsAt + SINCE, floatsAt + SINCE + MOST_THREADS);
		writeBreaker(breakerAt(memory, address), CLOSED);
		for (const latency of [FIRST_TOKEN, ANSWER, ANSWER_TOKENS, WAIT_PER_CALL]) clearLatency(floats, floatsAt + latency);
	} finally {
		lock.release();
	}
}

/** A thread has died: gives back what its attempts at this target were counted as. By the main thread. */
export function freeTarget(memory: TargetMemory, address: SlotAddress, dead: number): void {
	const { ints, floats, threads, offset } = memory;
	const at = address.cells / 4;
	const floatsAt = floatsOf(address);
	ints[at + WAITING + dead] = 0;
	floats[floatsAt + QUEUED + dead] = 0;
	floats[floatsAt + SINCE + dead] = Number.POSITIVE_INFINITY;
	const lock = new RecoverableLock(ints, at + LOCK, threads);
	const breaker = breakerAt(memory, address);
	if (!lock.takeFrom(dead)) {
		if (!isProber(breaker, dead)) return;
		lock.acquire();
	}
	try {
		freeBreaker(breaker, dead, memory.time() + offset);
	} finally {
		lock.release();
	}
}

/** What the threads of this router have under way at a target. */
export function ownLoadOf({ ints, floats }: Pick<TargetMemory, "ints" | "floats">, address: SlotAddress): TargetLoad {
	const waiting = address.cells / 4 + WAITING;
	const queued = floatsOf(address) + QUEUED;
	const load = { inFlight: 0, waiting: 0, queuedCharacters: 0 };
	for (let thread = 0; thread < MOST_THREADS; thread++) {
		if (thread === OTHERS) continue;
		load.inFlight += ints[address.holders + thread]!;
		load.waiting += ints[waiting + thread]!;
		load.queuedCharacters += floats[queued + thread]!;
	}
	return load;
}

/**
 * What other routers have under way there, from now on. By the main thread, which holds the slot by it: with calls of theirs it stays the
 * target's.
 */
export function setOthersOf(
	{ ints, floats }: Pick<TargetMemory, "ints" | "floats">,
	address: SlotAddress,
	{ inFlight, waiting, queuedCharacters }: TargetLoad,
): void {
	ints[address.cells / 4 + WAITING + OTHERS] = waiting;
	floats[floatsOf(address) + QUEUED + OTHERS] = queuedCharacters;
	Atomics.store(ints, address.holders + OTHERS, inFlight);
}

/** Where its breaker is. */
export function breakerAt(
	{ ints, floats }: Pick<TargetMemory, "ints" | "floats">,
	address: SlotAddress,
): BreakerAddress {
	const at = address.cells / 4;
	return { ints, floats, sequence: at + SEQUENCE, prober: at + PROBER, cells: floatsOf(address) + BREAKER };
}

const floatsOf = ({ cells }: SlotAddress): number => (cells + INTS * 4) / 8;

function countOf(ints: Int32Array, at: number): number {
	let sum = 0;
	for (let thread = 0; thread < MOST_THREADS; thread++) sum += ints[at + thread]!;
	return sum;
}
