/** The shared Redis in every state it may be in: nobody waits longer than the deadline, and it is found again by itself. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { parseRedisUrl } from "../src/config/redis-url.ts";
import { Deadlines } from "../src/store/deadlines.ts";
import { AWAY, afterEvent, MOST_MISSES, type RedisEvent, type RedisState } from "../src/store/redis-state.ts";
import { refusal } from "./kit/configure.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

describe("the state table", () => {
	const after = (...events: RedisEvent[]): RedisState => events.reduce(afterEvent, AWAY).state;
	test.each([
		[[], "away"],
		[["reply"], "away"],
		[["ready"], "unsure"],
		[["ready", "miss", "miss", "miss", "miss"], "unsure"],
		[["ready", "reply"], "up"],
		[["ready", "reply", "miss", "miss"], "up"],
		[["ready", "late"], "slow"],
		[["ready", "late", "reply"], "up"],
		[["ready", "hung"], "unsure"],
		[["ready", "reply", "hung"], "up"],
		[["ready", "reply", "late"], "up"],
		[["ready", "reply", "miss", "miss", "miss"], "slow"],
		[["ready", "reply", "miss", "miss", "miss", "miss", "late"], "slow"],
		[["ready", "reply", "miss", "miss", "miss", "hung"], "unsure"],
		[["ready", "reply", "miss", "miss", "miss", "hung", "late"], "slow"],
		[["ready", "reply", "miss", "miss", "miss", "lost"], "away"],
		[["ready", "reply", "miss", "miss", "reply", "miss", "miss"], "up"],
		[["ready", "reply", "miss", "miss", "miss", "reply"], "up"],
		[["ready", "reply", "lost"], "away"],
		[["ready", "lost"], "away"],
		[["ready", "reply", "lost", "reply"], "away"],
		[["unfit"], "unfit"],
		[["unfit", "reply"], "unfit"],
		[["unfit", "lost", "ready", "reply"], "up"],
	] as [RedisEvent[], RedisState][])("%p ends %s", (events, state) => {
		expect(after(...events)).toBe(state);
	});
});

describe("deadlines", () => {
	test("each ends once, in order, unless what it waits for came", async () => {
		const ended: number[] = [];
		const deadlines = new Deadlines(20);
		const waits = [0, 1, 2, 3].map((number) => deadlines.add(() => ended.push(number)));
		waits[1]!.isOver = true;
		await Bun.sleep(10);
		deadlines.add(() => ended.push(4));
		await until(() => ended.length === 4);
		expect(ended).toEqual([0, 2, 3, 4]);
		expect(waits.map(({ isOver }) => isOver)).toEqual([true, true, true, true]);
	});
});

describe("addresses", () => {
	const plain = {
		tls: false,
		username: undefined,
		password: undefined,
		database: 0,
		master: undefined,
		sentinelPassword: undefined,
	};
	test.each([
		["redis://h", { ...plain, kind: "single", nodes: [{ host: "h", port: 6379 }] }],
		[
			"redis://:p%40ss@h:1/3",
			{ ...plain, kind: "single", nodes: [{ host: "h", port: 1 }], password: "p@ss", database: 3 },
		],
		[
			"rediss://u:p@[::1]:2/",
			{ ...plain, kind: "single", nodes: [{ host: "::1", port: 2 }], tls: true, username: "u", password: "p" },
		],
		[
			"rediss+sentinel://:p@a,b:3/main/2?sentinel_password=s",
			{
				...plain,
				kind: "sentinel",
				tls: true,
				password: "p",
				database: 2,
				master: "main",
				sentinelPassword: "s",
				nodes: [
					{ host: "a", port: 26379 },
					{ host: "b", port: 3 },
				],
			},
		],
		[
			"redis+cluster://a:1,b:2",
			{
				...plain,
				kind: "cluster",
				nodes: [
					{ host: "a", port: 1 },
					{ host: "b", port: 2 },
				],
			},
		],
	])("%s", (url, address) => {
		expect(parseRedisUrl(url)).toEqual(address as never);
	});

	test.each([
		["redis://", "names no host"],
		["redis://h:99999", "names no host"],
		["redis://a,b", "several hosts"],
		["redis+sentinel://a", "lacks the master's name"],
		["redis://h/x", "no database number"],
		["redis+cluster://a/1", "a cluster has none but 0"],
		["redis://%E0@h", "percent-encoded"],
		["redis://h?x=1", "a parameter that is not known: x"],
	])("%s is refused where it is written, without the password", (url, says) => {
		expect(parseRedisUrl(url)).toContain(says);
		const message = refusal({ env: { REDIS_URL: url.replace("//", "//:hunter22@").replace("@%E0@", "%E0@") } });
		expect(message).toContain("redis.url");
		expect(message).not.toContain("hunter22");
	});

	test("what is no Redis address at all is said to be none", () => {
		expect(refusal({ env: { REDIS_URL: "http://h" } })).toContain("REDIS_URL must be a URL such as redis://");
	});
});

needing("redis").describe("a server that", () => {
	let server: RedisServer;
	let connected: Connected;
	beforeAll(async () => {
		server = await startRedis();
	});
	afterAll(() => server.stop());
	afterEach(() => connected?.close());

	const set = (value: string) => connected.redis.run((client) => client.set("t:x", value));
	const get = () => connected.redis.run((client) => client.get("t:x"));

	test("is there", async () => {
		connected = connectRedis(server.url);
		expect(await get()).toBeUndefined();
		expect(connected.failures).toEqual(["refused"]);
		await connected.up();
		expect([await set("1"), await get()]).toEqual(["OK", "1"]);
		expect(connected.states).toEqual(["unsure", "up"]);
		expect(await connected.redis.script({ name: "sum", lua: "return ARGV[1] + ARGV[2]" }, ["k"], [2, 3])).toBe(5);
	});

	test("hangs: what is under way ends at the deadline, what comes after is not even sent; then it is found again", async () => {
		connected = connectRedis(server.url);
		await connected.up();
		server.hang();
		try {
			const answers = await Promise.all(Array.from({ length: 20 }, get));
			expect(answers).toEqual(Array(20).fill(undefined));
			expect(connected.failures).toEqual(Array(20).fill("timeout"));
			expect(connected.redis.isUp).toBe(false);
			expect(await get()).toBeUndefined();
			expect(connected.failures.at(-1)).toBe("refused");
			expect(connected.reasons.at(-1)).toBe("it gave no answer within 50 ms");
		} finally {
			server.resume();
		}
		await connected.up();
		await set("2");
		expect(await get()).toBe("2");
	});

	test("misses once: it is asked again", async () => {
		connected = connectRedis(server.url);
		await connected.up();
		server.hang();
		const late = get();
		expect(await late).toBeUndefined();
		server.resume();
		expect(MOST_MISSES).toBeGreaterThan(1);
		expect(connected.redis.isUp).toBe(true);
		await until(async () => (await get()) !== undefined);
	});

	test("dies and comes back", async () => {
		connected = connectRedis(server.url);
		await connected.up();
		const ups: number[] = [];
		connected.redis.onUp(() => ups.push(1));
		await server.kill();
		await connected.down();
		expect(await get()).toBeUndefined();
		await server.restart();
		await connected.up();
		expect(ups).toEqual([1]);
		expect(await set("3")).toBe("OK");
		// Scripts are known by their hash, which the new server has not heard of.
		expect(await connected.redis.script({ name: "one", lua: "return 1" }, [], [])).toBe(1);
	});

	test("was never there", async () => {
		connected = connectRedis("redis://127.0.0.1:1/0");
		await until(() => connected.reasons.length > 0);
		expect(connected.reasons.at(-1)).toBe("ECONNREFUSED");
		expect(await get()).toBeUndefined();
	});

	test("is slow: what must be exact is asked all the same, and answered late; what hangs is told from it", async () => {
		const proxy = slowProxy(server.port);
		connected = connectRedis(`redis://127.0.0.1:${proxy.port}/0`);
		await connected.up();
		const ask = () => connected.redis.ask({ name: "two", lua: "return 2" }, [], []);
		let alive = 0;
		connected.redis.onAlive(() => alive++);
		proxy.delayMs = Number.POSITIVE_INFINITY;
		const late = Array.from({ length: 3 }, ask);
		expect(await Promise.all(late.map((each) => each?.soon))).toEqual([undefined, undefined, undefined]);
		expect(connected.states.at(-1)).toBe("slow");
		const further = ask();
		proxy.delayMs = 100;
		expect(await Promise.all([...late, further].map((each) => each?.whole))).toEqual([2, 2, 2, 2]);
		expect([connected.redis.isUp, connected.redis.isAlive, alive]).toEqual([false, true, 0]);
		proxy.delayMs = Number.POSITIVE_INFINITY;
		await until(() => !connected.redis.isAlive, "the state of one that hangs");
		expect(ask()).toBeUndefined();
		proxy.delayMs = 100;
		await until(() => alive === 1, "the late answers");
		expect(connected.states.at(-1)).toBe("slow");
		proxy.delayMs = 0;
		await connected.up();
		expect(alive).toBe(1);
		proxy.stop();
	});

	test("is slow: it is not waited for again and again", async () => {
		const proxy = slowProxy(server.port);
		connected = connectRedis(`redis://127.0.0.1:${proxy.port}/0`);
		await connected.up();
		proxy.delayMs = 100;
		for (let call = 0; call < 3; call++) expect(await get()).toBeUndefined();
		expect(connected.redis.isUp).toBe(false);
		await Bun.sleep(700);
		expect(connected.redis.isUp).toBe(false);
		proxy.delayMs = 0;
		await connected.up();
		proxy.stop();
	});

	test("refuses a command: others are not affected", async () => {
		connected = connectRedis(server.url);
		await connected.up();
		await server.client.config("SET", "maxmemory", "1");
		expect(await set("4")).toBeUndefined();
		expect(connected.failures).toEqual(["error"]);
		expect(connected.redis.isUp).toBe(true);
		await server.client.config("SET", "maxmemory", "0");
		expect(await set("5")).toBe("OK");
	});

	test("is too old", async () => {
		const old = Bun.listen({
			hostname: "127.0.0.1",
			port: 0,
			socket: {
				data(socket, bytes) {
					const info = "redis_version:6.0.16\r\nloading:0\r\n";
					for (const line of String(bytes).split("*").slice(1)) {
						socket.write(/info/i.test(line) ? `$${info.length}\r\n${info}\r\n` : "+OK\r\n");
					}
				},
			},
		});
		connected = connectRedis(`redis://127.0.0.1:${old.port}/0`);
		await until(() => connected.states.includes("unfit"));
		expect(connected.reasons.at(-1)).toBe("it is version 6.0.16, and 6.2 is the oldest that will do");
		expect(await get()).toBeUndefined();
		old.stop(true);
	});
});
