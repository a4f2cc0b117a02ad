/** Two agents of one name on one engine: the second leaves the first's containers alone, and takes over when it ends. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { AgentPresence } from "../src/agent/docker/agent-presence.ts";
import { ContainerOwner } from "../src/agent/docker/container-owner.ts";
import type { Docker } from "../src/agent/docker/docker.ts";
import type { Container } from "../src/agent/docker/docker-output.ts";
import { EngineLock } from "../src/agent/docker/engine-lock.ts";
import { EngineWatch } from "../src/agent/docker/engine-watch.ts";
import { type AgentHost, becomes, modelOf, startAgentHost } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";
import { until } from "./kit/until.ts";

describe("a claim", () => {
	const name = crypto.randomUUID();
	const claim = (env = {}, agent = name) => new EngineLock(agent, "docker", env);

	test("is had by one at a time, and says what to do about another one", () => {
		const first = claim();
		expect(first.acquire()).toBeUndefined();
		expect(first.acquire()).toBeUndefined();
		const second = claim({ DOCKER_HOST: "unix:///var/run/docker.sock" });
		expect(second.acquire()).toEqual({
			reason: `another agent called "${name}" runs on this host and drives the same engine`,
			fix: "stop that one, or give this one another name: ROUTER_AGENT_NAME or `agent.name`",
		});
		first.release();
		expect(second.acquire()).toBeUndefined();
		second.release();
	});

	test("is of one name on one engine", () => {
		const held = [claim(), claim({ DOCKER_HOST: "unix:///other.sock" }), claim({}, crypto.randomUUID())];
		expect(held.map((each) => each.acquire())).toEqual([undefined, undefined, undefined]);
		for (const each of held) each.release();
	});

	test("that was yielded is kept by nobody until another agent comes, and then is that one's", () => {
		const [old, next] = [claim(), claim()];
		expect(old.acquire()).toBeUndefined();
		old.release();
		expect(old.acquire()).toBeUndefined();
		expect(next.acquire()).toBeUndefined();
		expect(old.acquire()?.reason).toContain("another agent");
		next.release();
	});
});

describe("two agents with one name and one data directory, or a copy of it", () => {
	const name = crypto.randomUUID();
	const made: Container[] = [];
	const watch = () => {
		const owner = new ContainerOwner(name, "docker", new AgentPresence(name, () => "copied"), () => "copied");
		const docker = { containers: async () => made } as unknown as Docker;
		const engine = new EngineWatch(docker, name, new EngineLock(name, "docker", {}), owner, { notify() {} });
		return { engine, owner };
	};

	test("have no container in common: the second has none, and says why, until the first leaves the engine to it", async () => {
		const [first, second] = [watch(), watch()];
		await first.engine.refresh();
		const labels = { "router.agent": name, ...first.owner.labels() };
		made.push({ id: "c0", name: "", labels, state: "running", exitCode: 0, oomKilled: false, startedAt: 0, image: "" });
		first.engine.invalidate();
		await first.engine.refresh();
		for (const _list of [1, 2]) await second.engine.refresh();
		expect(second.engine.problem?.reason).toContain("runs on this host and drives the same engine");
		expect([first.engine.containers, second.engine.containers]).toEqual([made, []]);
		// It is told to stop, and finishes its calls.
		first.engine.releaseLock();
		// Its next list is due now, not in two seconds.
		second.engine.problem = undefined;
		second.engine.invalidate();
		await second.engine.refresh();
		expect([second.engine.problem, second.engine.containers]).toEqual([undefined, made]);
		first.engine.invalidate();
		await first.engine.refresh();
		expect(first.engine.containers).toEqual(made);
		second.engine.end();
	});
});

needing("docker").describe("a second agent of the same name", () => {
	let host: AgentHost;
	beforeAll(async () => {
		host = await startAgentHost({ gpus: "1x24GB" });
	}, 60_000);
	afterAll(async () => host?.stop(), 60_000);

	test("stops nothing of the first's, says why, and serves once that one has gone", async () => {
		const first = await host.agent({ models: [{ model: "Qwen/Qwen3-0.6B", name: "one", gpu_memory: "2GiB" }] });
		await becomes(first, "one", "ready");
		const before = await host.containers();
		const second = await host.agent({
			models: [{ model: "Qwen/Qwen3-0.6B", name: "two", gpu_memory: "2GiB" }],
			env: { DATA_DIR: join(host.engine.directory, "second") },
		});
		const { reason } = await becomes(second, "two", "failed");
		expect(reason).toBe('another agent called "test" runs on this host and drives the same engine');
		expect(await host.containers(true)).toEqual(before);
		expect((await modelOf(first, "one")).state).toBe("ready");

		await first.stop();
		await becomes(second, "two", "ready");
		// What the first has left is an orphan now.
		await until(async () => (await host.containers(true)).length === 1);
		await second.stop();
	}, 60_000);
});
