/**
 * A lock for which the main thread waits no longer than its holder runs. It is told of a worker's end by an event, which does not come while it
 * waits; so it asks the system which threads there are.
 */
import { existsSync, readlinkSync } from "node:fs";
import { SharedLock } from "./shared-lock.ts";

/** How often the main thread sleeps until it asks whether the holder still runs. */
const SLEEPS = 20;

/** One lock; see {@link SharedLock}. */
export class RecoverableLock extends SharedLock {
	/** The main thread's: gives back what a worker that has ended held, the lock with it. */
	onEnded: ((thread: number) => void) | undefined;

	/** @param ids cells of the same memory, zero at first: for each thread what the system calls it */
	constructor(
		cells: Int32Array<SharedArrayBuffer>,
		at: number,
		private readonly ids: number,
		thread: number,
	) {
		super(cells, at, thread);
		if (thread > 0) cells[ids + thread] = systemId();
	}

	override acquire(): void {
		if (this.thread > 0) {
			super.acquire();
			return;
		}
		while (!this.acquireWithin(SLEEPS)) {
			const holder = this.cells[this.at]! - 1;
			if (holder === 0) throw new Error("a thread has taken a lock twice");
			if (holder > 0) this.recover(holder);
		}
	}

	/** The main thread has waited for something of that worker: sees to it that it need not where the worker has ended. */
	recover(thread: number): void {
		const id = this.thread === 0 ? this.cells[this.ids + thread]! : 0;
		if (id !== 0 && !existsSync(`/proc/self/task/${id}`)) this.onEnded?.(thread);
	}
}

/** The number of the thread that runs this; 0 where the system does not say. */
function systemId(): number {
	try {
		// PID/task/TID
		return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
	} catch {
		return 0;
	}
}
