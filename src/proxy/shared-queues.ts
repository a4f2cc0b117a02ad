/** Queues in front of models that all threads of the process keep together, in memory that they share. */
import { makeBlocks, SharedBlocks } from "../memory/shared-blocks.ts";
import type { ThreadClock } from "../memory/slot-table.ts";
import type { ThreadPort } from "../memory/thread-port.ts";
import { CallQueue, type ModelQueue, type QueuedModel, type QueueSettings, queueSettings } from "./call-queue.ts";
import type { CallQueues } from "./proxy-state.ts";
import { QUEUE, QueueCells, type QueueTurn } from "./queue-cells.ts";
import { SharedCallQueue, type ThreadWaiter, type TurnMessage } from "./shared-call-queue.ts";

/** A block for each queue, and for each call that waits. */
const QUEUE_BLOCKS = 65_536;

/** Memory for queues: 19 MB of addresses, of which pages are taken as calls wait. */
export const makeQueues = (): SharedArrayBuffer => makeBlocks(QUEUE_BLOCKS);

/** Makes a thread's view of {@link makeQueues}. @param port carries its messages about queues, and no others */
export function sharedQueues(
	memory: SharedArrayBuffer,
	{ thread, offset }: ThreadClock,
	port: ThreadPort<TurnMessage>,
): SharedQueues {
	return new SharedQueues(new SharedBlocks(memory, QUEUE_BLOCKS, thread), offset, port);
}

/** One thread's view of the queues. */
export class SharedQueues implements CallQueues {
	readonly waiters = new Map<number, ThreadWaiter>();

	/** @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms */
	constructor(
		readonly blocks: SharedBlocks,
		readonly offset: number,
		readonly port: ThreadPort<TurnMessage>,
		readonly time: () => number = () => performance.now(),
	) {
		blocks.threads.onEnded = (thread) => this.freed(thread);
		port.onMessage = ({ waiter }) => this.waiters.get(waiter)?.hear();
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
		for (const { thread, waiter } of admitted) this.port.post(thread, { waiter });
	}
}
