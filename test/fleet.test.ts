/** The router's agents over time: leases, restarts, pauses, calls in flight. The test winds the clock. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import type { ModelReport, ModelState } from "../src/protocol/agent.ts";
import { tunnelEndpoint } from "../src/protocol/tunnel.ts";
import type { AttemptClosed } from "../src/telemetry/events.ts";
import { directory } from "./kit/cli.ts";
import { endpointOf, type FleetRig, fleetRig } from "./kit/fleet.ts";

let home: ReturnType<typeof directory>;
let rig: FleetRig;
beforeEach(() => {
	home = directory();
	rig = fleetRig(home.path);
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});

const agentsFor = (model: string, from = rig) => from.fleet.targets(model).map(({ agent }) => agent);
const stateOf = (name: string, from = rig) => from.fleet.list().find((agent) => agent.name === name)?.state;
async function codeOf(refused: Promise<unknown>): Promise<string> {
	try {
		await refused;
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown.errorCode;
	}
	return "none";
}

describe("an agent that is not heard of", () => {
	test("is used last after 15 s and not at all after 30 s, and comes back with a heartbeat", async () => {
		await rig.register("gpu-1", ["qwen"]);
		await rig.register("gpu-2", ["qwen"]);
		rig.pass(10_000);
		await rig.heartbeat("gpu-2", ["qwen"]);
		rig.pass(6_000);
		expect(stateOf("gpu-1")).toBe("suspect");
		expect(agentsFor("qwen")).toEqual(["gpu-2", "gpu-1"]);
		rig.pass(8_000);
		await rig.heartbeat("gpu-2", ["qwen"]);
		rig.pass(7_000);
		expect(stateOf("gpu-1")).toBe("gone");
		expect(agentsFor("qwen")).toEqual(["gpu-2"]);
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(agentsFor("qwen").sort()).toEqual(["gpu-1", "gpu-2"]);
		expect(rig.lines.filter((line) => /late|any more|again/.test(line))).toEqual([
			"The agent is late: used only where nothing else serves.",
			"The agent is not heard of any more: it gets no calls.",
			"The agent is heard of again.",
		]);
	});

	test("is not to blame when the router itself stood still: nobody is lost", async () => {
		for (const name of ["gpu-1", "gpu-2", "gpu-3"]) await rig.register(name, ["qwen"]);
		rig.standStill(600_000);
		expect(rig.fleet.list().map(({ state }) => state)).toEqual(["fresh", "fresh", "fresh"]);
		rig.pass(31_000);
		expect(rig.fleet.list().map(({ state }) => state)).toEqual(["gone", "gone", "gone"]);
	});

	test("is forgotten after a week", async () => {
		await rig.register("gpu-1", ["qwen"]);
		rig.pass(31_000);
		rig.standStill(6 * 86_400_000);
		expect(stateOf("gpu-1")).toBe("gone");
		rig.standStill(86_400_000);
		expect(rig.fleet.list()).toEqual([]);
		expect(rig.restarted().fleet.list()).toEqual([]);
	});
});

describe("after a restart of the router", () => {
	test("the agents of before serve at once, and are lost only if they are not heard of within 15 s", async () => {
		await rig.register("gpu-1", ["qwen"]);
		await rig.register("gpu-2", ["qwen"]);
		const [before] = rig.fleet.targets("qwen");
		const after = rig.restarted();
		expect(after.fleet.list().map(({ state }) => state)).toEqual(["suspect", "suspect"]);
		expect(agentsFor("qwen", after)).toEqual(["gpu-1", "gpu-2"]);
		expect(after.fleet.targets("qwen")[0]?.provider.secret).toBe(before!.provider.secret!);
		after.pass(14_000);
		await after.heartbeat("gpu-2", ["qwen"]);
		after.pass(2_000);
		expect(agentsFor("qwen", after)).toEqual(["gpu-2"]);
	});

	test("a model that became ready by a heartbeat alone is known", async () => {
		await rig.register("gpu-1", []);
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(agentsFor("qwen", rig.restarted())).toEqual(["gpu-1"]);
	});

	test("an agent that is heard of is not asked to register again", async () => {
		await rig.register("gpu-1", ["qwen"]);
		const after = rig.restarted();
		expect(await after.heartbeat("gpu-1", ["qwen"])).toEqual({});
		expect(stateOf("gpu-1", after)).toBe("fresh");
	});
});

describe("an agent", () => {
	test("that moved is the same one at its new address", async () => {
		await rig.register("gpu-1", ["qwen"]);
		await rig.register("gpu-1", ["qwen"], { endpoint: "http://10.0.0.99:5000" });
		expect(rig.fleet.list().map(({ endpoint }) => endpoint)).toEqual(["http://10.0.0.99:5000"]);
		expect(rig.fleet.targets("qwen")).toHaveLength(1);
	});

	test("whose name another wants keeps it while it is fresh, and loses it then", async () => {
		await rig.register("gpu-1", ["qwen"]);
		const other = { instance: "other", endpoint: "http://10.0.0.99:5000" };
		expect(await codeOf(rig.register("gpu-1", ["llama"], other))).toBe("agent_name_taken");
		rig.pass(16_000);
		await rig.register("gpu-1", ["llama"], other);
		expect(rig.fleet.names).toEqual(["llama"]);
		// The first one comes back from wherever it was.
		expect(await codeOf(rig.heartbeat("gpu-1", ["qwen"]))).toBe("agent_name_taken");
		expect(await codeOf(rig.register("gpu-1", ["qwen"]))).toBe("agent_name_taken");
	});

	test("that takes the name while another is called back is refused like any other", async () => {
		const both = await Promise.allSettled([
			rig.register("gpu-1", ["qwen"]),
			rig.register("gpu-1", ["qwen"], { instance: "other", endpoint: "http://10.0.0.99:5000" }),
		]);
		expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
		expect(rig.fleet.list()).toHaveLength(1);
	});

	test("whose endpoint it could not register now has to register anew", async () => {
		await rig.register("gpu-1", ["qwen"]);
		const seen: string[] = [];
		const refused = rig.registry.heartbeat({ name: "gpu-1", instance: "gpu-1-a", models: [] }, (endpoint) => {
			seen.push(endpoint);
			return false;
		});
		expect(await codeOf(refused)).toBe("agent_not_found");
		expect(seen).toEqual([endpointOf("gpu-1")]);
		expect(agentsFor("qwen")).toEqual(["gpu-1"]);
	});

	test("that can't be called back gets calls once it can", async () => {
		rig.blocked.add(endpointOf("gpu-1"));
		expect(await rig.register("gpu-1", ["qwen"])).toMatchObject({ reachable: false, problem: expect.any(String) });
		expect([agentsFor("qwen"), rig.fleet.names, rig.fleet.isEmpty]).toEqual([[], [], false]);
		expect(await rig.heartbeat("gpu-1", ["qwen"])).toMatchObject({ reachable: false });
		rig.blocked.clear();
		expect(await rig.heartbeat("gpu-1", ["qwen"])).toEqual({ reachable: true });
		expect(agentsFor("qwen")).toEqual(["gpu-1"]);
	});
});

describe("calls in flight", () => {
	const closed = (target: string, over: Partial<AttemptClosed> = {}): AttemptClosed => ({
		callId: "1",
		provider: "local",
		target,
		ms: 1,
		...over,
	});

	test("send the next call to the agent with the fewest, of that model", async () => {
		await rig.register("gpu-1", ["qwen", "llama"]);
		await rig.register("gpu-2", ["qwen", "llama"]);
		const { sink } = rig.fleet;
		const open = (target: string) => rig.targets.opened(target, false);
		open("local/gpu-1/qwen");
		expect([agentsFor("qwen"), agentsFor("llama")]).toEqual([
			["gpu-2", "gpu-1"],
			["gpu-1", "gpu-2"],
		]);
		const others = [open("local/gpu-2/qwen"), open("local/gpu-2/qwen")];
		expect(agentsFor("qwen")).toEqual(["gpu-1", "gpu-2"]);
		expect(rig.fleet.list().map(({ models }) => models[0]?.in_flight)).toEqual([1, 2]);
		for (const attempt of others) attempt.closed({});
		expect(agentsFor("qwen")).toEqual(["gpu-2", "gpu-1"]);
		// One that is closed without having been opened, or at another provider, takes nothing away.
		sink.agentAttemptClosed?.(closed("local/gpu-2/qwen"));
		sink.agentAttemptClosed?.(closed("openai/gpt-5"));
		expect(rig.fleet.list().map(({ models }) => models[0]?.in_flight)).toEqual([1, 0]);
	});

	test("that could not reach an agent put it last until it is heard of again", async () => {
		await rig.register("gpu-1", ["qwen"]);
		await rig.register("gpu-2", ["qwen"]);
		const { sink } = rig.fleet;
		sink.agentAttemptClosed?.(closed("local/gpu-1/qwen", { agent: "gpu-1", failure: "transport", status: 500 }));
		expect(agentsFor("qwen")[0]).toBe("gpu-1");
		sink.agentAttemptClosed?.(closed("local/gpu-1/qwen", { agent: "gpu-1", failure: "transport" }));
		expect(agentsFor("qwen")).toEqual(["gpu-2", "gpu-1"]);
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(agentsFor("qwen")[0]).toBe("gpu-1");
	});
});

describe("replicas", () => {
	const qwen = (...states: ModelState[]): ModelReport => ({
		name: "qwen",
		state: "ready",
		replicas: states.map((state, replica) => ({ replica, state, waiting: replica })),
	});
	const ids = (model = "qwen") => rig.fleet.targets(model).map(({ id }) => id);

	test("are targets with ids of their own, the same after a restart, and name what they have in common", async () => {
		await rig.register("gpu-1", [qwen("ready", "ready")]);
		for (const from of [rig, rig.restarted()]) {
			expect(from.fleet.targets("qwen")).toMatchObject([
				{ id: "local/gpu-1/qwen#0", deployment: "local/gpu-1/qwen", replica: 0, agent: "gpu-1", name: "local/qwen" },
				{ id: "local/gpu-1/qwen#1", deployment: "local/gpu-1/qwen", replica: 1, reportedWaiting: 1 },
			]);
		}
		expect(ids("gpu-1/qwen")).toEqual(["local/gpu-1/qwen#0", "local/gpu-1/qwen#1"]);
	});

	test("come and go with each report", async () => {
		await rig.register("gpu-1", [qwen("ready", "ready")]);
		await rig.heartbeat("gpu-1", [qwen("draining", "ready")]);
		expect(ids()).toEqual(["local/gpu-1/qwen#1", "local/gpu-1/qwen"]);
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(ids()).toEqual(["local/gpu-1/qwen"]);
	});

	test("are stored with their agent when one of them changes", async () => {
		await rig.register("gpu-1", [qwen("ready", "ready")]);
		await rig.heartbeat("gpu-1", [qwen("ready", "starting")]);
		expect(
			rig
				.restarted()
				.fleet.targets("qwen")
				.map(({ id }) => id),
		).toEqual(["local/gpu-1/qwen#0", "local/gpu-1/qwen"]);
	});

	test("that were ready and are not are told of, the models alone too: what takes calls there next has an empty cache", async () => {
		const lost: string[] = [];
		rig.registry.listeners.onLost((target) => lost.push(target));
		await rig.register("gpu-1", [qwen("ready", "ready"), "llama"]);
		await rig.heartbeat("gpu-1", [qwen("ready", "draining"), "llama"]);
		await rig.heartbeat("gpu-1", [qwen("ready", "starting"), "llama"]);
		expect(lost.splice(0)).toEqual(["local/gpu-1/qwen#1"]);
		await rig.heartbeat("gpu-1", [qwen("ready", "ready"), { name: "llama", state: "sleeping" }]);
		expect(lost.splice(0)).toEqual(["local/gpu-1/llama"]);
		await rig.register("gpu-1", []);
		expect(lost).toEqual(["local/gpu-1/qwen", "local/gpu-1/qwen#0", "local/gpu-1/qwen#1"]);
	});

	test("are shown with their calls in flight, which count for their agent together", async () => {
		await rig.register("gpu-1", [qwen("ready", "ready")]);
		await rig.register("gpu-2", ["qwen"]);
		for (const id of ["local/gpu-1/qwen#1", "local/gpu-1/qwen#1", "local/gpu-1/qwen"]) {
			rig.targets.opened(id, false);
		}
		rig.targets.opened("local/gpu-2/qwen", false);
		expect(rig.fleet.list()[0]!.models[0]).toMatchObject({
			in_flight: 3,
			replicas: [{ in_flight: 0 }, { in_flight: 2 }],
		});
		expect(agentsFor("qwen")).toEqual(["gpu-2", "gpu-1", "gpu-1"]);
	});
});

describe("LoRA adapters", () => {
	const sql = (state: ModelState = "ready"): ModelReport => ({ name: "sql", parent: "qwen", state, load: "on-demand" });

	test("are targets of their own, whose parent is known, after a restart too", async () => {
		await rig.register("gpu-1", ["qwen", sql("stopped")]);
		for (const from of [rig, rig.restarted()]) {
			expect(from.fleet.targets("sql")).toMatchObject([
				{ id: "local/gpu-1/sql", name: "local/sql", model: "sql", agent: "gpu-1" },
			]);
			const [{ parent, engine } = {}] = from.fleet.targets("sql");
			expect([parent, engine]).toEqual(["qwen", from.fleet.targets("qwen")[0]?.id ?? "local/gpu-1/qwen"]);
			expect([from.fleet.parentOf("sql"), from.fleet.parentOf("qwen"), from.fleet.parentOf("none")]).toEqual([
				"qwen",
				undefined,
				undefined,
			]);
			expect(from.fleet.names).toEqual(["qwen", "sql"]);
		}
	});

	test("of several agents are one model", async () => {
		await rig.register("gpu-1", ["qwen", sql()]);
		await rig.register("gpu-2", ["qwen", sql()]);
		expect(agentsFor("sql").sort()).toEqual(["gpu-1", "gpu-2"]);
	});

	test("are not mixed up with another agent's model of their name: that is called, and the log says how the adapter is", async () => {
		await rig.register("gpu-1", ["qwen", sql()]);
		await rig.register("gpu-2", ["other"]);
		expect(agentsFor("sql")).toEqual(["gpu-1"]);
		for (let beat = 0; beat < 2; beat++) await rig.heartbeat("gpu-2", ["other", "sql"]);
		expect([agentsFor("sql"), agentsFor("gpu-1/sql"), rig.fleet.parentOf("sql")]).toEqual([
			["gpu-2"],
			["gpu-1"],
			undefined,
		]);
		const words =
			'"sql" is a model of the agent "gpu-2" and an adapter at "gpu-1": calls by that name go to the model, those for the adapter by "local/gpu-1/sql".';
		expect(rig.lines.filter((line) => line.includes(words))).toHaveLength(1);
	});
});

test("a target's id is the same before and after a restart, and names the agent and the model, slashes included", async () => {
	await rig.register("gpu-1", ["Qwen/Qwen3-8B"]);
	for (const from of [rig, rig.restarted()]) {
		const [target] = from.fleet.targets("Qwen/Qwen3-8B");
		expect(target).toMatchObject({
			id: "local/gpu-1/Qwen/Qwen3-8B",
			name: "local/Qwen/Qwen3-8B",
			model: "Qwen/Qwen3-8B",
			agent: "gpu-1",
		});
		expect(target?.provider.name).toBe("local");
	}
	expect(agentsFor("gpu-1/Qwen/Qwen3-8B")).toEqual(["gpu-1"]);
	expect(agentsFor("gpu-2/Qwen/Qwen3-8B")).toEqual([]);
});

test("the metrics count agents by standing and the models of those that are there by state", async () => {
	await rig.register("gpu-1", [
		{ name: "a", state: "failed" },
		{ name: "b", state: "ready" },
	]);
	await rig.register("gpu-2", ["b", "c"]);
	rig.blocked.add(endpointOf("gpu-3"));
	await rig.register("gpu-3", []);
	expect(rig.fleet.counts.agents()).toEqual({ fresh: 2, suspect: 0, gone: 0, unreachable: 1 });
	expect(rig.fleet.counts.models()).toEqual({ failed: 1, ready: 3 });
	rig.pass(31_000);
	expect(rig.fleet.counts.agents()).toEqual({ fresh: 0, suspect: 0, gone: 3, unreachable: 0 });
	expect(rig.fleet.counts.models()).toEqual({});
});

test("a data directory that can't be used is said once, and the agents serve all the same", async () => {
	using broken = directory({ file: "" });
	const lost = fleetRig(`${broken.path}/file`);
	await lost.register("gpu-1", ["qwen"]);
	await lost.heartbeat("gpu-1", ["qwen", "llama"]);
	expect(agentsFor("qwen", lost)).toEqual(["gpu-1"]);
	expect(lost.lines.filter((line) => line.includes("can't be used"))).toHaveLength(1);
	lost.close();
});

describe("an agent whose tunnel has closed", () => {
	const endpoint = tunnelEndpoint("gpu-1");
	const where = () => rig.fleet.targets("qwen").map(({ agent, readiness, reopens }) => [agent, readiness, reopens]);
	beforeEach(async () => {
		rig.tunnels.add("gpu-1");
		await rig.register("gpu-1", ["qwen"], { endpoint });
		await rig.register("gpu-2", ["qwen"]);
		rig.tunnels.delete("gpu-1");
		await rig.registry.tunnelChanged("gpu-1");
	});

	test("stays a target behind all others for as long as it may take to open another one, and no longer", () => {
		expect(where()).toEqual([
			["gpu-2", 0, undefined],
			["gpu-1", 100, true],
		]);
		expect(rig.fleet.list()[0]).toMatchObject({ name: "gpu-1", reachable: false });
		rig.pass(11_000);
		expect(where()).toEqual([["gpu-2", 0, undefined]]);
	});

	test("is as good as any once that is open, though calls broke meanwhile", async () => {
		rig.registry.callFailed("gpu-1", "transport");
		rig.tunnels.add("gpu-1");
		await rig.registry.tunnelChanged("gpu-1");
		expect(where().toSorted()).toEqual([
			["gpu-1", 0, true],
			["gpu-2", 0, undefined],
		]);
	});
});
