/** What several routers of one Redis make of the replicas over all agents: one decides, and all tell agents the same. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelState } from "../src/protocol/agent.ts";
import { ReplicaScaler } from "../src/server/agents/replica-scaler.ts";
import type { FleetGoals } from "../src/server/agents/scaling-election.ts";
import { scalingPeers } from "../src/server/agents/shared-goals.ts";
import { directory } from "./kit/cli.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";
import { type Bounds, bound, logInto, qwen } from "./kit/replicas.ts";

const KEEP = [{ model: "qwen", goal: "keep" }];
const UNHEARD =
	"None of this router's messages has come back to it from Redis for 5 s: until one does, it decides nothing of `agents.replicas`. Its user there needs `+publish +subscribe &*`.";
const TOO_LONG =
	"What is decided of `agents.replicas` is too long for a message to the other routers: agents hear it from this one alone.";

let home: ReturnType<typeof directory>;
let rig: FleetRig;
let other: FleetRig;
let bounds: Bounds;
let lines: [string, unknown][];
/** Redis answers. */
let isUp: boolean;
/** The routers that it brings no messages. */
let deaf: Set<string>;
/** Agents whose heartbeats come to `r1` every second, and what they say of the model. */
let beating: Record<string, ModelState>;
beforeEach(() => {
	// Routers of one Redis have agreed on it.
	const key = `${"ab".repeat(32)}\n1000\n`;
	home = directory({ "agent-secret.key": key });
	mkdirSync(join(home.path, "other"));
	writeFileSync(join(home.path, "other", "agent-secret.key"), key);
	rig = fleetRig(home.path);
	other = fleetRig(join(home.path, "other"));
	bounds = { qwen: bound({ min: 1, max: 2 }) };
	lines = [];
	isUp = true;
	deaf = new Set();
	beating = {};
});
afterEach(() => {
	rig.close();
	other.close();
	home[Symbol.dispose]();
});

/** Routers `r1` and `r2` on one channel; each hears what the other's agents say. */
function routers(settleMs = 0) {
	const receivers = new Map<string, (text: string) => void>();
	const tell = (text: string) => {
		for (const [router, receive] of receivers) if (!deaf.has(router)) receive(text);
	};
	let said: { from: string; role?: string }[] = [];
	const [first, second] = Object.entries({ r1: rig, r2: other }).map(([router, { registry, targets }]) => {
		const channel = {
			router,
			listen: (receive: (text: string) => void) => void receivers.set(router, receive),
			publish(text: string) {
				said.push(JSON.parse(text));
				tell(text);
			},
		};
		const redis = {
			get isUp() {
				return isUp;
			},
			channel: () => channel,
		};
		const log = logInto(lines);
		const scaler: ReplicaScaler = new ReplicaScaler({
			...{ agents: registry, states: targets, bounds: () => bounds, log, settleMs, wake: () => undefined },
			peers: scalingPeers(redis, () => scaler, { now: () => registry.now(), log }),
		});
		return scaler;
	}) as [ReplicaScaler, ReplicaScaler];
	rig.registry.listeners.onHeard((agent) => other.registry.adopt(agent));
	other.registry.listeners.onHeard((agent) => rig.registry.adopt(agent));
	/** Lets seconds pass at the routers that run. Returns which of them decided, a second each. */
	const pass = async (seconds: number, running = [first, second]) => {
		const deciders: string[][] = [];
		for (let second = 0; second < seconds; second++) {
			said = [];
			for (const each of [rig, other]) each.pass(1000);
			for (const [agent, state] of Object.entries(beating)) await goalsOf(agent, state);
			for (const scaler of running) scaler.tick();
			deciders.push(said.filter(({ role }) => role === "decider").map(({ from }) => from));
		}
		return deciders;
	};
	return { first, second, tell, pass };
}
const goalsOf = async (name: string, state: ModelState, at = rig) =>
	((await at.heartbeat(name, [qwen(state)])) as { goals?: object[] }).goals;
/** Who decided in any of these seconds; fails where two did in one. */
const onlyOf = (seconds: readonly (readonly string[])[]) => {
	expect(seconds.filter(({ length }) => length > 1)).toEqual([]);
	return [...new Set(seconds.flat())];
};

describe("while Redis is away", () => {
	test("nobody decides, and what was decided stays", async () => {
		const { pass } = routers();
		await rig.register("gpu-1", [qwen("stopped")]);
		isUp = false;
		expect(onlyOf(await pass(3))).toEqual([]);
		expect([await goalsOf("gpu-1", "stopped"), await goalsOf("gpu-1", "stopped", other)]).toEqual([
			undefined,
			undefined,
		]);
		isUp = true;
		expect(onlyOf(await pass(3))).toEqual(["r1"]);
		isUp = false;
		expect(onlyOf(await pass(60))).toEqual([]);
		expect([await goalsOf("gpu-1", "stopped"), await goalsOf("gpu-1", "stopped", other)]).toEqual([KEEP, KEEP]);
	});

	test.each([1, 6, 60])(
		"for %i s, the one that decided before does so after, alone, and an agent is told the same all the time",
		async (seconds) => {
			const { second, pass } = routers(10_000);
			await other.register("gpu-1", [qwen("ready")]);
			beating = { "gpu-1": "ready" };
			expect(onlyOf(await pass(15, [second]))).toEqual(["r2"]);
			expect(onlyOf(await pass(15))).toEqual(["r2"]);
			// What is sent last is lost.
			deaf.add("r1").add("r2");
			expect(onlyOf(await pass(1))).toEqual(["r2"]);
			isUp = false;
			expect(onlyOf(await pass(seconds))).toEqual([]);
			deaf.clear();
			isUp = true;
			for (let passed = 0; passed < 20; passed++) {
				const deciders = onlyOf(await pass(1));
				expect(passed < 2 || deciders.length === 1).toBe(true);
				expect(deciders).not.toContain("r1");
				expect([await goalsOf("gpu-1", "ready"), await goalsOf("gpu-1", "ready", other)]).toEqual([KEEP, KEEP]);
			}
		},
	);

	test("and is back, one without the setting goes on to pass on what was decided", async () => {
		const { first, second, pass } = routers();
		await other.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(15, [second]))).toEqual(["r2"]);
		const own = bounds;
		bounds = {};
		await pass(2, [first]);
		bounds = own;
		await pass(1, [second]);
		bounds = {};
		await pass(1, [first]);
		isUp = false;
		await pass(20, [first]);
		isUp = true;
		for (let passed = 0; passed < 3; passed++) {
			await pass(1, [first]);
			expect(await goalsOf("gpu-1", "ready")).toEqual(KEEP);
		}
	});

	test("one that starts has listened to nobody: it follows the one that decided before", async () => {
		const { second, pass } = routers(10_000);
		expect(onlyOf(await pass(15, [second]))).toEqual(["r2"]);
		isUp = false;
		expect(onlyOf(await pass(20))).toEqual([]);
		isUp = true;
		expect(onlyOf(await pass(20))).toEqual(["r2"]);
	});

	test("the one that decided ends: another one begins once it has listened for as long as after a start", async () => {
		const { second, pass } = routers(10_000);
		await other.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(15))).toEqual(["r1"]);
		isUp = false;
		await pass(40, [second]);
		isUp = true;
		expect(onlyOf(await pass(8, [second]))).toEqual([]);
		isUp = false;
		await pass(40, [second]);
		isUp = true;
		expect(onlyOf(await pass(10, [second]))).toEqual([]);
		expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
		expect(onlyOf(await pass(5, [second]))).toEqual(["r2"]);
	});
});

describe("where Redis takes a router's messages and brings it none", () => {
	test("and it decided, it stops before another one begins, says so once, and follows that when it hears again", async () => {
		const { pass } = routers(10_000);
		await rig.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(15))).toEqual(["r1"]);
		deaf.add("r1");
		const seconds = await pass(30);
		expect(onlyOf(seconds)).toEqual(["r1", "r2"]);
		expect(seconds.at(-1)).toEqual(["r2"]);
		expect(lines.filter(([text]) => text === UNHEARD)).toHaveLength(1);
		deaf.clear();
		expect(onlyOf(await pass(30))).toEqual(["r2"]);
		expect(await goalsOf("gpu-1", "ready")).toEqual(KEEP);
		deaf.add("r1");
		await pass(10);
		expect(lines.filter(([text]) => text === UNHEARD)).toHaveLength(2);
	});

	test("and it followed, it never decides; what it was told stands there for 30 s, and is said again by others alone", async () => {
		const { second, pass } = routers(10_000);
		await rig.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(15))).toEqual(["r1"]);
		// Its own message is the last that it hears.
		await pass(1, [second]);
		deaf.add("r2");
		expect(onlyOf(await pass(30))).toEqual(["r1"]);
		expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
		expect(onlyOf(await pass(30))).toEqual(["r1"]);
		expect([await goalsOf("gpu-1", "ready"), await goalsOf("gpu-1", "ready", other)]).toEqual([KEEP, undefined]);
		isUp = false;
		await pass(3);
		deaf.clear();
		isUp = true;
		for (let passed = 0; passed < 6; passed++) {
			await pass(1, [second]);
			expect(await goalsOf("gpu-1", "ready", other)).toBeUndefined();
		}
	});

	test("from its start on, it decides nothing", async () => {
		deaf.add("r1").add("r2");
		const { pass } = routers();
		await rig.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(60))).toEqual([]);
		expect(await goalsOf("gpu-1", "ready")).toBeUndefined();
		expect(lines.map(([text]) => text)).toEqual([UNHEARD, UNHEARD]);
	});

	test("it says nothing of that where no setting has it decide", async () => {
		bounds = {};
		deaf.add("r1");
		await routers().pass(60);
		expect(lines).toEqual([]);
	});
});

describe("of two routers", () => {
	test("one decides what is too long to tell: it goes on alone, says so once, and an agent hears it there alone", async () => {
		const { pass } = routers();
		await rig.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		expect(onlyOf(await pass(5))).toEqual(["r1"]);
		expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
		const own = bounds;
		bounds = { ...own, ["m".repeat(2_000_000)]: bound() };
		expect(onlyOf(await pass(15))).toEqual(["r1"]);
		expect([await goalsOf("gpu-1", "ready"), await goalsOf("gpu-1", "ready", other)]).toEqual([KEEP, undefined]);
		expect(lines.filter(([text]) => text === TOO_LONG)).toHaveLength(1);
		bounds = own;
		expect(onlyOf(await pass(5))).toEqual(["r1"]);
		expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
	});

	test("what is no message is passed over; what is not told again ends where nobody decides", async () => {
		const { second, tell, pass } = routers(60_000);
		await other.register("gpu-1", [qwen("stopped")]);
		await pass(1, [second]);
		const goals: FleetGoals = { qwen: { "gpu-1": { goal: "keep" } } };
		const message = { v: 1, from: "r3", role: "decider", goals };
		for (const text of [
			"{",
			"{}",
			JSON.stringify({ ...message, v: 2 }),
			JSON.stringify({ ...message, role: "king" }),
			JSON.stringify({ ...message, role: undefined }),
			JSON.stringify({ ...message, goals: { qwen: { "gpu-1": { goal: "x" } } } }),
		])
			tell(text);
		await pass(1, [second]);
		expect(await goalsOf("gpu-1", "stopped", other)).toBeUndefined();
		tell(JSON.stringify(message));
		await pass(1, [second]);
		expect(await goalsOf("gpu-1", "stopped", other)).toEqual(KEEP);
		// Counts for 5 s; then what it told stands for 30 s.
		await pass(33, [second]);
		expect(await goalsOf("gpu-1", "stopped", other)).toEqual(KEEP);
		await pass(1, [second]);
		expect(await goalsOf("gpu-1", "stopped", other)).toBeUndefined();
	});

	test("one decides, and an agent is told the same by both", async () => {
		const { pass } = routers();
		await rig.register("gpu-1", [qwen("stopped", { fits: "now", download: 16e9 })]);
		await other.register("gpu-2", [qwen("stopped")]);
		await pass(3);
		expect(lines).toHaveLength(1);
		expect([await goalsOf("gpu-2", "stopped", other), await goalsOf("gpu-2", "starting")]).toEqual([KEEP, KEEP]);
		expect([await goalsOf("gpu-1", "stopped"), await goalsOf("gpu-1", "stopped", other)]).toEqual([[], []]);
	});

	test("the one that decides goes on with it where one of a lesser name comes, and that one follows at once", async () => {
		const { first, second, pass } = routers(10_000);
		await other.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		await pass(15, [second]);
		for (let passed = 0; passed < 30; passed++) {
			expect(await pass(1)).toEqual([["r2"]]);
			expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
		}
		expect(await goalsOf("gpu-1", "ready")).toEqual(KEEP);
		expect([first.shown()[0]!.shortage, lines]).toEqual([undefined, []]);
	});

	test("one that has no such setting is nobody's elder: the other decides, and the first passes that on", async () => {
		const { first, second, pass } = routers();
		await rig.register("gpu-1", [qwen("ready")]);
		beating = { "gpu-1": "ready" };
		const own = bounds;
		for (let tick = 0; tick < 4; tick++) {
			bounds = {};
			await pass(1, [first]);
			bounds = own;
			await pass(1, [second]);
		}
		expect(await goalsOf("gpu-1", "ready", other)).toEqual(KEEP);
		bounds = {};
		await pass(1, [first]);
		expect(await goalsOf("gpu-1", "ready")).toEqual(KEEP);
	});

	test("the other one goes on where the first has ended, and has nothing loaded twice", async () => {
		const { first, second, pass } = routers();
		await rig.register("gpu-1", [qwen("stopped")]);
		await other.register("gpu-2", [qwen("stopped")]);
		await pass(3);
		const [loaded] = first.shown()[0]!.orders;
		await goalsOf(loaded!.agent, "starting", loaded!.agent === "gpu-1" ? rig : other);
		for (let passed = 0; passed < 6; passed++) {
			for (const agent of ["gpu-1", "gpu-2"])
				await goalsOf(agent, agent === loaded!.agent ? "starting" : "stopped", other);
			await pass(1, [second]);
			// Also before it decides: what was told stands.
			expect(await goalsOf(loaded!.agent, "starting", other)).toEqual(KEEP);
		}
		expect(second.shown()).toMatchObject([
			{ ready: 0, coming: 1, orders: [], goals: [{ agent: loaded!.agent, goal: "keep" }] },
		]);
		expect(lines).toHaveLength(1);
	});
});
