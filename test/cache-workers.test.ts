/** One cache of several worker threads: an answer that one was given another gives again, and equal calls are made once, whichever thread they come to. */
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { AnswerCache } from "../src/cache/cache.ts";
import { type CacheMemory, cacheMemory } from "../src/cache/cache-memory.ts";
import type { ClaimMessage } from "../src/cache/thread-store.ts";
import { waits } from "./kit/cache-threads.ts";
import type { FromCacheWorker, SentAnswer, ToCacheWorker } from "./kit/cache-worker.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { HELLO } from "./kit/hello-answer.ts";
import { configOf } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	keys: [{ name: "a", key: "key-of-a-1234" }],
};
const THREADS = 2;

/** A worker, as the main thread has it. */
class CacheWorker {
	readonly #worker = new Worker(new URL("./kit/cache-worker.ts", import.meta.url));
	readonly #answers = new Map<number, (answer: SentAnswer) => void>();
	readonly #started = Promise.withResolvers<void>();
	#sent = 0;

	constructor(relay: (to: number, message: ClaimMessage) => void) {
		this.#worker.onerror = ({ message }) => this.#started.reject(new Error(message));
		this.#worker.onmessage = ({ data }: MessageEvent<FromCacheWorker>) => {
			if (data.is === "claim") relay(data.to, data.message);
			else if (data.is === "answered") this.#answers.get(data.id)?.(data);
			else this.#started.resolve();
		};
	}

	start(thread: number, shared: CacheMemory): Promise<void> {
		this.tell({ is: "start", config, memory: shared, thread, threads: THREADS });
		return this.#started.promise;
	}

	tell(message: ToCacheWorker): void {
		this.#worker.postMessage(message);
	}

	send(over: Json = {}): Promise<SentAnswer> {
		const { promise, resolve } = Promise.withResolvers<SentAnswer>();
		const id = ++this.#sent;
		this.#answers.set(id, resolve);
		const body = { model: "box/m", messages: [{ role: "user", content: "hi" }], temperature: 0, ...over };
		this.tell({ is: "send", id, body, headers: { authorization: "Bearer key-of-a-1234" } });
		return promise;
	}

	/** Resolves when the thread is gone. */
	terminate(): Promise<void> {
		const closed = Promise.withResolvers<void>();
		this.#worker.addEventListener("close", () => closed.resolve());
		this.#worker.terminate();
		return closed.promise;
	}
}

let memory: CacheMemory;
let main: AnswerCache;
let workers: Map<number, CacheWorker>;
let gate: PromiseWithResolvers<void>;
beforeEach(async () => {
	const { cache } = configOf(config);
	memory = cacheMemory({ cache })!;
	workers = new Map();
	const relay = (to: number, message: ClaimMessage) => workers.get(to)?.tell({ is: "claim", message });
	const port = { post: relay, onMessage: undefined };
	main = new AnswerCache(cache.memory, cache.max_entry, undefined, { memory, thread: 0, threads: THREADS, port });
	for (let thread = 1; thread <= THREADS; thread++) {
		const worker = new CacheWorker(relay);
		workers.set(thread, worker);
		await worker.start(thread, memory);
	}
	gate = Promise.withResolvers();
	upstream.run(async (connection) => {
		await gate.promise;
		await answers("200 OK", HELLO)(connection);
	});
});
afterEach(async () => {
	gate.resolve();
	await Promise.all([...workers.values()].map((worker) => worker.terminate()));
});
const at = (thread: number) => workers.get(thread)!;
const reached = (count: number) => until(() => upstream.received.length === count, "the upstream");

test("what one thread was answered another gives again, as it came and as a stream, and the main thread counts it once", async () => {
	gate.resolve();
	expect(await at(1).send()).toMatchObject({ status: 200, cache: "miss", text: HELLO });
	expect(await at(2).send()).toMatchObject({ status: 200, cache: "hit", text: HELLO });
	expect((await at(2).send({ stream: true })).cache).toBe("hit");
	expect(upstream.received.length).toBe(1);
	expect(main.stats).toEqual({ entries: 1, bytes: expect.any(Number) });
});

test("equal calls at two threads ask the upstream once", async () => {
	const first = [at(1).send(), at(1).send()];
	await reached(1);
	const others = [at(2).send(), at(2).send({ stream: true })];
	await until(() => waits(memory, 2), "the other thread's wait");
	gate.resolve();
	const got = await Promise.all([...first, ...others]);
	expect(got.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
	expect(got.map(({ cache }) => cache)).toEqual(["miss", "hit", "hit", "hit"]);
	expect(got.slice(0, 3).map(({ text }) => text)).toEqual([HELLO, HELLO, HELLO]);
	expect(upstream.received.length).toBe(1);
});

test("many equal calls that come to both at once ask the upstream once each", async () => {
	gate.resolve();
	const sent = Array.from({ length: 200 }, (_, index) => at(1 + (index % 2)).send({ seed: index >> 2 }));
	const got = await Promise.all(sent);
	expect(got.filter(({ status, text }) => status === 200 && text === HELLO).length).toBe(200);
	expect(upstream.received.length).toBe(50);
	expect(got.filter(({ cache }) => cache === "miss").length).toBe(50);
});

test("the thread that makes the call dies: the one that waits makes it itself", async () => {
	void at(1).send();
	await reached(1);
	const other = at(2).send();
	await until(() => waits(memory, 2), "the other thread's wait");
	await at(1).terminate();
	workers.delete(1);
	main.freed(1);
	await reached(2);
	gate.resolve();
	expect(await other).toMatchObject({ status: 200, cache: "miss", text: HELLO });
});
