/** An agent with models in containers, on a real Docker Engine: one command, and a call is answered. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type AgentHost, becomes, modelOf, order, startAgentHost } from "./kit/agent-host.ts";
import { clientError } from "./kit/contract.ts";
import { eventData } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import type { RunningRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];

needing("docker").describe("one command", () => {
	let host: AgentHost;
	let agent: RunningRouter;
	beforeAll(async () => {
		host = await startAgentHost({ gpus: "1x24GB" });
		agent = await host.agent({
			agent: { kv_events: "always" },
			args: ["--agent", "--model", "Qwen/Qwen3-0.6B", "--name", "qwen/small", "--", "--max-model-len", "4096"],
		});
		await becomes(agent, "qwen/small", "ready");
	}, 60_000);
	afterAll(async () => {
		await agent?.stop();
		await host?.stop();
	}, 60_000);

	test.each(["qwen/small", "local/qwen/small", "local", "local-any"])(
		"starts a container, and %s answers, whole and streamed",
		async (model) => {
			const whole = await post(agent.url + CHAT, { model, messages });
			expect([whole.status, JSON.parse(whole.text).model]).toEqual([200, "qwen/small"]);
			const streamed = await post(agent.url + CHAT, { model, messages, stream: true });
			expect([streamed.status, eventData(streamed.text).at(-1)]).toEqual([200, "[DONE]"]);
		},
	);

	async function socketsOf(): Promise<string> {
		const [id] = await host.containers();
		const { Mounts } = JSON.parse(await host.engine.docker("inspect", id!))[0];
		return Mounts.find((each: { Destination: string }) => each.Destination === "/run/router-kv").Source;
	}

	test("the container has the model's arguments, and its secrets nowhere on a command line", async () => {
		const [id] = await host.containers();
		const inspected = JSON.parse(await host.engine.docker("inspect", id!))[0];
		expect(inspected.Args.join(" ")).toContain("Qwen/Qwen3-0.6B --served-model-name qwen/small");
		expect(inspected.Args.join(" ")).toContain("--max-model-len 4096");
		expect(inspected.HostConfig.RestartPolicy.Name).toBe("no");
		const key = inspected.Config.Env.find((each: string) => each.startsWith("VLLM_API_KEY=")).slice(13);
		expect(JSON.stringify(inspected.Args)).not.toContain(key);
		expect(agent.output()).not.toContain(key);
	});

	test("the sockets of its KV events are in a directory that its user may write to, and nobody else of the host reach", async () => {
		const directory = await socketsOf();
		const modes = [directory, dirname(directory)].map((path) => (statSync(path).mode & 0o777).toString(8));
		expect(modes).toEqual(["777", "700"]);
		const inspected = JSON.parse(await host.engine.docker("inspect", (await host.containers())[0]!))[0];
		expect(Object.keys(inspected.HostConfig.PortBindings)).toEqual(["8000/tcp"]);
	});

	test("the model is shown with all that is known of it", async () => {
		const shown = await modelOf(agent, "qwen/small");
		expect(shown).toMatchObject({ model: "Qwen/Qwen3-0.6B", load: "always", state: "ready", max_model_len: 4096 });
		expect(shown.replicas).toMatchObject([{ replica: 0, state: "ready", gpus: [0] }]);
		const { data } = (await (await fetch(`${agent.url}/v1/models`)).json()) as { data: { id: string }[] };
		expect(data.map(({ id }) => id)).toEqual(["qwen/small", "dummy"]);
		const gpus = (await (await fetch(`${agent.url}/gpus`)).json()) as { accelerator: string; data: object[] };
		expect(gpus).toMatchObject({ accelerator: "nvidia", data: [{ index: 0, models: [{ model: "qwen/small" }] }] });
	});

	test("a name that no model has is a 404 that says so", async () => {
		const answer = await post(agent.url + CHAT, { model: "qwen/smal", messages });
		expect([answer.status, clientError(answer.text).code]).toEqual([404, "model_not_found"]);
		expect(answer.text).toContain("qwen/small");
	});

	test.each(["/tokenizer_info", "/v1/load_lora_adapter", "/sleep", "/invocations", "/pause"])(
		"vLLM's %s is out of reach",
		async (path) => {
			const answer = await fetch(agent.url + path, {
				method: "POST",
				body: "{}",
				headers: { "content-type": "application/json" },
			});
			expect(answer.status).toBe(404);
		},
	);

	test("its log can be read, and followed", async () => {
		const text = await (await fetch(`${agent.url}/models/qwen/small/logs?tail=1000`)).text();
		expect(text).toContain("vLLM API server version");
		const followed = await fetch(`${agent.url}/models/qwen/small/logs?follow=1&tail=5`);
		expect(followed.headers.get("content-type")).toContain("text/event-stream");
		const reader = followed.body!.getReader();
		expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^data: /);
		await reader.cancel();
	});

	test("metrics tell of the model, the GPU, and what its vLLM tells, with its name", async () => {
		expect(await agent.metric("router_agent_model_state", { model: "qwen/small", state: "ready" })).toBe(1);
		expect(await agent.metric("router_agent_loads_total", { model: "qwen/small" })).toBe(1);
		expect(await agent.metric("router_agent_gpu_memory_bytes")).toBe(24_564 * 1024 ** 2);
		expect(await agent.metric("vllm:request_success_total", { model: "qwen/small" })).toBeGreaterThan(0);
	});

	test("it is unloaded when told to, and calls say so; told to load it comes back", async () => {
		const sockets = await socketsOf();
		expect((await order(agent, "qwen/small", "unload")).status).toBe(202);
		await becomes(agent, "qwen/small", "stopped");
		expect(await host.containers(true)).toEqual([]);
		await until(() => !existsSync(sockets), "no directory of its sockets");
		const refused = await post(agent.url + CHAT, { model: "qwen/small", messages });
		expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"]);
		expect(refused.text).toContain("POST /models/qwen/small/load");
		expect((await order(agent, "qwen/small", "load")).status).toBe(202);
		await becomes(agent, "qwen/small", "ready");
		expect((await post(agent.url + CHAT, { model: "qwen/small", messages })).status).toBe(200);
	}, 30_000);
});
