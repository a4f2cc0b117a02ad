/** A worker whose calls come and go in front of a model that workers share, until it is told to let the last ones be over. */
import type { Ticket } from "../../src/proxy/call-queue.ts";
import { type QueueMemory, sharedQueues } from "../../src/proxy/shared-queues.ts";
import { random } from "./random.ts";

declare const self: {
	onmessage: ((event: MessageEvent<ToQueueWorker>) => void) | undefined;
	/** Says that its last call is over, after `stop`. */
	postMessage(message: "over"): void;
};

/** What all workers of a test share. */
export interface SharedQueue {
	readonly queues: QueueMemory;
	/** A cell in which each worker has four bits for its calls that run; then one for the most that ever ran, and one for those that have run. */
	readonly running: SharedArrayBuffer;
	readonly concurrency: number;
}

/** What it is told. */
export type ToQueueWorker =
	| { readonly is: "start"; readonly memory: SharedQueue; readonly thread: number; readonly seed: number }
	| { readonly is: "stop" };

/** Calls that a worker has at once, running or waiting. */
export const CALLS = 6;
/** Cells of `running`. */
export const CELLS = { running: 0, most: 1, served: 2 } as const;
/** How many run, of all workers. */
export const countOf = (running: number): number => {
	let count = 0;
	for (let bits = running; bits !== 0; bits >>>= 4) count += bits & 15;
	return count;
};

let isStopping = false;

async function run({ queues, running, concurrency }: SharedQueue, thread: number, seed: number): Promise<void> {
	const { below } = random(seed);
	const cells = new Int32Array(running);
	const one = 1 << (4 * (thread - 1));
	const queue = sharedQueues(queues, { thread, offset: 0 }).queue("fast", { concurrency, size: 1_000 });
	const work = async (ticket: Ticket) => {
		await ticket.turn;
		const now = countOf(Atomics.add(cells, CELLS.running, one) + one);
		let most = Atomics.load(cells, CELLS.most);
		while (now > most) most = Atomics.compareExchange(cells, CELLS.most, most, now);
		if (below(4) === 0) await Bun.sleep(0);
		Atomics.sub(cells, CELLS.running, one);
		ticket.leave();
		Atomics.add(cells, CELLS.served, 1);
	};
	const call = async () => {
		while (!isStopping) {
			const entered = queue.enter(below(3), Number.POSITIVE_INFINITY);
			if ("reason" in entered) throw new Error(entered.reason);
			// Some don't wait for their turn.
			if (below(10) === 0) entered.leave();
			else await work(entered);
			await Bun.sleep(0);
		}
	};
	await Promise.all(Array.from({ length: CALLS }, call));
	self.postMessage("over");
}

if (!Bun.isMainThread) {
	self.onmessage = ({ data }) => {
		if (data.is === "start") void run(data.memory, data.thread, data.seed);
		else isStopping = true;
	};
}
