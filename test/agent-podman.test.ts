/** An agent over Podman, root's and a user's: containers on loopback alone, adopted by the agent that follows, and told apart by how they end. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ModelView } from "../src/agent/models/model-view.ts";
import { becomes, modelOf, order } from "./kit/agent-host.ts";
import type { Json } from "./kit/exchange.ts";
import { createNamespace, isOpen, type Namespace, openPorts } from "./kit/namespace.ts";
import { needing } from "./kit/needing.ts";
import { type PodmanHost, startPodmanHost } from "./kit/podman.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const NAME = "small";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];

needing("podman").describe.each(["user", "root"] as const)("an agent over Podman of the %s", (user) => {
	let namespace: Namespace;
	let host: PodmanHost;
	let agent: RunningRouter;

	const start = (settings: Json = {}, env: Record<string, string> = {}) =>
		startRouter({
			command: [...host.enter, ...host.router],
			args: ["--agent", "--insecure"],
			uid: host.uid,
			env: {
				...host.env,
				HOST: namespace.address,
				AGENT_PORT: "0",
				DATA_DIR: join(host.home, "data"),
				LOG_DIR: join(host.home, "logs"),
				HF_HOME: join(host.home, "hf"),
				HF_ENDPOINT: "http://127.0.0.1:1",
				...env,
			},
			config: {
				agent: {
					...{ image: "vllm-sim:test", name: "test", docker: "podman" },
					models: [{ model: "Qwen/Qwen3-0.6B", name: NAME, gpus: 0, gpu_memory: "1GiB" }],
					...settings,
				},
			},
		});
	const containers = async (...flags: string[]) => {
		const listed = await host.podman("ps", "--quiet", "--no-trunc", "--filter=label=router.agent=test", ...flags);
		return listed.split("\n").filter((id) => id !== "");
	};
	const ask = () => post(agent.url + CHAT, { model: NAME, messages });
	const replicaOf = async () => (await modelOf(agent, NAME)).replicas[0] as ModelView["replicas"][number];

	/** Waits for a container that takes calls, and is the only one and none of these; its id. */
	async function settled(...before: string[]): Promise<string> {
		let all: string[] = [];
		await until(async () => {
			all = await containers("--all");
			return all.length === 1 && !before.includes(all[0]!) && (await replicaOf()).state === "ready";
		}, "a container");
		return all[0]!;
	}

	beforeAll(async () => {
		namespace = await createNamespace();
		host = await startPodmanHost({ user, namespace });
		await host.importSim("vllm-sim:test", { SIM_DEVICE: "any" });
		agent = await start();
		await becomes(agent, NAME, "ready");
	}, 120_000);
	afterAll(async () => {
		await agent?.stop();
		await host?.stop();
		await namespace?.[Symbol.asyncDispose]();
	}, 60_000);

	test("starts a container, which answers", async () => {
		expect((await ask()).status).toBe(200);
		expect(await containers()).toHaveLength(1);
	});

	test("a scan of all ports of the host from another one finds the agent, and nothing else", async () => {
		expect(await openPorts(namespace.address)).toEqual([Number(new URL(agent.url).port)]);
		// One that is published for all would be found.
		const published = ["run", "--detach", "--publish=18000:8000", "vllm-sim:test", "Qwen/Qwen3-0.6B"];
		const id = (await host.podman(...published)).trim();
		await until(() => isOpen(namespace.address, 18_000), "the port");
		await host.podman("rm", "--force", "--time=0", id);
	}, 120_000);

	test("its log can be read, and followed to the end of its container", async () => {
		const text = await (await fetch(`${agent.url}/models/${NAME}/logs?tail=1000`)).text();
		expect(text).toContain("vLLM API server version");
		const followed = await fetch(`${agent.url}/models/${NAME}/logs?follow=1&tail=5`);
		const reader = followed.body!.getReader();
		expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^data: /);
		const before = await settled();
		await host.podman("kill", before);
		while (!(await reader.read()).done);
		await settled(before);
	}, 60_000);

	// Of what is stopped and removed it may tell nothing but the exit code, which says that it was told to end.
	const TOLD = "its container was told to end: by `podman stop`";
	test.each([
		["kill", ["kill"], ["somebody killed its container (`podman kill`)"]],
		["stop", ["stop", "--time=5"], ["somebody stopped its container (`podman stop`)", TOLD]],
		["rm", ["rm", "--force", "--time=5"], ["somebody removed its container (`podman rm`)", TOLD]],
	] as const)(
		"a container that ended by `podman %s` is told as that, and started again",
		async (_, argv, reasons) => {
			const id = await settled();
			const from = agent.output().length;
			await host.podman(...argv, id);
			await settled(id);
			const told = agent.output().slice(from);
			expect(reasons.filter((each) => told.includes(each))).toHaveLength(1);
		},
		60_000,
	);

	test("the agent that follows takes the container over, and one that is told to unloads it", async () => {
		const id = await settled();
		process.kill(agent.pid, "SIGTERM");
		await agent.printed(/Stopped\./);
		await agent.stop();
		expect(await containers()).toEqual([id]);
		agent = await start();
		await becomes(agent, NAME, "ready");
		expect(await containers()).toEqual([id]);
		expect((await ask()).status).toBe(200);
		expect((await order(agent, NAME, "unload")).status).toBe(202);
		await becomes(agent, NAME, "stopped");
		expect(await containers("--all")).toEqual([]);
	}, 60_000);

	test.each([
		["podman", "CONTAINER_HOST", "vllm-sim:test"],
		// Docker's client names images of no registry so.
		["docker", "DOCKER_HOST", "docker.io/library/vllm-sim:test"],
	])(
		"by %s at its socket (%s) it is the same",
		async (docker, variable, image) => {
			if (!existsSync(host.socket)) await host.serve();
			await host.podman("tag", "vllm-sim:test", image);
			await agent.stop();
			agent = await start({ docker, image }, { [variable]: `unix://${host.socket}` });
			// It remembers that it was told to unload it.
			await order(agent, NAME, "load");
			// One that the agent before has left was made from other settings, and is replaced.
			const id = await settled();
			expect((await ask()).status).toBe(200);
			await host.podman("kill", id);
			await settled(id);
			expect(agent.output()).toContain("somebody killed its container");
			expect((await order(agent, NAME, "unload")).status).toBe(202);
			await becomes(agent, NAME, "stopped");
			expect(await containers("--all")).toEqual([]);
		},
		120_000,
	);
});
