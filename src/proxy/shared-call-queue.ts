/** One thread's view of a queue that all threads of the process keep together: it decides as `CallQueue` does, for the calls of all of them. */
import type { SharedBlocks } from "../memory/shared-blocks.ts";
import type { ThreadSignaller } from "../memory/thread-signals.ts";
import { type ModelQueue, type QueueRefused, rankOf, refusalOf, type Ticket } from "./call-queue.ts";
import type { QueueCells, QueueTurn } from "./queue-cells.ts";

/** A call of this thread that waits. */
export interface ThreadWaiter {
	/** Has it run. For who has acquired the blocks, once it has got a place. */
	begin(): void;
	/** Has it run, if it has got a place. */
	hear(): void;
}

/** A thread, as its view of each queue needs it. */
export interface QueueThread {
	readonly blocks: SharedBlocks;
	/** How far the main thread's `performance.now()` is ahead of this thread's, ms. */
	readonly offset: number;
	/** This thread's `performance.now()`. */
	readonly time: () => number;
	readonly signals: ThreadSignaller;
	/** Its calls that wait, in any queue, by their blocks. */
	readonly waiters: Map<number, ThreadWaiter>;
}

const AT_ONCE = Promise.resolve();
/** Of a call for whose waiting there is no memory. */
const NEVER: Ticket = { turn: Promise.withResolvers<void>().promise, leave() {} };

/** The queue. */
export class SharedCallQueue implements ModelQueue {
	#waiting = 0;
	/** Calls of this thread that have waited, or do. */
	#joined = 0;

	constructor(
		private readonly thread: QueueThread,
		private readonly cells: QueueCells,
	) {}

	/** Calls of this thread that wait. */
	get waiting(): number {
		return this.#waiting;
	}

	get hasRoom(): boolean {
		return this.cells.hasRoom;
	}

	/** Where there is no memory for one more call to wait it is refused as if the queue were full. */
	enter(priority: number, withinMs: number): Ticket | QueueRefused {
		const { cells, thread } = this;
		thread.blocks.acquire();
		try {
			if (cells.hasRoom) return this.#begin();
			const { settings, waiting, meanMs } = cells;
			const rank = rankOf(cells.cameAt(thread.time() + thread.offset), priority);
			const { ahead } = cells.placeOf(rank);
			const state = { settings, waiting, ahead, meanMs };
			return refusalOf(state, withinMs) ?? this.#join(rank) ?? refusalOf({ ...state, waiting: settings.size }, 0)!;
		} finally {
			thread.blocks.release();
		}
	}

	enterNow(): Ticket | undefined {
		const { blocks } = this.thread;
		blocks.acquire();
		try {
			return this.cells.hasRoom ? this.#begin() : undefined;
		} finally {
			blocks.release();
		}
	}

	/** Where there is no memory for one more call to wait its turn never comes. */
	reenter(priority: number, cameAt: number): Ticket {
		let ticket: Ticket | undefined;
		this.#change(() => {
			ticket = this.#join(rankOf(cameAt + this.thread.offset, priority));
		});
		return ticket ?? NEVER;
	}

	/** Does this under the lock, and lets those in for whom there is room then: calls of this thread begin, other threads are told of theirs. */
	#change(step: () => void): void {
		const { cells, thread } = this;
		const { blocks, waiters, signals } = thread;
		let admitted: readonly QueueTurn[];
		blocks.acquire();
		try {
			step();
			admitted = cells.admit();
			for (const { thread: owner, waiter } of admitted) {
				if (owner === blocks.thread) waiters.get(waiter)!.begin();
			}
		} finally {
			blocks.release();
		}
		for (const { thread: owner } of admitted) if (owner !== blocks.thread) signals.signal(owner);
	}

	/** A call runs, for which there is room. */
	#begin(): Ticket {
		this.cells.begin();
		return { turn: AT_ONCE, leave: this.#end() };
	}

	/** What ends a call that runs from now on. */
	#end(): () => void {
		const { cells, thread } = this;
		const startedAt = thread.time();
		let isOver = false;
		return () => {
			if (isOver) return;
			isOver = true;
			this.#change(() => cells.end(thread.time() - startedAt));
		};
	}

	/** A call waits; undefined where there is no memory for it. */
	#join(rank: number): Ticket | undefined {
		const { cells, thread } = this;
		const waiter = cells.join(rank, this.#joined++, cells.placeOf(rank));
		if (waiter === 0) return undefined;
		const { promise: turn, resolve } = Promise.withResolvers<void>();
		let isOver = false;
		let end: (() => void) | undefined;
		const stop = () => {
			isOver = true;
			this.#waiting--;
			thread.waiters.delete(waiter);
			cells.leave(waiter);
		};
		const begin = () => {
			stop();
			cells.begin();
			end = this.#end();
			resolve();
		};
		const hear = () => {
			// It has it until this thread gives it back.
			if (cells.hasPlace(waiter)) this.#change(begin);
		};
		const leave = () => {
			if (end) end();
			else if (!isOver) this.#change(stop);
		};
		this.#waiting++;
		thread.waiters.set(waiter, { begin, hear });
		return { turn, leave };
	}
}
