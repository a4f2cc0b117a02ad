/** A worker of one router dies: what it held at Redis, of limits and of calls that others wait for, is free for both routers. */
import { expect } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { HELLO } from "./kit/hello-answer.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, type StartedWorker, startHere, twoWorkers } from "./kit/worker-router.ts";

const { afterAll, afterEach, beforeAll, beforeEach, test } = needing("redis");

const kept: Connection[] = [];
const upstream = startFaultUpstream();
let server: RedisServer;
let routers: [Awaited<ReturnType<typeof startHere>>, Awaited<ReturnType<typeof startHere>>];
/** Those of the first router. */
let workers: StartedWorker[];
beforeAll(async () => {
	server = await startRedis();
});
afterAll(async () => {
	await server.stop();
	upstream.stop();
});
beforeEach(async () => {
	await server.client.flushall();
	kept.splice(0);
	upstream.run((connection) => void kept.push(connection));
	const config = twoWorkers({
		providers: { box: { type: "openai-compatible", base_url: upstream.origin } },
		limits: { models: { "box/held": { concurrency: 24 } } },
		redis: { url: server.url, timeout: "2s" },
	});
	using recorded = recordWorkers();
	const first = await startHere(config);
	workers = [...recorded.workers];
	routers = [first, await startHere(config)];
	for (const { log } of routers) await until(() => log().includes("Redis is used"), "Redis");
}, 60_000);
afterEach(async () => {
	await release();
	for (const router of routers) await router.stop();
});

async function release(): Promise<void> {
	upstream.run(answers("200 OK", HELLO));
	await Promise.allSettled(kept.splice(0).map((connection) => answers("200 OK", HELLO)(connection)));
}

/** So many calls of a router: what comes of each. */
function callMany(router: number, count: number, body: Json) {
	const ended: (number | "reset")[] = [];
	const call = async () => {
		try {
			const answer = await callOnce(routers[router]!.url, body);
			await answer.text();
			ended.push(answer.status);
		} catch {
			ended.push("reset");
		}
	};
	const all = Promise.all(Array.from({ length: count }, call));
	return { all, ended, count: (status: number | "reset") => ended.filter((each) => each === status).length };
}

test("calls at once have room again at both routers, for the calls that it had", async () => {
	const body = { model: "box/held" };
	const first = callMany(0, 24, body);
	await until(() => kept.length === 24, "all calls");
	expect((await callOnce(routers[1].url, body)).status).toBe(429);
	workers[0]!.worker.terminate();
	await until(() => routers[0].log().includes("has taken the place"), "another worker");
	const freed = first.count("reset");
	expect(freed).toBeWithin(1, 24);
	// Those that are let in are kept; the others are told to come again.
	const second = callMany(1, 1, body);
	await until(async () => {
		if (kept.length < 24 + freed) for (const each of [callMany(1, 1, body)]) void each.all;
		return kept.length === 24 + freed;
	}, "room for as many");
	expect((await callOnce(routers[1].url, body)).status).toBe(429);
	expect((await callOnce(routers[0].url, body)).status).toBe(429);
	await release();
	await Promise.all([first.all, second.all]);
	expect(first.count(200)).toBe(24 - freed);
}, 60_000);

test("the same call is made by the other router, which waited for it", async () => {
	const body = { model: "box/m", temperature: 0 };
	const first = callMany(0, 1, body);
	await until(() => kept.length === 1, "the call");
	const second = callMany(1, 1, body);
	const [claim] = await server.client.keys("router:cache:*:by");
	await until(async () => (await server.client.exists(claim!)) === 1, "the claim");
	// It would not lapse by itself while the test runs.
	await server.client.pexpire(claim!, 600_000);
	for (const { worker } of workers) worker.terminate();
	await until(() => kept.length === 2, "the call of the other router");
	await release();
	await Promise.all([first.all, second.all]);
	expect([first.ended, second.ended]).toEqual([["reset"], [200]]);
}, 60_000);
