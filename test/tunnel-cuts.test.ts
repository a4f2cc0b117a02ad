/** Tunnels that are cut again and again in the middle of streams: each stream goes on, at another agent or through the next tunnel. */
import { afterEach, describe, expect, test } from "bun:test";
import { startBalancer } from "./kit/balancer.ts";
import { answerOf, continuingStream, readChatStream } from "./kit/continuing-engine.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { type FakeAgent, startFakeAgent } from "./kit/fake-agent.ts";
import { needing } from "./kit/needing.ts";
import { random } from "./kit/random.ts";
import { startRedis } from "./kit/redis.ts";
import { until } from "./kit/until.ts";
import { callOnce, startHere, twoWorkers } from "./kit/worker-router.ts";

const { test: withRedis } = needing("redis");
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

const WORDS = 60;
const PAUSE_MS = 10;

function startAgents(router: string, count: number): FakeAgent[] {
	return Array.from({ length: count }, (_, at) => {
		const before = (call: Parameters<typeof continuingStream>[0]) =>
			call.stream ? continuingStream(call, Number(call.messages[0]!.content), PAUSE_MS) : undefined;
		const agent = startFakeAgent({ router, name: `gpu-${at + 1}`, tunnel: "always", before });
		stops.push(() => agent.stop());
		return agent;
	});
}

/** Names of the agents that a router can call now. */
async function reachableAt(router: string): Promise<string[]> {
	const { data } = (await (await fetch(`${router}/agents`)).json()) as { data: Loose[] };
	return data.filter((each) => each["reachable"]).map((each) => String(each["name"]));
}

/** A stream of so many words, as its client reads it. */
async function stream(router: string, words: number) {
	const answer = await callOnce(router, {
		model: "qwen",
		stream: true,
		messages: [{ role: "user", content: String(words) }],
	});
	const read = readChatStream(await answer.text());
	return { status: answer.status, error: read.error, isWhole: read.content === answerOf(words) && read.isDone };
}

const WHOLE = { status: 200, error: undefined, isWhole: true };

/** Streams through the routers in turn while tunnels of agents are cut so often, each beside another one that every router can call. */
async function cut(routers: readonly string[], agents: readonly FakeAgent[], cuts: number) {
	const reachable = async () => {
		const all = await Promise.all(routers.map(reachableAt));
		return all[0]!.filter((name) => all.every((names) => names.includes(name)));
	};
	await until(async () => (await reachable()).length === agents.length, "all agents");
	const { next, pick } = random(18);
	let isCutting = true;
	const ends: Awaited<ReturnType<typeof stream>>[] = [];
	const clients = Array.from({ length: 8 }, async (_, client) => {
		while (isCutting) ends.push(await stream(routers[client % routers.length]!, WORDS));
	});
	for (let count = 0; count < cuts; count++) {
		let left: string[] = [];
		await until(async () => {
			left = await reachable();
			return left.length >= 2;
		}, "a second way");
		const name = pick(left);
		agents.find((agent) => agent.name === name)!.tunnel!.cut();
		await Bun.sleep(next() * 100);
	}
	isCutting = false;
	await Promise.all(clients);
	expect(ends.length).toBeGreaterThan(8);
	return ends.filter((end) => !Bun.deepEquals(end, WHOLE));
}

async function startRouter(workers: number, more: Json = {}) {
	const router = await startHere(twoWorkers(more, { workers }));
	stops.push(() => router.stop());
	return router;
}

describe.each([1, 2])("with %i workers", (workers) => {
	test("no stream breaks of 50 cuts, each of an agent's tunnel beside which another agent can be called", async () => {
		const { url } = await startRouter(workers);
		expect(await cut([url], startAgents(url, 3), 50)).toEqual([]);
	}, 120_000);

	test("one stream goes on through each next tunnel of the only agent, and a call waits for it", async () => {
		const { url } = await startRouter(workers);
		const [agent] = startAgents(url, 1);
		await until(async () => (await reachableAt(url)).length === 1, "the agent");
		const long = stream(url, 400);
		for (let cuts = 0; cuts < 4; cuts++) {
			const before = agent!.authorizations.length;
			await until(() => agent!.authorizations.length > before || cuts === 0, "the stream to go on");
			await until(async () => (await reachableAt(url)).length === 1, "the tunnel again");
			await Bun.sleep(200);
			agent!.tunnel!.cut();
		}
		await until(() => !agent!.tunnel!.isOpen, "the cut");
		expect((await callOnce(url, { model: "qwen" })).status).toBe(200);
		expect(await long).toEqual(WHOLE);
	}, 60_000);
});

withRedis(
	"no stream breaks of 50 cuts through two routers of one Redis, of two workers each",
	async () => {
		const redis = await startRedis();
		stops.push(() => redis.stop());
		const routers = await Promise.all([1, 2].map(() => startRouter(2, { redis: { url: redis.url } })));
		const urls = routers.map(({ url }) => url);
		const balancer = await startBalancer(urls);
		stops.push(() => balancer.stop());
		expect(await cut(urls, startAgents(balancer.url, 3), 50)).toEqual([]);
	},
	120_000,
);
