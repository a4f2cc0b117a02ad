/** Routers of one Redis that have made secrets from keys of their own: while they agree on one no call to an agent fails, at any of them. */
import { expect } from "bun:test";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";
import type { Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { until } from "./kit/until.ts";
import { callOnce, startHere, twoWorkers } from "./kit/worker-router.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("redis");

let redis: RedisServer;
beforeAll(async () => {
	redis = await startRedis();
});
afterAll(() => redis.stop());
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

describe.each([1, 2])("routers of %i workers:", (workers) => {
	/** One whose key was made then, Unix time, ms. */
	async function start(prefix: string, since: number) {
		const home = directory({ "agent-secret.key": `${crypto.randomUUID().replaceAll("-", "").repeat(2)}\n${since}\n` });
		stops.push(() => home[Symbol.dispose]());
		const config = twoWorkers({ redis: { url: redis.url, prefix }, data_dir: join(home.path) }, { workers });
		const router = await startHere(config);
		stops.push(() => router.stop());
		return router;
	}

	test("an agent that one of them has is called by a later one with the secret that it has, until it has another", async () => {
		const prefix = `agree-${crypto.randomUUID()}`;
		const first = await start(prefix, 2_000);
		const agent = startFakeAgent({ router: first.url });
		stops.push(() => agent.stop());
		await until(() => agent.secrets.length === 1, "its registration");
		const later = await start(prefix, 1_000);
		await until(async () => {
			const { data } = (await (await fetch(`${later.url}/agents`)).json()) as { data: Loose[] };
			return data.length === 1;
		}, "the agent at the later router");
		const statuses = new Set<number>();
		const shown = () => agent.authorizations.slice(-8);
		const call = async () => {
			for (const { url } of [later, first]) statuses.add((await callOnce(url, { model: "qwen" })).status);
			const isNew = agent.secrets.length > 1 && shown().every((each) => each === `Bearer ${agent.secrets.at(-1)}`);
			return isNew || !statuses.has(200) || statuses.size > 1;
		};
		await until(call, "calls with the new secret at both");
		expect([...statuses]).toEqual([200]);
		expect(new Set(agent.secrets).size).toBe(2);
	}, 60_000);
});
