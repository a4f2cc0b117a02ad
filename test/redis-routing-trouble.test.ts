/**
 * Trouble with Redis is none of the calls of three routers, of one worker each or of two: limits hold, and what they choose replicas by is one
 * again afterwards.
 */
import { expect } from "bun:test";
import { goodStream } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callOnce } from "./kit/worker-router.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("redis");

const RPM = 40;
/** Shares of that for three. */
const SHARES = [13, 13, 14];
/** Where routers say that they are there: names by when they lapse, ms. */
const ROUTERS = "router:{limits}:routers";
/** A key for each time that a limit is looked at. */
const KEYS = 40;
const boxes = [startFaultUpstream(), startFaultUpstream(), startFaultUpstream()] as const;
let server: RedisServer;
let proxy: ReturnType<typeof slowProxy>;
let routers: RunningRouter[] = [];
/** The load has had enough. */
let isOver = false;
beforeAll(async () => {
	for (const box of boxes) box.run(streams(goodStream(2)));
	server = await startRedis();
	proxy = slowProxy(server.port);
});
afterEach(async () => {
	isOver = true;
	proxy.delayMs = 0;
	server.resume();
	await Promise.all(routers.map((router) => router.stop()));
	await server.client.flushall();
});
afterAll(async () => {
	proxy.stop();
	await server.stop();
	for (const box of boxes) box.stop();
});

async function start(workers: number): Promise<void> {
	const providers = Object.fromEntries(
		boxes.map(({ origin }, at) => [`box${at}`, { type: "vllm", base_url: `${origin}/v1` }]),
	);
	const keys = Array.from({ length: KEYS }, (_, at) => ({ name: `limited-${at}`, key: `key-limited-${at}`, rpm: RPM }));
	const config: Json = {
		...{ providers, server: { workers }, models: [{ name: "fast", targets: ["box0/m", "box1/m", "box2/m"] }] },
		keys: [...keys, { name: "free", key: "key-of-all-else" }],
	};
	const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}/0` };
	routers = await Promise.all([1, 2, 3].map(() => startRouter({ env, config })));
	await allUp(1);
}

/** All threads of all routers have looked who shares the Redis since all were there: they say so anew each second, each time for ten. */
async function known(): Promise<void> {
	const said = async () => {
		const found = await server.client.zrange(ROUTERS, "0", "-1", "WITHSCORES");
		return found.filter((_, at) => at % 2 === 1).map(Number);
	};
	let first = Number.POSITIVE_INFINITY;
	await until(async () => {
		const scores = await said();
		if (scores.length < routers.length) return false;
		first = Math.min(first, Math.max(...scores));
		return Math.min(...scores) > first + 2_500;
	}, "the routers that know of each other");
}

const allUp = (value: number) =>
	until(async () => {
		const ups = await Promise.all(routers.map((router) => router.metric("router_redis_up")));
		return ups.every((up) => up === value);
	}, `Redis at ${value}`);
const body = (text: string) => ({ model: "fast", stream: true, messages: [{ role: "user", content: text }] });
const free = { authorization: "Bearer key-of-all-else" };
/** Over a connection of its own, so that any worker may get it. */
async function ask(router: RunningRouter, text: string, session: string) {
	const answer = await callOnce(router.url, body(text), { ...free, "x-session-id": session });
	return { status: answer.status, text: await answer.text(), provider: answer.headers.get("x-router-provider") };
}
/** Where a router would send a call of a session, and why. */
async function placeOf(router: RunningRouter, session: string): Promise<string> {
	const headers = { ...free, "x-session-id": session, connection: "close" };
	const answer = await post(`${router.url}/v1/route`, body("hi"), headers);
	const [first] = JSON.parse(answer.text).candidates;
	return `${first.id}: ${first.reason}`;
}
/** How many of twice as many calls as a key may make each router lets in: a few at a time, which is no outage. */
async function letIn(key: number): Promise<number[]> {
	const counts = routers.map(() => 0);
	const headers = { authorization: `Bearer key-limited-${key}` };
	const client = async (nth: number) => {
		for (let call = 0; call < RPM / 2; call++) {
			const answer = await callOnce(routers[nth % 3]!.url, { model: "dummy" }, headers);
			await answer.text();
			if (answer.status === 200) counts[nth % 3]!++;
			else expect(answer.status).toBe(429);
		}
	};
	await Promise.all(Array.from({ length: 12 }, (_, nth) => client(nth)));
	return counts;
}
const sum = (counts: readonly number[]) => counts.reduce((all, each) => all + each, 0);

describe.each([1, 2])("of %d workers each:", (workers) => {
	test("Redis hung, paused, slow, flushed and killed under load: no call fails, limits hold, sessions are at one place again", async () => {
		await start(workers);
		let failed = 0;
		let done = 0;
		isOver = false;
		const caller = async (nth: number) => {
			for (let turn = 0; !isOver; turn++) {
				const asked = ask(routers[turn % 3]!, `${nth} says: `.repeat(200) + turn, `s${nth}`);
				const answer = await asked.catch(() => undefined);
				if (answer?.status !== 200 || !answer.text.endsWith("data: [DONE]\n\n")) failed++;
				done++;
				await Bun.sleep(2);
			}
		};
		const load = Array.from({ length: 9 }, (_, nth) => caller(nth));
		const some = async () => {
			const from = done;
			await until(() => done > from + 100, "the calls");
		};
		let nth = 0;
		/** What one router learns the others know. */
		const shared = async () => {
			const session = `after-${nth++}`;
			await ask(routers[nth % 3]!, "hi", session);
			const place = await placeOf(routers[nth % 3]!, session);
			expect(place).toContain("has the session's last calls");
			for (const router of routers) await until(async () => (await placeOf(router, session)) === place, "the session");
		};
		let key = 0;
		/** Each router has its share of what nobody has taken, its workers together. */
		const apart = async () => expect((await letIn(key++)).sort()).toEqual(SHARES);
		await some();
		await shared();
		await known();
		server.hang();
		await allUp(0);
		await apart();
		await some();
		server.resume();
		await allUp(1);
		await shared();
		const paused = server.client.call("CLIENT", "PAUSE", "2000", "ALL");
		await allUp(0);
		await some();
		await paused;
		await allUp(1);
		await shared();
		proxy.delayMs = 100;
		await allUp(0);
		await some();
		proxy.delayMs = 0;
		await allUp(1);
		await server.client.flushall();
		await some();
		await shared();
		await server.kill();
		await allUp(0);
		await ask(routers[0]!, "hi", "of-the-outage");
		await apart();
		await server.restart();
		await allUp(1);
		await shared();
		await until(async () => {
			const places = await Promise.all(routers.map((router) => placeOf(router, "of-the-outage")));
			return new Set(places).size === 1 && places[0]!.includes("has the session's last calls");
		}, "what was noted while it was away");
		isOver = true;
		await Promise.all(load);
		expect(failed).toBe(0);
		// All is counted together again, where no call came too late for its deadline.
		await until(async () => {
			const before = await timeouts();
			const counts = await letIn(key++);
			if ((await timeouts()) !== before) return false;
			// Until all have told what they let in, parts that can't be divided may be left.
			expect(sum(counts)).toBeLessThanOrEqual(RPM);
			return sum(counts) === RPM;
		}, "a limit that all count together");
	}, 180_000);

	test("a conversation stays at its replica, whichever worker of whichever router its turns come to", async () => {
		await start(workers);
		let turns = 0;
		let moved = 0;
		const conversation = async (nth: number) => {
			let replica: string | null | undefined;
			for (let turn = 0; turn < 12; turn++) {
				const { status, provider } = await ask(routers[(nth + turn) % 3]!, `turn ${turn}`, `conversation-${nth}`);
				expect(status).toBe(200);
				if (replica !== undefined) {
					turns++;
					if (provider !== replica) moved++;
				}
				replica = provider;
				// As long as a person takes at least, and Redis at most.
				await Bun.sleep(100);
			}
		};
		await Promise.all(Array.from({ length: 20 }, (_, nth) => conversation(nth)));
		expect(turns).toBe(20 * 11);
		expect(moved / turns).toBeLessThanOrEqual(0.05);
	}, 60_000);
});

/** Commands that routers gave up. */
async function timeouts(): Promise<number> {
	return sum(await Promise.all(routers.map((router) => router.metric("router_redis_failures_total"))));
}
