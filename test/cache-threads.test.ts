/** Equal calls that come to several threads at once: what befalls the one that makes them, and those that wait. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { AnswerCache } from "../src/cache/cache.ts";
import { CLAIM_BYTES, ClaimTable } from "../src/cache/claim-table.ts";
import { encodeEntry } from "../src/cache/entry.ts";
import type { CallClaim, SharedStore } from "../src/cache/shared-store.ts";
import { SharedRing } from "../src/memory/shared-ring.ts";
import { type CacheThreads, cacheThreads } from "./kit/cache-threads.ts";
import { readCached, sendCached } from "./kit/cached-calls.ts";
import { DONE, goodStream } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { HELLO } from "./kit/hello-answer.ts";
import { configOf, type Pipeline, pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	keys: ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` })),
};
let threads: CacheThreads;
let routers: Pipeline[];
/** Lets the upstream go on. */
let gate: PromiseWithResolvers<void>;
/** The pipeline of a thread, with claims among routers behind those among threads. */
const routerOf = (thread: number, sharedStore?: SharedStore) =>
	pipeline({ config, cached: true, cacheThread: () => threads.of(thread), ...(sharedStore ? { sharedStore } : {}) });
beforeEach(() => {
	threads = cacheThreads(configOf(config), 3);
	routers = [0, 1, 2, 3].map((thread) => routerOf(thread));
	gate = Promise.withResolvers();
	upstream.run(gated());
});
const cacheOf = (thread: number) => routers[thread]!.context.cache as AnswerCache;

/** Answers once it may, the first call like this. */
const gated =
	(first = answers("200 OK", HELLO)) =>
	async (connection: Connection) => {
		if (connection.nth > 0) return answers("200 OK", HELLO)(connection);
		await gate.promise;
		await first(connection);
	};
const send = (thread: number, over: Json = {}, key = "a", signal?: AbortSignal) =>
	sendCached(routers[thread]!, over, key, signal);
const read = readCached;
const calls = () => upstream.received.length;
const reached = (count: number) => until(() => calls() === count, "the upstream");
/** One call at the first thread, on its way, and the same at others, which wait. */
async function underWay(others: readonly number[], over: Json = {}, signal?: AbortSignal) {
	const first = read(send(1, over, "a", signal));
	await reached(1);
	const waiting = others.map((thread) => read(send(thread, over)));
	for (const thread of others) await until(() => threads.isWaiting(thread), "the wait");
	return { first, waiting };
}

test("the others get the whole answer, and hear of it once", async () => {
	const { first, waiting } = await underWay([2, 3]);
	gate.resolve();
	expect((await first).cache).toBe("miss");
	for (const got of await Promise.all(waiting)) expect(got).toEqual({ status: 200, cache: "hit", text: HELLO });
	expect(calls()).toBe(1);
	expect(threads.posted).toMatchObject([2, 3].map((to) => ({ to, message: { isStored: true } })));
});

test("who waits for nothing is told nothing", async () => {
	gate.resolve();
	await read(send(1));
	expect((await read(send(2))).cache).toBe("hit");
	expect(threads.posted).toEqual([]);
});

test.each([
	["a stream", { stream: true }, "a whole answer", {}],
	["a whole answer", {}, "a stream", { stream: true }],
	["a stream", { stream: true }, "a stream", { stream: true }],
] as [string, Json, string, Json][])("%s serves %s of another thread", async (_, leads, __, follows) => {
	upstream.run(async (connection) => {
		await gate.promise;
		await (leads["stream"] ? streams(goodStream(2)) : answers("200 OK", HELLO))(connection);
	});
	const first = read(send(1, leads));
	await reached(1);
	const other = read(send(2, follows));
	await until(() => threads.isWaiting(2), "the wait");
	gate.resolve();
	const got = [await first, await other];
	expect(got.map(({ status, cache }) => [status, cache])).toEqual([
		[200, "miss"],
		[200, "hit"],
	]);
	expect(got.map(({ text }) => text.endsWith(DONE))).toEqual([leads["stream"] === true, follows["stream"] === true]);
	expect(calls()).toBe(1);
});

test("calls of different keys are none of each other's", async () => {
	const first = read(send(1));
	await reached(1);
	expect((await read(send(2, {}, "b"))).cache).toBe("miss");
	gate.resolve();
	await first;
	expect(calls()).toBe(2);
});

describe("the call that is made", () => {
	test("fails: one of those that wait makes it, and the others wait for that", async () => {
		upstream.run(gated(answers("400 Bad Request", '{"error":{"message":"no"}}')));
		const { first, waiting } = await underWay([2, 3]);
		gate.resolve();
		expect((await first).status).toBe(400);
		const got = await Promise.all(waiting);
		expect(got.map(({ status }) => status)).toEqual([200, 200]);
		expect(got.map(({ cache }) => cache).sort()).toEqual(["hit", "miss"]);
		expect(calls()).toBe(2);
	});

	test("is left by its client: another thread makes it", async () => {
		const client = new AbortController();
		const { first, waiting } = await underWay([2], {}, client.signal);
		client.abort();
		expect((await first).status).toBe(499);
		expect(await waiting[0]!).toMatchObject({ status: 200, cache: "miss" });
		expect(calls()).toBe(2);
	});

	test("is on a thread that dies: another one makes it, and nobody hears of the dead one's end", async () => {
		const { first, waiting } = await underWay([2]);
		cacheOf(0).freed(1);
		expect(await waiting[0]!).toMatchObject({ status: 200, cache: "miss", text: HELLO });
		expect(calls()).toBe(2);
		// What it had claimed is another's to claim, also by one that has its number.
		threads.posted.length = 0;
		gate.resolve();
		await first;
		expect(threads.posted).toEqual([]);
	});

	test("is on a thread that dies after it gave its claim back, and before it said so: another one makes it", async () => {
		const { waiting } = await underWay([2, 3]);
		new ClaimTable(threads.memory.claims, 0).freed(1);
		cacheOf(0).freed(1);
		const got = await Promise.all(waiting);
		expect(got.map(({ status }) => status)).toEqual([200, 200]);
		expect(calls()).toBe(2);
	});

	test("of another key goes on, and is waited for, when a thread dies", async () => {
		const { first, waiting } = await underWay([2]);
		cacheOf(0).freed(3);
		await until(() => threads.isWaiting(2), "the wait");
		gate.resolve();
		expect(await first).toMatchObject({ cache: "miss", text: HELLO });
		expect(await waiting[0]!).toMatchObject({ cache: "hit", text: HELLO });
		expect(calls()).toBe(1);
	});

	test("is waited for no longer than its own client wants", async () => {
		const first = read(send(1));
		await reached(1);
		const client = new AbortController();
		const other = read(send(2, {}, "a", client.signal));
		await until(() => threads.isWaiting(2), "the wait");
		client.abort();
		expect((await other).status).toBe(499);
		gate.resolve();
		expect((await first).status).toBe(200);
		expect(calls()).toBe(1);
	});

	test("has an answer that is too large to be kept: those that wait ask for themselves", async () => {
		const large = HELLO.replace("Hello", "x".repeat(5_000_000));
		upstream.run(gated(answers("200 OK", large)));
		const { first, waiting } = await underWay([2]);
		gate.resolve();
		expect((await first).text).toBe(large);
		expect(await waiting[0]!).toMatchObject({ status: 200, cache: "miss", text: HELLO });
	});
});

/** Claims among routers that give what they are told to. */
const storeOf = (claim: (key: Uint8Array) => CallClaim | Promise<CallClaim>, wait = claim): SharedStore => ({
	claim,
	wait: async (key) => wait(key),
	put: () => {},
});

/** An answer, kept for so long from now on, ms. */
const entry = (ms = 60_000) => {
	const now = Date.now();
	const facts = { provider: "box", model: "m", storedAt: now - 60_000, expiresAt: now + ms };
	return encodeEntry({ facts, body: Buffer.from(HELLO) });
};

test("an answer that came between the look for it and the claim is found", async () => {
	const bytes = await entry();
	let released = 0;
	const store = storeOf((key) => {
		new SharedRing(threads.memory.ring, 3).put(key, bytes);
		return { is: "ours", release: () => void released++ };
	});
	routers[1] = routerOf(1, store);
	expect(await read(send(1))).toEqual({ status: 200, cache: "hit", text: HELLO });
	expect([calls(), released]).toEqual([0, 1]);
});

test("what is out of date is asked for once, too", async () => {
	const keys: Uint8Array[] = [];
	const store = storeOf((key) => {
		keys.push(key);
		return { is: "unavailable" };
	});
	routers = [0, 1, 2, 3].map((thread) => routerOf(thread, store));
	gate.resolve();
	await read(send(1));
	new SharedRing(threads.memory.ring, 3).put(keys[0]!, await entry(-1));
	gate = Promise.withResolvers();
	upstream.run(gated());
	const { first, waiting } = await underWay([2]);
	gate.resolve();
	expect([(await first).cache, (await waiting[0]!).cache, calls()]).toEqual(["miss", "hit", 1]);
});

describe("behind threads, routers", () => {
	test("are asked by one thread alone, and their answer is every thread's", async () => {
		const bytes = await entry();
		let asked = 0;
		const store = storeOf(async () => {
			asked++;
			await gate.promise;
			return { is: "found", bytes };
		});
		routers = [0, 1, 2, 3].map((thread) => routerOf(thread, store));
		const first = read(send(1));
		await until(() => asked === 1, "the question");
		const other = read(send(2));
		await until(() => threads.isWaiting(2), "the wait");
		gate.resolve();
		for (const got of [await first, await other]) expect(got).toEqual({ status: 200, cache: "hit", text: HELLO });
		expect([asked, calls()]).toEqual([1, 0]);
	});

	test("that make the call are waited for by one thread, and the others wait for that", async () => {
		const bytes = await entry();
		let waits = 0;
		const store = storeOf(
			() => ({ is: "elsewhere" }),
			async () => {
				waits++;
				await gate.promise;
				return { is: "found", bytes };
			},
		);
		routers = [0, 1, 2, 3].map((thread) => routerOf(thread, store));
		const first = read(send(1));
		await until(() => waits === 1, "the wait for a router");
		const other = read(send(2));
		await until(() => threads.isWaiting(2), "the wait for a thread");
		gate.resolve();
		for (const got of [await first, await other]) expect(got).toEqual({ status: 200, cache: "hit", text: HELLO });
		expect([waits, calls()]).toEqual([1, 0]);
	});

	test("that make the call are no longer waited for by a caller whose time is over, streamed or not", async () => {
		const signals: AbortSignal[] = [];
		const store: SharedStore = {
			claim: () => ({ is: "elsewhere" }),
			wait: (_, signal) => {
				const { promise, resolve } = Promise.withResolvers<CallClaim>();
				signals.push(signal);
				signal.addEventListener("abort", () => resolve({ is: "elsewhere" }));
				return promise;
			},
			put: () => {},
		};
		routers[1] = routerOf(1, store);
		for (const stream of [false, true]) {
			const headers = { "x-router-timeout-ms": "50" };
			expect((await sendCached(routers[1], { stream }, "a", undefined, headers)).status).toBe(504);
		}
		expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
	});

	test("that can't be asked leave the claims among threads as they are", async () => {
		const store = storeOf(() => ({ is: "unavailable" }));
		routers = [0, 1, 2, 3].map((thread) => routerOf(thread, store));
		const { first, waiting } = await underWay([2]);
		gate.resolve();
		expect([(await first).cache, (await waiting[0]!).cache, calls()]).toEqual(["miss", "hit", 1]);
	});

	test("get the answer of the one call, and the claim back where there is none", async () => {
		const released: unknown[] = [];
		const store = storeOf(() => ({ is: "ours", release: (kept) => void released.push(kept?.bytes.length) }));
		routers = [0, 1, 2, 3].map((thread) => routerOf(thread, store));
		upstream.run(gated(answers("400 Bad Request", '{"error":{"message":"no"}}')));
		const { first, waiting } = await underWay([2]);
		gate.resolve();
		await Promise.all([first, ...waiting]);
		expect(released).toEqual([undefined, expect.any(Number)]);
	});
});

describe("the table of claims", () => {
	const memory = () => new SharedArrayBuffer(CLAIM_BYTES);
	/** Keys that all belong into one set. */
	const keyOf = (name: number) => {
		const key = new Uint8Array(32);
		new DataView(key.buffer).setUint32(0, name);
		return key;
	};

	test("gives each call to one thread at a time", () => {
		const shared = memory();
		const [one, other] = [1, 2].map((thread) => new ClaimTable(shared, thread)) as [ClaimTable, ClaimTable];
		expect([one.take(keyOf(1)), other.take(keyOf(1)), other.take(keyOf(2))]).toEqual(["ours", "elsewhere", "ours"]);
		expect([other.release(keyOf(1)), other.take(keyOf(1))]).toEqual([undefined, "elsewhere"]);
		expect(one.release(keyOf(1))).toMatchObject({ waiting: [] });
		expect(other.take(keyOf(1))).toBe("ours");
	});

	test("says who waits, once", () => {
		const shared = memory();
		const tables = [0, 1, 2, 3].map((thread) => new ClaimTable(shared, thread));
		const [, one, two, three] = tables as [ClaimTable, ClaimTable, ClaimTable, ClaimTable];
		one.take(keyOf(1));
		expect([two.wait(keyOf(1)), three.wait(keyOf(1)), three.wait(keyOf(2))]).toEqual([1, 1, undefined]);
		expect(one.release(keyOf(1))!.waiting).toEqual([2, 3]);
		expect(two.wait(keyOf(1))).toBeUndefined();
		three.take(keyOf(1));
		expect(three.release(keyOf(1))!.waiting).toEqual([]);
	});

	test("that has no place left claims nothing, and has one again once another call is over", () => {
		const shared = memory();
		const table = new ClaimTable(shared, 1);
		const taken = Array.from({ length: 9 }, (_, name) => table.take(keyOf(name)));
		expect(taken).toEqual([...Array(8).fill("ours"), "full"]);
		table.release(keyOf(3));
		expect(table.take(keyOf(8))).toBe("ours");
	});

	test("gives a dead thread's claims back, and forgets that it waits", () => {
		const shared = memory();
		const [main, one, two] = [0, 1, 2].map((thread) => new ClaimTable(shared, thread)) as ClaimTable[];
		for (const name of [1, 2]) one!.take(keyOf(name));
		two!.take(keyOf(3));
		two!.wait(keyOf(1));
		one!.wait(keyOf(3));
		expect(main!.freed(1)).toEqual([keyOf(1), keyOf(2)]);
		expect([two!.take(keyOf(1)), two!.take(keyOf(2))]).toEqual(["ours", "ours"]);
		expect(two!.release(keyOf(3))!.waiting).toEqual([]);
	});
});
