/** Models that are loaded by their first call, on a real Docker Engine: they take turns, and nobody's call is lost. */
import { expect, test } from "bun:test";
import { type AgentHost, type AgentOptions, agentHostOf, becomes, modelOf, order } from "./kit/agent-host.ts";
import { clientError } from "./kit/contract.ts";
import { eventData } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { random } from "./kit/random.ts";
import { post } from "./kit/rig.ts";
import type { RunningRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const named = (name: string, more = {}) => ({
	model: "Qwen/Qwen3-0.6B",
	name,
	load: "on-demand",
	gpu_memory: "10GiB",
	...more,
});
const three = ["a", "b", "c"].map((name) => named(name));

needing("docker").describe("on-demand models on a GPU with room for two of three", () => {
	let host: AgentHost;
	const agents = agentHostOf({ gpus: "1x24GB" }, async (started) => {
		host = started;
		await host.engine.importSim("slow:test", { SIM_START_MS: "6000" });
		await host.engine.importSim("crashes:test", { SIM_FAIL: "cuda-oom" });
	});
	const start = async (options: AgentOptions = {}) => {
		const agent = await host.agent({ models: three, ...options });
		agents.push(agent);
		return agent;
	};
	const call = (agent: RunningRouter, model: string, more = {}, headers = {}) =>
		post(agent.url + CHAT, { model, messages, max_tokens: 4, ...more }, headers);

	test.each([
		["stopped", false],
		["asleep", true],
	])(
		"200 mixed calls are all answered, with a load a model: the one in the way is %s",
		async (_, sleep) => {
			const agent = await start({ agent: { sleep } });
			const { pick, below } = random(7);
			const calls = Array.from({ length: 200 }, () => {
				const stream = below(2) === 0;
				return call(agent, pick(["a", "b", "c"]), { stream });
			});
			const answers = await Promise.all(calls);
			expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
			const whole = answers.filter(({ text }) => text.includes("[DONE]") || text.startsWith("{"));
			expect(whole.length).toBe(200);
			const loads = await agent.metric("router_agent_loads_total");
			console.log(
				`200 calls, ${sleep ? "asleep" : "stopped"}: ${loads} loads, ${await agent.metric("router_agent_evictions_total")} evictions`,
			);
			// Each of the three has to be loaded; 20 % more would be 3.6.
			expect(loads).toBe(3);
			expect(await agent.metric("router_agent_evictions_total")).toBe(1);
			expect(await agent.metric("router_agent_restarts_total")).toBe(0);
			expect(await host.containers(true)).toHaveLength(sleep ? 3 : 2);
		},
		60_000,
	);

	test("one that was put to sleep wakes for its next call, and the other one sleeps", async () => {
		const agent = await start();
		for (const model of ["a", "b", "c"]) expect((await call(agent, model)).status).toBe(200);
		await becomes(agent, "a", "sleeping");
		expect((await call(agent, "a")).status).toBe(200);
		await becomes(agent, "b", "sleeping");
		expect(await agent.metric("router_agent_wakes_total", { model: "a" })).toBe(1);
		expect(await agent.metric("router_agent_loads_total")).toBe(3);
		// The next agent finds both asleep and awake as they are.
		const before = (await host.containers()).sort();
		await agents.pop()!.stop();
		const next = await start();
		await becomes(next, "b", "sleeping");
		await becomes(next, "a", "ready");
		expect((await host.containers()).sort()).toEqual(before);
		expect((await call(next, "b")).status).toBe(200);
	}, 60_000);

	test("a stream that waits for its model is told how far that is; who leaves does not stop the load", async () => {
		const agent = await start({ models: [named("slow", { image: "slow:test" })] });
		const left = new AbortController();
		const gone = fetch(agent.url + CHAT, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ model: "slow", messages }),
			signal: left.signal,
		}).catch(() => "left");
		await becomes(agent, "slow", "starting");
		left.abort();
		expect(await gone).toBe("left");
		const { status, text } = await call(agent, "slow", { stream: true });
		expect(status).toBe(200);
		expect(text).toMatch(/^: slow: .*(starting|loading|compiling|capturing|profiling)/m);
		expect(eventData(text).at(-1)).toBe("[DONE]");
		expect(await agent.metric("router_agent_loads_total")).toBe(1);
	}, 60_000);

	test("its failure is told to those who wait, and the next call after the wait tries again", async () => {
		const agent = await start({ models: [named("bad", { image: "crashes:test" })] });
		const [whole, streamed] = await Promise.all([call(agent, "bad"), call(agent, "bad", { stream: true })]);
		expect([whole.status, clientError(whole.text).code]).toEqual([503, "upstream_overloaded"]);
		expect(whole.text).toContain("--max-model-len");
		// A stream that has waited for more than 5 s has its status already.
		expect([503, 200]).toContain(streamed.status);
		expect(streamed.text).toContain("--max-model-len");
		expect((await modelOf(agent, "bad")).state).toBe("failed");
	}, 60_000);

	test("more calls than may wait are refused with 429 and Retry-After; one that waits too long hears of it", async () => {
		const agent = await start({
			models: [named("slow", { image: "slow:test" })],
			agent: { queue: { size: 3, wait: "2s" } },
		});
		const answers = await Promise.all(Array.from({ length: 5 }, () => call(agent, "slow")));
		const statuses = answers.map(({ status }) => status).sort();
		expect(statuses).toEqual([429, 429, 503, 503, 503]);
		for (const { headers } of answers) expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
		const full = answers.find(({ status }) => status === 429)!;
		expect(clientError(full.text)).toMatchObject({ code: "rate_limit_exceeded" });
		const late = answers.find(({ status }) => status === 503)!;
		expect(late.text).toMatch(/not ready within 2 s.*it is starting/);
		await becomes(agent, "slow", "ready");
	}, 60_000);

	test("one that can never fit is refused with the arithmetic, and nothing is evicted for it", async () => {
		const agent = await start({ models: [named("a"), named("huge", { gpu_memory: "80GiB" })] });
		expect((await call(agent, "a")).status).toBe(200);
		const refused = await call(agent, "huge");
		expect(refused.status).toBe(503);
		expect(refused.text).toMatch(/80\.0 GiB.*24\.0/);
		await becomes(agent, "a", "ready");
	}, 60_000);

	test("one that idles for its ttl is unloaded", async () => {
		const agent = await start({ models: [named("a", { ttl: "1s" })] });
		expect((await call(agent, "a")).status).toBe(200);
		await becomes(agent, "a", "stopped");
		expect(await host.containers(true)).toEqual([]);
	}, 60_000);

	test("a model that nobody named is not loaded, and one that an API call names is, for good", async () => {
		const agent = await start({ models: [] });
		expect((await call(agent, "Qwen/Qwen3-0.6B")).status).toBe(404);
		expect((await order(agent, "Qwen/Qwen3-0.6B", "load")).status).toBe(404);
		const body = { model: "Qwen/Qwen3-0.6B", gpu_memory: "10GiB", load: "on-demand", ttl: "30m" };
		expect((await order(agent, "by/api", "load", body)).status).toBe(202);
		await becomes(agent, "by/api", "ready");
		const [id] = await host.containers();
		await agents.pop()!.stop();
		const next = await start({ models: [] });
		expect(await becomes(next, "by/api", "ready")).toMatchObject({ load: "on-demand", ttl_ms: 1_800_000 });
		expect(await host.containers(true)).toEqual([id!]);
	}, 60_000);

	test.each([
		["../../x", { model: "Qwen/Qwen3-0.6B" }],
		["--privileged", { model: "Qwen/Qwen3-0.6B" }],
		["x", { model: "--privileged" }],
		["x", { model: "/etc" }],
		["x", { model: "a/b", image: "--privileged" }],
		["x", { model: "a/b", args: ["--port", "1"] }],
		["x", { model: "a/b", env: ["DOCKER_HOST"] }],
		["x", { model: "a/b", gpus: "all" }],
		["x", { model: "a/b", volumes: ["/:/host"] }],
	])("the API refuses %s with %p, and no container comes of it", async (name, body) => {
		const agent = await start({ models: [] });
		const answer = await fetch(`${agent.url}/models/${encodeURIComponent(name)}/load`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify(body),
		});
		expect(answer.status).toBe(400);
		expect(clientError(await answer.text()).code).toBe("invalid_value");
		expect(await host.containers(true)).toEqual([]);
	});

	test("tools without a parser are refused with what to add", async () => {
		const agent = await start({ models: [{ ...named("plain"), model: "openai-community/gpt2" }] });
		const tools = [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }];
		for (const stream of [false, true]) {
			const refused = await call(agent, "plain", { tools, tool_choice: "auto", stream });
			expect(refused.status).toBe(400);
			expect(refused.text).toContain("--tool-call-parser");
			expect(refused.text).toContain("add to its `args`");
		}
	}, 60_000);

	test("a replica each on the GPU share the calls", async () => {
		const agent = await start({ models: [named("twin", { replicas: 2, load: "always" })] });
		await until(async () => (await modelOf(agent, "twin")).replicas.every(({ state }) => state === "ready"), "both");
		const answers = await Promise.all(Array.from({ length: 20 }, () => call(agent, "twin", { max_tokens: 40 })));
		expect(answers.every(({ status }) => status === 200)).toBe(true);
		for (const replica of ["0", "1"]) {
			expect(await agent.metric("vllm:request_success_total", { model: "twin", replica })).toBeGreaterThan(5);
		}
	}, 60_000);
});
