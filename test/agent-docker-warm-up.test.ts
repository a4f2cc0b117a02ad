/** A real Docker Engine, vLLM's wire and KV events: what calls begin with is in the cache of a container that replaces another, before its first call. */
import { expect } from "bun:test";
import { type AgentHost, modelOf, startAgentHost } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("docker");

const NAME = "m";
const NEXT = "vllm-sim:next";
const SYSTEM = Array.from({ length: 900 }, (_, at) => `rule ${(at * 7919) % 9973}`).join(", ");

describe("what calls of a model begin with", () => {
	let host: AgentHost;
	let router: RunningRouter;
	let agent: RunningRouter;
	/** Prompt tokens of all calls. */
	let asked = 0;
	let questions = 0;

	beforeAll(async () => {
		host = await startAgentHost();
		await host.engine.importSim(NEXT, { SIM_DEVICE: "any" });
	}, 90_000);
	afterAll(() => host?.stop(), 60_000);
	afterEach(async () => {
		await agent?.stop();
		await router?.stop();
		const left = await host.containers(true);
		if (left.length > 0) await host.engine.docker("rm", "--force", ...left);
	}, 60_000);

	async function start(settings: object = {}): Promise<void> {
		router = await startRouter({ config: { cache: { enabled: false } } });
		const args = ["--enable-prompt-tokens-details", "--no-disable-uvicorn-access-log"];
		agent = await host.agent({
			models: [{ model: "Qwen/Qwen3-0.6B", name: NAME, gpus: 0, args, canary: "0%" }],
			agent: { router: router.url, kv_events: "always", ...settings },
		});
		await until(async () => (await modelOf(agent, NAME)).state === "ready");
		await until(async () => (await fetch(`${router.url}/v1/models`).then((each) => each.text())).includes(NAME));
		asked = 0;
	}

	/** A call that begins as all others; how many of its prompt's tokens were cached, and how many not. */
	async function call(): Promise<{ cached: number; others: number }> {
		const question = { role: "user", content: `Question ${questions++}?` };
		const messages = [{ role: "system", content: SYSTEM }, question];
		const { status, text } = await post(`${router.url}/v1/chat/completions`, { model: NAME, messages, max_tokens: 1 });
		const { usage } = JSON.parse(text) as {
			usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
		};
		expect(status).toBe(200);
		asked += usage.prompt_tokens;
		const { cached_tokens: cached } = usage.prompt_tokens_details;
		return { cached, others: usage.prompt_tokens - cached };
	}

	/** Calls until the agent knows what they begin with. */
	async function calls(): Promise<void> {
		const log = async () => (await fetch(`${agent.url}/models/${NAME}/logs`)).text();
		await until(async () => {
			await call();
			return (await log()).includes("POST /tokenize HTTP/1.1");
		}, "a question for tokens");
		for (let times = 0; times < 10; times++) await call();
	}

	/** Another image takes its place. */
	async function roll(): Promise<void> {
		const headers = { "content-type": "application/json" };
		const body = JSON.stringify({ image: NEXT, canary: "0%" });
		expect((await fetch(`${agent.url}/models/${NAME}/roll`, { method: "POST", headers, body })).status).toBe(202);
		await until(async () => (await modelOf(agent, NAME)).roll?.state === "promoted", "the change");
		await until(async () => (await host.containers()).length === 1, "the end of the container before");
	}
	const warmUps = (result: string) => agent.metric("router_agent_warm_ups_total", { model: NAME, result });

	test("is not computed ahead where that is switched off", async () => {
		await start({ warm_up: "0s" });
		await calls();
		await roll();
		expect((await call()).cached).toBe(0);
		expect(await agent.metric("router_agent_warm_up_tokens_total", { model: NAME })).toBe(0);
	}, 120_000);

	test("is in the cache of a new image's container, and of one in place of one that was killed; nobody's usage has it", async () => {
		await start();
		await calls();
		await roll();
		expect(await warmUps("whole")).toBe(1);
		const rolled = await call();
		expect(rolled.others).toBeLessThan(100);
		expect(rolled.cached).toBeGreaterThan(2_000);
		await host.engine.docker("kill", ...(await host.containers()));
		await until(async () => (await warmUps("whole")) === 2, "another warm-up");
		const killed = await call();
		expect(killed.cached).toBeGreaterThan(2_000);
		const ahead = await agent.metric("router_agent_warm_up_tokens_total", { model: NAME });
		expect(ahead).toBeGreaterThan(4_000);
		await until(
			async () => (await router.metric("router_tokens_total", { direction: "input" })) === asked,
			"all usage",
		);
	}, 120_000);
});
