/** Streams of equal calls at several threads: who does not make the call reads it along as it comes. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { AnswerCache } from "../src/cache/cache.ts";
import { type CacheThreads, cacheThreads } from "./kit/cache-threads.ts";
import { sendCached } from "./kit/cached-calls.ts";
import { DONE, goodStream, textEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins } from "./kit/faults.ts";
import { configOf, type Pipeline, pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	models: [{ name: "m", targets: ["box/m"], resume: "off", hedge: false }],
	keys: ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` })),
};
const PIECES = goodStream(4);
/** Of which the upstream sends so many at once. */
const BEGUN = 3;
let threads: CacheThreads;
let routers: Pipeline[];
/** What the upstream's connection came to. */
let connections: Connection[];
beforeEach(() => {
	threads = cacheThreads(configOf(config), 3);
	routers = [0, 1, 2, 3].map((thread) => pipeline({ config, cached: true, cacheThread: () => threads.of(thread) }));
	connections = [];
	upstream.run(async (connection) => {
		connections.push(connection);
		await begins(PIECES.slice(0, BEGUN))(connection);
	});
});

/** A reader of a stream: what it has got so far, and how it ends. */
async function reading(thread: number, over: Json = {}, signal?: AbortSignal) {
	const answer = await sendCached(routers[thread]!, { model: "m", stream: true, ...over }, "a", signal);
	const reader = answer.body!.getReader();
	let text = "";
	const decoder = new TextDecoder();
	const ended = (async () => {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return "ended";
			text += decoder.decode(value, { stream: true });
		}
	})().catch(() => "broken");
	return { cache: answer.headers.get("x-router-cache"), text: () => text, ended, cancel: () => reader.cancel() };
}
const cacheOf = (thread: number) => routers[thread]!.context.cache as AnswerCache;
const say = (piece: string) => connections[0]!.write(piece);
/** The upstream sends the rest. */
async function finish(): Promise<void> {
	for (const piece of PIECES.slice(BEGUN)) await say(piece);
	connections[0]!.end();
}
/** A caller of the first thread that reads a stream which has begun, and callers of others that read it along. */
async function begun(others: readonly number[], over: Json = {}) {
	const first = await reading(1, over);
	await until(() => first.text().includes("word1"), "the beginning");
	const along = await Promise.all(others.map((thread) => reading(thread, over)));
	for (const each of along) await until(() => each.text().includes("word1"), "the beginning, read along");
	return { first, along };
}

describe("a stream that another thread's caller has begun", () => {
	test("comes from its beginning, and goes on as it comes, to each of several threads and callers", async () => {
		const { first, along } = await begun([2, 3, 2]);
		await say(PIECES[BEGUN]!);
		for (const each of [first, ...along]) await until(() => each.text().includes("word2"), "the next piece");
		const late = await reading(3);
		await until(() => late.text().includes("word2"), "all so far");
		await Promise.all([finish(), first.ended, late.ended, ...along.map(({ ended }) => ended)]);
		for (const each of [late, ...along]) expect([each.cache, each.text()]).toEqual(["hit", first.text()]);
		expect([first.cache, first.text().endsWith(DONE), upstream.received.length]).toEqual(["miss", true, 1]);
		// Nobody is written to any more.
		threads.posted.length = 0;
		const again = await reading(3);
		expect([await again.ended, again.cache]).toEqual(["ended", "hit"]);
		expect(threads.posted).toEqual([]);
	});

	test("goes on when its own client leaves, and is cancelled once the last of the others has left", async () => {
		const { first, along } = await begun([2, 3]);
		await first.cancel();
		await say(PIECES[BEGUN]!);
		for (const each of along) await until(() => each.text().includes("word2"), "the next piece");
		await along[0]!.cancel();
		await say(PIECES[BEGUN + 1]!);
		await until(() => along[1]!.text().includes("word3"), "the one after it");
		await along[1]!.cancel();
		await connections[0]!.closed;
		expect(upstream.received.length).toBe(1);
	});

	test("breaks off for all of them", async () => {
		const { first, along } = await begun([2]);
		connections[0]!.destroy();
		expect(await Promise.all([first.ended, along[0]!.ended])).toEqual(["ended", "ended"]);
		expect(along[0]!.text()).toBe(first.text());
		expect(along[0]!.text()).toContain('"error"');
		expect(along[0]!.text()).not.toContain(DONE);
	});

	test("breaks their connections where its thread dies, and goes on where any other does", async () => {
		const { along } = await begun([2]);
		cacheOf(0).freed(3);
		await say(PIECES[BEGUN]!);
		await until(() => along[0]!.text().includes("word2"), "the next piece");
		cacheOf(0).freed(1);
		expect(await along[0]!.ended).toBe("broken");
		await until(() => routers[2]!.settled.length === 1, "the end of the call");
		expect(routers[2]!.settled[0]).toMatchObject({ status: 502 });
	});

	test("is left by a thread that dies, which the upstream is not held open for", async () => {
		const { first } = await begun([2]);
		await first.cancel();
		await say(PIECES[BEGUN]!);
		cacheOf(0).freed(2);
		await connections[0]!.closed;
	});

	test("is left by a caller whose time is over before it begins, and is held open for nobody then", async () => {
		upstream.run((connection) => void connections.push(connection));
		const client = new AbortController();
		const first = sendCached(routers[1]!, { model: "m", stream: true }, "a", client.signal);
		await until(() => connections.length === 1, "the upstream");
		const headers = { "x-router-timeout-ms": "50" };
		const other = await sendCached(routers[2]!, { model: "m", stream: true }, "a", undefined, headers);
		expect(other.status).toBe(504);
		client.abort();
		expect((await first).status).toBe(499);
		await connections[0]!.closed;
		expect(threads.posted.filter(({ message }) => "stream" in message && message.stream === "join")).toHaveLength(1);
	});

	test("waits for the slowest of them, wherever that is, and has all of it for each in the end", async () => {
		const small = { ...config, cache: { max_entry: "64KB" } };
		threads = cacheThreads(configOf(small), 3);
		routers = [0, 1, 2, 3].map((thread) =>
			pipeline({ config: small, cached: true, cacheThread: () => threads.of(thread) }),
		);
		const first = await reading(1);
		await until(() => first.text().includes("word1"), "the beginning");
		const slow = await sendCached(routers[2]!, { model: "m", stream: true }, "a");
		const filler = textEvent("x".repeat(8_192));
		const total = 400;
		const written = (async () => {
			for (let piece = 0; piece < total; piece++) await say(filler);
			await finish();
		})();
		// What comes is held back, some of it in each thread.
		const seen = () => first.text().length / filler.length;
		await until(() => seen() > 8, "the first of many");
		let before = -1;
		await until(() => {
			const isStill = seen() === before;
			before = seen();
			return isStill;
		}, "a stop");
		expect(seen()).toBeLessThan(total / 2);
		const text = await slow.text();
		await Promise.all([written, first.ended]);
		expect([text.length > total * 8_192, text === first.text()]).toEqual([true, true]);
	});

	test("is given whole where it is wanted in another form", async () => {
		const first = await reading(1);
		await until(() => first.text().includes("word1"), "the beginning");
		const whole = sendCached(routers[2]!, { model: "m" }, "a");
		const other = reading(3, { stream_options: { include_usage: true } });
		for (const thread of [2, 3]) await until(() => threads.isWaiting(thread), "the wait");
		await finish();
		const [answer, stream] = [await whole, await other];
		expect([answer.headers.get("x-router-cache"), await answer.text()]).toEqual([
			"hit",
			expect.stringContaining("word3"),
		]);
		expect([await stream.ended, stream.cache, upstream.received.length]).toEqual(["ended", "hit", 1]);
	});
});
