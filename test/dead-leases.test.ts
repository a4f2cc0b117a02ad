/** What a worker held of limits at Redis when it died is free at once, and nothing of what others hold. */
import { expect } from "bun:test";
import { DeadLeases } from "../src/accounts/limits/dead-leases.ts";
import type { Limit } from "../src/accounts/limits/limiter.ts";
import { leasesKey } from "../src/accounts/limits/redis-limit-keys.ts";
import { RedisLimiter } from "../src/accounts/limits/redis-limiter.ts";
import { needing } from "./kit/needing.ts";
import { openLimiter } from "./kit/open-limiter.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, test } = needing("redis");

let server: RedisServer;
let main: Connected;
let workers: Connected[];
let limiters: RedisLimiter[];
let dead: DeadLeases;
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
	await server.empty();
	main = connectRedis(server.url, { timeoutMs: 5000 });
	// The name of one begins with that of another.
	workers = ["r-1", "r-11"].map(() => connectRedis(server.url, { timeoutMs: 5000 }));
	await Promise.all([main, ...workers].map((each) => each.up()));
	const spender = { replica: "r", spent: () => 0 };
	limiters = ["r-1", "r-11"].map(
		(name, at) => new RedisLimiter(workers[at]!.redis, openLimiter(), name, spender, { isOneOfSeveral: true }),
	);
	dead = new DeadLeases(main.redis);
});
afterEach(() => {
	for (const each of [main, ...workers]) each.close();
});

const WINDOW = { windowMs: 60_000, amount: 1 };
const places = (max: number, id = "key:a"): Limit => ({ ...WINDOW, id, unit: "concurrency", max });
const budget = (usd: number, amount: number): Limit => ({
	...{ ...WINDOW, amount, id: "key:spender", unit: "usd", max: usd },
	spending: { key: "spender", period: "total", usd: 0 },
});
const guess = (): Limit => ({ ...WINDOW, id: "key:g", unit: "tokens", max: 500, amount: 4_196, certain: 100 });
const take = async (limits: Limit[], worker: number) => limiters[worker]!.take(limits, 0);
const isLetIn = async (limits: Limit[], worker: number) => (await take(limits, worker)).isAllowed;
/** All that the first worker has sent is done. */
const dies = async () => {
	workers[0]!.close();
	await server.client.ping();
	dead.free("r-1");
};

test("places, parts of a budget and guesses of the dead are free, those of the living are held", async () => {
	for (let call = 0; call < 3; call++) expect(await isLetIn([places(4), budget(4, 1)], 0)).toBe(true);
	expect(await isLetIn([places(4), budget(4, 1)], 1)).toBe(true);
	expect(await isLetIn([guess()], 0)).toBe(true);
	expect(await isLetIn([places(4)], 1)).toBe(false);
	expect(await isLetIn([budget(4, 1)], 1)).toBe(false);
	expect(await isLetIn([guess()], 1)).toBe(false);
	await dies();
	await until(async () => (await server.client.zcard("t:{limits}:c:60000:key:a")) === 1, "the places");
	for (let call = 0; call < 3; call++) expect(await isLetIn([places(4), budget(4, 1)], 1)).toBe(true);
	expect([await isLetIn([places(4)], 1), await isLetIn([budget(4, 1)], 1)]).toEqual([false, false]);
	await until(() => isLetIn([guess()], 1), "the guess");
});

test("a call that Redis reads only after its worker's death was heard of has its place given back, too", async () => {
	dead.free("r-1");
	expect(await isLetIn([places(1)], 0)).toBe(true);
	await until(() => isLetIn([places(1)], 1), "the place");
});

test("what was held when Redis hung is free as soon as it answers again", async () => {
	const hasty = connectRedis(server.url, { timeoutMs: 50 });
	await hasty.up();
	dead = new DeadLeases(hasty.redis);
	expect(await isLetIn([places(1)], 0)).toBe(true);
	server.hang();
	await Promise.all(Array.from({ length: 4 }, () => hasty.redis.run((client) => client.ping())));
	await hasty.down();
	dead.free("r-1");
	// Both tries are in vain.
	await Bun.sleep(700);
	server.resume();
	await hasty.up();
	await until(() => isLetIn([places(1)], 1), "the place");
	hasty.close();
});

test("the list of where a worker has leases holds no more than it needs, and lapses with them", async () => {
	const list = leasesKey(main.redis, "r-1");
	await take([{ ...WINDOW, id: "key:a", unit: "requests", max: 9 }], 0);
	expect(await server.client.exists(list)).toBe(0);
	for (let call = 0; call < 5; call++) await take([places(9), places(9, "key:b")], 0);
	expect(await server.client.zcard(list)).toBe(2);
	expect(await server.client.pttl(list)).toBeWithin(1, 30_001);
	await server.client.zadd(list, 1, "t:{limits}:c:60000:key:old");
	await take([places(9)], 0);
	expect(await server.client.zcard(list)).toBe(2);
});
