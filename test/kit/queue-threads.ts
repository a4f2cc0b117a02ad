/** Queues that threads keep together, without the threads: each has its view, and messages go from one to the other when the test says so. */
import { makeBlocks, SharedBlocks } from "../../src/memory/shared-blocks.ts";
import { threadPort } from "../../src/memory/thread-port.ts";
import type { TurnMessage } from "../../src/proxy/shared-call-queue.ts";
import { SharedQueues } from "../../src/proxy/shared-queues.ts";
import { Death } from "./dying-blocks.ts";

/** A thread: number 0 is the main one. */
export interface QueueThread {
	readonly blocks: SharedBlocks;
	readonly queues: SharedQueues;
	/** It dies when it is to say something to another: what it was to say, and all that comes behind, is not said. */
	diesSpeaking: boolean;
}

/** Threads 0 to 8. */
export class QueueThreads {
	/** The clock of all threads, ms. */
	now = 0;
	/** Messages that are under way, in their order. */
	readonly posted: { readonly to: number; readonly message: TurnMessage }[] = [];
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

	/** A thread is gone, and another one begins in its place. Messages to it that are under way come to that. */
	die(thread: number): void {
		this.#threads.delete(thread);
		this.of(0).queues.freed(thread);
	}

	/** Hands over the next message, or that one; or as many as there are. */
	deliver(at = 0): void {
		const [next] = this.posted.splice(at, 1);
		if (next) this.of(next.to).queues.port.onMessage!(next.message);
	}

	deliverAll(): void {
		while (this.posted.length > 0) this.deliver();
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
		const port = threadPort<TurnMessage>((to, message) => {
			if (made.diesSpeaking) throw new Death();
			this.posted.push({ to, message });
		});
		const queues = new SharedQueues(blocks, offset, port, () => this.now - offset);
		const made: QueueThread = { blocks, queues, diesSpeaking: false };
		return made;
	}
}
