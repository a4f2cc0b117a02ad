/**
 * Locks for which the main thread waits no longer than their holder runs. It is told of a worker's end by an event, which does not come while it
 * waits; so it asks the system which threads there are.
 */
import { existsSync, readlinkSync } from "node:fs";
import { MOST_THREADS, SharedLock } from "./shared-lock.ts";

/** How often the main thread sleeps, for 1 ms at least, until it asks whether the holder still runs. */
const SLEEPS = 20;
/**
 * Where the system does not say which threads there are (elsewhere than on Linux): who has kept the main thread waiting for so long, ms, counts as
 * ended. What is waited for takes some µs, and a worker that gives no sign of life for so long is ended anyway (`HANG_MS`).
 */
const MOST_WAIT_MS = 15_000;

/** 32-bit cells, zero at first, in which the threads that share some memory say what the system calls them. */
export const THREAD_ID_CELLS = MOST_THREADS;

/** The threads that share some memory, as one of them sees them. */
export class SharingThreads {
	/** The main thread's: gives back all that a worker that has ended held there, locks with it. It may come again for the same worker. */
	onEnded: ((thread: number) => void) | undefined;

	/**
	 * @param at where its {@link THREAD_ID_CELLS} begin
	 * @param thread the number of this thread; the main one is 0
	 * @param id what the system calls this thread; 0 where it does not say
	 */
	constructor(
		private readonly cells: Int32Array<SharedArrayBuffer>,
		private readonly at: number,
		readonly thread: number,
		id: () => number = systemId,
	) {
		if (thread > 0) cells[at + thread] = id();
	}

	/**
	 * The main thread has waited for something of that worker: sees to it that it need not where the worker has ended.
	 * @param waitedMs for how long, all of it awake
	 */
	recover(thread: number, waitedMs: number): void {
		if (this.thread !== 0) return;
		const id = this.cells[this.at + thread]!;
		const isOver = id === 0 ? waitedMs >= MOST_WAIT_MS : !existsSync(`/proc/self/task/${id}`);
		if (isOver) this.onEnded?.(thread);
	}
}

/** One lock; see {@link SharedLock}. */
export class RecoverableLock extends SharedLock {
	/** @param threads those that share the lock's memory */
	constructor(
		cells: Int32Array<SharedArrayBuffer>,
		at: number,
		private readonly threads: SharingThreads,
	) {
		super(cells, at, threads.thread);
	}

	override acquire(): void {
		if (this.thread > 0) {
			super.acquire();
			return;
		}
		let waitedFor = -1;
		let waitedMs = 0;
		while (!this.acquireWithin(SLEEPS)) {
			const holder = this.cells[this.at]! - 1;
			if (holder === 0) throw new Error("a thread has taken a lock twice");
			waitedMs = holder === waitedFor ? waitedMs + SLEEPS : 0;
			waitedFor = holder;
			if (holder > 0) this.threads.recover(holder, waitedMs);
		}
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
