/** What the supervisor does about what it sees, row by row of its state table, and its promises in a world of accidents. */
import { describe, expect, test } from "bun:test";
import {
	backoff,
	type DesiredReplica,
	nextFailure,
	type ObservedContainer,
	type ObservedState,
} from "../src/agent/models/replica-state.ts";
import { INITIAL_STATE, type SupervisorLimits, supervise } from "../src/agent/models/supervisor.ts";
import { EngineWorld, LIMITS } from "./kit/engine-world.ts";
import { random } from "./kit/random.ts";

const NOW = 10_000_000;
const wanted = (over: Partial<DesiredReplica> = {}): DesiredReplica => ({
	key: "m#0",
	goal: "up",
	hash: "h",
	image: "image",
	running: 0,
	...over,
});
const seen = (over: Partial<ObservedContainer> = {}): ObservedContainer => ({
	id: "c",
	key: "m#0",
	hash: "h",
	state: "running",
	health: "up",
	startedAt: NOW - 1000,
	progressAt: NOW - 1000,
	...over,
});
const observed = (containers: ObservedContainer[] = [], over: Partial<ObservedState> = {}): ObservedState => ({
	containers,
	images: new Set(["image"]),
	inFlight: new Map(),
	...over,
});
const WHY = { reason: "why", fix: "fix" };
const failed = (retryAt: number) => ({
	...INITIAL_STATE,
	failures: new Map([["m#0", { hash: "h", count: 3, retryAt, problem: WHY }]]),
});
function decide(each: DesiredReplica, world: ObservedState, memory = INITIAL_STATE, limits: SupervisorLimits = LIMITS) {
	const { actions, states, failures } = supervise([each], world, memory, limits, NOW);
	return { state: states.get(each.key)!, does: actions.map((action) => action.do), actions, failures };
}

test("a replica that computes ahead while others serve takes no calls, unless it is to sleep", () => {
	const world = observed([seen({ isWarming: true })]);
	const { state, does } = decide(wanted(), world, failed(NOW));
	expect([state.state, state.id, state.waitReason, does]).toEqual(["starting", undefined, expect.any(String), []]);
	expect(decide(wanted({ goal: "asleep" }), world).does).toEqual(["sleep"]);
});

describe("a replica without a container", () => {
	test.each([
		["is started", wanted(), observed(), INITIAL_STATE, "starting", ["start"]],
		["is pulled for first", wanted(), observed([], { images: new Set() }), INITIAL_STATE, "pulling", ["pull"]],
		[
			"waits for memory that others still hold",
			wanted({ waitReason: "waits" }),
			observed(),
			INITIAL_STATE,
			"starting",
			[],
		],
		["that does not fit has failed", wanted({ misfit: WHY }), observed(), INITIAL_STATE, "failed", []],
		["that failed waits for its time", wanted(), observed(), failed(NOW + 1), "failed", []],
		["that failed is started again in time", wanted(), observed(), failed(NOW), "starting", ["start"]],
		[
			"that failed under another spec is started",
			wanted({ hash: "h2" }),
			observed(),
			failed(NOW + 1),
			"starting",
			["start"],
		],
		["that nobody wants is stopped", wanted({ goal: "down" }), observed(), INITIAL_STATE, "stopped", []],
		["that nobody wants any more has failed", wanted({ goal: "down" }), observed(), failed(NOW + 1), "failed", []],
		[
			"that failed may be called once its time has come",
			wanted({ goal: "down" }),
			observed(),
			failed(NOW),
			"stopped",
			[],
		],
		["without Docker has failed", wanted(), observed([], { engineProblem: WHY }), INITIAL_STATE, "failed", []],
	] as const)("%s", (_, each, world, memory, state, does) => {
		const decided = decide(each, world, memory);
		expect([decided.state.state, decided.does]).toEqual([state, [...does]]);
	});

	test.each([
		["while it is started again", observed()],
		["while its image is pulled", observed([], { images: new Set() })],
		["while its container comes up", observed([seen({ health: "unknown" })])],
		[
			"while its failed container is removed",
			observed([seen({ state: "exited" })], { inFlight: new Map([["m#0", "stop"]]) }),
		],
	])("that failed before says why and how often %s", (_, world) => {
		expect(decide(wanted(), world, failed(NOW)).state.failures).toMatchObject({ count: 3, problem: WHY });
	});

	test("that is ready has no failures any more", () => {
		expect(decide(wanted(), observed([seen()]), failed(NOW)).state.failures).toBeUndefined();
	});

	// A router calls no model that has failed: one that stayed so until a call started it would never be called again.
	test.each([NOW - 1, NOW, NOW + 1])("that failed and waits for a call says why", (retryAt) => {
		const { state } = decide(wanted({ goal: "down" }), observed(), failed(retryAt));
		expect(state.problem).toEqual(WHY);
	});
});

describe("a container", () => {
	const old = { hash: "old" };
	test.each([
		["that answers is ready", wanted(), seen(), {}, "ready", []],
		["that does not answer yet is starting", wanted(), seen({ health: "unknown" }), {}, "starting", []],
		["that ended is removed, as one that failed", wanted(), seen({ state: "exited" }), {}, "draining", ["stop"]],
		["that was never started, too", wanted(), seen({ state: "created" }), {}, "draining", ["stop"]],
		["whose engine died is replaced", wanted(), seen({ health: "dead" }), {}, "draining", ["stop"]],
		["whose engine hangs is replaced", wanted(), seen({ health: "hung" }), {}, "draining", ["stop"]],
		["that somebody paused is left alone", wanted(), seen({ state: "paused" }), {}, "failed", []],
		["of another spec is replaced", wanted(), seen(old), {}, "draining", ["stop"]],
		["of another spec serves on while the image is pulled", wanted({ image: "new" }), seen(old), {}, "ready", ["pull"]],
		["of another spec finishes its calls first", wanted({ running: 1 }), seen(old), {}, "draining", []],
		["that nobody wants is stopped", wanted({ goal: "down" }), seen(), {}, "draining", ["stop"]],
		["that nobody wants finishes its calls first", wanted({ goal: "down", running: 1 }), seen(), {}, "draining", []],
		["goes to sleep", wanted({ goal: "asleep" }), seen(), {}, "ready", ["sleep"]],
		["does not go to sleep with calls", wanted({ goal: "asleep", running: 1 }), seen(), {}, "ready", []],
		["sleeps", wanted({ goal: "asleep" }), seen({ health: "asleep" }), {}, "sleeping", []],
		["wakes", wanted(), seen({ health: "asleep" }), {}, "sleeping", ["wake"]],
		["wakes once there is memory", wanted({ waitReason: "waits" }), seen({ health: "asleep" }), {}, "sleeping", []],
		["serves on without Docker", wanted(), seen(), { engineProblem: WHY }, "ready", []],
		[
			"on which somebody works is left to them",
			wanted(),
			seen(),
			{ inFlight: new Map([["m#0", "stop"]]) },
			"draining",
			[],
		],
	] as [string, DesiredReplica, ObservedContainer, Partial<ObservedState>, string, string[]][])(
		"%s",
		(_, each, container, world, state, does) => {
			const decided = decide(each, observed([container], world));
			expect<unknown>([decided.state.state, decided.does]).toEqual([state, does]);
		},
	);

	test("takes calls only while it is ready and wanted", () => {
		expect(decide(wanted(), observed([seen()])).state.id).toBe("c");
		expect(decide(wanted({ goal: "asleep" }), observed([seen()])).state.id).toBeUndefined();
		expect(decide(wanted({ goal: "down", running: 1 }), observed([seen()])).state.id).toBeUndefined();
	});

	test("that makes no progress is given up, and one that makes some is not, up to a limit", () => {
		const start = (ago: number, progressAgo: number) =>
			decide(wanted(), observed([seen({ health: "unknown", startedAt: NOW - ago, progressAt: NOW - progressAgo })]));
		expect(start(60_001, 60_001).actions).toMatchObject([{ do: "stop", failed: true }]);
		expect(start(500_000, 1000).does).toEqual([]);
		expect(start(600_001, 1000).failures.get("m#0")?.problem.reason).toContain("within 10 min");
	});

	test("that has to go is not waited for longer than the limit", () => {
		const memory = { ...INITIAL_STATE, draining: new Map([["c", NOW - LIMITS.drainMs]]) };
		expect(decide(wanted({ goal: "down", running: 3 }), observed([seen()]), memory).does).toEqual(["stop"]);
	});

	test("too many of a replica goes: the one of the right spec stays", () => {
		const { actions } = decide(
			wanted(),
			observed([seen({ id: "old", hash: "old" }), seen(), seen({ id: "dead", state: "exited" })]),
		);
		expect(actions).toMatchObject([{ do: "stop", id: expect.stringMatching(/old|dead/), failed: false }]);
	});

	test("that belongs to no model is removed once its calls are over, but not while Docker is gone", () => {
		const orphan = observed([seen({ id: "o", key: "gone#0" })]);
		expect(supervise([], orphan, INITIAL_STATE, LIMITS, NOW).actions).toEqual([
			{ do: "stop", key: "o", id: "o", failed: false },
		]);
		const busy = observed([seen({ id: "o", key: "gone#0", running: 1 })]);
		const first = supervise([], busy, INITIAL_STATE, LIMITS, NOW);
		expect(first.actions).toEqual([]);
		expect(supervise([], busy, first, LIMITS, NOW + LIMITS.drainMs).actions).toHaveLength(1);
		expect(supervise([], { ...orphan, engineProblem: WHY }, INITIAL_STATE, LIMITS, NOW).actions).toEqual([]);
	});
});

describe("failures", () => {
	test("wait 0, 10, 20, … 300 s", () => {
		expect([1, 2, 3, 31, 32, 1000].map(backoff)).toEqual([0, 10_000, 20_000, 300_000, 300_000, 300_000]);
	});

	test("are counted one by one, told with their reason, and forgotten once it is ready", () => {
		let memory = INITIAL_STATE;
		for (const count of [1, 2, 3]) {
			const dead = observed([seen({ id: `c${count}`, state: "exited", problem: WHY })]);
			memory = supervise([wanted()], dead, memory, LIMITS, NOW);
			expect(memory.failures.get("m#0")).toMatchObject({ count, problem: WHY, retryAt: NOW + backoff(count) });
		}
		memory = supervise([wanted()], observed([seen()]), memory, LIMITS, NOW);
		expect(memory.failures.size).toBe(0);
	});

	test("of another spec are none of this one", () => {
		expect(nextFailure(failed(0).failures.get("m#0"), "h2", WHY, NOW).count).toBe(1);
	});

	test("of one replica of two that share an image pull it once", () => {
		const both = [wanted(), wanted({ key: "m#1" })];
		const world = observed([], { images: new Set() });
		expect(supervise(both, world, INITIAL_STATE, LIMITS, NOW).actions).toHaveLength(1);
		const pulling = { ...world, inFlight: new Map([["m#0", "pull" as const]]) };
		const { actions, states } = supervise(both, pulling, INITIAL_STATE, LIMITS, NOW);
		expect([actions, states.get("m#1")?.state]).toEqual([[], "pulling"]);
	});
});

describe("whatever happens", () => {
	const seeds = Array.from({ length: 60 }, (_, seed) => seed + 1);
	const keys = ["a#0", "a#1", "b#0"];

	test.each(seeds)(
		"there are never two containers of a replica, and in the end all is as it is wanted (world %d)",
		(seed) => {
			const rng = random(seed);
			const world = new EngineWorld(rng);
			let wishes = keys.map((key): DesiredReplica => wanted({ key }));
			for (let step = 0; step < 400; step++) {
				switch (rng.below(14)) {
					case 0:
						world.kill(world.boxes[rng.below(3)]);
						break;
					case 1:
						world.boxes.splice(rng.below(3), 1);
						break;
					case 2:
						world.engineIsUp = rng.below(3) > 0;
						break;
					case 3:
						world.restartAgent();
						break;
					case 4:
						world.readyAfter = rng.pick([2000, 20_000, Number.POSITIVE_INFINITY]);
						break;
					case 5: {
						const box = world.boxes[rng.below(3)];
						if (box && box.health === "up") box.health = rng.pick(["dead", "hung"] as const);
						break;
					}
					case 6:
						wishes = wishes.map((wish) => ({ ...wish, want: rng.pick(["up", "up", "asleep", "down"] as const) }));
						break;
					case 7:
						wishes = wishes.map((wish) => ({
							...wish,
							hash: rng.pick(["h", "h2"]),
							image: rng.pick(["image", "new"]),
						}));
						break;
					case 8:
						world.busy = new Map(keys.map((key) => [key, rng.below(3)]));
						break;
				}
				world.step(
					wishes.map((wish) => ({ ...wish, busy: world.busy.get(wish.key) ?? 0 })),
					rng.below(4000),
				);
				for (const key of keys) {
					expect(world.boxes.filter((box) => box.key === key && box.state === "running").length).toBeLessThanOrEqual(1);
				}
			}
			expect(world.wronged).toBe(0);
			world.engineIsUp = true;
			world.readyAfter = 2000;
			world.busy = new Map();
			const last = keys.map((key) => wanted({ key, hash: "last", image: "last" }));
			// Longest backoff, a start that was never to be ready, and the starts that fail by chance.
			for (let step = 0; step < 4000; step++) world.step(last, 1000);
			expect(world.boxes.map(({ key, hash, health }) => [key, hash, health]).sort()).toEqual(
				keys.map((key) => [key, "last", "up"]),
			);
			expect([...world.last!.states.values()].map(({ state }) => state)).toEqual(["ready", "ready", "ready"]);
			const starts = world.starts;
			for (let step = 0; step < 100; step++) world.step(last, 1000);
			expect(world.starts).toBe(starts);
		},
	);
});
