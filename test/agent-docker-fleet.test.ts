/** An on-demand model over several real agents: none, one, two replicas and none again, as calls come and go; one whose agent dies; two routers. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { ShownReplicas } from "../src/server/agents/replica-scaler.ts";
import { type AgentHost, startAgentHost } from "./kit/agent-host.ts";
import type { Json } from "./kit/exchange.ts";
import { readTo } from "./kit/lines.ts";
import { needing } from "./kit/needing.ts";
import { startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const NAME = "m";
const CHAT = "/v1/chat/completions";

needing("docker").describe("a model that several agents have on demand", () => {
	let host: AgentHost;
	const stops: (() => unknown)[] = [];
	beforeAll(async () => {
		// Streams last until their clients leave.
		host = await startAgentHost({ sim: { SIM_SPEED: "0.2", SIM_ANSWER_TOKENS: "100000" } });
	}, 60_000);
	afterEach(async () => {
		for (const stop of stops.splice(0).reverse()) await stop();
		const left = await host.containers(true);
		if (left.length > 0) await host.engine.docker("rm", "--force", ...left);
	}, 60_000);
	afterAll(() => host?.stop(), 60_000);

	async function startFleet(replicas: Json, more: Json = {}): Promise<RunningRouter> {
		const router = await startRouter({ config: { agents: { replicas: { [NAME]: replicas } }, ...more } });
		stops.push(() => router.stop());
		return router;
	}
	/** An agent of its own, beside others on the one Docker Engine. */
	async function join_(name: string, router: RunningRouter): Promise<RunningRouter> {
		const models = [{ model: "Qwen/Qwen3-0.6B", name: NAME, gpus: 0, load: "on-demand" }];
		const data = join(host.engine.directory, `${name}-${crypto.randomUUID()}`);
		const agent = await host.agent({
			models,
			agent: { name, router: router.url, sleep: false },
			env: { DATA_DIR: data },
		});
		stops.push(() => agent.stop());
		await until(async () => (await statesOf(router))[name] !== undefined, `${name} at the router`);
		return agent;
	}
	/** What each agent does with the model, as a router has heard it. */
	async function statesOf({ url }: RunningRouter): Promise<Record<string, string>> {
		const { data } = (await (await fetch(`${url}/agents`)).json()) as {
			data: { name: string; state: string; models: { state: string }[] }[];
		};
		return Object.fromEntries(
			data.flatMap(({ name, state, models }) => (state === "gone" ? [] : models.map((model) => [name, model.state]))),
		);
	}
	async function leaseOf({ url }: RunningRouter, agent: string): Promise<string | undefined> {
		const { data } = (await (await fetch(`${url}/agents`)).json()) as { data: { name: string; state: string }[] };
		return data.find(({ name }) => name === agent)?.state;
	}
	const readyAt = async (router: RunningRouter) =>
		Object.entries(await statesOf(router)).flatMap(([name, state]) => (state === "ready" ? [name] : []));
	async function shown({ url }: RunningRouter): Promise<ShownReplicas> {
		const { data } = (await (await fetch(`${url}/agents/replicas`)).json()) as { data: [ShownReplicas] };
		return data[0];
	}
	/** Waits until so many agents have it ready; throws with what is known where they don't. */
	async function ready(router: RunningRouter, count: number): Promise<void> {
		try {
			await until(async () => (await readyAt(router)).length === count);
		} catch {
			const known = JSON.stringify([await statesOf(router), await shown(router)]);
			throw new Error(`${count} never were ready: ${known}\n${router.output()}`);
		}
	}
	/** A stream that is read until its client leaves; resolves with its first token. `agent`: which one answers it. */
	async function stream(url: string): Promise<{ readonly agent: string; leave(): void }> {
		const leaving = new AbortController();
		const answer = await fetch(url + CHAT, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ model: NAME, stream: true, messages: [{ role: "user", content: crypto.randomUUID() }] }),
			signal: leaving.signal,
		});
		expect(answer.status).toBe(200);
		const reader = answer.body!.getReader();
		await readTo(reader, "data: ");
		const readOn = async () => {
			while (!(await reader.read()).done);
		};
		readOn().catch(() => {});
		return { agent: answer.headers.get("x-router-agent") ?? "", leave: () => leaving.abort() };
	}
	const streams = (url: string, count: number) => Promise.all(Array.from({ length: count }, () => stream(url)));

	test.each([1, 2])(
		"has none, one by its first calls, another by many, one again for the last of them, and none once nobody calls, with %d workers",
		async (workers) => {
			const router = await startFleet({ max: 2, calls: 4, ttl: "4s" }, { server: { workers } });
			for (const name of ["fleet-a", "fleet-b"]) await join_(name, router);
			expect(await readyAt(router)).toEqual([]);
			// Calls of one moment have it loaded at one place.
			const many = await streams(router.url, 5);
			const [first] = await readyAt(router);
			expect([await readyAt(router), [...new Set(many.map(({ agent }) => agent))]]).toEqual([[first!], [first!]]);
			await until(async () => (await shown(router)).orders.some(({ what }) => what === "load"), "an order to load");
			await ready(router, 2);
			await router.printed(/A replica is loaded/);
			expect(await host.containers()).toHaveLength(2);
			const elsewhere = await stream(router.url);
			expect(elsewhere.agent).not.toBe(first!);
			for (const { leave } of many.slice(1)) leave();
			await router.printed(/A replica is retired/);
			// What is retired finishes what it has, and gets nothing more.
			const { orders } = await shown(router);
			const [retired] = orders.map(({ agent }) => agent);
			expect((await readyAt(router)).length).toBe(2);
			for (const { agent, leave } of await streams(router.url, 2)) {
				expect(agent).not.toBe(retired!);
				leave();
			}
			const [going, staying] = many[0]!.agent === retired ? [many[0]!, elsewhere] : [elsewhere, many[0]!];
			going.leave();
			await ready(router, 1);
			expect(await readyAt(router)).toEqual([staying.agent]);
			staying.leave();
			await ready(router, 0);
			await until(async () => (await host.containers()).length === 0, "no container");
			// The first call after that waits for a new one.
			(await stream(router.url)).leave();
			expect(await readyAt(router)).toHaveLength(1);
		},
		120_000,
	);

	test("has `min` of them without any call, and again where the agent of one is gone", async () => {
		const router = await startFleet({ min: 1, max: 1 });
		const agents = new Map<string, RunningRouter>();
		for (const name of ["fleet-a", "fleet-b"]) agents.set(name, await join_(name, router));
		await ready(router, 1);
		const [first] = await readyAt(router);
		expect(await shown(router)).toMatchObject({ ready: 1, coming: 0, goals: [{ agent: first!, goal: "keep" }] });
		process.kill(agents.get(first!)!.pid, "SIGKILL");
		const other = first === "fleet-a" ? "fleet-b" : "fleet-a";
		// 30 s after its last heartbeat: each of these waits has 30 s of its own.
		await until(async () => (await leaseOf(router, first!)) !== "fresh", `${first} is late`);
		await until(async () => (await leaseOf(router, first!)) === "gone", `${first} is gone`);
		await until(async () => (await shown(router)).goals.some(({ agent }) => agent === other), "the other one is told");
		await ready(router, 1);
		expect(await readyAt(router)).toEqual([other]);
		expect(
			(await post(router.url + CHAT, { model: NAME, max_tokens: 4, messages: [{ role: "user", content: "hi" }] }))
				.status,
		).toBe(200);
	}, 120_000);

	needing("redis").test(
		"is loaded once where two routers share a Redis, whichever its agents and calls came to",
		async () => {
			const redis = await startRedis();
			stops.push(() => redis.stop());
			const shared = { redis: { url: redis.url } };
			const routers = [
				await startFleet({ max: 2, calls: 100 }, shared),
				await startFleet({ max: 2, calls: 100 }, shared),
			] as const;
			await join_("fleet-a", routers[0]);
			await join_("fleet-b", routers[1]);
			for (const router of routers)
				await until(async () => Object.keys(await statesOf(router)).length === 2, "both agents");
			const called = await Promise.all(routers.map(({ url }) => streams(url, 3)));
			expect(await host.containers()).toHaveLength(1);
			for (const { leave } of called.flat()) leave();
		},
		120_000,
	);

	needing("redis").test(
		"has `min` once where two routers share a Redis, and one of them ends",
		async () => {
			const redis = await startRedis();
			stops.push(() => redis.stop());
			const shared = { redis: { url: redis.url } };
			const bounds = { min: 1, max: 2 };
			const routers = [await startFleet(bounds, shared), await startFleet(bounds, shared)] as const;
			await join_("fleet-a", routers[0]);
			await join_("fleet-b", routers[1]);
			for (const router of routers) await ready(router, 1);
			const decided = () => routers.filter((router) => router.output().includes("A replica is loaded."));
			expect(decided()).toHaveLength(1);
			const keeps = async (router: RunningRouter) =>
				(await shown(router)).goals.map(({ agent, goal }) => `${agent} ${goal}`);
			await until(
				async () => (await keeps(routers[0])).join() === (await keeps(routers[1])).join(),
				"one decision at both",
			);
			await decided()[0]!.stop();
			const left = routers.find((router) => !decided().includes(router))!;
			const [before] = await keeps(left);
			// The one that is left decides, and has nothing loaded anew.
			await until(async () => (await shown(left)).goals.length > 0, "its own decision");
			expect(await keeps(left)).toEqual([before!]);
			expect(await host.containers()).toHaveLength(1);
		},
		120_000,
	);
});
