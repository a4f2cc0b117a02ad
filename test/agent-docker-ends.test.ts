/** Who ended a container, told as what it was, on a real Docker Engine; the model comes up again each time. */
import { expect, test } from "bun:test";
import { type AgentHost, agentHostOf, becomes } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import type { RunningRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const models = [{ model: "Qwen/Qwen3-0.6B", name: "small" }];

needing("docker").describe("a container that ended", () => {
	let host: AgentHost;
	const agents = agentHostOf({}, (started) => {
		host = started;
	});
	const start = async () => {
		const agent = await host.agent({ models });
		agents.push(agent);
		await becomes(agent, "small", "ready");
		const [id] = await host.containers();
		return { agent, id: id! };
	};
	const comesBack = async (agent: RunningRouter, id: string) => {
		await until(async () => (await host.containers(true)).some((each) => each !== id), "another container");
		expect((await becomes(agent, "small", "ready")).reason).toBeUndefined();
	};

	test.each([
		["by `docker stop`", ["stop", "--time", "5"], /somebody stopped its container \(`docker stop`\)/],
		["by `docker kill`", ["kill"], /somebody killed its container \(`docker kill`\)/],
		["by `docker kill --signal TERM`", ["kill", "--signal", "TERM"], /`docker kill --signal TERM`/],
		["by `docker rm`", ["rm", "--force"], /somebody removed its container \(`docker rm`\)/],
	] as const)(
		"%s is told as that",
		async (_, command, reason) => {
			const { agent, id } = await start();
			await host.engine.docker(...command, id);
			await agent.printed(reason);
			await agent.printed(/POST \/models\/small\/unload/);
			await comesBack(agent, id);
		},
		60_000,
	);

	test("by a signal from outside of Docker is told as that, without a guess at who sent it", async () => {
		const { agent, id } = await start();
		const pid = Number(await host.engine.docker("inspect", "--format", "{{.State.Pid}}", id));
		process.kill(pid, "SIGKILL");
		await agent.printed(/vLLM was killed \(SIGKILL\) and logged no reason.*dmesg/);
		await comesBack(agent, id);
	}, 60_000);

	test.each(["SIGTERM", "SIGKILL"] as const)(
		"with Docker's daemon (%s) is told as that",
		async (signal) => {
			const { agent, id } = await start();
			await host.engine.restart(signal);
			await agent.printed(/Docker's daemon was stopped or restarted, and its container with it.*live-restore/);
			await comesBack(agent, id);
			expect(agent.output()).not.toMatch(/somebody (?:stopped|killed)/);
		},
		90_000,
	);

	test("by SIGTERM from outside of Docker is told as that", async () => {
		const { agent, id } = await start();
		process.kill(Number(await host.engine.docker("inspect", "--format", "{{.State.Pid}}", id)), "SIGTERM");
		await agent.printed(/told to end \(SIGTERM\), but not by docker/);
		await comesBack(agent, id);
	}, 60_000);

	test("by the death of its engine is told by the error that the engine died of", async () => {
		await host.engine.importSim("dies:test", { SIM_DEVICE: "any", SIM_CRASH_AFTER_REQUESTS: "1" });
		const agent = await host.agent({ models: [{ ...models[0], image: "dies:test" }] });
		agents.push(agent);
		await becomes(agent, "small", "ready");
		const [id] = await host.containers();
		const messages = [{ role: "user", content: "hi" }];
		void post(`${agent.url}/v1/chat/completions`, { model: "small", messages }).catch(() => {});
		await agent.printed(/the GPU failed: CUDA error: an illegal memory access.*xid/);
		await comesBack(agent, id!);
		expect(agent.output()).not.toMatch(/EngineDeadError|See stack trace/);
	}, 60_000);

	test("while no agent was there is told by the next one", async () => {
		const { id } = await start();
		await agents.pop()!.stop();
		await host.engine.docker("stop", "--time", "5", id);
		const next = await host.agent({ models });
		agents.push(next);
		await next.printed(/somebody stopped its container/);
		await comesBack(next, id);
	}, 60_000);
});
