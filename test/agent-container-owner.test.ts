/** Two agents of one name on one engine, where no lock of one host can tell them apart: neither removes the other's containers. */
import { describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join, resolve } from "node:path";
import { AgentPresence } from "../src/agent/docker/agent-presence.ts";
import { ContainerOwner } from "../src/agent/docker/container-owner.ts";
import type { Container } from "../src/agent/docker/docker-output.ts";
import { type AgentHost, type AgentOptions, agentHostOf, becomes, modelOf, order } from "./kit/agent-host.ts";
import { lines } from "./kit/lines.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { until } from "./kit/until.ts";

const messages = [{ role: "user", content: "hi" }];
const OWN = "11111111-1111-1111-1111-111111111111";
const OTHER = "22222222-2222-2222-2222-222222222222";

describe("the presence of an agent", () => {
	const presenceOf = (instance = crypto.randomUUID() as string) => new AgentPresence("gpu-1", () => instance);

	test("tells those that run from those that have ended, its own, and those out of sight", () => {
		const [own, running, ended] = [presenceOf(), presenceOf(), presenceOf()];
		running.hold();
		running.hold();
		expect(own.holderOf(own.id!)).toBe("self");
		expect(own.holderOf(running.id!)).toBe("runs");
		expect([own.holderOf(ended.id!), own.holderOf(ended.id!)]).toEqual(["ended", "ended"]);
		const [boot, namespace, hash] = running.id!.split(":");
		expect(own.holderOf(`${crypto.randomUUID()}:${namespace}:${hash}`)).toBe("unknown");
		expect(own.holderOf(`${boot}:1:${hash}`)).toBe("unknown");
		for (const garbage of ["", ":", "x", `${boot}:${namespace}`]) expect(own.holderOf(garbage)).toBe("unknown");
	});

	test("is that of its data directory and its name, also after a restart", () => {
		expect(presenceOf(OWN).id).toBe(presenceOf(OWN).id!);
		expect(presenceOf(OWN).id).not.toBe(presenceOf(OTHER).id!);
		expect(new AgentPresence("gpu-2", () => OWN).id).not.toBe(presenceOf(OWN).id!);
	});
});

describe("a container is", () => {
	const container = (instance: string | undefined, presence?: string): Container => ({
		id: "c0",
		name: "router-chat",
		labels: {
			"router.agent": "gpu-1",
			...(instance && { "router.instance": instance }),
			...(presence && { "router.presence": presence }),
		},
		state: "running",
		exitCode: 0,
		oomKilled: false,
		startedAt: 0,
		image: "vllm",
	});
	const owner = (holder: "self" | "runs" | "ended" | "unknown") =>
		new ContainerOwner("gpu-1", "docker", { id: "boot:net:socket", hold() {}, holderOf: () => holder }, () => OWN);

	test.each([
		["own", OWN, "self"],
		["own", OWN, "ended"],
		["own", OWN, "unknown"],
		["another's", OWN, "runs"],
		["own", OTHER, "self"],
		["own", OTHER, "ended"],
		["another's", OTHER, "unknown"],
		["another's", OTHER, "runs"],
		["own", undefined, "unknown"],
	] as const)("%s with the instance %p and a presence that is %s", (whose, instance, holder) => {
		const { own, problem } = owner(holder).divide([container(instance, "some:presence")]);
		expect(own).toHaveLength(whose === "own" ? 1 : 0);
		expect(problem === undefined).toBe(whose === "own");
	});

	test("another's where it has another instance and no presence: one of a system without such sockets", () => {
		expect(owner("self").divide([container(OTHER)]).own).toEqual([]);
	});

	test.each([
		["own", OWN, "ended"],
		["left alone", OWN, "runs"],
		["left alone", OWN, "unknown"],
		["left alone", OTHER, "ended"],
	] as const)("%s under another name with the instance %p and a presence that is %s", (whose, instance, holder) => {
		const made = container(instance, "some:presence");
		const renamed = { ...made, labels: { ...made.labels, "router.agent": "old-name" } };
		expect(owner(holder).divide([renamed])).toEqual({ own: whose === "own" ? [renamed] : [] });
	});

	test("labelled by its owner, and the problem has the command that removes what another one left", () => {
		expect(owner("self").labels()).toEqual({ "router.instance": OWN, "router.presence": "boot:net:socket" });
		const { problem } = owner("unknown").divide([container(OTHER), container(OTHER), container(OWN)]);
		expect(problem?.reason).toBe('another agent called "gpu-1" has 2 containers on this engine');
		expect(problem?.fix).toContain("ROUTER_AGENT_NAME");
		expect(problem?.fix).toEndWith(
			`\`docker rm --force $(docker ps --all --quiet --filter label=router.instance=${OTHER})\``,
		);
		expect(owner("runs").divide([container(OTHER, "x")]).problem).toEqual({
			reason: 'another agent called "gpu-1" runs on this host and has a container on the same engine',
			fix: "stop that one, or give one of the two another name: ROUTER_AGENT_NAME or `agent.name`",
		});
	});
});

needing("docker").describe("on a real engine", () => {
	let host: AgentHost;
	const agents = agentHostOf({ gpus: "1x24GB" }, (started) => {
		host = started;
	});

	const model = (name: string, more = {}) => ({ model: "Qwen/Qwen3-0.6B", name, gpu_memory: "2GiB", ...more });
	const start = async (options: AgentOptions) => {
		const agent = await host.agent(options);
		agents.push(agent);
		return agent;
	};
	const dataOf = (name: string) => ({ DATA_DIR: join(host.engine.directory, name) });

	/** An agent in a network namespace of its own, as in a container: it shares the engine's socket, and sees nobody's lock. */
	async function startApart(name: string, load: "always" | "on-demand") {
		const directory = join(host.engine.directory, `apart-${name}`);
		const file = `${directory}.json`;
		await Bun.write(
			file,
			JSON.stringify({ agent: { name: "test", image: "vllm-sim:test", models: [model(name, { load })] } }),
		);
		const main = resolve(import.meta.dir, "../src/main.ts");
		const command = `ip link set lo up && exec "$0" --no-env-file "${main}" --agent --config "${file}"`;
		const child = Bun.spawn(["unshare", "--net", "sh", "-c", command, process.execPath], {
			env: {
				...host.engine.env,
				PATH: [host.smi!.bin, process.env["PATH"]].join(":"),
				HOME: directory,
				PORT: "0",
				DATA_DIR: join(directory, "data"),
				LOG_DIR: join(directory, "logs"),
				HF_HOME: join(directory, "hf"),
				HF_ENDPOINT: "http://127.0.0.1:1",
			},
			stdin: "ignore",
			stdout: "pipe",
			stderr: "pipe",
		});
		let output = "";
		const read = (line: string) => {
			output += `${line}\n`;
		};
		void lines(child.stdout, read);
		void lines(child.stderr, read);
		const said = () =>
			until(() => /another agent called/.test(output)).catch(() => {
				throw new Error(`it never said whose they are:\n${output}`);
			});
		const stop = async () => {
			child.kill("SIGKILL");
			await child.exited;
		};
		return { said, stop };
	}

	test("the second, which sees no lock of the first's, starts nothing and stops nothing", async () => {
		const first = await start({ models: [model("one")] });
		await becomes(first, "one", "ready");
		const before = await host.containers(true);
		const second = await startApart("two", "always");
		try {
			await second.said();
			expect(await host.containers(true)).toEqual(before);
			expect((await modelOf(first, "one")).state).toBe("ready");
		} finally {
			await second.stop();
		}
	}, 60_000);

	test("the first, which had no container when the second came, leaves the second's alone, and goes on once they are gone", async () => {
		const first = await start({ models: [model("one", { load: "on-demand" })], env: dataOf("first") });
		await becomes(first, "one", "stopped");
		const second = await startApart("two", "always");
		try {
			await until(async () => (await host.containers()).length === 1, "the second's container");
			const before = await host.containers(true);
			expect((await order(first, "one", "load")).status).toBe(202);
			const { reason } = await becomes(first, "one", "failed");
			expect(reason).toBe('another agent called "test" has a container on this engine');
			const refused = await post(`${first.url}/v1/chat/completions`, { model: "one", messages });
			expect([refused.status, refused.text]).toEqual([503, expect.stringContaining("another agent called")]);
			expect(await host.containers(true)).toEqual(before);
			await second.stop();
			const { fix } = await becomes(first, "one", "failed");
			const [, command] = /`(docker rm .*)`/.exec(fix ?? "") ?? [];
			const remove = Bun.spawn(["sh", "-c", command!], {
				env: { ...host.engine.env, PATH: process.env["PATH"]! },
				stdout: "ignore",
			});
			expect(await remove.exited).toBe(0);
			await becomes(first, "one", "ready");
		} finally {
			await second.stop();
		}
	}, 60_000);

	test("an agent that was restarted has its own again, one that lost its data directory on the same host, too", async () => {
		const models = [model("one")];
		const first = await start({ models, env: dataOf("kept") });
		await becomes(first, "one", "ready");
		const [before] = await host.containers(true);
		await first.stop();
		const again = await start({ models, env: dataOf("kept") });
		await becomes(again, "one", "ready");
		expect(await host.containers(true)).toEqual([before!]);
		await again.stop();
		// Its lock is free: nobody runs whose containers these are. The key is lost, so the container is replaced.
		const lost = await start({ models, env: dataOf("lost") });
		await becomes(lost, "one", "ready");
		const after = await host.containers(true);
		expect([after.length, after.includes(before!)]).toEqual([1, false]);
	}, 60_000);

	test("one that finishes its calls before it ends keeps its containers until then, whoever has the name meanwhile", async () => {
		const first = await start({ models: [model("one")], env: dataOf("draining") });
		await becomes(first, "one", "ready");
		const before = await host.containers(true);
		const body = { model: "one", messages, stream: true, max_tokens: 20_000, ignore_eos: true };
		const answer = await fetch(`${first.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify(body),
		});
		const reader = answer.body!.getReader();
		await reader.read();
		process.kill(first.pid, "SIGTERM");
		await first.printed(/alls are taken/);
		const second = await start({ models: [model("two")], env: dataOf("taking-over") });
		const { reason } = await becomes(second, "two", "failed");
		expect(reason).toBe('another agent called "test" runs on this host and has a container on the same engine');
		expect(await host.containers(true)).toEqual(before);
		await reader.cancel();
		await becomes(second, "two", "ready");
		await until(async () => !(await host.containers(true)).includes(before[0]!), "the end of what the first has left");
	}, 60_000);

	test("an agent that is called otherwise now replaces what it made under its old name", async () => {
		const first = await start({ models: [model("one")], env: dataOf("renamed") });
		await becomes(first, "one", "ready");
		const [before] = await host.containers(true);
		await first.stop();
		const renamed = await start({ models: [model("one")], agent: { name: "renamed" }, env: dataOf("renamed") });
		await until(async () => !(await host.containers(true)).includes(before!), "the end of the old one");
		await until(async () => (await host.containers()).length === 1, "a new one");
		await becomes(renamed, "one", "ready");
	}, 60_000);

	test("one with a copy of a data directory and another name leaves the other's containers alone", async () => {
		const first = await start({ models: [model("one")], env: dataOf("original") });
		await becomes(first, "one", "ready");
		const [before] = await host.containers(true);
		cpSync(dataOf("original").DATA_DIR, dataOf("copy").DATA_DIR, { recursive: true });
		const copy = await start({ models: [model("two")], agent: { name: "copy" }, env: dataOf("copy") });
		await becomes(copy, "two", "ready");
		expect(await host.containers(true)).toContain(before!);
		expect((await modelOf(first, "one")).state).toBe("ready");
	}, 60_000);

	test("what a version left that labelled neither instance nor presence is this agent's", async () => {
		await host.engine.docker(
			"run",
			"--detach",
			"--label=router.agent=test",
			"--label=router.model=gone",
			"--gpus=all",
			"vllm-sim:test",
			"a/b",
		);
		const agent = await start({ models: [model("one")], env: dataOf("newer") });
		await becomes(agent, "one", "ready");
		await until(async () => (await host.containers(true)).length === 1, "the orphan's end");
	}, 60_000);
});
