/** Workers that know of targets what the test does, over memory that they share with it. */
import { join } from "node:path";
import { makeRoutingMemory, SharedRoutingState } from "../../src/routing/shared-routing-state.ts";
import type { RoutingCommands, SharedParts } from "./routing-worker.ts";

/** A worker, told one thing after the other. */
export class RoutingThread {
	readonly #worker = new Worker(join(import.meta.dir, "routing-worker.ts"));
	readonly #waiting: { resolve(value: unknown): void; reject(error: unknown): void }[] = [];

	/** @param number of the thread, from 1 */
	constructor(readonly number: number) {
		this.#worker.onmessage = ({ data }) => this.#waiting.shift()!.resolve(data);
		this.#worker.onerror = ({ message }) => this.#waiting.shift()?.reject(new Error(message));
	}

	/** Has it do this; what comes of it. */
	tell<K extends keyof RoutingCommands>(
		name: K,
		...args: Parameters<RoutingCommands[K]>
	): Promise<ReturnType<RoutingCommands[K]>> {
		const { promise, resolve, reject } = Promise.withResolvers<unknown>();
		this.#waiting.push({ resolve, reject });
		this.#worker.postMessage([name, args]);
		return promise as Promise<ReturnType<RoutingCommands[K]>>;
	}

	/** Ends it in the middle of whatever it does. */
	async end(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#worker.addEventListener("close", () => resolve());
		this.#worker.terminate();
		await promise;
	}
}

/** A worker's clock is so far behind the main thread's, ms. */
export const OFFSETS = [0, 1_000, 5_000, 60_000, 250] as const;

/** What the test and its workers share, all unused. */
export class RoutingThreads {
	readonly parts: SharedParts;
	/** The main thread's view. */
	readonly main: SharedRoutingState;
	readonly #clock: Float64Array;
	readonly #told: Int32Array;

	private constructor(readonly workers: readonly RoutingThread[]) {
		this.parts = {
			states: makeRoutingMemory(),
			breaker: new SharedArrayBuffer(1_024),
			control: new SharedArrayBuffer(16),
			workers: workers.length,
		};
		this.#clock = new Float64Array(this.parts.control, 0, 1);
		this.#told = new Int32Array(this.parts.control, 12, 1);
		const time = () => this.#clock[0]!;
		this.main = new SharedRoutingState(this.parts.states, { thread: 0, offset: 0 }, time);
	}

	/** Gives these workers new memory. */
	static async over(...workers: RoutingThread[]): Promise<RoutingThreads> {
		const threads = new RoutingThreads(workers);
		await threads.all(({ number }) => ["use", threads.parts, { thread: number, offset: OFFSETS[number]! }]);
		return threads;
	}

	/** The clock of all threads, ms. */
	get now(): number {
		return this.#clock[0]!;
	}
	set now(ms: number) {
		this.#clock[0] = ms;
	}

	/** A number that the test and a worker tell each other. */
	get told(): number {
		return Atomics.load(this.#told, 0);
	}
	set told(value: number) {
		Atomics.store(this.#told, 0, value);
	}

	/** Has all do something at once; what comes of it at each. */
	all<K extends keyof RoutingCommands>(
		command: (worker: RoutingThread) => readonly [name: K, ...args: Parameters<RoutingCommands[K]>],
	): Promise<ReturnType<RoutingCommands[K]>[]> {
		return Promise.all(
			this.workers.map((worker) => {
				const [name, ...args] = command(worker);
				return worker.tell(name, ...(args as unknown as Parameters<RoutingCommands[K]>));
			}),
		);
	}
}
