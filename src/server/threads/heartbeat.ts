/**
 * Whether a worker still turns its event loop. It counts in shared memory, which takes no message, and which the main thread reads whatever
 * either of them is busy with.
 */

/**
 * How long a worker may be silent, ms. Its clients wait meanwhile, and new connections go to it, too; but ending it ends all its calls. What
 * keeps a worker without being a fault takes less: garbage collection and bodies of many MB up to seconds, a busy database half of one.
 */
export const HANG_MS = 15_000;
/**
 * The same of one that starts, ms. It takes well under a second, all in one go; but a machine that is busy with other things, or the log of a large
 * database that has to be read again, may make much more of it, and where it is ended for that its next start takes no less.
 */
export const START_HANG_MS = 60_000;
/** How often a worker counts, and the main thread looks, ms. */
const BEAT_MS = 500;
const LOOK_MS = 1_000;
/**
 * Most that the time between two looks counts, ms: while the process was suspended (a machine asleep, SIGSTOP), or the main thread itself
 * was kept, no worker could be heard.
 */
const LONGEST_STEP_MS = 2_000;

/** Bytes of shared memory that it needs, for each worker. */
export const HEARTBEAT_BYTES = 4;

/** How long somebody was silent, by looks at what they count. */
export class Silence {
	#beats = 0;
	#ms = 0;
	#lookedAt: number;

	/** @param now ms of a steady clock, as at each look */
	constructor(now: number) {
		this.#lookedAt = now;
	}

	/** One look. Returns how long nothing was counted by it, ms. */
	look(beats: number, now: number): number {
		const step = Math.min(now - this.#lookedAt, LONGEST_STEP_MS);
		this.#lookedAt = now;
		this.#ms = beats === this.#beats ? this.#ms + step : 0;
		this.#beats = beats;
		return this.#ms;
	}
}

/** The worker's part: counts for as long as its event loop turns. */
export function beat(memory: SharedArrayBuffer): void {
	const beats = new Int32Array(memory);
	setInterval(() => Atomics.add(beats, 0, 1), BEAT_MS);
}

/** The main thread's part. @param onHang called once the worker was silent for so many ms, and at each look from then on. Returns how to end it. */
export function watchHeartbeat(memory: SharedArrayBuffer, mostMs: number, onHang: () => void): () => void {
	if (isDebugged) return () => {};
	const beats = new Int32Array(memory);
	const silence = new Silence(performance.now());
	const timer = setInterval(() => {
		if (silence.look(Atomics.load(beats, 0), performance.now()) >= mostMs) onHang();
	}, LOOK_MS);
	timer.unref();
	return () => clearInterval(timer);
}

/** Who stands at a breakpoint hangs for no fault. A compiled executable has no such flags. */
const isDebugged =
	process.execArgv.some((flag) => flag.startsWith("--inspect")) || process.env["BUN_INSPECT"] !== undefined;
