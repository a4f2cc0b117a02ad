/** The agent, its router and the engine come and go; the model's container stays. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type AgentHost, type AgentOptions, becomes, startAgentHost } from "./kit/agent-host.ts";
import { clientError } from "./kit/contract.ts";
import { eventData } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const models = [{ model: "Qwen/Qwen3-0.6B", name: "small" }];

async function answers(agent: RunningRouter, model = "small"): Promise<boolean> {
	const answer = await post(agent.url + CHAT, { model, messages, max_tokens: 2 });
	return answer.status === 200;
}

needing("docker").describe("an agent that is killed during 50 streams", () => {
	let host: AgentHost;
	let router: RunningRouter;
	beforeAll(async () => {
		host = await startAgentHost({ gpus: "1x24GB", sim: { SIM_ANSWER_TOKENS: "3000" } });
		router = await startRouter();
	}, 60_000);
	afterAll(async () => {
		await router?.stop();
		await host?.stop();
	}, 60_000);

	test("leaves them with a clear error and the container as it is; the next one takes it over and serves", async () => {
		const start = () => host.agent({ models, agent: { router: router.url } });
		const first = await start();
		await becomes(first, "small", "ready");
		await until(() => answers(router, "local/small"));
		const before = await host.containers();
		expect(before).toHaveLength(1);

		let begun = 0;
		const streams = Array.from({ length: 50 }, () => {
			let isBegun = false;
			return post(router.url + CHAT, { model: "local/small", messages, stream: true }, {}, (text) => {
				if (isBegun || !text.includes('"content"')) return;
				isBegun = true;
				begun++;
			});
		});
		await until(() => begun === 50, "the 50th stream");
		await first.stop();
		for (const { status, text } of await Promise.all(streams)) {
			expect(status).toBe(200);
			const last = eventData(text).at(-1)!;
			expect(JSON.parse(last).error).toMatchObject({ code: "upstream_truncated" });
			expect(text).not.toContain("[DONE]");
		}
		expect(await host.containers(true)).toEqual(before);

		const startedAt = performance.now();
		const second = await start();
		await until(() => answers(second));
		const ms = Math.round(performance.now() - startedAt);
		console.log(`adopted, from the agent's start to an answer: ${ms} ms`);
		await until(() => answers(router, "local/small"));
		expect(await host.containers(true)).toEqual(before);
		expect(await second.metric("router_agent_loads_total")).toBe(0);
		await second.stop();
	}, 60_000);
});

needing("docker").describe("a model that runs", () => {
	let host: AgentHost;
	beforeAll(async () => {
		host = await startAgentHost({ gpus: "1x24GB", liveRestore: true });
	}, 60_000);
	afterEach(() => Promise.all(agents.splice(0).map((agent) => agent.stop())));
	afterAll(() => host?.stop(), 60_000);
	/** One that ends with its test, however that ends: two of a name would fight. */
	const agents: RunningRouter[] = [];
	const start = async (options: AgentOptions = {}) => {
		const agent = await host.agent(options);
		agents.push(agent);
		return agent;
	};

	test("is replaced where its arguments changed, removed where it is not wanted, and left alone else", async () => {
		const first = await start({ models });
		await becomes(first, "small", "ready");
		const [id] = await host.containers();
		await first.stop();

		const same = await start({ models: [{ ...models[0], load: "manual", ttl: "1h" }] });
		// It is no other container; but nobody has ordered it.
		await until(async () => (await host.containers(true)).length === 0, "the end of what nobody ordered");
		await same.stop();

		const again = await start({ models });
		await becomes(again, "small", "ready");
		const [second] = await host.containers();
		expect(second).not.toBe(id);
		await again.stop();

		const changed = await start({ models: [{ ...models[0], args: ["--max-model-len", "2048"] }] });
		await until(async () => (await host.containers()).every((each) => each !== second));
		expect(await becomes(changed, "small", "ready")).toMatchObject({ max_model_len: 2048 });
		expect(await host.containers(true)).toHaveLength(1);
		await changed.stop();

		const none = await start();
		await until(async () => (await host.containers(true)).length === 0, "the orphan's end");
		await none.stop();
	}, 60_000);

	test("is replaced where the agent has lost the key that it was started with", async () => {
		const first = await start({ models });
		await becomes(first, "small", "ready");
		const [id] = await host.containers();
		await agents.pop()!.stop();
		const forgetful = await start({ models, env: { DATA_DIR: "another-data" } });
		await until(async () => (await host.containers()).some((each) => each !== id), "another container");
		await becomes(forgetful, "small", "ready");
		await until(() => answers(forgetful));
		expect(await host.containers(true)).toHaveLength(1);
	}, 60_000);

	test("outlives SIGTERM of its agent, and goes with it where that was asked for", async () => {
		const stays = await start({ models, config: { server: { drain: "0s" } } });
		await becomes(stays, "small", "ready");
		const before = await host.containers();
		process.kill(stays.pid, "SIGTERM");
		await until(() => !isAlive(stays.pid), "its end");
		expect(await host.containers()).toEqual(before);
		await stays.stop();

		const goes = await start({
			args: ["--agent", "--stop-containers"],
			models,
			config: { server: { drain: "0s" } },
		});
		await becomes(goes, "small", "ready");
		process.kill(goes.pid, "SIGTERM");
		await until(() => !isAlive(goes.pid), "its end");
		expect(await host.containers(true)).toEqual([]);
		await goes.stop();
	}, 60_000);

	test("is not started anew for a restart of the engine that lets it live, but taken for what it is", async () => {
		const agent = await start({ models });
		await becomes(agent, "small", "ready");
		const before = await host.containers();
		await host.engine.down();
		await until(async () => (await agent.metric("router_agent_docker_up")) === 0, "the engine's end");
		// Without the engine's proxy its port may be out of reach; that is told, with the remedy.
		const lost = await becomes(agent, "small", "failed");
		expect(`${lost.reason} ${lost.fix}`).toMatch(/does not answer.*systemctl start docker/s);
		const refused = await post(agent.url + CHAT, { model: "small", messages });
		expect([refused.status, clientError(refused.text).code]).toEqual([503, "upstream_overloaded"]);
		await host.engine.up();
		await becomes(agent, "small", "ready");
		await until(() => answers(agent));
		expect(await host.containers(true)).toEqual(before);
	}, 60_000);
});

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}
