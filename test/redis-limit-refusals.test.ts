/** Limits while Redis answers with errors and counts nothing: what calls take meanwhile it is told once it counts again. */
import { expect } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { RedisLimiter } from "../src/accounts/limits/redis-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { errorWord, isNotBegun, isOutage } from "../src/store/redis-state.ts";
import { needing } from "./kit/needing.ts";
import { freePort, type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis");

/** So long that nothing leaves it while a test runs. */
const WINDOW_MS = 40_000_000;
let server: RedisServer;
let proxy: ReturnType<typeof slowProxy>;
let connected: Connected;
let limiter: RedisLimiter;
let close: () => void;
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
	await server.empty();
	await server.client.config("RESETSTAT");
	proxy = slowProxy(server.port);
	connected = connectRedis(`redis://127.0.0.1:${proxy.port}/0`);
	limiter = new RedisLimiter(connected.redis, new SlidingWindowLimiter(), "router", { replica: "r", spent: () => 0 });
	close = limiter.open();
	await connected.up();
});
afterEach(async () => {
	close();
	connected.close();
	proxy.stop();
	await hasRoom();
	await server.client.replicaof("NO", "ONE");
});

const tokens = (amount: number, over: Partial<Limit> = {}): Limit => ({
	id: "key:a",
	unit: "tokens",
	max: 100_000,
	windowMs: WINDOW_MS,
	amount,
	...over,
});
const take = (...limits: Limit[]): Promise<LimitDecision> => limiter.take(limits, performance.now());
const settle = (reservation: Reservation, amount: number) => limiter.settle(reservation, amount, performance.now());
const taken = async (...limits: Limit[]): Promise<Reservation> => {
	const decision = await take(...limits);
	if (!decision.isAllowed) throw new Error("it was refused");
	return decision.reservation;
};
const key = `t:{limits}:t:${WINDOW_MS}:key:a`;
const counted = async (): Promise<number> => Number(await server.client.hget(key, "s"));
const becomes = (count: number) => until(async () => (await counted()) === count, `${count} counted in Redis`);
const isFull = () => server.client.config("SET", "maxmemory", "1");
const hasRoom = () => server.client.config("SET", "maxmemory", "0");
/** Redis has answered so many times with this error. */
const says = (word: string, times: number) =>
	until(async () => {
		const [, count = "0"] =
			new RegExp(`errorstat_${word}:count=(\\d+)`).exec(await server.client.info("errorstats")) ?? [];
		return Number(count) >= times;
	}, `${times} times ${word}`);

describe("a Redis that has no memory left", () => {
	test("is told of calls that were let in meanwhile, of those that ended among them, once it has some", async () => {
		await taken(tokens(10));
		await isFull();
		const [ends, runs] = [await taken(tokens(100)), await taken(tokens(200))];
		settle(ends, 30);
		// Two of calls, and two of what it was told of them.
		await says("OOM", 4);
		expect(await counted()).toBe(10);
		settle(runs, 50);
		await hasRoom();
		await becomes(90);
	});

	test("is told what a call has really taken that began before", async () => {
		const call = await taken(tokens(100));
		await isFull();
		settle(call, 30);
		await says("OOM", 1);
		await hasRoom();
		await becomes(30);
	});

	test("and says so when calls have long been let in is told of them, of those that are over, too", async () => {
		await taken(tokens(10));
		await isFull();
		proxy.delayMs = Number.POSITIVE_INFINITY;
		const [ends, runs] = [await taken(tokens(100)), await taken(tokens(200))];
		settle(ends, 30);
		await says("OOM", 2);
		proxy.delayMs = 0;
		await says("OOM", 4);
		settle(runs, 50);
		await hasRoom();
		await becomes(90);
	});

	test("gets back what it has lost once it has some, and that once", async () => {
		await taken(tokens(100));
		await becomes(100);
		// What is under way at that very moment may count twice.
		await Bun.sleep(20);
		const now = await server.client.time();
		const since = String(Number(now[0]) * 1_000_000 + Number(now[1]));
		await server.client.multi().flushall().set("t:{limits}:since", since).config("SET", "maxmemory", "1").exec();
		await says("OOM", 2);
		expect(await counted()).toBe(0);
		await hasRoom();
		await becomes(100);
		await taken(tokens(5));
		expect(await counted()).toBe(105);
	});
});

test("a Redis that is a replica now, until a failover is over, is told of calls that were let in meanwhile", async () => {
	await taken(tokens(10));
	await server.client.replicaof("127.0.0.1", freePort());
	settle(await taken(tokens(100)), 30);
	await says("READONLY", 2);
	expect(await counted()).toBe(10);
	await server.client.replicaof("NO", "ONE");
	await becomes(40);
});

test("a call whose guess its process has left out counts as what it took, where Redis refused it when it had gone on", async () => {
	const guess = tokens(200_000, { id: "key:guess", certain: 50 });
	settle(await taken(tokens(50, { id: guess.id }), tokens(50)), 50);
	proxy.delayMs = Number.POSITIVE_INFINITY;
	// Other routers have taken nearly all of the other limit, which this one has not heard.
	await server.client.hset(key, "s", 99_990);
	const call = await taken(guess, tokens(50));
	settle(call, 80);
	proxy.delayMs = 0;
	await becomes(99_990 + 80);
	expect(Number(await server.client.hget(key.replace("key:a", "key:guess"), "s"))).toBe(50 + 80);
});

test("what was carried out of a script is known by the error: all or nothing, of Redis 6 as of later ones", () => {
	const wrapped =
		"ERR Error running script (call to f_ab12): @user_script:9: @user_script: 9: -OOM command not allowed";
	expect(errorWord(wrapped)).toBe("OOM");
	expect(errorWord("READONLY You can't write against a read only replica. script: ab12")).toBe("READONLY");
	expect(errorWord("ERR Error running script (call to f_ab12): @user_script:9: attempt to index nil - No")).toBe("ERR");
	expect(["OOM", "READONLY", "LOADING"].map(isNotBegun)).toEqual([true, true, true]);
	// Of these a part may have been carried out.
	expect(["ERR", "WRONGTYPE", "NOPERM"].map(isNotBegun)).toEqual([false, false, false]);
	expect(["OOM", "READONLY"].map(isOutage)).toEqual([false, true]);
});
