/** Queues in front of models that all threads of the process keep together, in memory that they share. */
import { makeBlocks, SharedBlocks } from "../memory/shared-blocks.ts";
import type { ThreadClock } from "../memory/slot-table.ts";
import { makeSignals, type ThreadSignaller, ThreadSignals } from "../memory/thread-signals.ts";
import { CallQueue, type ModelQueue, type QueuedModel, type QueueSettings, queueSettings } from "./call-queue.ts";
import type { CallQueues } from "./proxy-state.ts";
import { QUEUE, QueueCells, type QueueTurn } from "./queue-cells.ts";
import { SharedCallQueue, type ThreadWaiter } from "./shared-call-queue.ts";

/** A block for each queue, and for each call that waits. */
const QUEUE_BLOCKS = 65_536;

/** Memory that threads share for their queues. */
export interface QueueMemory {
	readonly blocks: SharedArrayBuffer;
	/** By which a thread hears that calls of it may run. */
	readonly signals: SharedArrayBuffer;
}

/** Makes it: 19 MB of addresses, of which pages are taken as calls wait. */
export const makeQueues = (): QueueMemory => ({ blocks: makeBlocks(QUEUE_BLOCKS), signals: makeSignals() });

/** Makes a thread's view of {@link makeQueues}. */
export function sharedQueues({ blocks, signals: memory }: QueueMemory, { thread, offset }: ThreadClock): SharedQueues {
	const signals = new ThreadSignals(memory);
	const queues = new SharedQueues(new SharedBlocks(blocks, QUEUE_BLOCKS, thread), offset, signals);
	// No calls wait in the main thread.
	if (thread > 0) void signals.listen(thread, () => queues.hear());
	return queues;
}

/** One thread's view of the queues. */
export class SharedQueues implements CallQueues {
	readonly waiters = new Map<number, ThreadWaiter>();

	/**
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 * @param signals has another thread's `hear` called
	 * @param time this thread's `performance.now()`
	 */
	constructor(
		readonly blocks: SharedBlocks,
		readonly offset: number,
		readonly signals: ThreadSignaller,
		readonly time: () => number = () => performance.now(),
	) {
		blocks.threads.onEnded = (thread) => this.freed(thread);
	}

	/** Has those calls of this thread run to which another one has given places. Throws what the first of them does that fails, after all have heard. */
	hear(): void {
		const failures: unknown[] = [];
		for (const waiter of this.waiters.values()) {
			try {
				waiter.hear();
			} catch (thrown) {
				failures.push(thrown);
			}
		}
		if (failures.length > 0) throw failures[0];
	}

	/** Where there is no memory for one more queue, the thread has one of its own. */
	queue(name: string, settings: QueueSettings): ModelQueue {
		const { blocks } = this;
		blocks.acquire();
		try {
			const cells = this.#cells(name);
			if (!cells) return new CallQueue(settings);
			if (!cells.hasSettings) cells.settings = settings;
			return new SharedCallQueue(this, cells);
		} finally {
			blocks.release();
		}
	}

	/** The main thread's: the queues of these models, of all that are configured, are held to this from now on. Calls that may run then do. */
	configure(models: readonly QueuedModel[]): void {
		const { blocks } = this;
		const admitted: QueueTurn[] = [];
		blocks.acquire();
		try {
			for (const model of models) {
				const settings = queueSettings(model);
				const cells = settings && this.#cells(model.name);
				if (!cells) continue;
				cells.settings = settings;
				admitted.push(...cells.admit());
			}
		} finally {
			blocks.release();
		}
		this.#tell(admitted);
	}

	/** The main thread's: gives back what calls of a thread that has died held. Those that may run then are told so, also where it was to tell them. */
	freed(thread: number): void {
		const { blocks } = this;
		const admitted: QueueTurn[] = [];
		blocks.freed(thread, (block, kind) => {
			if (kind === QUEUE) admitted.push(...new QueueCells(blocks, block).repair(thread));
		});
		this.#tell(admitted);
	}

	/** Undefined where there is no memory for one more. */
	#cells(name: string): QueueCells | undefined {
		const { blocks } = this;
		const blockName = blocks.nameOf(QUEUE, name);
		const block = blocks.find(QUEUE, blockName) || blocks.make(QUEUE, blockName);
		return block === 0 ? undefined : new QueueCells(blocks, block);
	}

	#tell(admitted: readonly QueueTurn[]): void {
		for (const { thread } of admitted) this.signals.signal(thread);
	}
}
