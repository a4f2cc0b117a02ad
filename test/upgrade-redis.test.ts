/** Another process takes the place of one of two routers that share a Redis. */
import { expect } from "bun:test";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import {
	callProblem,
	isRouter,
	type SlowUpstream,
	slowUpstream,
	startLoad,
	UPGRADE_KEY,
	type UpgradedRouter,
	upgradedRouter,
} from "./kit/upgrades.ts";

const { afterEach, describe, test } = needing("redis");

const ends: (() => unknown)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0).reverse()) await end();
});

/** Two routers of one Redis, of which the first can be replaced. */
async function twoRouters(key: object, workers: number) {
	const server: RedisServer = await startRedis();
	ends.push(() => server.stop());
	const upstream: SlowUpstream = slowUpstream();
	ends.push(() => upstream.stop());
	const env = { REDIS_URL: server.url };
	const one: UpgradedRouter = await upgradedRouter(upstream.url, { key, env, workers });
	ends.push(() => one.end());
	Object.assign(one.env, env);
	const other: RunningRouter = await startRouter({
		config: {
			keys: [{ name: "one", key: UPGRADE_KEY, ...key }],
			providers: { slow: { type: "openai-compatible", base_url: upstream.url } },
			usage: { cost_in_answers: false },
		},
		env,
	});
	ends.push(() => other.stop());
	const ups = () => Promise.all([one, other].map((router) => router.metric("router_redis_up")));
	await until(async () => (await ups()).every((up) => up === 1), "Redis at both");
	return { server, upstream, one, other };
}

/** What Redis has of calls at once. */
async function held({ client }: RedisServer): Promise<number> {
	const keys = (await client.keys("*{limits}:c:*")).filter((key) => !key.endsWith(":guesses"));
	const sizes = await Promise.all(
		keys.map(async (key) => ((await client.type(key)) === "zset" ? client.zcard(key) : client.hlen(key))),
	);
	return sizes.reduce((sum, size) => sum + size, 0);
}

describe.each([1, 2])("an upgrade of one of two routers of a Redis, of %i workers", (workers) => {
	test("leaves each limit what it is: no call more, and calls at once neither twice nor forgotten", async () => {
		const { server, upstream, one, other } = await twoRouters({ rpm: 60, concurrency: 4 }, workers);
		const streams = [callProblem(one.url, true, true), callProblem(one.url, true, true)];
		streams.push(callProblem(other.url, true, true));
		await until(() => upstream.open() === 3, "three streams");
		for (let made = 3; made < 40; made++) {
			expect(await callProblem((made % 2 ? one : other).url, false, true)).toBeUndefined();
		}
		expect((await one.upgrade()).code).toBe(0);
		await until(async () => (await one.metric("router_redis_up")) === 1, "Redis at the new process");
		streams.push(callProblem(one.url, true, true));
		await until(() => upstream.open() === 4, "a fourth stream");
		expect(await held(server)).toBe(4);
		for (const { url } of [one, other]) expect(await callProblem(url, false, true)).toContain("429");
		upstream.finish();
		expect(await Promise.all(streams)).toEqual([undefined, undefined, undefined, undefined]);
		await until(() => !isRouter(one.pid), "the end of the old process");
		await until(async () => (await held(server)) === 0, "all places free");
		let through = 0;
		for (let made = 0; made < 25; made++) {
			if ((await callProblem((made % 2 ? one : other).url, false, true)) === undefined) through++;
		}
		expect(through).toBe(19);
	}, 60_000);

	test("under load fails no call, and both ledgers have each of them once", async () => {
		const { server, one, other } = await twoRouters({ concurrency: 100 }, workers);
		const loads = [one, other].map(({ url }) => startLoad(url, { keptAlive: 2, fresh: 2, streams: 0 }));
		await until(() => loads.every((load) => load.made() > 20), "calls at both");
		expect((await one.upgrade()).code).toBe(0);
		const made = loads.map((load) => load.made());
		await until(() => loads.every((load, at) => load.made() > made[at]! + 20), "calls behind the upgrade");
		await Promise.all(loads.map((load) => load.end()));
		expect(loads.flatMap(({ problems }) => problems)).toEqual([]);
		await until(() => one.calls() >= loads[0]!.made(), "all calls in the ledger");
		expect(one.calls()).toBe(loads[0]!.made());
		await until(() => !isRouter(one.pid), "the end of the old process");
		await until(async () => (await held(server)) === 0, "all places free");
		const routers = await server.client.zcard((await server.client.keys("*{limits}:routers"))[0]!);
		expect(routers).toBe(2);
	}, 60_000);
});
