/** What a router hears of limits that others have changed, from a real Redis. */
import { expect } from "bun:test";
import { RedisWatch } from "../src/accounts/limits/redis-watch.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";

const { afterEach, beforeEach, describe, test } = needing("redis");

let server: RedisServer;
let connected: Connected;
let watch: RedisWatch;
const told = new Set<string>();
let fault: Error | undefined;

beforeEach(async () => {
	server = await startRedis();
	connected = connectRedis(server.url, { timeoutMs: 5_000 });
	await connected.up();
	told.clear();
	fault = undefined;
	watch = new RedisWatch(connected.redis, "a", {
		lost: () => {},
		silent: () => {},
		looked() {
			if (fault) throw fault;
		},
		wants: () => true,
		total: (key) => void told.add(key),
	});
	await server.client.zadd("t:{limits}:routers", "9e15", "b");
	// The first look finds the other one.
	await watch.look();
});
afterEach(async () => {
	connected.close();
	await server.stop();
});

/** So many limits that were changed at one moment, on Redis's clock, ms. */
async function changed(count: number, at: number): Promise<void> {
	const members = Array.from({ length: count }, (_, index) => [String(at), `t:{limits}:r:60000:${at}-${index}`]);
	await server.client.zadd("t:{limits}:changed", ...(members.flat() as [string, string]));
}

describe("a router hears", () => {
	test("of all limits that were put back in one millisecond, and then that it has heard of all", async () => {
		const now = Date.now();
		await changed(1_200, now);
		await changed(3, now + 1);
		for (let look = 0; look < 4; look++) await watch.look();
		expect(told.size).toBe(1_203);
		expect(watch.silence(0).toldAt).toBeGreaterThan(0);
	});

	test("of limits again after a look that has failed", async () => {
		fault = new Error("it can't be noted");
		await expect(watch.look()).rejects.toThrow("it can't be noted");
		fault = undefined;
		await changed(1, Date.now());
		for (let look = 0; look < 2; look++) await watch.look();
		expect(told.size).toBe(1);
	});
});
