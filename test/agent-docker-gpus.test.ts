/** Where models go on a host with several GPUs, and what is said of those that can't go anywhere, on a real Docker Engine. */
import { expect, test } from "bun:test";
import { type AgentHost, type AgentOptions, agentHostOf, becomes, modelOf, startAgentHost } from "./kit/agent-host.ts";
import { eventData } from "./kit/exchange.ts";
import { startHub } from "./kit/hugging-face.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];

needing("docker").describe("on a host with 8 GPUs of 80 GB", () => {
	let host: AgentHost;
	const agents = agentHostOf({ gpus: "8x80GB" }, (started) => {
		host = started;
	});
	const start = async (options: AgentOptions = {}) => {
		const agent = await host.agent(options);
		agents.push(agent);
		return agent;
	};

	test("replicas spread over the GPUs, models share one where they say how much they take, and devices are kept to", async () => {
		const agent = await start({
			models: [
				{ model: "Qwen/Qwen3-32B", name: "large", gpus: 2, replicas: 2 },
				{ model: "Qwen/Qwen3-0.6B", name: "fixed", devices: [7], gpu_memory: "10GiB" },
				{ model: "Qwen/Qwen3-0.6B", name: "beside", devices: [7], gpu_memory: "10GiB" },
			],
		});
		for (const name of ["large", "fixed", "beside"]) await becomes(agent, name, "ready");
		await until(async () => (await modelOf(agent, "large")).replicas.every(({ state }) => state === "ready"), "both");
		const { replicas } = await modelOf(agent, "large");
		const used = replicas.flatMap(({ gpus }) => gpus);
		expect([used.length, new Set(used).size, used.includes(7)]).toEqual([4, 4, false]);
		for (const name of ["fixed", "beside"]) expect((await modelOf(agent, name)).replicas[0]?.gpus).toEqual([7]);
		const ids = await host.containers();
		const inspected = JSON.parse(await host.engine.docker("inspect", ...ids)) as { Args: string[] }[];
		const large = inspected.filter(({ Args }) => Args.includes("large"));
		for (const { Args } of large) expect(Args.join(" ")).toContain("--tensor-parallel-size 2");
		const gpus = (await (await fetch(`${agent.url}/gpus`)).json()) as { data: { models: { model: string }[] }[] };
		expect(gpus.data[7]?.models.map(({ model }) => model).sort()).toEqual(["beside", "fixed"]);
	}, 60_000);

	test("what a model needs is known from the Hub before anything is pulled: too large, gated, unknown", async () => {
		await using hub = startHub();
		const image = "never-pulled:v1";
		const agent = await start({
			env: { HF_ENDPOINT: hub.origin },
			models: [
				{ model: "Qwen/Qwen3-0.6B", name: "small-share", gpu_memory: "1GiB", image },
				{ model: "meta-llama/Llama-3.1-8B-Instruct", name: "gated", image },
				{ model: "nobody/nothing", name: "unknown", image },
			],
		});
		const large = await becomes(agent, "small-share", "failed");
		expect(large.reason).toMatch(/needs \d+\.\d GiB for its weights, more than its `gpu_memory` of 1\.0/);
		const gated = await becomes(agent, "gated", "failed");
		expect(`${gated.reason} ${gated.fix}`).toMatch(/gated.*HF_TOKEN/s);
		expect((await becomes(agent, "unknown", "failed")).reason).toContain("nobody/nothing");
		expect(await host.containers(true)).toEqual([]);
		expect(await agent.metric("router_agent_loads_total")).toBe(0);
		const refused = await post(agent.url + CHAT, { model: "gated", messages });
		expect([refused.status, refused.text.includes("HF_TOKEN")]).toEqual([503, true]);
	}, 60_000);

	test("a driver that fails for a while at a start changes no container", async () => {
		const models = [{ model: "Qwen/Qwen3-0.6B", name: "small" }];
		const first = await start({ models });
		await becomes(first, "small", "ready");
		const before = await host.containers();
		await agents.pop()!.stop();
		host.smi!.fail(true);
		const second = await start({ models });
		await becomes(second, "small", "ready");
		expect(await host.containers(true)).toEqual(before);
		host.smi!.fail(false);
	}, 60_000);

	test("a driver that never worked is told of, and nothing is started on the CPU instead", async () => {
		host.smi!.fail(true);
		const agent = await start({
			models: [{ model: "Qwen/Qwen3-0.6B", name: "small" }],
			env: { DATA_DIR: "another-data" },
		});
		const failed = await becomes(agent, "small", "failed");
		expect(`${failed.reason} ${failed.fix}`).toMatch(/nvidia-smi.*agent\.accelerator/s);
		expect(await host.containers(true)).toEqual([]);
		host.smi!.fail(false);
		await becomes(agent, "small", "ready");
	}, 60_000);
});

needing("docker").describe("--standalone", () => {
	test("a model that starts is waited for by its plain name, and a stream is told how far it is, as with two processes", async () => {
		const host = await startAgentHost({ gpus: "1x24GB", sim: { SIM_START_MS: "6000" } });
		const both = await host.agent({
			args: ["--standalone"],
			models: [{ model: "Qwen/Qwen3-0.6B", name: "tiny" }],
			env: { AGENT_PORT: "0" },
		});
		try {
			const url = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
			const listed = async () => (await (await fetch(`${url}/v1/models`)).text()).includes('"local/tiny"');
			await until(listed, "the model in the list");
			const [whole, streamed, named] = await Promise.all([
				post(url + CHAT, { model: "tiny", messages }),
				post(url + CHAT, { model: "tiny", messages, stream: true }),
				post(url + CHAT, { model: "local/tiny", messages }),
			]);
			expect([whole.status, streamed.status, named.status]).toEqual([200, 200, 200]);
			expect(whole.headers.get("x-router-agent")).toBe("test");
			expect(streamed.text).toMatch(/^: tiny: (?:starting|pulling|looking)/m);
			expect(eventData(streamed.text).at(-1)).toBe("[DONE]");
		} finally {
			await both.stop();
			await host.stop();
		}
	}, 60_000);

	test("with a model is one command, and one call to the router is answered", async () => {
		const host = await startAgentHost({ gpus: "1x24GB" });
		const both = await host.agent({
			args: ["--standalone", "--model", "Qwen/Qwen3-0.6B", "--name", "small"],
			env: { AGENT_PORT: "0", HF_TOKEN: "hf_of_the_user" },
		});
		try {
			const url = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
			await until(async () => {
				const answer = await post(url + CHAT, { model: "local/small", messages });
				return answer.status === 200 && answer.headers.get("x-router-provider") === "local";
			}, "an answer");
			const listed = await (await fetch(`${url}/v1/models`)).text();
			expect(listed).toContain('"local/small"');
			const [id] = await host.containers();
			const { Args, Config } = JSON.parse(await host.engine.docker("inspect", id!))[0];
			expect(Config.Env).toContain("HF_TOKEN=hf_of_the_user");
			expect(JSON.stringify(Args)).not.toContain("hf_of_the_user");
			expect(both.output()).not.toContain("hf_of_the_user");
		} finally {
			await both.stop();
			await host.stop();
		}
	}, 60_000);
});
