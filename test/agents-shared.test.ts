/** Agents that another router has heard: taken over, kept while nothing can be heard of them, called with one secret. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { agentSecrets } from "../src/accounts/auth/agent-secrets.ts";
import { tunnelEndpoint } from "../src/protocol/tunnel.ts";
import { inProcessRegistrar } from "../src/server/agents/agent-routes.ts";
import type { StoredAgent } from "../src/store/store.ts";
import { directory } from "./kit/cli.ts";
import { endpointOf, type FleetRig, fleetRig } from "./kit/fleet.ts";

const T0 = 1_790_000_000_000;
let home: ReturnType<typeof directory>;
let rig: FleetRig;
let isCutOff: boolean;
beforeEach(() => {
	home = directory();
	isCutOff = false;
	rig = fleetRig(
		home.path,
		() => 0,
		0,
		() => isCutOff,
	);
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});

const news = (name: string, heardAt: number, over: Partial<StoredAgent> = {}): StoredAgent => ({
	name,
	instance: `${name}-a`,
	endpoint: endpointOf(name),
	models: [{ name: "qwen", state: "ready" }],
	registeredAt: T0,
	heardAt: T0 + heardAt,
	...over,
});
const serving = (model = "qwen") => rig.fleet.targets(model).map(({ agent }) => agent);
const states = () => rig.fleet.list().map(({ name, state }) => `${name} ${state}`);

describe("an agent that another router has heard", () => {
	test("is not called back through a tunnel that is another router's, and is once it has one here", async () => {
		const endpoint = tunnelEndpoint("gpu-1");
		const problem = expect.stringContaining("tunnel is not open");
		for (const at of [0, 1_000]) rig.registry.adopt(news("gpu-1", at, { endpoint }));
		expect(await rig.heartbeat("gpu-1", ["qwen"])).toEqual({ reachable: false, problem });
		expect(await rig.register("gpu-1", ["qwen"], { endpoint })).toMatchObject({ reachable: false, problem });
		expect(rig.calledBack).toEqual([]);
		rig.tunnels.add("gpu-1");
		expect(await rig.heartbeat("gpu-1", ["qwen"])).toEqual({ reachable: true });
		expect(rig.calledBack).toEqual(["tunnel://gpu-1/health"]);
	});

	test("serves here, too", () => {
		rig.registry.adopt(news("gpu-1", 0));
		expect(serving()).toEqual(["gpu-1"]);
		expect(states()).toEqual(["gpu-1 fresh"]);
	});

	test("is as old as its news when it is new here, and fresh by each further one, whatever the other's clock says", () => {
		rig.registry.adopt(news("gpu-1", -20_000));
		expect(states()).toEqual(["gpu-1 suspect"]);
		rig.registry.adopt(news("gpu-1", -19_000));
		expect(states()).toEqual(["gpu-1 fresh"]);
		rig.pass(16_000);
		expect(states()).toEqual(["gpu-1 suspect"]);
		rig.registry.adopt(news("gpu-1", 100_000));
		expect(states()).toEqual(["gpu-1 fresh"]);
	});

	test("is taken at its newest: old news change nothing", async () => {
		await rig.register("gpu-1", ["llama"]);
		rig.registry.adopt(news("gpu-1", -1));
		expect([serving(), serving("llama")]).toEqual([[], ["gpu-1"]]);
		rig.registry.adopt(news("gpu-1", 1));
		expect([serving(), serving("llama")]).toEqual([["gpu-1"], []]);
	});

	test("brings its replicas, and one that another router heard to be gone is gone here", () => {
		const lost: string[] = [];
		rig.registry.listeners.onLost((target) => lost.push(target));
		const replicas = (second: "ready" | "draining") => [
			{ replica: 0, state: "ready" as const },
			{ replica: 1, state: second },
		];
		const ids = () => rig.fleet.targets("qwen").map(({ id }) => id);
		const model = { name: "qwen", state: "ready" } as const;
		rig.registry.adopt(news("gpu-1", 0, { models: [{ ...model, replicas: replicas("ready") }] }));
		expect(ids()).toEqual(["local/gpu-1/qwen#0", "local/gpu-1/qwen#1"]);
		rig.registry.adopt(news("gpu-1", 1, { models: [{ ...model, replicas: replicas("draining") }] }));
		expect([ids(), lost]).toEqual([["local/gpu-1/qwen#0", "local/gpu-1/qwen"], ["local/gpu-1/qwen#1"]]);
	});

	test("is kept across a restart", () => {
		rig.registry.adopt(news("gpu-1", 0));
		rig.close();
		rig = rig.restarted();
		expect(serving()).toEqual(["gpu-1"]);
	});

	test("and that this one can't reach gets no calls from here until it can", async () => {
		rig.blocked.add(endpointOf("gpu-1"));
		await rig.register("gpu-1", ["qwen"]);
		rig.registry.adopt(news("gpu-1", 1));
		await Bun.sleep(1);
		expect(serving()).toEqual([]);
		rig.blocked.clear();
		rig.registry.adopt(news("gpu-1", 2));
		await Bun.sleep(1);
		expect(serving()).toEqual(["gpu-1"]);
	});

	test("is told of with each registration and heartbeat that is heard here", async () => {
		const told: [string, number][] = [];
		rig.registry.listeners.onHeard(({ name, heardAt }) => told.push([name, heardAt]));
		await rig.register("gpu-1", ["qwen"]);
		rig.pass(5000);
		await rig.heartbeat("gpu-1", ["qwen"]);
		rig.registry.adopt(news("gpu-2", 0));
		expect(told).toEqual([
			["gpu-1", T0],
			["gpu-1", T0 + 5000],
		]);
		expect(rig.registry.shared().map(({ name }) => name)).toEqual(["gpu-1", "gpu-2"]);
	});
});

test("the agent of this process serves here, and neither other routers nor the next start hear of it", async () => {
	const told: string[] = [];
	rig.registry.listeners.onHeard(({ name }) => told.push(name));
	const registrar = inProcessRegistrar(rig.registry);
	const body = { name: "own", instance: "own-a", endpoint: endpointOf("own"), models: ["qwen"] };
	expect(await registrar.register(body)).toMatchObject({ reachable: true });
	rig.pass(5000);
	expect(await registrar.heartbeat({ name: "own", instance: "own-a", models: ["qwen", "llama"] })).toEqual({});
	expect([serving(), serving("llama")]).toEqual([["own"], ["own"]]);
	expect([told, rig.registry.shared()]).toEqual([[], []]);
	rig.close();
	rig = rig.restarted();
	expect(states()).toEqual([]);
});

test("while the others can't tell, leases stand still; then they run on", async () => {
	await rig.register("gpu-1", ["qwen"]);
	isCutOff = true;
	rig.pass(300_000);
	expect(states()).toEqual(["gpu-1 fresh"]);
	isCutOff = false;
	rig.pass(16_000);
	expect(states()).toEqual(["gpu-1 suspect"]);
	rig.pass(20_000);
	expect(serving()).toEqual([]);
});

describe("secrets", () => {
	test("of routers that share are derived from the oldest key, for good", () => {
		const one = agentSecrets(home.path);
		using other = directory();
		const second = agentSecrets(other.path);
		const older = { ...second.key, since: one.key.since - 1000 };
		const agent = { name: "gpu-1", endpoint: "http://10.0.0.1:5000" };
		const before = one.of(agent);
		expect(one.adopt({ ...second.key, since: one.key.since + 1000 })).toBe(false);
		expect(one.of(agent)).toBe(before);
		expect(one.adopt(older)).toBe(true);
		expect(one.of(agent)).not.toBe(before);
		expect(one.of(agent)).toBe(second.of(agent));
		expect(agentSecrets(home.path).key).toEqual(older);
		// What is no key is not taken, whatever its age.
		expect(one.adopt({ hex: "00", since: 0 })).toBe(false);
	});

	const used = () => rig.fleet.targets("qwen").map(({ provider }) => provider.secret);

	test("that have changed make it register again, and it is called with the one that it has until it has shown that it has the other", async () => {
		const { secret: first } = (await rig.register("gpu-1", ["qwen"])) as { secret: string };
		rig.secrets.adopt({ hex: "0".repeat(64), since: 0 });
		expect(used()).toEqual([first]);
		await expect(rig.heartbeat("gpu-1", ["qwen"])).rejects.toThrow("not registered");
		const { secret: second } = (await rig.register("gpu-1", ["qwen"])) as { secret: string };
		expect(second).not.toBe(first);
		expect(used()).toEqual([first]);
		expect(rig.registry.shared()).toMatchObject([{ secret: first, nextSecret: second }]);
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(used()).toEqual([second]);
		expect(rig.registry.shared()[0]!.nextSecret).toBeUndefined();
	});

	test("that have changed are an agent's at once where it may not know the one before", async () => {
		const first = await rig.register("gpu-1", ["qwen"]);
		rig.secrets.adopt({ hex: "0".repeat(64), since: 0 });
		rig.pass(16_000);
		const second = (await rig.register("gpu-1", ["qwen"])) as { secret: string };
		expect(second).not.toEqual(first as typeof second);
		expect(used()).toEqual([second.secret]);
	});

	test("are those that another router gave, whatever is derived here, and after its next registration the new one", async () => {
		const [first, second] = ["a".repeat(43), "b".repeat(43)];
		rig.registry.adopt({ ...news("gpu-1", 0), secret: first });
		expect(used()).toEqual([first]);
		rig.registry.adopt({ ...news("gpu-1", 1), secret: first, nextSecret: second });
		expect(used()).toEqual([first]);
		await expect(rig.heartbeat("gpu-1", ["qwen"])).rejects.toThrow("not registered");
	});

	test("of an older router's agents are derived, since it tells none", () => {
		rig.registry.adopt(news("gpu-1", 0));
		expect(used()).toEqual([rig.secrets.of(news("gpu-1", 0))]);
	});

	test("that an agent does not know make it register again", async () => {
		await rig.register("gpu-1", ["qwen"]);
		rig.fleet.sink.agentAttemptClosed!({
			callId: "x",
			provider: "local",
			target: "local/gpu-1/qwen",
			agent: "gpu-1",
			failure: "auth",
			status: 401,
			ms: 1,
		});
		expect(rig.heartbeat("gpu-1", ["qwen"])).rejects.toThrow("not registered");
	});
});
