/** Accidents of containers and images on a real Docker Engine: each ends in the documented state, with a reason to act on. */
import { expect, test } from "bun:test";
import {
	type AgentHost,
	type AgentOptions,
	agentHostOf,
	becomes,
	modelOf,
	order,
	startAgentHost,
} from "./kit/agent-host.ts";
import { clientError } from "./kit/contract.ts";
import { needing } from "./kit/needing.ts";
import { startRegistry } from "./kit/registry.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const models = [{ model: "Qwen/Qwen3-0.6B", name: "small" }];

needing("docker").describe("on a host without a GPU", () => {
	let host: AgentHost;
	const agents = agentHostOf({}, async (started) => {
		host = started;
		await host.engine.importSim("crashes:test", { SIM_DEVICE: "any", SIM_FAIL: "cuda-oom" });
		await host.engine.importSim("stalls:test", { SIM_DEVICE: "any", SIM_STALL: "weights" });
		await host.engine.importSim("hangs:test", { SIM_DEVICE: "any", SIM_HANG_AFTER_REQUESTS: "2" });
		await host.engine.importSim("dies:test", { SIM_DEVICE: "any", SIM_CRASH_AFTER_REQUESTS: "2" });
	});
	const start = async (options: AgentOptions = {}) => {
		const agent = await host.agent({ models, ...options });
		agents.push(agent);
		return agent;
	};
	const withImage = (image: string) => ({ models: [{ ...models[0], image }] });
	const answers = async (agent: RunningRouter) =>
		(await post(agent.url + CHAT, { model: "small", messages, max_tokens: 2 })).status === 200;

	test.each([
		["is killed", (id: string) => host.engine.docker("kill", id)],
		["is removed behind the agent's back", (id: string) => host.engine.docker("rm", "--force", id)],
		["is stopped by somebody", (id: string) => host.engine.docker("stop", "--time", "1", id)],
	] as const)(
		"a container that %s is started again at once, alone",
		async (_, accident) => {
			const agent = await start();
			await becomes(agent, "small", "ready");
			const [id] = await host.containers();
			await accident(id!);
			await until(async () => (await host.containers(true)).some((each) => each !== id), "another container");
			await becomes(agent, "small", "ready");
			await until(() => answers(agent));
			expect(await host.containers(true)).toHaveLength(1);
		},
		60_000,
	);

	test("a restart of the engine that ends its containers ends in ready", async () => {
		const agent = await start();
		await becomes(agent, "small", "ready");
		await host.engine.restart();
		await until(async () => (await host.containers()).length === 1, "a container");
		await becomes(agent, "small", "ready");
		await until(() => answers(agent));
		expect(await host.containers(true)).toHaveLength(1);
	}, 90_000);

	test("a crash loop is slowed down, with the log's reason and what to do; a call is told both", async () => {
		const agent = await start(withImage("crashes:test"));
		await until(async () => (await agent.metric("router_agent_restarts_total")) >= 2, "the second crash");
		const failed = await becomes(agent, "small", "failed");
		expect(`${failed.reason}: ${failed.fix}`).toMatch(/memory.*--max-model-len/is);
		expect(Date.parse(failed.retry_at!)).toBeGreaterThan(Date.now());
		const refused = await post(agent.url + CHAT, { model: "small", messages });
		expect([refused.status, clientError(refused.text).code]).toEqual([503, "upstream_overloaded"]);
		expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(refused.text).toContain("--max-model-len");
		const log = await (await fetch(`${agent.url}/models/small/logs`)).text();
		expect(log).toContain("OutOfMemoryError");
	}, 60_000);

	test("a crash loop tells its last reason while it is started again, to a waiting call too", async () => {
		const router = await startRouter();
		agents.push(router);
		await host.engine.importSim("slow-crash:test", {
			SIM_DEVICE: "any",
			SIM_FAIL: "cuda-oom",
			SIM_FAIL_TIMES: "1",
			SIM_STATE_DIR: "/root/.cache/vllm/crash-loop",
			SIM_START_MS: "8000",
		});
		const agent = await start({ ...withImage("slow-crash:test"), agent: { router: router.url } });
		await until(async () => (await agent.metric("router_agent_restarts_total")) >= 1, "the crash");
		let waiting = "";
		const stream = post(agent.url + CHAT, { model: "small", messages, stream: true, max_tokens: 2 }, {}, (text) => {
			waiting += text;
		});
		const again = await becomes(agent, "small", "starting");
		expect(again).toMatchObject({ failures: 1 });
		expect(again.reason).toMatch(/failed and is started again; the last reason: the GPU's memory ran out/);
		expect(again.fix).toContain("--max-model-len");
		await until(async () => {
			const { data } = (await (await fetch(`${router.url}/agents`)).json()) as {
				data: { models: { reason?: string }[] }[];
			};
			return /the last reason: the GPU's memory ran out/.test(data[0]?.models[0]?.reason ?? "");
		}, "the reason at the router");
		expect((await stream).status).toBe(200);
		expect(waiting).toMatch(
			/^: small: starting.*\(it failed and is started again; the last reason: the GPU's memory ran out/m,
		);
		const ready = await becomes(agent, "small", "ready");
		expect([ready.reason, ready.failures]).toEqual([undefined, undefined]);
	}, 60_000);

	test("one that is never ready is given up, and its last words are kept", async () => {
		const agent = await start({ ...withImage("stalls:test"), agent: { start: { silence: "1s" } } });
		await until(async () => (await agent.metric("router_agent_restarts_total")) >= 2, "the second try");
		const failed = await becomes(agent, "small", "failed");
		expect(failed.reason).toContain("no progress for 1 s while starting");
		expect(failed.fix).toContain("GET /models/small/logs");
	}, 60_000);

	test("an image that does not exist is told of by its name; one that does is pulled", async () => {
		await using registry = await startRegistry();
		registry.only("vllm/there");
		const missing = `${registry.host}/vllm/not-there:v1`;
		const agent = await start(withImage(missing));
		await until(async () => (await modelOf(agent, "small")).retry_at !== undefined, "the second try");
		const failed = await becomes(agent, "small", "failed");
		expect(failed.reason).toContain(missing);
		expect(failed.fix).not.toBe("");
		expect(await host.containers(true)).toEqual([]);

		const other = { model: "Qwen/Qwen3-0.6B", image: `${registry.host}/vllm/there:v1`, gpus: 0 };
		registry.pace(20_000_000);
		expect((await order(agent, "pulled", "load", other)).status).toBe(202);
		const progress = async () => (await modelOf(agent, "pulled")).progress ?? "";
		await until(async () => (await progress()).includes("pulling its image there:v1"), "the pull's progress");
		registry.pace(Number.POSITIVE_INFINITY);
		// The image in the registry wants a GPU, as the real one does.
		expect((await becomes(agent, "pulled", "failed")).reason).not.toContain("image");
		await order(agent, "pulled", "unload");
	}, 60_000);

	test("a hung engine is found by its silence though /health says 200, and is started anew", async () => {
		const agent = await start({ ...withImage("hangs:test"), agent: { stall: "1s" } });
		await becomes(agent, "small", "ready");
		const calls = Array.from({ length: 3 }, () =>
			post(agent.url + CHAT, { model: "small", messages, stream: true }).then(({ text }) => text),
		);
		await until(async () => (await agent.metric("router_agent_restarts_total")) >= 1, "the restart");
		const texts = await Promise.all(calls);
		expect(texts.filter((text) => !text.includes("[DONE]")).length).toBeGreaterThan(0);
		await agent.printed(/its engine hung: for \d+ s calls ran/);
		await becomes(agent, "small", "ready");
	}, 60_000);

	test("one whose engine dies is started anew, and the call that met it is answered by the next", async () => {
		const agent = await start(withImage("dies:test"));
		await becomes(agent, "small", "ready");
		for (let call = 0; call < 4; call++) expect(await answers(agent)).toBe(true);
		expect(await agent.metric("router_agent_restarts_total")).toBeGreaterThan(0);
	}, 60_000);

	test.each(["always", "on-demand"])(
		"a paused container of a model that is loaded %s is left alone, and told of, by the next agent, too",
		async (load) => {
			const options = { models: [{ ...models[0], load }] };
			const first = await start(options);
			await until(() => answers(first));
			const [id] = await host.containers();
			await host.engine.docker("pause", id!);
			expect((await becomes(first, "small", "failed")).reason).toContain("paused");
			await first.stop();
			const next = await start(options);
			expect((await becomes(next, "small", "failed")).reason).toContain("paused");
			await host.engine.docker("unpause", id!);
			await becomes(next, "small", "ready");
			expect(await host.containers(true)).toEqual([id!]);
		},
		60_000,
	);

	test("an order of the API clears the wait after failures", async () => {
		const agent = await start(withImage("crashes:test"));
		await until(async () => (await agent.metric("router_agent_restarts_total")) >= 2, "the second crash");
		await becomes(agent, "small", "failed");
		const before = await agent.metric("router_agent_restarts_total");
		await order(agent, "small", "load");
		await until(async () => (await agent.metric("router_agent_restarts_total")) > before, "another try");
	}, 60_000);
});

needing("docker").describe("the engine itself", () => {
	test("without an engine the agent runs, and says what to do; it heals by itself", async () => {
		const host = await startAgentHost();
		await host.engine.down();
		const agent = await host.agent({ models });
		try {
			const failed = await becomes(agent, "small", "failed");
			expect(failed.fix).toContain("systemctl start docker");
			expect((await fetch(`${agent.url}/health/ready`)).status).toBe(200);
			await host.engine.up();
			await becomes(agent, "small", "ready");
		} finally {
			await agent.stop();
			await host.stop();
		}
	}, 90_000);

	test("without the CLI the agent runs, and says what to install", async () => {
		const host = await startAgentHost();
		const agent = await host.agent({ models, env: { PATH: "/nowhere" } });
		try {
			const failed = await becomes(agent, "small", "failed");
			expect(failed.reason).toMatch(/docker/);
			expect(failed.fix).not.toBe("");
		} finally {
			await agent.stop();
			await host.stop();
		}
	}, 60_000);

	test("without NVIDIA's toolkit the reason names it", async () => {
		const host = await startAgentHost({ gpus: "1x24GB", nvidia: false });
		const agent = await host.agent({ models });
		try {
			const failed = await becomes(agent, "small", "failed");
			expect(`${failed.reason} ${failed.fix}`).toContain("nvidia-c");
			expect(await host.containers(true)).toEqual([]);
		} finally {
			await agent.stop();
			await host.stop();
		}
	}, 60_000);

	test("a full disk is told of as that, and once there is room the model comes up", async () => {
		const host = await startAgentHost({ disk: "300m" });
		host.engine.fill();
		const agent = await host.agent({ models });
		try {
			const failed = await becomes(agent, "small", "failed");
			expect(`${failed.reason} ${failed.fix}`).toMatch(/space|full/i);
			host.engine.free();
			await order(agent, "small", "load");
			await becomes(agent, "small", "ready");
		} finally {
			await agent.stop();
			await host.stop();
		}
	}, 60_000);
});
