/**
 * How threads of the process wake each other, since memory tells nobody that it has changed. The main thread is not needed for it: it may be
 * busy with what an administrator wants to know.
 */
import { reportCrash } from "../crash.ts";
import { MOST_THREADS } from "./shared-lock.ts";

/** Makes memory for the signals of all threads: a cell for each, which counts its own. */
export const makeSignals = (): SharedArrayBuffer => new SharedArrayBuffer(MOST_THREADS * Int32Array.BYTES_PER_ELEMENT);

/** What a thread signals with. */
export interface ThreadSignaller {
	/** Returns at once. To a thread that has ended it does nothing. */
	signal(thread: number): void;
}

/** One thread's view of {@link makeSignals}. */
export class ThreadSignals implements ThreadSignaller {
	readonly #cells: Int32Array<SharedArrayBuffer>;

	constructor(memory: SharedArrayBuffer) {
		this.#cells = new Int32Array(memory);
	}

	signal(thread: number): void {
		Atomics.add(this.#cells, thread, 1);
		Atomics.notify(this.#cells, thread);
	}

	/** Has `hear` called whenever this thread was signalled, once for several signals at once, for as long as it runs. What it throws is a crash. */
	async listen(thread: number, hear: () => void): Promise<never> {
		for (;;) {
			// Before it is looked: what is signalled meanwhile is not missed.
			const count = Atomics.load(this.#cells, thread);
			try {
				hear();
			} catch (thrown) {
				// The next signal is for other calls: they would wait for ever.
				reportCrash("exception", thrown);
			}
			await Atomics.waitAsync(this.#cells, thread, count).value;
		}
	}
}
