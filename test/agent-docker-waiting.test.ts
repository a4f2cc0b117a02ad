/** Models that an agent is loading, called through its router: calls wait there as they do at the agent, and streams are told how far it is. */
import { expect } from "bun:test";
import { type AgentHost, becomes, modelOf, order, startAgentHost } from "./kit/agent-host.ts";
import { eventData } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("docker");

describe("a model that its agent is loading", () => {
	let host: AgentHost;
	let router: RunningRouter;
	let agent: RunningRouter;
	beforeAll(async () => {
		host = await startAgentHost({ sim: { SIM_START_MS: "4000" } });
		router = await startRouter({
			config: { models: [{ name: "fast", targets: ["local/always", "dummy"] }], cache: { enabled: false } },
		});
		agent = await host.agent({
			models: [
				{ model: "Qwen/Qwen3-0.6B", name: "always", gpus: 0 },
				{ model: "Qwen/Qwen3-0.6B", name: "manual", gpus: 0, load: "manual" },
			],
			agent: { router: router.url },
		});
	}, 60_000);
	afterAll(async () => {
		await agent?.stop();
		await router?.stop();
		await host?.stop();
	}, 60_000);

	const call = (model: string, stream: boolean) =>
		post(`${router.url}/v1/chat/completions`, {
			model: `local/${model}`,
			messages: [{ role: "user", content: "hi" }],
			max_tokens: 4,
			stream,
		});
	/** What the router knows of a model. */
	const known = async (name: string) => {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as {
			data: { models: { name: string; state: string }[] }[];
		};
		return data[0]?.models.find((model) => model.name === name)?.state;
	};
	async function waits(model: string): Promise<void> {
		const [streamed, whole] = await Promise.all([call(model, true), call(model, false)]);
		expect([streamed.status, whole.status]).toEqual([200, 200]);
		expect(streamed.text).toMatch(new RegExp(`^: ${model}: (?:starting|looking|pulling|draining)`, "m"));
		expect(eventData(streamed.text).at(-1)).toBe("[DONE]");
		expect(JSON.parse(whole.text).choices[0].message.content).toBeString();
	}

	test("for the first time is waited for from its agent's registration on", async () => {
		await until(async () => (await known("always")) !== undefined, "the registration");
		expect((await modelOf(agent, "always")).state).not.toBe("ready");
		const elsewhere = await post(`${router.url}/v1/chat/completions`, {
			model: "fast",
			messages: [{ role: "user", content: "hi" }],
		});
		expect(elsewhere.headers.get("x-router-provider")).toBe("dummy");
		await waits("always");
	}, 60_000);

	test("anew, since its container was killed, is waited for", async () => {
		await becomes(agent, "always", "ready");
		await until(async () => (await known("always")) === "ready", "the router to know it");
		await host.engine.docker("kill", (await modelOf(agent, "always")).replicas[0]!.container!);
		await until(async () => (await known("always")) !== "ready", "the router to know it");
		await waits("always");
	}, 60_000);

	test("by order is waited for; before that it is said what would load it", async () => {
		const refused = await call("manual", true);
		expect([refused.status, refused.text]).toEqual([503, expect.stringContaining("POST /models/manual/load")]);
		await order(agent, "manual", "load");
		await until(async () => (await known("manual")) === "starting", "the router to know it");
		await waits("manual");
	}, 60_000);
});
