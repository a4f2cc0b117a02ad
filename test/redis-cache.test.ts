/** Answers that routers share: one call for all of them, and a Redis in any state is nobody's trouble. */
import { expect } from "bun:test";
import { redisStore } from "../src/cache/redis-store.ts";
import { RedisBus } from "../src/store/redis-bus.ts";
import { readCached, sendCached } from "./kit/cached-calls.ts";
import { goodStream } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis");

const upstream = startFaultUpstream();
let server: RedisServer;
beforeAll(async () => {
	server = await startRedis();
});
afterAll(async () => {
	upstream.stop();
	await server.stop();
});

const WHOLE =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}';
const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	keys: ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` })),
};

let connected: Connected[];
let closing: (() => void)[];
let routers: Pipeline[];
/** Lets the upstream go on. */
let gate: PromiseWithResolvers<void>;
beforeEach(async () => {
	await server.empty();
	gate = Promise.withResolvers();
	// The deadline is not what is tested here but where it says so, and the machine may be busy.
	connected = [1, 2, 3].map(() => connectRedis(server.url, { timeoutMs: 2000 }));
	closing = [];
	routers = connected.map(({ redis, close }, index) => {
		const bus = new RedisBus(redis);
		const sharedStore = redisStore(redis, bus, `router-${index}`);
		closing.push(bus.open(), close);
		return pipeline({ config, cached: true, sharedStore });
	});
	await Promise.all(connected.map((each) => each.up()));
	upstream.run(async (connection) => {
		await gate.promise;
		await answers("200 OK", WHOLE)(connection);
	});
});
afterEach(() => {
	for (const close of closing) close();
});

const send = (router: number, over: Json = {}, key = "a", signal?: AbortSignal) =>
	sendCached(routers[router]!, over, key, signal);
const read = readCached;
const calls = () => upstream.received.length;
const reached = (count: number) => until(() => calls() === count, "the upstream");
const claims = async () => (await server.client.keys("*:by")).length;

test("the same call to three routers at once is made once", async () => {
	const all = [0, 1, 2, 0, 1, 2].map((router) => read(send(router)));
	await reached(1);
	await Bun.sleep(50);
	gate.resolve();
	const got = await Promise.all(all);
	expect(got.map(({ text }) => text)).toEqual(Array(6).fill(WHOLE));
	expect(got.map(({ cache }) => cache).sort()).toEqual(["hit", "hit", "hit", "hit", "hit", "miss"]);
	expect(calls()).toBe(1);
	expect(await claims()).toBe(0);
});

test("what one router was answered another gives again: as it came, as a stream, and to no other key", async () => {
	gate.resolve();
	await read(send(0));
	expect(await read(send(1))).toEqual({ status: 200, cache: "hit", text: WHOLE });
	expect((await read(send(2, { stream: true }))).cache).toBe("hit");
	expect((await read(send(1, {}, "b"))).cache).toBe("miss");
	expect(calls()).toBe(2);
	// Held in the router's own memory from then on.
	await server.client.flushall();
	expect((await read(send(1))).cache).toBe("hit");
});

test("what it holds in Redis is one value under the prefix, which ends by itself", async () => {
	gate.resolve();
	await read(send(0));
	const keys = await server.client.keys("*");
	expect(keys.length).toBe(1);
	expect(keys[0]).toMatch(/^t:cache:\{[0-9a-f]{64}\}$/);
	const ttl = await server.client.pttl(keys[0]!);
	expect(ttl).toBeGreaterThan(3_500_000);
	expect(ttl).toBeLessThanOrEqual(3_600_000);
});

test("a stream by one router is a whole answer by another", async () => {
	upstream.run(streams(goodStream(2)));
	await read(send(0, { stream: true }));
	const whole = await read(send(1));
	expect([whole.cache, JSON.parse(whole.text).choices[0].message.content]).toEqual(["hit", "word0 word1 "]);
});

describe("a call that another router makes", () => {
	test("fails: those that waited make it themselves", async () => {
		upstream.run(async (connection) => {
			if (connection.nth > 0) return answers("200 OK", WHOLE)(connection);
			await gate.promise;
			await answers("400 Bad Request", '{"error":{"message":"no"}}')(connection);
		});
		const first = read(send(0));
		await reached(1);
		const others = [read(send(1)), read(send(2))];
		await Bun.sleep(50);
		gate.resolve();
		expect((await first).status).toBe(400);
		expect((await Promise.all(others)).map(({ status }) => status)).toEqual([200, 200]);
		// One of the two waited for the other.
		expect(calls()).toBe(2);
	});

	test("is left by its client: another router makes it", async () => {
		const client = new AbortController();
		const first = read(send(0, {}, "a", client.signal));
		await reached(1);
		const other = read(send(1));
		await Bun.sleep(50);
		client.abort();
		await first;
		await reached(2);
		gate.resolve();
		expect((await other).status).toBe(200);
	});

	test("is on a router that dies: its claim lapses", async () => {
		const first = read(send(0));
		await reached(1);
		const [claim] = await server.client.keys("*:by");
		expect(await server.client.pttl(claim!)).toBeLessThanOrEqual(5000);
		// It renews it no more.
		for (const close of closing.slice(0, 2)) close();
		await server.client.pexpire(claim!, 1);
		const other = read(send(1));
		await reached(2);
		gate.resolve();
		expect((await other).status).toBe(200);
		await first;
	});

	test("takes long: its claim is renewed", async () => {
		const first = read(send(0));
		await reached(1);
		const [claim] = await server.client.keys("*:by");
		await server.client.pexpire(claim!, 3000);
		await until(async () => (await server.client.pttl(claim!)) > 3500, "the renewal");
		gate.resolve();
		await first;
	});

	test("is waited for no longer than its own client wants", async () => {
		const first = read(send(0));
		await reached(1);
		const client = new AbortController();
		const other = read(send(1, {}, "a", client.signal));
		await Bun.sleep(50);
		client.abort();
		expect((await other).status).toBe(499);
		gate.resolve();
		await first;
		expect(calls()).toBe(1);
	});
});

describe("Redis", () => {
	test("that holds rubbish is as good as empty", async () => {
		gate.resolve();
		await read(send(0));
		const [key] = await server.client.keys("*");
		for (const rubbish of [
			"",
			"x",
			"\x10no facts",
			'\x10{"provider":1}\n{}',
			`\x10{"provider":"p","model":"m","storedAt":1,"expiresAt":9e15}\nno json`,
			"\x11nozstd",
		]) {
			await server.client.set(key!, rubbish);
			routers[1] = pipeline({
				config,
				cached: true,
				sharedStore: redisStore(connected[1]!.redis, new RedisBus(connected[1]!.redis), "r"),
			});
			expect(await read(send(1))).toEqual({ status: 200, cache: "miss", text: WHOLE });
		}
	});

	test("that is away, hangs or is flushed: every call is answered", async () => {
		gate.resolve();
		const different = (count: number, from: number) =>
			Promise.all(Array.from({ length: count }, (_, index) => read(send(index % 3, { seed: from + index }))));
		const good = (got: { status: number }[]) =>
			expect(got.map(({ status }) => status)).toEqual(Array(got.length).fill(200));
		await server.client.flushall();
		good(await different(9, 0));
		server.hang();
		good(await different(9, 100));
		server.resume();
		await Promise.all(connected.map((each) => each.up()));
		await server.kill();
		good(await different(9, 200));
		await server.restart();
		await Promise.all(connected.map((each) => each.up()));
		good(await different(9, 300));
		expect(await server.client.dbsize()).toBe(9);
	});

	test("that is lost while a call waits for another router's: it makes its own", async () => {
		const first = read(send(0));
		await reached(1);
		const other = read(send(1));
		await Bun.sleep(50);
		await server.kill();
		await reached(2);
		gate.resolve();
		expect((await Promise.all([first, other])).map(({ status }) => status)).toEqual([200, 200]);
		await server.restart();
	});
});
