/** Keys, spend and usage of several replicas: told at once, found again after an outage, and healed after a flush. */
import { expect } from "bun:test";
import { mirrorKeys } from "../src/accounts/auth/key-mirror.ts";
import { isNewer, type KeyStore, type StoredKey } from "../src/accounts/auth/key-store.ts";
import { NO_USAGE } from "../src/accounts/usage/ledger-rows.ts";
import { SharedSpend } from "../src/accounts/usage/shared-spend.ts";
import { SharedUsage } from "../src/accounts/usage/shared-usage.ts";
import { type PublishedSpend, periodsOf } from "../src/accounts/usage/spend.ts";
import type { UsageRow } from "../src/store/ledger-batch.ts";
import { RedisBus } from "../src/store/redis-bus.ts";
import { memoryKeys } from "./kit/memory-keys.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis");

let server: RedisServer;
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(() => server.empty());
const closing: (() => void)[] = [];
afterEach(() => {
	for (const close of closing.splice(0)) close();
});

/** A replica's connection; what it shares is made by `share` before it begins to listen. */
function replica<T>(share: (connected: Connected, bus: RedisBus) => { made: T; open: () => () => void }): T {
	const connected = connectRedis(server.url, { timeoutMs: 5000 });
	const bus = new RedisBus(connected.redis);
	const { made, open } = share(connected, bus);
	closing.push(open(), bus.open(), connected.close);
	return made;
}

let time = 1_790_000_000_000;
const keysOf = (store: KeyStore = memoryKeys(() => time++)) =>
	replica(({ redis }, bus) => ({ made: store, open: mirrorKeys(redis, bus, store) }));
const NEW_HASH = "f".repeat(64);
const NEW = { name: "team", team: "t", models: ["*"], limits: { rpm: 5 }, budget: { usd: 1, per: "day" as const } };

describe("keys", () => {
	test("made on one replica work on another, and so does what becomes of them", async () => {
		const [one, other] = [keysOf(), keysOf()];
		const { key, secret } = one.create(NEW);
		await until(() => other.find(key.hash) !== undefined);
		expect(other.find(key.hash)).toEqual(key);
		expect(JSON.stringify(await server.client.hgetall("t:{keys}"))).not.toContain(secret);
		const rotated = other.rotate("team", 1000)!;
		await until(() => one.find(rotated.key.hash) !== undefined);
		expect(one.find(rotated.key.hash)?.previous?.hash).toBe(key.hash);
		one.revoke("team");
		await until(() => other.find(rotated.key.hash) === undefined);
	});

	test("made before a replica came are read by it", async () => {
		const one = keysOf();
		const { key } = one.create(NEW);
		await until(async () => (await server.client.hlen("t:{keys}")) === 1);
		const late = keysOf();
		await until(() => late.find(key.hash) !== undefined);
	});

	test("survive a flush, whichever replica had them, and so do revocations", async () => {
		const [one, other] = [keysOf(), keysOf()];
		const kept = one.create(NEW).key;
		const gone = one.create({ ...NEW, name: "gone" }).key;
		await until(() => other.find(gone.hash) !== undefined);
		one.revoke("gone");
		await server.client.flushall();
		await until(() => other.find(gone.hash) === undefined);
		await until(async () => (await server.client.hlen("t:{keys}")) === 2);
		const late = keysOf();
		await until(() => late.list().length === 2);
		expect([late.find(kept.hash)?.name, late.find(gone.hash)]).toEqual(["team", undefined]);
	});

	test("made while Redis was away are told when it is back; a stale replica brings no revoked key back", async () => {
		const [one, other] = [keysOf(), keysOf()];
		const { key } = one.create(NEW);
		await until(() => other.find(key.hash) !== undefined);
		await server.kill();
		one.revoke("team");
		const made = other.create({ ...NEW, name: "second" }).key;
		await server.restart();
		await until(() => one.find(made.hash) !== undefined && other.find(key.hash) === undefined);
		const late = keysOf();
		await until(() => late.list().length === 2);
		expect(late.find(key.hash)).toBeUndefined();
	});

	test("that nobody told of are found by looking: messages may be lost", async () => {
		const one = keysOf();
		const { key } = one.create(NEW);
		await until(async () => (await server.client.hlen("t:{keys}")) === 1);
		const text = JSON.stringify({ ...key, id: "silent", name: "silent", hash: "0".repeat(64) });
		await server.client.hset("t:{keys}", "silent", `${key.changedAt} ${text}`);
		await server.client.incr("t:{keys}:revision");
		await until(() => one.find("0".repeat(64)) !== undefined);
	});

	test("that are none are not taken over", async () => {
		const one = keysOf();
		await server.client.hset("t:{keys}", { a: "1 {}", b: "x", c: '5 {"id":"c"}', d: "5 no json" });
		await server.client.publish("t:keys", "no json");
		await server.client.publish("t:keys", '[1,[["e","7","{}"]]]');
		const { key } = one.create(NEW);
		await until(async () => (await server.client.hexists("t:{keys}", key.id)) === 1);
		const late = keysOf();
		await until(() => late.find(key.hash) !== undefined);
		expect(late.list()).toEqual([key]);
	});

	test("of two versions all replicas choose the same", () => {
		const key = memoryKeys(() => 5).create(NEW).key;
		const later: StoredKey = { ...key, changedAt: 6 };
		const revoked: StoredKey = { ...key, changedAt: 4, revokedAt: 4 };
		expect([isNewer(key, undefined), isNewer(later, key), isNewer(key, later), isNewer(key, key)]).toEqual([
			true,
			true,
			false,
			false,
		]);
		expect([isNewer(revoked, later), isNewer(later, revoked)]).toEqual([true, false]);
		const twin: StoredKey = { ...key, models: ["fast"] };
		expect(isNewer(twin, key)).toBe(!isNewer(key, twin));
	});

	test.each([
		[
			"edited and rotated at once",
			{ limits: { rpm: 7 }, changedAt: 9 },
			{ hash: NEW_HASH, rotatedAt: 8, changedAt: 8 },
		],
		["edited, and rotated after", { limits: { rpm: 7 }, changedAt: 8 }, { hash: NEW_HASH, rotatedAt: 9, changedAt: 9 }],
		["edited twice in one millisecond", { limits: { rpm: 7 }, changedAt: 9 }, { limits: { rpm: 3 }, changedAt: 9 }],
	])("%s, at routers that had not heard of each other, are the same at all", async (_, one, other) => {
		const stores = [one, other, other].map((change) => {
			const store = memoryKeys(() => 5);
			const { key } = store.create(NEW);
			store.merge([{ ...key, ...change }]);
			return store;
		});
		stores.slice(0, 2).map(keysOf);
		// One that comes later hears what is in Redis alone.
		const [first, second, late] = stores.map((store) => () => JSON.stringify(store.list())) as (() => string)[];
		await until(() => first!() === second!());
		keysOf(stores[2]!);
		await until(() => first!() === late!());
		const [key] = stores[0]!.list();
		expect([key!.limits.rpm, "hash" in other && key!.hash]).toEqual([
			"hash" in other && other.changedAt < one.changedAt ? 7 : key!.limits.rpm,
			"hash" in other && NEW_HASH,
		]);
	});
});

/** A ledger in memory. */
function ledger(): PublishedSpend & { sums: Map<string, { key: string; period: string; usd: number }> } {
	const sums = new Map<string, { key: string; period: string; usd: number }>();
	return {
		sums,
		add(key, period, usd) {
			const name = JSON.stringify([key, period]);
			sums.set(name, { key, period, usd: (sums.get(name)?.usd ?? 0) + usd });
		},
		spent: (key, period) => sums.get(JSON.stringify([key, period]))?.usd ?? 0,
		all: () => sums.values(),
	};
}
const spendOf = (name: string, own = ledger()) =>
	replica(({ redis }, bus) => {
		const made = new SharedSpend(redis, bus, name, own);
		return { made, open: () => made.open() };
	});

describe("spend", () => {
	test("is the sum of what all replicas have spent, each told by itself", async () => {
		const { month } = periodsOf(Date.now());
		const [one, other] = [spendOf("r1"), spendOf("r2")];
		one.add("team a", month, 0.25);
		other.add("team a", month, 0.5);
		other.add("team a", "total", 3);
		expect(one.spent("team a", month)).toBe(0.25);
		await until(() => one.spent("team a", month) === 0.75 && other.spent("team a", month) === 0.75);
		expect([one.spent("team a", "total"), one.spent("team", month)]).toEqual([3, 0]);
		one.add("team a", month, 1);
		await until(() => other.spent("team a", month) === 1.75);
	});

	test("heals by itself after a flush, and after a restart of a replica", async () => {
		const own = ledger();
		const [one, other] = [spendOf("r1", own), spendOf("r2")];
		one.add("a", "total", 2);
		other.add("a", "total", 1);
		await until(() => one.spent("a", "total") === 3);
		await server.client.flushall();
		expect(one.spent("a", "total")).toBe(3);
		await until(async () => (await server.client.hlen("t:{spend}")) === 2);
		const restarted = spendOf("r1", own);
		await until(() => restarted.spent("a", "total") === 3);
	});

	test("of a replica that is gone is told to a flushed Redis by those that know it", async () => {
		const one = spendOf("r1");
		const before = closing.length;
		const gone = spendOf("r2");
		gone.add("a", "total", 2);
		await until(() => one.spent("a", "total") === 2);
		for (const close of closing.splice(before)) close();
		await server.client.flushall();
		await until(async () => (await server.client.hexists("t:{spend}", "r2 total a")) === 1);
		const late = spendOf("r3");
		await until(() => late.spent("a", "total") === 2);
	});

	test("of days that are long over is taken out of Redis", async () => {
		const { day, month, total } = periodsOf(Date.now());
		const fields = [`r9 ${day} a`, `r9 ${month} a`, `r9 ${total} a`, "r9 2020-01-31 a", "r9 2020-01 a"];
		for (const field of fields) await server.client.hset("t:{spend}", field, "1000000000 ");
		const one = spendOf("r1");
		await until(async () => (await server.client.hlen("t:{spend}")) === 3);
		expect([one.spent("a", day), one.spent("a", month), one.spent("a", total)]).toEqual([1, 1, 1]);
	});
});

describe("usage", () => {
	const DAY = "2026-01-01";
	const row = (calls: number, more: Partial<UsageRow> = {}): UsageRow => ({
		...{ day: DAY, keyId: "k", key: "a", team: "", user: "", model: "m", provider: "p" },
		...NO_USAGE,
		calls,
		...more,
	});
	const usageOf = (name: string, days: UsageRow[][] = []) => {
		const connected = connectRedis(server.url, { timeoutMs: 5000 });
		const usage = new SharedUsage(connected.redis, name, () => days);
		closing.push(usage.open(), connected.close);
		const publish = (rows: UsageRow[]) => {
			days.unshift(rows);
			usage.publish(rows);
		};
		return { usage, connected, publish };
	};
	const fields = () => server.client.hlen(`t:usage:${DAY}`);

	test("of a day is read from all others, in the newest form of each row", async () => {
		const [one, other] = [usageOf("r1"), usageOf("r2")];
		await Promise.all([one.connected.up(), other.connected.up()]);
		one.publish([row(1), row(7, { user: "u\nv" })]);
		one.publish([row(2)]);
		other.publish([row(5)]);
		await until(async () => (await fields()) === 3);
		await Promise.all([one.usage.published(), other.usage.published()]);
		const told = await other.usage.others([DAY, "2026-01-02"]);
		expect(told!.map(({ calls, user }) => [calls, user]).sort()).toEqual([
			[2, ""],
			[7, "u\nv"],
		]);
		expect(await one.usage.others([DAY])).toEqual([row(5)]);
	});

	test("of thousands of users is told and read in pages, each within a command's time", async () => {
		const [one, other] = [usageOf("r1"), usageOf("r2")];
		await Promise.all([one.connected.up(), other.connected.up()]);
		const rows = Array.from({ length: 5000 }, (_, at) => row(at, { user: `user ${at}` }));
		await server.client.config("RESETSTAT");
		one.publish(rows);
		await one.usage.published();
		const told = await other.usage.others([DAY]);
		expect(told!.toSorted((a, b) => a.calls - b.calls)).toEqual(rows);
		const stats = await server.client.info("commandstats");
		const times = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1]);
		expect(times("hset")).toBe(25);
		expect(times("hscan")).toBeGreaterThan(10);
	});

	test("is published again after a flush", async () => {
		const one = usageOf("r1");
		await one.connected.up();
		one.publish([row(1)]);
		await until(async () => (await server.client.exists(`t:usage:${DAY}`, "t:usage:of:r1")) === 2);
		await server.client.flushall();
		await until(async () => (await server.client.pttl(`t:usage:${DAY}`)) > 0);
	});

	test("that Redis did not take is published again once it does", async () => {
		const one = usageOf("r1");
		await one.connected.up();
		await until(async () => (await server.client.exists("t:usage:of:r1")) === 1);
		// It hangs up, and has lost nothing.
		await server.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		await one.connected.down();
		one.publish([row(1)]);
		await one.usage.published();
		await one.connected.up();
		await until(async () => (await fields()) === 1);
	});

	test("that Redis did not take before its replica was started anew is published then", async () => {
		const before = usageOf("r1");
		await before.connected.up();
		await until(async () => (await server.client.exists("t:usage:of:r1")) === 1);
		await usageOf("r1", [[row(1)]]).connected.up();
		await until(async () => (await fields()) === 1);
	});

	test("of a field that somebody else has written is left out", async () => {
		const one = usageOf("r1");
		await one.connected.up();
		await server.client.hset(`t:usage:${DAY}`, { "r2\nx": "{", "r2\ny": "[]", "r2\nz": "null" });
		expect(await one.usage.others([DAY])).toEqual([]);
	});

	test("says that it is not known where Redis is away", async () => {
		const one = usageOf("r1");
		await one.connected.up();
		one.connected.close();
		expect(await one.usage.others([DAY])).toBeUndefined();
	});
});

test("a period is a day, a month and for ever, in UTC", () => {
	expect(periodsOf(Date.UTC(2026, 0, 31, 23, 59))).toEqual({ day: "2026-01-31", month: "2026-01", total: "total" });
});
