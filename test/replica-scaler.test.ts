/** The router that has replicas loaded over its agents: what it tells them, what of that calls see, and what several routers make of it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../src/config/schema.ts";
import type { ModelReport, ModelState, PlacementReport } from "../src/protocol/agent.ts";
import { HostWakes } from "../src/server/agents/host-wakes.ts";
import { ReplicaScaler, type ScalingPeers } from "../src/server/agents/replica-scaler.ts";
import type { FleetGoals } from "../src/server/agents/scaling-election.ts";
import { scalingPeers } from "../src/server/agents/shared-goals.ts";
import { directory } from "./kit/cli.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";

type Bounds = Config["agents"]["replicas"];
const bound = (over: Partial<Bounds[string]> = {}): Bounds[string] => ({ min: 0, calls: 4, ttl: 60_000, ...over });
const qwen = (
	state: ModelState,
	placement: PlacementReport | undefined = { fits: "now", download: 0 },
): ModelReport => ({
	...{ name: "qwen", state, load: "on-demand" },
	...(placement && { placement }),
});
const quiet = (lines: [string, unknown][]) => {
	const write = (fields: unknown, text: string) => void lines.push([text, fields]);
	return { logger: { info: write, warn: write } } as unknown as ConstructorParameters<typeof ReplicaScaler>[0]["log"];
};

let home: ReturnType<typeof directory>;
let rig: FleetRig;
let bounds: Bounds;
let lines: [string, unknown][];
let woken: [string, string][];
beforeEach(() => {
	// Routers of one Redis have agreed on it.
	const key = `${"ab".repeat(32)}\n1000\n`;
	home = directory({ "agent-secret.key": key });
	mkdirSync(join(home.path, "other"));
	writeFileSync(join(home.path, "other", "agent-secret.key"), key);
	rig = fleetRig(home.path);
	bounds = { qwen: bound({ min: 1, max: 2 }) };
	lines = [];
	woken = [];
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});
const scalerOf = (over: FleetRig = rig, peers?: ScalingPeers, settleMs = 0) =>
	new ReplicaScaler({
		...{ agents: over.registry, states: over.targets, bounds: () => bounds, log: quiet(lines), settleMs },
		wake: (agent, why) => void woken.push([agent, why]),
		...(peers && { peers }),
	});
const goalsOf = async (name: string, state: ModelState, at = rig) =>
	((await at.heartbeat(name, [qwen(state)])) as { goals?: object[] }).goals;

describe("a router alone", () => {
	test("decides nothing before its agents have had time to come, nor for models that no setting names", async () => {
		await rig.register("gpu-1", [qwen("stopped")]);
		const scaler = scalerOf(rig, undefined, 10_000);
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
			...{ registry: rig.registry, log: quiet(lines), ended: () => undefined, time: () => rig.registry.now() },
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
		const scaler = scalerOf(anew, undefined, 10_000);
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

describe("of two routers of one Redis", () => {
	let other: FleetRig;
	let isUp: boolean;
	beforeEach(() => {
		other = fleetRig(`${home.path}/other`);
		isUp = true;
	});
	afterEach(() => other.close());

	/** Both, on one channel; each hears what the other's agents say. */
	function routers(settleMs = 0) {
		const receivers: ((text: string) => void)[] = [];
		const rigs = { r1: rig, r2: other };
		const [first, second] = (["r1", "r2"] as const).map((router) => {
			const channel = {
				router,
				listen: (receive: (text: string) => void) => void receivers.push(receive),
				publish: (text: string) => {
					for (const receive of receivers) receive(text);
				},
			};
			const redis = {
				get isUp() {
					return isUp;
				},
				channel: () => channel,
			};
			const scaler: ReplicaScaler = scalerOf(
				rigs[router],
				scalingPeers(redis, () => scaler),
				settleMs,
			);
			return scaler;
		}) as [ReplicaScaler, ReplicaScaler];
		rig.registry.onHeard((agent) => other.registry.adopt(agent));
		other.registry.onHeard((agent) => rig.registry.adopt(agent));
		return { first, second, tell: (text: string) => receivers.forEach((receive) => void receive(text)) };
	}
	const pass = (ms: number) => {
		rig.pass(ms);
		other.pass(ms);
	};

	test("neither decides while they can't hear each other: what was decided stays", async () => {
		const { first, second } = routers();
		await rig.register("gpu-1", [qwen("stopped")]);
		isUp = false;
		for (const scaler of [first, second]) scaler.tick();
		expect([await goalsOf("gpu-1", "stopped"), await goalsOf("gpu-1", "stopped", other)]).toEqual([
			undefined,
			undefined,
		]);
		isUp = true;
		first.tick();
		isUp = false;
		first.tick();
		expect(await goalsOf("gpu-1", "stopped")).toEqual([{ model: "qwen", goal: "keep" }]);
	});

	test("one decides, and an agent is told the same by both", async () => {
		const { first, second } = routers();
		await rig.register("gpu-1", [qwen("stopped", { fits: "now", download: 16e9 })]);
		await other.register("gpu-2", [qwen("stopped")]);
		for (const scaler of [first, second, first, second]) scaler.tick();
		expect(lines).toHaveLength(1);
		const goals = [{ model: "qwen", goal: "keep" }];
		expect([await goalsOf("gpu-2", "stopped", other), await goalsOf("gpu-2", "starting")]).toEqual([goals, goals]);
		expect([await goalsOf("gpu-1", "stopped"), await goalsOf("gpu-1", "stopped", other)]).toEqual([[], []]);
	});

	test("the one that decides goes on with it where one of a lesser name comes, and that one follows at once", async () => {
		const { first, second } = routers(10_000);
		await other.register("gpu-1", [qwen("ready")]);
		const keep = [{ model: "qwen", goal: "keep" }];
		second.tick();
		pass(10_000);
		second.tick();
		for (let passed = 0; passed < 30; passed++) {
			for (const scaler of [first, second]) scaler.tick();
			expect(await goalsOf("gpu-1", "ready", other)).toEqual(keep);
			pass(1000);
		}
		expect(await goalsOf("gpu-1", "ready")).toEqual(keep);
		expect([first.shown()[0]!.shortage, lines]).toEqual([undefined, []]);
	});

	test("one that has no such setting is nobody's elder: the other decides, and the first passes that on", async () => {
		const { first, second } = routers();
		await rig.register("gpu-1", [qwen("ready")]);
		const own = bounds;
		for (let tick = 0; tick < 3; tick++) {
			bounds = {};
			first.tick();
			bounds = own;
			second.tick();
		}
		expect(await goalsOf("gpu-1", "ready", other)).toEqual([{ model: "qwen", goal: "keep" }]);
		bounds = {};
		first.tick();
		expect(await goalsOf("gpu-1", "ready")).toEqual([{ model: "qwen", goal: "keep" }]);
	});

	test("the other one goes on where the first has ended, and has nothing loaded twice", async () => {
		const { first, second } = routers();
		await rig.register("gpu-1", [qwen("stopped")]);
		await other.register("gpu-2", [qwen("stopped")]);
		for (const scaler of [first, second]) scaler.tick();
		const [loaded] = first.shown()[0]!.orders;
		await goalsOf(loaded!.agent, "starting", loaded!.agent === "gpu-1" ? rig : other);
		for (let passed = 0; passed < 6; passed++) {
			pass(1000);
			for (const agent of ["gpu-1", "gpu-2"])
				await goalsOf(agent, agent === loaded!.agent ? "starting" : "stopped", other);
			second.tick();
			// Also before it decides: what was told stands.
			expect(await goalsOf(loaded!.agent, "starting", other)).toEqual([{ model: "qwen", goal: "keep" }]);
		}
		expect(second.shown()).toMatchObject([
			{ ready: 0, coming: 1, orders: [], goals: [{ agent: loaded!.agent, goal: "keep" }] },
		]);
		expect(lines).toHaveLength(1);
	});

	test("what is no message is passed over; what is not told again ends where nobody decides", async () => {
		const { second, tell } = routers(60_000);
		await other.register("gpu-1", [qwen("stopped")]);
		const goals: FleetGoals = { qwen: { "gpu-1": { goal: "keep" } } };
		for (const text of [
			"{",
			"{}",
			JSON.stringify({ v: 2, from: "r1", goals }),
			JSON.stringify({ v: 1, from: "r1", goals: { qwen: { "gpu-1": { goal: "x" } } } }),
		])
			tell(text);
		second.tick();
		expect(await goalsOf("gpu-1", "stopped", other)).toBeUndefined();
		tell(JSON.stringify({ v: 1, from: "r1", goals }));
		second.tick();
		expect(await goalsOf("gpu-1", "stopped", other)).toEqual([{ model: "qwen", goal: "keep" }]);
		pass(29_000);
		second.tick();
		expect(await goalsOf("gpu-1", "stopped", other)).toEqual([{ model: "qwen", goal: "keep" }]);
		pass(1000);
		second.tick();
		expect(await goalsOf("gpu-1", "stopped", other)).toBeUndefined();
	});
});
