/** Workers whose calls wait in front of one model, of which some are ended in the midst. */
import { afterEach, expect, test } from "bun:test";
import { makeQueues, sharedQueues } from "../src/proxy/shared-queues.ts";
import { CELLS, countOf, type SharedQueue, type ToQueueWorker } from "./kit/queue-worker.ts";
import { until } from "./kit/until.ts";

const CONCURRENCY = 5;
const stops: (() => unknown)[] = [];
afterEach(() => {
	for (const stop of stops.splice(0)) stop();
});

/** Workers, and what the main thread does for them. */
function workers(count: number) {
	const memory: SharedQueue = {
		queues: makeQueues(),
		running: new SharedArrayBuffer(16),
		concurrency: CONCURRENCY,
	};
	const cells = new Int32Array(memory.running);
	const running = new Map<number, Worker>();
	const main = sharedQueues(memory.queues, { thread: 0, offset: 0 });
	let started = 0;
	let over = 0;
	const start = (thread: number) => {
		const worker = new Worker(new URL("./kit/queue-worker.ts", import.meta.url));
		worker.onmessage = () => void over++;
		worker.postMessage({ is: "start", memory, thread, seed: ++started } satisfies ToQueueWorker);
		running.set(thread, worker);
		stops.push(() => worker.terminate());
	};
	for (let thread = 1; thread <= count; thread++) start(thread);
	return {
		cells,
		main,
		/** Resolves when so many calls more have run. */
		served(more: number) {
			const least = Atomics.load(cells, CELLS.served) + more;
			return until(() => Atomics.load(cells, CELLS.served) >= least, `${more} calls more`);
		},
		/** Ends a worker, and starts another one in its place. */
		async replace(thread: number) {
			const worker = running.get(thread)!;
			const closed = Promise.withResolvers<void>();
			worker.addEventListener("close", () => closed.resolve());
			worker.terminate();
			await closed.promise;
			running.delete(thread);
			Atomics.and(cells, CELLS.running, ~(15 << (4 * (thread - 1))));
			main.freed(thread);
			start(thread);
		},
		async finish() {
			for (const worker of running.values()) worker.postMessage({ is: "stop" } satisfies ToQueueWorker);
			await until(() => over === count, "the end of all calls");
		},
	};
}

/** Another thread finds as many places as there may be, and nobody that waits. */
function expectAllFree(main: ReturnType<typeof workers>["main"]): void {
	const queue = main.queue("fast", { concurrency: 1, size: 1 });
	const tickets = Array.from({ length: CONCURRENCY }, () => queue.enterNow());
	expect([tickets.every((ticket) => ticket), queue.hasRoom]).toEqual([true, false]);
	for (const ticket of tickets) ticket!.leave();
}

test("never more run at once than may, and all have their turn", async () => {
	const { cells, main, served, finish } = workers(3);
	await served(10_000);
	await finish();
	expect([Atomics.load(cells, CELLS.most), countOf(Atomics.load(cells, CELLS.running))]).toEqual([CONCURRENCY, 0]);
	expectAllFree(main);
}, 60_000);

test("places go from worker to worker also while the main thread is busy", async () => {
	const { cells, main, served, finish } = workers(2);
	await served(100);
	const least = Atomics.load(cells, CELLS.served) + 2_000;
	// Nothing is awaited: the thread hears nothing meanwhile. The bound says when to give up. Nobody changes what is slept on.
	const still = new Int32Array(new SharedArrayBuffer(4));
	for (let look = 0; look < 3_000 && Atomics.load(cells, CELLS.served) < least; look++) {
		Atomics.wait(still, 0, 0, 10);
	}
	expect(Atomics.load(cells, CELLS.served)).toBeGreaterThanOrEqual(least);
	await finish();
	expect(Atomics.load(cells, CELLS.most)).toBe(CONCURRENCY);
	expectAllFree(main);
}, 60_000);

test("a worker that is ended, again and again, takes no place with it, also those that it was giving away or had just been given", async () => {
	const { cells, main, served, replace, finish } = workers(3);
	for (let round = 0; round < 24; round++) {
		await served(200);
		await replace(1 + (round % 2));
	}
	await served(2_000);
	await finish();
	expect([Atomics.load(cells, CELLS.most), countOf(Atomics.load(cells, CELLS.running))]).toEqual([CONCURRENCY, 0]);
	expectAllFree(main);
}, 60_000);
