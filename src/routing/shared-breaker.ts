/**
 * The circuit breaker of one target in memory that threads share: changed by one thread at a time, as ./breaker.ts says, and read
 * without a lock.
 */
import { type Breaker, type BreakerEvent, breakerAfter, CLOSED, onOtherClock, WINDOW_SLOTS } from "./breaker.ts";

/** 64-bit cells that it takes: seven numbers, then the counts of its window. */
export const BREAKER_CELLS = 7 + WINDOW_SLOTS * 2;
const STATES = ["closed", "open", "probing"] as const;
/** How often it is read again while it is being changed. */
const TURNS = 100;

/** Where it is. */
export interface BreakerAddress {
	readonly ints: Int32Array<SharedArrayBuffer>;
	readonly floats: Float64Array<SharedArrayBuffer>;
	/** In `ints`: a number that grows with each change, odd while one is under way. */
	readonly sequence: number;
	/** In `ints`: the thread whose attempt was the last to be sent as a probe, plus 1. */
	readonly prober: number;
	/** In `floats`: the first of its {@link BREAKER_CELLS}. */
	readonly cells: number;
}

/** One thread's view of one breaker. */
export class SharedBreaker {
	/** As it was when the sequence had this number: on the clock of this thread, and on that of all. */
	#view = CLOSED;
	#viewAt = -1;
	#shared = CLOSED;
	#sharedAt = -1;

	/** @param offset how far the clock of all threads is ahead of this thread's, ms */
	constructor(
		private readonly address: BreakerAddress,
		private readonly thread: number,
		private readonly offset: number,
	) {}

	/** On this thread's clock. */
	get view(): Breaker {
		const { ints, sequence } = this.address;
		const now = Atomics.load(ints, sequence);
		if (now !== this.#viewAt) this.#look(now);
		return this.#view;
	}

	/**
	 * An attempt of this thread begins. Under the lock of its target.
	 * @param now on the clock of all threads, ms
	 * @returns whether it is the one that finds out how the target is
	 */
	begun(now: number): boolean {
		if (this.change("begun", now) === "same") return false;
		this.address.ints[this.address.prober] = this.thread + 1;
		return true;
	}

	/** Changes it by an event of this thread. Under the lock of its target. @param now on the clock of all threads, ms */
	change(event: BreakerEvent, now: number, isProbe = false): "same" | "changed" | "opened" {
		const { address } = this;
		const sequence = address.ints[address.sequence]!;
		if (sequence !== this.#sharedAt) this.#shared = readBreaker(address, 0);
		const before = this.#shared;
		const after = breakerAfter(before, event, now, isProbe);
		if (after !== before) {
			writeBreaker(address, after);
			this.#shared = after;
		}
		this.#sharedAt = address.ints[address.sequence]!;
		if (after === before) return "same";
		return after.state === "open" && before.state !== "open" ? "opened" : "changed";
	}

	/** It is this one from now on. Under the lock of its target. @param breaker on this thread's clock */
	set(breaker: Breaker): void {
		writeBreaker(this.address, onOtherClock(breaker, this.offset));
	}

	#look(sequence: number): void {
		const { address, offset } = this;
		let now = sequence;
		for (let turn = 0; turn < TURNS; turn++) {
			const found = now & 1 ? undefined : readBreaker(address, offset);
			const after = Atomics.load(address.ints, address.sequence);
			if (found !== undefined && after === now) {
				this.#view = found;
				this.#viewAt = now;
				return;
			}
			now = after;
		}
		// Whoever changes it was interrupted: it is as it was last seen.
	}
}

/** Which state it is in, and whether it was ever open. */
export function breakerState({ floats, cells }: Pick<BreakerAddress, "floats" | "cells">): {
	readonly state: Breaker["state"];
	readonly wasOpen: boolean;
} {
	const state = STATES[floats[cells]!]!;
	return { state, wasOpen: state !== "closed" || floats[cells + 6]! > Number.NEGATIVE_INFINITY };
}

/** As it is. Under the lock of its target, or compared with its sequence. @param offset is taken off its times, ms */
function readBreaker({ floats, cells }: BreakerAddress, offset: number): Breaker {
	const counts: number[] = [];
	for (let at = 0; at < WINDOW_SLOTS * 2; at++) counts.push(floats[cells + 7 + at]!);
	return {
		state: STATES[floats[cells]!]!,
		consecutive: floats[cells + 1]!,
		slot: floats[cells + 2]!,
		counts,
		pauseMs: floats[cells + 3]!,
		probeAt: floats[cells + 4]! - offset,
		probedAt: floats[cells + 5]! - offset,
		closedAt: floats[cells + 6]! - offset,
	};
}

/** Under the lock of its target. Its times are on the clock of all threads. */
export function writeBreaker({ ints, floats, sequence, cells }: BreakerAddress, breaker: Breaker): void {
	const now = ints[sequence]!;
	Atomics.store(ints, sequence, now + 1);
	floats[cells] = STATES.indexOf(breaker.state);
	floats[cells + 1] = breaker.consecutive;
	floats[cells + 2] = breaker.slot;
	floats[cells + 3] = breaker.pauseMs;
	floats[cells + 4] = breaker.probeAt;
	floats[cells + 5] = breaker.probedAt;
	floats[cells + 6] = breaker.closedAt;
	for (let at = 0; at < WINDOW_SLOTS * 2; at++) floats[cells + 7 + at] = breaker.counts[at]!;
	Atomics.store(ints, sequence, now + 2);
}

/** Whether the last attempt that was sent as a probe was of this thread. */
export const isProber = ({ ints, prober }: BreakerAddress, thread: number): boolean => ints[prober] === thread + 1;

/**
 * The thread that may have been about to change it has died: it can be read again, and a probe of that thread is over without a word.
 * Under the lock of its target.
 * @param now on the clock of all threads, ms
 */
export function freeBreaker(address: BreakerAddress, thread: number, now: number): void {
	const { ints, sequence, prober } = address;
	// Each cell is as it was or as it was to be, and nothing that a breaker is lasts for ever.
	if (ints[sequence]! & 1) Atomics.store(ints, sequence, ints[sequence]! + 1);
	if (!isProber(address, thread)) return;
	const before = readBreaker(address, 0);
	const after = breakerAfter(before, "void", now, true);
	if (after !== before) writeBreaker(address, after);
	ints[prober] = 0;
}
