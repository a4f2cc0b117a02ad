/** Queues that threads keep together, without the threads: each has its view, and hears of what another one has done when the test says so. */
import { makeBlocks, SharedBlocks } from "../../src/memory/shared-blocks.ts";
import { SharedQueues } from "../../src/proxy/shared-queues.ts";
import { Death } from "./dying-blocks.ts";

/** A thread: number 0 is the main one. */
export interface QueueThread {
	readonly blocks: SharedBlocks;
	readonly queues: SharedQueues;
	/** It dies when it is to signal another thread, before it has. */
	diesSignalling: boolean;
}

/** Threads 0 to 8. */
export class QueueThreads {
	/** The clock of all threads, ms. */
	now = 0;
	/** By how much threads are wrong about that clock, ms. */
	readonly wrong = new Map<number, number>();
	/** Threads that were signalled and have not heard of it yet, in the order of the signals. */
	readonly signalled: number[] = [];
	readonly #memory: SharedArrayBuffer;
	readonly #threads = new Map<number, QueueThread>();

	/** @param blocks how many queues and waiting calls there is memory for */
	constructor(private readonly blocks = 2_000) {
		this.#memory = makeBlocks(blocks);
	}

	/** One of them; its own clock is behind that of all. */
	of(thread: number): QueueThread {
		let found = this.#threads.get(thread);
		if (!found) {
			found = this.#make(thread);
			this.#threads.set(thread, found);
		}
		return found;
	}

	/** A thread is gone, and another one begins in its place. What it was to hear that hears. */
	die(thread: number): void {
		this.#threads.delete(thread);
		this.of(0).queues.freed(thread);
	}

	/** Has a thread hear, the next one or that one of them; or all. */
	deliver(at = 0): void {
		const [thread] = this.signalled.splice(at, 1);
		if (thread !== undefined) this.of(thread).queues.hear();
	}

	deliverAll(): void {
		while (this.signalled.length > 0) this.deliver();
	}

	/** How many blocks are free. They no longer are. */
	free(): number {
		const { blocks } = this.of(0);
		blocks.acquire();
		let count = 0;
		while (blocks.make(9, blocks.nameOf(9, String(count))) !== 0) count++;
		blocks.release();
		return count;
	}

	#make(thread: number): QueueThread {
		const blocks = new SharedBlocks(this.#memory, this.blocks, thread);
		const offset = thread * 1_000;
		const signal = (to: number) => {
			if (made.diesSignalling) throw new Death();
			this.signalled.push(to);
		};
		const queues = new SharedQueues(
			blocks,
			offset,
			{ signal },
			() => this.now - offset + (this.wrong.get(thread) ?? 0),
		);
		const made: QueueThread = { blocks, queues, diesSignalling: false };
		return made;
	}
}
