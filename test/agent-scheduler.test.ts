/** Which models hold the GPUs' memory, on a simulated clock. */
import { describe, expect, test } from "bun:test";
import { type Capacity, idleBeforeEviction, type ModelDemand, schedule } from "../src/agent/models/scheduler.ts";
import { GpuHost } from "./kit/gpu-host.ts";
import { random } from "./kit/random.ts";

const three = { room: 2, models: ["a", "b", "c"], loadMs: 60_000, callMs: 2000 };
const seeds = [1, 2, 3, 4, 5];

describe("three on-demand models on room for two, 200 mixed calls", () => {
	test("that come at once: each model is loaded once", () => {
		for (const seed of seeds) {
			const host = new GpuHost(three);
			const { pick } = random(seed);
			for (let call = 0; call < 200; call++) host.call(pick(three.models));
			host.drain();
			expect([host.answered, host.loads, host.wronged]).toEqual([200, 3, []]);
		}
	});

	test("that trickle in for less than the bound of the wait: each model is loaded once", () => {
		const host = new GpuHost(three);
		const { pick } = random(1);
		for (let call = 0; call < 200; call++) {
			host.call(pick(three.models));
			host.step();
		}
		host.drain();
		expect([host.answered, host.loads, host.wronged]).toEqual([200, 3, []]);
	});

	test.each([
		["16 clients", 16, "the calls to come"],
		["4 clients", 4, "the calls so far"],
	] as const)(
		"of %s that call again once they are answered: at most 20 %% more loads than the best batching that knows %s",
		(_, clients, knowing) => {
			let loads = 0;
			let best = 0;
			for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
				const host = new GpuHost({ ...three, callMs: 500 });
				const { pick } = random(seed);
				let left = 200;
				const next = () => {
					if (left-- > 0) host.call(pick(three.models), next);
				};
				for (let client = 0; client < clients; client++) next();
				host.drain();
				expect([host.answered, host.wronged]).toEqual([200, []]);
				loads += host.loads;
				best += optimalLoads(clients, seed, knowing === "the calls to come");
			}
			expect(loads).toBeLessThanOrEqual(Math.floor(best * 1.2));
		},
	);

	test("asleep instead of stopped: each is loaded once, whatever the order", () => {
		const host = new GpuHost({ ...three, sleepers: 1 });
		const { pick } = random(1);
		for (let call = 0; call < 200; call++) {
			host.call(pick(three.models));
			for (let steps = 0; steps < 50; steps++) host.step();
		}
		host.drain();
		expect([host.answered, host.loads, host.wronged]).toEqual([200, 3, []]);
		expect(host.wakes).toBeGreaterThan(0);
	});
});

/**
 * The least loads for clients who each wait for their answer before they call again: a switch only once every client waits
 * for the one model that is not loaded. What goes is the model whose next call is the farthest, or, where nobody can know
 * that, whose last call is.
 */
function optimalLoads(clients: number, seed: number, knowsFuture: boolean): number {
	const { pick } = random(seed);
	const calls = Array.from({ length: 200 }, () => pick(three.models));
	const loaded = new Set<string>();
	let loads = 0;
	let at = 0;
	let waiting: string[] = [];
	const next = (name: string) => {
		const found = calls.indexOf(name, at);
		return found === -1 ? calls.length : found;
	};
	const last = (name: string) => calls.lastIndexOf(name, at - 1);
	for (;;) {
		while (waiting.length < clients && at < calls.length) {
			const name = calls[at++]!;
			if (!loaded.has(name)) waiting.push(name);
		}
		const wanted = waiting[0];
		if (wanted === undefined) return loads;
		const [first, second] = [...loaded];
		if (second)
			loaded.delete((knowsFuture ? next(first!) > next(second) : last(first!) < last(second)) ? first! : second);
		loaded.add(wanted);
		loads++;
		waiting = waiting.filter((name) => name !== wanted);
	}
}

describe("two models that both always have work, on room for one", () => {
	const two = { room: 1, models: ["a", "b"], loadMs: 60_000, callMs: 1000 };
	function loop(ms: number): GpuHost {
		const host = new GpuHost(two);
		for (const name of two.models) {
			const again = () => void (host.now < ms && host.call(name, again));
			again();
		}
		while (host.now < ms) host.step();
		host.drain();
		return host;
	}

	test("take turns as long as a load, so that half of the time at least is work", () => {
		const hour = 3_600_000;
		const host = loop(hour);
		expect(host.loads).toBeGreaterThan(10);
		expect(host.loads).toBeLessThanOrEqual(hour / (2 * two.loadMs) + 1);
		expect(host.answered).toBeGreaterThan((0.45 * hour) / two.callMs);
	});

	test("neither waits longer than a turn and two loads", () => {
		expect(loop(3_600_000).longestWait).toBeLessThanOrEqual(3 * two.loadMs + 5000);
	});
});

const model = (over: Partial<ModelDemand> & { name: string }): ModelDemand => ({
	load: "on-demand",
	state: "stopped",
	waiting: 0,
	running: 0,
	usedAt: 0,
	...over,
});
const one = { fits: (_: string, awake: ReadonlySet<string>) => awake.size < 1, canSleep: () => false };
const decide = (models: ModelDemand[], awake: string[], now: number, room: Capacity = one) =>
	schedule(models, { awake: new Set(awake), asleep: new Set() }, room, { switchAfterMs: 30_000 }, now);

describe("a model", () => {
	test("that runs calls is never evicted: it takes no further ones, and goes when they have ended", () => {
		const busy = model({ name: "busy", state: "ready", running: 1, readyAt: 0 });
		const wanting = model({ name: "wanting", waiting: 1, oldestAt: 70_000 });
		const early = decide([busy, wanting], ["busy"], 99_000);
		expect([[...early.closed], early.evicted]).toEqual([[], []]);
		const late = decide([busy, wanting], ["busy"], 100_000);
		expect([[...late.closed], late.evicted, [...late.awake]]).toEqual([["busy"], [], ["busy"]]);
		const over = decide(
			[{ ...busy, running: 0, usedAt: 100_500, waiting: 3, oldestAt: 100_000 }, wanting],
			["busy"],
			100_500,
		);
		expect([over.evicted, [...over.awake]]).toEqual([["busy"], ["wanting"]]);
	});

	test("that has just answered keeps its place for a moment: the next call of a loop may be on its way", () => {
		const idle = model({ name: "idle", state: "ready", readyAt: 0, usedAt: 10_000, loadMs: 60_000 });
		const wanting = model({ name: "wanting", waiting: 1, oldestAt: 10_000 });
		expect(decide([idle, wanting], ["idle"], 15_999).evicted).toEqual([]);
		expect(decide([idle, wanting], ["idle"], 16_000).evicted).toEqual(["idle"]);
	});

	test("that is being loaded is not thrown away half done, though who asked for it has left", () => {
		const loading = model({ name: "loading", state: "starting" });
		const wanting = model({ name: "wanting", waiting: 1, oldestAt: 0 });
		expect([...decide([loading, wanting], ["loading"], 900_000).awake]).toEqual(["loading"]);
	});

	test("is unloaded after its ttl without a call, and not before", () => {
		const idle = model({ name: "idle", state: "ready", readyAt: 0, usedAt: 5000, ttl: 60_000 });
		expect([...decide([idle], ["idle"], 64_999).awake]).toEqual(["idle"]);
		expect([...decide([idle], ["idle"], 65_000).awake]).toEqual([]);
		expect([...decide([{ ...idle, running: 1 }], ["idle"], 900_000).awake]).toEqual(["idle"]);
	});

	test.each([
		["always", undefined, ["m"]],
		["always", "unload", []],
		["manual", undefined, []],
		["manual", "load", ["m"]],
		["on-demand", undefined, []],
		["on-demand", "load", ["m"]],
	] as const)("with load: %s and the order %s is loaded without a call: %p", (load, order, expected) => {
		expect([...decide([model({ name: "m", load, order })], [], 0).awake]).toEqual([...expected]);
	});

	test("that nobody may load is not loaded by a call", () => {
		const calls = { waiting: 1, oldestAt: 0 };
		expect(decide([model({ name: "m", load: "manual", ...calls })], [], 10).awake.size).toBe(0);
		expect(decide([model({ name: "m", order: "unload", ...calls })], [], 10).awake.size).toBe(0);
	});

	test("that failed is tried again by a call once its time has come", () => {
		const failed = model({ name: "m", state: "failed", retryAt: 10_000, waiting: 1, oldestAt: 0 });
		expect(decide([failed], [], 9999).awake.size).toBe(0);
		expect(decide([failed], [], 10_000).awake.size).toBe(1);
	});

	test("that somebody paused stays until it is idle for its ttl, or another needs its memory", () => {
		const paused = model({ name: "m", state: "failed", isThere: true, readyAt: 0, usedAt: 5000, ttl: 60_000 });
		expect([...decide([{ ...paused, isThere: false }], ["m"], 6000).awake]).toEqual([]);
		expect([...decide([paused], ["m"], 64_999).awake]).toEqual(["m"]);
		expect([...decide([paused], ["m"], 65_000).awake]).toEqual([]);
		expect([...decide([{ ...paused, order: "unload" }], ["m"], 6000).awake]).toEqual([]);
		const wanting = model({ name: "wanting", waiting: 1, oldestAt: 0 });
		expect(decide([paused, wanting], ["m"], 20_000).evicted).toEqual(["m"]);
	});

	test("that has to be there makes those go that come by demand, never one of its kind", () => {
		const always = model({ name: "always", load: "always" });
		const idle = model({ name: "idle", state: "ready", readyAt: 0 });
		expect(decide([always, idle], ["idle"], 10_000).evicted).toEqual(["idle"]);
		const other = model({ name: "other", load: "always", state: "ready", readyAt: 0 });
		const none = decide([always, other], ["other"], 10_000);
		expect([none.evicted, [...none.misfits]]).toEqual([[], ["always"]]);
	});

	test("takes no more places than it needs", () => {
		const sizes: Record<string, number> = { small: 1, big: 3, wanting: 3 };
		const room = {
			fits: (name: string, awake: ReadonlySet<string>) =>
				[...awake].reduce((sum, each) => sum + sizes[each]!, sizes[name]!) <= 4,
			canSleep: () => false,
		};
		const idle = { state: "ready", readyAt: 0 } as const;
		const models = [
			model({ name: "small", ...idle, usedAt: 1 }),
			model({ name: "big", ...idle, usedAt: 2 }),
			model({ name: "wanting", waiting: 1, oldestAt: 0 }),
		];
		expect(decide(models, ["small", "big"], 60_000, room).evicted).toEqual(["big"]);
	});

	test("comes with as many replicas as fit where never all would, and evicts nobody for those that would not", () => {
		const sizes: Record<string, number> = { small: 1, big: 2, huge: 4, pair: 2, four: 2 };
		const count: Record<string, number> = { pair: 2, four: 4 };
		const left = (name: string, awake: ReadonlySet<string>) =>
			[...awake].reduce((room, each) => (each === name ? room : room - sizes[each]!), 5);
		const placed = (name: string, awake: ReadonlySet<string>) =>
			Math.min(count[name] ?? 1, Math.floor(left(name, awake) / sizes[name]!));
		const room: Capacity = {
			fits: (name, awake) => placed(name, awake) === (count[name] ?? 1),
			replicasThatFit: placed,
			canSleep: () => false,
		};
		const idle = { state: "ready", readyAt: 0 } as const;
		const small = model({ name: "small", ...idle });
		const big = model({ name: "big", load: "always", ...idle });
		const wants = (name: string) => model({ name, waiting: 1, oldestAt: 0 });
		const outcome = (models: ModelDemand[], awake: string[]) => {
			const made = decide(models, awake, 60_000, room);
			return [[...made.awake].sort(), [...(made.partial ?? [])], made.evicted, [...made.misfits]];
		};
		expect(outcome([small, wants("pair")], ["small"])).toEqual([["pair", "small"], [], [], []]);
		expect(outcome([small, wants("four")], ["small"])).toEqual([["four", "small"], ["four"], [], []]);
		expect(outcome([big, wants("four")], ["big"])).toEqual([["big", "four"], ["four"], [], []]);
		expect(outcome([{ ...big, name: "huge" }, wants("four")], ["huge"])[3]).toEqual(["four"]);
	});

	test("lingers a tenth of its load, half a second at least and ten at most", () => {
		expect([undefined, 1000, 60_000, 900_000].map((loadMs) => idleBeforeEviction({ loadMs }))).toEqual([
			500, 500, 6000, 10_000,
		]);
	});

	test("is evicted in the order of last use", () => {
		const two = { fits: (_: string, awake: ReadonlySet<string>) => awake.size < 2, canSleep: () => false };
		const models = [
			model({ name: "newer", state: "ready", readyAt: 0, usedAt: 2 }),
			model({ name: "older", state: "ready", readyAt: 0, usedAt: 1 }),
			model({ name: "wanting", waiting: 1, oldestAt: 0 }),
		];
		expect(decide(models, ["newer", "older"], 60_000, two).evicted).toEqual(["older"]);
	});
});
