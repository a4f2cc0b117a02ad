/** The router that has replicas loaded over its agents: what it tells them, and what of that calls see. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ModelState } from "../src/protocol/agent.ts";
import { HostWakes } from "../src/server/agents/host-wakes.ts";
import { ReplicaScaler } from "../src/server/agents/replica-scaler.ts";
import { directory } from "./kit/cli.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";
import { type Bounds, bound, logInto, qwen } from "./kit/replicas.ts";

let home: ReturnType<typeof directory>;
let rig: FleetRig;
let bounds: Bounds;
let lines: [string, unknown][];
let woken: [string, string][];
beforeEach(() => {
	home = directory();
	rig = fleetRig(home.path);
	bounds = { qwen: bound({ min: 1, max: 2 }) };
	lines = [];
	woken = [];
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});
const scalerOf = (over: FleetRig = rig, settleMs = 0) =>
	new ReplicaScaler({
		...{ agents: over.registry, states: over.targets, bounds: () => bounds, log: logInto(lines), settleMs },
		wake: (agent, why) => void woken.push([agent, why]),
	});
const goalsOf = async (name: string, state: ModelState, at = rig) =>
	((await at.heartbeat(name, [qwen(state)])) as { goals?: object[] }).goals;

describe("a router alone", () => {
	test("decides nothing before its agents have had time to come, nor for models that no setting names", async () => {
		await rig.register("gpu-1", [qwen("stopped")]);
		const scaler = scalerOf(rig, 10_000);
		scaler.tick();
		expect(await goalsOf("gpu-1", "stopped")).toBeUndefined();
		bounds = {};
		rig.pass(10_000);
		scaler.tick();
		expect(await goalsOf("gpu-1", "stopped")).toBeUndefined();
		bounds = { qwen: bound({ min: 1 }) };
		scaler.tick();
		expect(await goalsOf("gpu-1", "stopped")).toEqual([{ model: "qwen", goal: "keep" }]);
	});

	test("says once in the log what can't be had, and shows why", async () => {
		const scaler = scalerOf();
		for (let tick = 0; tick < 3; tick++) scaler.tick();
		expect(lines).toEqual([
			[
				"What agents.replicas says of a model can't be had.",
				{ model: "qwen", why: "no agent that is heard of has it in its list" },
			],
		]);
		await rig.register("gpu-1", [{ name: "qwen", state: "stopped", load: "on-demand" }]);
		scaler.tick();
		expect(scaler.shown()).toMatchObject([{ model: "qwen", min: 1, max: 2, ready: 0, coming: 0, goals: [] }]);
		expect(scaler.shown()[0]!.shortage).toContain(
			"gpu-1: its `load` is not on-demand there, or the agent is an older version",
		);
	});

	test("has the missing replica loaded at the best place, and keeps it; says so, and why", async () => {
		await rig.register("gpu-1", [qwen("stopped", { fits: "now", download: 16e9 })]);
		await rig.register("gpu-2", [qwen("stopped")]);
		const scaler = scalerOf();
		scaler.tick();
		expect(await goalsOf("gpu-2", "starting")).toEqual([{ model: "qwen", goal: "keep" }]);
		expect(await goalsOf("gpu-1", "stopped")).toEqual([]);
		const why = "1 are to be loaded; its weights are there, its memory is free";
		expect(lines).toEqual([["A replica is loaded.", { model: "qwen", agent: "gpu-2", why }]]);
		expect(scaler.shown()).toMatchObject([{ ready: 0, coming: 1, orders: [{ agent: "gpu-2", what: "load", why }] }]);
		await goalsOf("gpu-2", "ready");
		scaler.tick();
		expect(scaler.shown()).toMatchObject([
			{ ready: 1, coming: 0, orders: [], goals: [{ agent: "gpu-2", goal: "keep" }] },
		]);
	});

	test("loads one more for the calls of all, retires it when they are gone, and no call goes there any more", async () => {
		await rig.register("gpu-1", [qwen("ready")]);
		await rig.register("gpu-2", [qwen("stopped")]);
		const scaler = scalerOf();
		const states: Record<string, ModelState> = { "gpu-1": "ready", "gpu-2": "stopped" };
		const pass = async (seconds: number) => {
			for (let second = 0; second < seconds; second++) {
				rig.pass(1000);
				for (const [name, state] of Object.entries(states)) await goalsOf(name, state);
				scaler.tick();
			}
		};
		const calls = Array.from({ length: 5 }, () => rig.targets.opened("local/gpu-1/qwen", true));
		await pass(11);
		expect(await goalsOf("gpu-2", "stopped")).toEqual([{ model: "qwen", goal: "load" }]);
		states["gpu-2"] = "ready";
		await pass(1);
		expect(await goalsOf("gpu-2", "ready")).toEqual([{ model: "qwen", goal: "unload", idle_ms: 60_000 }]);
		for (const call of calls) call.closed({});
		await pass(62);
		expect(await goalsOf("gpu-2", "ready")).toEqual([{ model: "qwen", goal: "unload" }]);
		expect(rig.fleet.targets("qwen").map(({ agent, readiness }) => [agent, readiness])).toEqual([
			["gpu-1", 0],
			["gpu-2", 0.75],
		]);
		states["gpu-2"] = "stopped";
		await pass(1);
		expect(await goalsOf("gpu-2", "stopped")).toEqual([]);
		// The setting is taken out of the file: nobody is told anything any more.
		bounds = {};
		await pass(1);
		expect(await goalsOf("gpu-1", "ready")).toBeUndefined();
	});

	test("has no host woken while another has room for `min`; else one, by the best place, and loads it there", async () => {
		const settings = { wake: { "gpu-1": { mac: "a" }, "gpu-2": { mac: "b" } }, wake_wait: 60_000 };
		const wakes = new HostWakes({
			...{ registry: rig.registry, log: logInto(lines), ended: () => undefined, time: () => rig.registry.now() },
			send: async () => undefined,
		});
		wakes.open(() => settings)();
		await rig.register("gpu-1", [qwen("stopped", { fits: "now", download: 16e9 })]);
		await rig.register("gpu-2", [qwen("stopped")]);
		rig.pass(31_000);
		await rig.register("gpu-3", [qwen("stopped")]);
		wakes.tick();
		const scaler = scalerOf();
		scaler.tick();
		expect([woken, await goalsOf("gpu-3", "starting")]).toEqual([[], [{ model: "qwen", goal: "keep" }]]);
		await goalsOf("gpu-3", "ready");
		scaler.tick();
		rig.pass(31_000);
		for (let tick = 0; tick < 3; tick++) {
			scaler.tick();
			for (const [agent, why] of woken) wakes.begin(agent, why);
		}
		expect(woken).toEqual([["gpu-2", "min of qwen is 1"]]);
		expect(scaler.shown()[0]!.shortage).toBe("gpu-1: its host sleeps; gpu-2: its host is being woken");
		await goalsOf("gpu-2", "stopped");
		wakes.tick();
		scaler.tick();
		expect(await goalsOf("gpu-2", "stopped")).toEqual([{ model: "qwen", goal: "keep" }]);
	});

	test("says nothing of goals after its restart until it has decided anew: what agents were told holds on", async () => {
		await rig.register("gpu-1", [qwen("ready")]);
		scalerOf().tick();
		expect(await goalsOf("gpu-1", "ready")).toEqual([{ model: "qwen", goal: "keep" }]);
		const anew = rig.restarted();
		const scaler = scalerOf(anew, 10_000);
		for (let second = 0; second < 10; second++) {
			scaler.tick();
			expect(await goalsOf("gpu-1", "ready", anew)).toBeUndefined();
			anew.pass(1000);
		}
		scaler.tick();
		expect(await goalsOf("gpu-1", "ready", anew)).toEqual([{ model: "qwen", goal: "keep" }]);
		anew.close();
	});

	test("tells an agent the same after it has registered anew", async () => {
		await rig.register("gpu-1", [qwen("ready")]);
		scalerOf().tick();
		await rig.register("gpu-1", [qwen("ready")]);
		expect(await goalsOf("gpu-1", "ready")).toEqual([{ model: "qwen", goal: "keep" }]);
	});
});

test("`max` holds for calls, too: no call has another replica loaded, by any name", async () => {
	rig.fleet.bounds = { qwen: bound({ max: 1 }) };
	await rig.register("gpu-1", [qwen("ready")]);
	await rig.register("gpu-2", [qwen("stopped")]);
	expect(rig.fleet.targets("qwen").map(({ agent }) => agent)).toEqual(["gpu-1"]);
	expect(rig.fleet.targets("gpu-2/qwen")).toEqual([]);
	expect(rig.fleet.absence("gpu-2/qwen")).toBe(
		"gpu-2: stopped; `agents.replicas` lets it have no more replicas (`max`)",
	);
	rig.registry.callFailed("gpu-1", "transport");
	expect(rig.fleet.targets("qwen").map(({ agent }) => agent)).toEqual(["gpu-2", "gpu-1"]);
});
