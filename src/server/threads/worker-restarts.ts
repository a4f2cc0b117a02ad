/** When workers that have ended are started again: at once; later and later where one ends each time before it has run for a while. */

/** The shortest wait after a start that did not last, and the longest, ms: each is twice the one before. */
const PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** How long one has to run for the next start to be at once again, ms. */
const STEADY_MS = 10_000;

/** Starts to come, by the numbers of workers. */
export class WorkerRestarts {
	readonly #timers = new Map<number, ReturnType<typeof setTimeout>>();
	/** How long until the next start. */
	readonly #pauses = new Map<number, number>();

	/** Has it started after its pause. @param start must not throw */
	later(thread: number, start: () => void): void {
		const pauseMs = this.#pauses.get(thread) ?? 0;
		this.#pauses.set(thread, Math.min(LONGEST_PAUSE_MS, Math.max(PAUSE_MS, 2 * pauseMs)));
		this.#timers.set(thread, setTimeout(start, pauseMs));
	}

	/** It has ended, having run for so long. */
	ended(thread: number, ranMs: number): void {
		if (ranMs >= STEADY_MS) this.#pauses.delete(thread);
	}

	/** None is started any more. */
	clear(): void {
		for (const timer of this.#timers.values()) clearTimeout(timer);
		this.#timers.clear();
	}
}
