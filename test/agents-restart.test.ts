/** Routers and agents that end and come back: everything heals by itself, and no call fails that had another place to go. */
import { afterEach, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";
import { type FakeAgent, type FakeAgentOptions, startFakeAgent } from "./kit/fake-agent.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-shared-agent-token";
const messages = [{ role: "user", content: "hi" }];
/** Longest that one of these may take, ms: processes start and leases run. */
const LONG = 90_000;

let cleanups: (() => unknown)[] = [];
afterEach(async () => {
	for (const cleanup of cleanups.reverse()) await cleanup();
	cleanups = [];
});

/** A port that is free now. */
async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await new Promise((listening) => server.once("listening", listening));
	const { port } = server.address() as { port: number };
	await new Promise((closed) => server.close(closed));
	return port;
}

/** A router that can be started again on its port and its data. */
async function restartable() {
	const home = directory();
	cleanups.push(() => home[Symbol.dispose]());
	const port = await freePort();
	const env = { PORT: String(port), DATA_DIR: join(home.path, "data"), ROUTER_AGENT_TOKEN: TOKEN };
	let running: RunningRouter | undefined;
	cleanups.push(() => running?.stop());
	const start = async () => {
		running = await startRouter({ env, config: { server: { drain: "0s" } } });
		return running;
	};
	return {
		url: `http://127.0.0.1:${port}`,
		start,
		/** As on SIGTERM: running calls are answered. */
		async end() {
			process.kill(running!.pid, "SIGTERM");
			await running!.printed(/"Stopped\."/);
			await running!.stop();
		},
		kill: () => running!.stop(),
	};
}

function agentOf(router: string, options: FakeAgentOptions): FakeAgent {
	const agent = startFakeAgent({ router, token: TOKEN, ...options });
	cleanups.push(() => agent.stop());
	return agent;
}

const call = (url: string, model = "local/qwen", stream = false) =>
	fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model, messages, stream }),
	});
const states = async (url: string) => {
	const answer = await fetch(`${url}/agents`, { headers: { authorization: `Bearer ${TOKEN}` } });
	const { data } = (await answer.json()) as { data: { name: string; state: string }[] };
	return data.map(({ name, state }) => `${name} ${state}`);
};

/** Calls without a pause until `stop`, eight at a time; what came of them by status, and streams that did not end well. */
function load(url: string) {
	const counts: Record<string, number> = {};
	let isOver = false;
	const worker = async (index: number) => {
		while (!isOver) {
			let result: string;
			try {
				const answer = await call(url, "local/qwen", index % 2 === 0);
				const text = await answer.text();
				const isWhole = index % 2 !== 0 || text.trimEnd().endsWith("data: [DONE]");
				result = answer.status === 200 && !isWhole ? "broken stream" : `${answer.status}`;
				if (answer.status !== 200) result += ` ${text}`;
			} catch {
				// No router is there: this call had no other place to go.
				result = "no router";
				await Bun.sleep(20);
			}
			counts[result] = (counts[result] ?? 0) + 1;
		}
	};
	const workers = Array.from({ length: 8 }, (_, index) => worker(index));
	return {
		counts,
		total: () => Object.values(counts).reduce((sum, count) => sum + count, 0),
		async stop() {
			isOver = true;
			await Promise.all(workers);
			return counts;
		},
	};
}

describe("the link and the router", () => {
	test("join, and the agent serves with a secret that only it has", async () => {
		const router = await restartable();
		await router.start();
		const one = agentOf(router.url, { name: "gpu-1" });
		const two = agentOf(router.url, { name: "gpu-2" });
		await until(async () => (await states(router.url)).length === 2);
		const answers = await Promise.all(Array.from({ length: 20 }, () => call(router.url)));
		expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
		expect(new Set(answers.map(({ headers }) => headers.get("x-router-agent")))).toEqual(new Set(["gpu-1", "gpu-2"]));
		expect(one.secrets[0]).not.toBe(two.secrets[0]);
		for (const agent of [one, two]) {
			expect(new Set(agent.authorizations)).toEqual(new Set([`Bearer ${agent.secrets[0]}`]));
		}
	});

	test("count a call while it runs, and the log names its agent", async () => {
		const router = await restartable();
		const running = await router.start();
		const gate = Promise.withResolvers<undefined>();
		agentOf(router.url, { name: "gpu-1", before: () => gate.promise });
		await until(async () => (await states(router.url)).length === 1);
		const inFlight = async () => {
			const answer = await fetch(`${router.url}/agents`, { headers: { authorization: `Bearer ${TOKEN}` } });
			const { data } = (await answer.json()) as { data: { models: { in_flight: number }[] }[] };
			return data[0]?.models[0]?.in_flight;
		};
		const held = [call(router.url), call(router.url, "qwen", true)];
		await until(async () => (await inFlight()) === 2);
		gate.resolve(undefined);
		await Promise.all((await Promise.all(held)).map((answer) => answer.text()));
		await until(async () => (await inFlight()) === 0);
		expect(await running.metric("router_agents", { state: "fresh" })).toBe(1);
		expect(await running.metric("router_local_models", { state: "ready" })).toBe(1);
		await running.printed(/"provider":"local","agent":"gpu-1"/);
	});

	test("an agent that leaves gets no further call, at once", async () => {
		const router = await restartable();
		await router.start();
		const one = agentOf(router.url, { name: "gpu-1" });
		// A model that is loaded when called is not called into a host that goes.
		const two = agentOf(router.url, { name: "gpu-2", models: [{ name: "qwen", state: "stopped", load: "on-demand" }] });
		await until(async () => (await states(router.url)).length === 2);
		await until(async () => (await call(router.url)).status === 200);
		await one.leave();
		await two.leave();
		const answer = await call(router.url);
		expect(answer.status).toBe(503);
		expect(await answer.text()).toContain("gpu-1: draining (the agent is stopping)");
	});

	test("a failed agent's calls go to another, and a stream that has begun is not touched", async () => {
		const router = await restartable();
		await router.start();
		const refuse = () => Response.json({ error: { message: "full" } }, { status: 503 });
		agentOf(router.url, { name: "gpu-1", before: refuse });
		agentOf(router.url, { name: "gpu-2" });
		await until(async () => (await states(router.url)).length === 2);
		for (let round = 0; round < 10; round++) {
			const answer = await call(router.url);
			expect([answer.status, answer.headers.get("x-router-agent")]).toEqual([200, "gpu-2"]);
		}
	});
});

test("an agent that refused its secret, told too late, is still asked where no other answers", async () => {
	const router = await restartable();
	await router.start();
	let refusals = 0;
	const unknowing = () => Response.json({ error: { message: "Unauthorized" } }, { status: 401 });
	agentOf(router.url, { name: "gpu-1", before: () => (refusals++ === 0 ? unknowing() : undefined) });
	const two = agentOf(router.url, { name: "gpu-2" });
	await until(async () => (await states(router.url)).length === 2);
	await until(async () => {
		expect((await call(router.url)).status).toBe(200);
		return refusals > 0;
	}, "a call at gpu-1");
	await two.stop();
	const answer = await call(router.url);
	expect([answer.status, answer.headers.get("x-router-agent")]).toEqual([200, "gpu-1"]);
});

describe("a router that ends and comes back", () => {
	test(
		"is found again within 10 s by an agent that was there all along, and knows it from the first call on",
		async () => {
			const router = await restartable();
			await router.start();
			const agent = agentOf(router.url, { name: "gpu-1" });
			await until(async () => (await call(router.url)).status === 200);
			await router.kill();
			await until(() => agent.link?.state.state === "away", "the agent's notice");
			await router.start();
			// Not heard of yet, and used all the same.
			const first = await call(router.url);
			expect([first.status, first.headers.get("x-router-agent")]).toEqual([200, "gpu-1"]);
			await until(async () => (await states(router.url)).join() === "gpu-1 fresh", "a fresh lease");
			expect(agent.authorizations.filter((each) => each !== `Bearer ${agent.secrets[0]}`)).toEqual([]);
		},
		LONG,
	);

	test(
		"that has lost its data gets its agents back",
		async () => {
			const router = await restartable();
			const other = { url: router.url };
			await router.start();
			const agent = agentOf(other.url, { name: "gpu-1" });
			await until(async () => (await call(router.url)).status === 200);
			await router.kill();
			const fresh = await startRouter({
				env: { PORT: new URL(router.url).port, ROUTER_AGENT_TOKEN: TOKEN },
			});
			cleanups.push(() => fresh.stop());
			await until(async () => (await call(router.url)).status === 200, "the agent's return");
			expect(new Set(agent.secrets).size).toBe(2);
		},
		LONG,
	);
});

test(
	"router and agents restarted in turn under load: no call fails that had another place to go",
	async () => {
		const router = await restartable();
		await router.start();
		const slow = async () => {
			await Bun.sleep(5);
			return undefined;
		};
		const start = (name: string, port = 0) =>
			agentOf(router.url, { name, port, before: slow, instance: `${name}-of-this-test` });
		let agents = [start("gpu-1"), start("gpu-2")];
		const bothFresh = () =>
			until(async () => (await states(router.url)).sort().join() === "gpu-1 fresh,gpu-2 fresh", "two fresh agents");
		await bothFresh();
		const running = load(router.url);
		const answered = (more: number) => {
			const from = running.total();
			return until(() => running.total() >= from + more, "further answers");
		};
		await answered(100);
		const seen: Record<string, number>[] = [];

		for (const how of ["leave", "stop"] as const) {
			for (const at of [0, 1] as const) {
				const { name, port } = agents[at]!;
				await agents[at]![how]();
				await answered(100);
				agents = agents.with(at, start(name, port));
				await until(() => agents[at]!.link?.state.state === "joined", `${name}'s return`);
				await bothFresh();
				await answered(100);
			}
		}
		// Agents alone were restarted so far: not one call may have failed. A stream that was cut in its middle had begun.
		seen.push({ ...running.counts });
		for (const how of ["end", "kill"] as const) {
			await router[how]();
			await until(() => (running.counts["no router"] ?? 0) > 0, "the router's end");
			await router.start();
			await answered(100);
			await bothFresh();
		}
		const counts = await running.stop();
		expect(Object.keys(seen[0]!)).toEqual(["200"]);
		expect(Object.keys(counts).sort()).toEqual(["200", "no router"]);
		expect(counts["200"]).toBeGreaterThan(1000);
	},
	LONG,
);
