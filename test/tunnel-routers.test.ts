/** Agents behind NAT and several routers of one Redis behind one address: each router has a tunnel of its own. */
import { expect } from "bun:test";
import { type Balancer, startBalancer } from "./kit/balancer.ts";
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

const reaches = async (url: string) => {
	const { data } = (await (await fetch(`${url}/agents`)).json()) as { data: Loose[] };
	return data[0]?.["reachable"] === true;
};

/** The status of a call to the agent. */
const call = async (url: string) => (await callOnce(url, { model: "qwen" })).status;

describe.each([1, 2])("routers of %i workers:", (workers) => {
	/** So many, and a balancer in front of them. */
	async function startRouters(count: number) {
		const prefix = `tunnels-${crypto.randomUUID()}`;
		const start = async (port?: number) => {
			const router = await startHere(twoWorkers({ redis: { url: redis.url, prefix } }, { workers }), port);
			stops.push(() => router.stop());
			return router;
		};
		const routers = await Promise.all(Array.from({ length: count }, () => start()));
		const balancer = await startBalancer(routers.map(({ url }) => url));
		stops.push(() => balancer.stop());
		return { routers, balancer, start };
	}
	function startAgent(balancer: Balancer) {
		const agent = startFakeAgent({ router: balancer.url, tunnel: "always" });
		stops.push(() => agent.stop());
		return agent;
	}

	test("each calls the agent through a tunnel of its own, and no more are opened", async () => {
		const { routers, balancer } = await startRouters(3);
		const agent = startAgent(balancer);
		await until(async () => (await Promise.all(routers.map(({ url }) => reaches(url)))).every(Boolean), "all tunnels");
		expect(agent.tunnel!.size).toBe(3);
		for (const { url } of routers) expect(await call(url)).toBe(200);
		const { connections } = balancer;
		// Of a tunnel that is missed another is looked for within 300 ms.
		await Bun.sleep(1_500);
		expect(balancer.connections - connections).toBeLessThan(2);
		expect(agent.tunnel!.size).toBe(3);
	}, 60_000);

	test("one that ends takes its own tunnel with it, and one that comes gets one", async () => {
		const { routers, balancer, start } = await startRouters(2);
		const agent = startAgent(balancer);
		await until(async () => (await Promise.all(routers.map(({ url }) => reaches(url)))).every(Boolean), "both tunnels");
		for (const { url } of routers) expect(await call(url)).toBe(200);
		await routers[0]!.end();
		expect(await call(routers[1]!.url)).toBe(200);
		await until(() => agent.tunnel!.size === 1, "the end of one tunnel");
		const next = await start(Number(new URL(routers[0]!.url).port));
		await until(() => reaches(next.url), "its tunnel");
		for (const { url } of [next, routers[1]!]) expect(await call(url)).toBe(200);
	}, 60_000);
});
