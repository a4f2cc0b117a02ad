/**
 * One clock for all threads of the process. `performance.now()` begins anew in each thread (Bun 1.4.5), so that times of one thread mean
 * nothing in another.
 */

/** Where a thread asks, and is answered: a cell of 64 bits for the time, and one that says what stands in it. */
const ASKED = 1;
const ANSWERED = 2;

/** Bytes of shared memory that the clock needs. */
export const CLOCK_BYTES = 16;

/** The main thread's part: it is asked once by each worker. */
export class ClockSource {
	readonly #flag: Int32Array;
	readonly #time: Float64Array;

	/** @param memory {@link CLOCK_BYTES} of it, one for each worker */
	constructor(memory: SharedArrayBuffer) {
		this.#flag = new Int32Array(memory, 0, 1);
		this.#time = new Float64Array(memory, 8, 1);
	}

	/** Answers the worker that waits. False where none does. */
	answer(): boolean {
		if (Atomics.load(this.#flag, 0) !== ASKED) return false;
		this.#time[0] = performance.now();
		Atomics.store(this.#flag, 0, ANSWERED);
		Atomics.notify(this.#flag, 0);
		return true;
	}
}

/**
 * How far the main thread's `performance.now()` is ahead of this worker's, ms. Keeps the thread until the main thread has answered, which it
 * does when `ask` has had it told to.
 * @param ask has the main thread call {@link ClockSource.answer}
 */
export function clockOffset(memory: SharedArrayBuffer, ask: () => void): number {
	const flag = new Int32Array(memory, 0, 1);
	Atomics.store(flag, 0, ASKED);
	ask();
	while (Atomics.load(flag, 0) === ASKED) Atomics.wait(flag, 0, ASKED, 100);
	return new Float64Array(memory, 8, 1)[0]! - performance.now();
}
