/** Models on the CPU of a real Docker Engine: their limit, their KV cache, and the host's memory that they share. */
import { expect, test } from "bun:test";
import { readHostMemory } from "../src/agent/gpu/host-reading.ts";
import { type AgentHost, agentHostOf, becomes, modelOf } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { until } from "./kit/until.ts";

const GIB = 1024 ** 3;
const small = { model: "Qwen/Qwen3-0.6B", name: "small", gpus: 0 };

needing("docker").describe("on the CPU", () => {
	let host: AgentHost;
	const agents = agentHostOf({}, (started) => {
		host = started;
	});
	const start = async (models: readonly object[]) => {
		const agent = await host.agent({ models: models as never });
		agents.push(agent);
		return agent;
	};

	test("a limit is the container's, and its KV cache fits into it", async () => {
		const agent = await start([{ ...small, memory: "3GiB" }]);
		await becomes(agent, "small", "ready");
		const [id] = await host.containers();
		const [{ HostConfig, Config }] = JSON.parse(await host.engine.docker("inspect", id!));
		expect([HostConfig.Memory, HostConfig.MemorySwap]).toEqual([3 * GIB, 3 * GIB]);
		expect(Config.Env).toContain("VLLM_CPU_KVCACHE_SPACE=1");
		expect((await modelOf(agent, "small")).replicas[0]).toMatchObject({ gpus: [], gpu_memory: 0, memory: 3 * GIB });
	}, 60_000);

	test("what does not fit is said with the arithmetic before it is started; another agent of the name knows what runs", async () => {
		const first = await start([{ ...small, memory: "3GiB" }]);
		await becomes(first, "small", "ready");
		await agents.pop()!.stop();
		const agent = await start([
			{ ...small, memory: "3GiB" },
			{ ...small, name: "large", memory: "100000GiB" },
		]);
		const large = await becomes(agent, "large", "failed");
		expect(large.reason).toMatch(
			/^large may use 100000\.0 GiB \(`memory`\) of the host's memory; it has \d+\.\d GiB free of \d+\.\d/,
		);
		expect(large.fix).toMatch(/^lower its `memory` to \d+GiB or less/);
		await becomes(agent, "small", "ready");
		expect(await host.containers(true)).toHaveLength(1);
	}, 60_000);

	test("of two replicas of which one fits that one serves, and the other says what to do", async () => {
		const memory = `${Math.floor((readHostMemory()!.total * 0.55) / GIB)}GiB`;
		const agent = await start([{ ...small, memory, replicas: 2 }]);
		const shown = await becomes(agent, "small", "ready");
		expect(await host.containers(true)).toHaveLength(1);
		expect(shown.replicas.map(({ state }) => state)).toEqual(["ready", "failed"]);
		expect(shown.fix).toContain("`replicas`");
	}, 60_000);

	test("two on-demand models that fit alone take turns", async () => {
		// Of what the host has each takes more than half.
		const memory = `${Math.floor((readHostMemory()!.total * 0.55) / GIB)}GiB`;
		const onDemand = { ...small, memory, load: "on-demand" };
		const agent = await start([onDemand, { ...onDemand, name: "other" }]);
		const call = (model: string) =>
			post(`${agent.url}/v1/chat/completions`, { model, messages: [{ role: "user", content: "hi" }], max_tokens: 2 });
		expect((await call("small")).status).toBe(200);
		expect((await call("other")).status).toBe(200);
		expect((await modelOf(agent, "small")).state).not.toBe("ready");
		expect(await host.containers()).toHaveLength(1);
		expect((await call("small")).status).toBe(200);
	}, 60_000);

	test("a container that the kernel killed within its limit is told as that, and started again", async () => {
		const agent = await start([{ ...small, memory: "3GiB" }]);
		await becomes(agent, "small", "ready");
		const [id] = await host.containers();
		// The look-alike needs little: its limit comes down to what it has.
		await host.engine.docker("update", "--memory=12m", "--memory-swap=12m", id!);
		const content = "word ".repeat(400_000);
		const call = () =>
			post(`${agent.url}/v1/chat/completions`, {
				model: "small",
				messages: [{ role: "user", content }],
				max_tokens: 1,
			});
		await until(async () => {
			await call().catch(() => undefined);
			return /needed more than the 3\.0 GiB that its container may use/.test(agent.output());
		}, "the kernel's kill");
		await until(async () => (await host.containers()).some((each) => each !== id), "another container");
		await becomes(agent, "small", "ready");
	}, 60_000);
});
