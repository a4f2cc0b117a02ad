/** Leases, the order of agents, and who may have a name: decisions over plain values and a clock that the test winds. */
import { describe, expect, test } from "bun:test";
import type { LoadMode, ModelReport, ModelState } from "../src/protocol/agent.ts";
import {
	type AgentView,
	absenceOf,
	accessTo,
	admission,
	agentsFor,
	firstServed,
	readinessOf,
	servedModels,
} from "../src/routing/agent-targets.ts";
import { FRESH_MS, heardBeforeRestart, LeaseClock, leaseAt, SUSPECT_MS } from "../src/routing/lease.ts";
import { random as seeded } from "./kit/random.ts";

/** 0 to 1, the same on every run. */
function randomSource(seed: number): () => number {
	const source = seeded(seed);
	return () => source.below(1e9) / 1e9;
}

type ReportedAgent = Partial<Omit<AgentView, "models">> & { models?: (string | ModelReport)[] };

function agent(name: string, { models = ["qwen"], ...rest }: ReportedAgent = {}): AgentView {
	const reports = models.map((each): ModelReport => (typeof each === "string" ? { name: each, state: "ready" } : each));
	return {
		name,
		heardAt: 0,
		isReachable: true,
		isSuspect: false,
		models: new Map(reports.map((report) => [report.name, report])),
		...rest,
	};
}
const qwen = (state: ModelState, load?: LoadMode): ModelReport => ({ name: "qwen", state, ...(load ? { load } : {}) });
/** The order with no calls in flight and no chance. */
const order = (agents: AgentView[], now = 0, busy: Record<string, number> = {}) =>
	agentsFor(
		"qwen",
		agents,
		now,
		({ name }) => busy[name] ?? 0,
		() => 0,
	).map(({ agent: { name } }) => name);

describe("a lease", () => {
	test.each([
		[0, "fresh"],
		[FRESH_MS, "fresh"],
		[FRESH_MS + 1, "suspect"],
		[SUSPECT_MS, "suspect"],
		[SUSPECT_MS + 1, "gone"],
	] as const)("of %d ms is %s", (age, lease) => expect(leaseAt(1000, 1000 + age)).toBe(lease));

	test("of an agent from before a restart is suspect at once, and gone when it has not been heard of for 15 s", () => {
		const heardAt = heardBeforeRestart(0);
		expect([0, 14_999, 15_000].map((now) => leaseAt(heardAt, now))).toEqual(["suspect", "suspect", "gone"]);
	});

	/** A thousand agents and routers with random pauses, losses and delays: what must hold of every history. */
	test("holds whatever is lost or paused: one heard of within 15 s of the router's own time is fresh, none outlives 30 s", () => {
		const random = randomSource(20_260_801);
		for (let run = 0; run < 300; run++) {
			let wall = random() * 1e6;
			let attended = 0;
			const clock = new LeaseClock(() => wall);
			let heardAt = clock.now();
			let heardAttended = 0;
			for (let at = 0; at < 200; at++) {
				// Mostly a second; now and then the whole process stands still for up to an hour.
				const step = random() < 0.05 ? random() * 3_600_000 : random() * 1_000;
				wall += step;
				attended += Math.min(step, 2_000);
				const now = clock.now();
				expect(now).toBeCloseTo(attended, 3);
				if (random() < 0.1) {
					heardAt = now;
					heardAttended = attended;
				}
				const silence = attended - heardAttended;
				const lease = leaseAt(heardAt, now);
				if (silence < FRESH_MS - 1) expect(lease).toBe("fresh");
				if (silence > SUSPECT_MS + 1) expect(lease).toBe("gone");
			}
		}
	});

	test("outlasts a pause of the router: an hour of standing still ages nobody by more than 2 s", () => {
		let wall = 0;
		const clock = new LeaseClock(() => wall);
		const heardAt = Array.from({ length: 50 }, () => clock.now());
		wall += 3_600_000;
		expect(new Set(heardAt.map((at) => leaseAt(at, clock.now())))).toEqual(new Set(["fresh"]));
	});

	test("never goes back with its clock", () => {
		let wall = 5_000;
		const clock = new LeaseClock(() => wall);
		wall = 1_000;
		expect(clock.now()).toBe(0);
		wall = 1_500;
		expect(clock.now()).toBe(500);
	});
});

describe("the order in which agents are tried", () => {
	test("is ready, then loadable with what is furthest first, then suspect or shaky in the same order", () => {
		const agents = [
			agent("suspect-stopped", { heardAt: -20_000, models: [qwen("stopped", "on-demand")] }),
			agent("suspect-ready", { heardAt: -20_000 }),
			agent("draining", { models: [qwen("draining", "on-demand")] }),
			agent("stopped", { models: [qwen("stopped", "on-demand")] }),
			agent("pulling", { models: [qwen("pulling", "on-demand")] }),
			agent("starting", { models: [qwen("starting", "on-demand")] }),
			agent("sleeping", { models: [qwen("sleeping", "always")] }),
			agent("ready"),
		];
		expect(order(agents)).toEqual([
			"ready",
			"sleeping",
			"starting",
			"pulling",
			"stopped",
			"draining",
			"suspect-ready",
			"suspect-stopped",
		]);
		expect(order([agent("shaky", { isSuspect: true }), agent("busy")], 0, { busy: 99 })).toEqual(["busy", "shaky"]);
	});

	test.each([
		["failed", "on-demand"],
		["failed", "always"],
		["stopped", "manual"],
		["stopped", "always"],
		["draining", "manual"],
		["starting", undefined],
		["pulling", undefined],
	] as [ModelState, LoadMode | undefined][])("leaves out a model that is %s and %p", (state, load) => {
		expect(order([agent("a", { models: [qwen(state, load)] })])).toEqual([]);
	});

	test.each([
		["starting", "always"],
		["starting", "manual"],
		["pulling", "always"],
		["pulling", "manual"],
		["draining", "always"],
	] as [ModelState, LoadMode][])(
		"has a model that is %s and %p wait behind all that a call can have sooner",
		(state, load) => {
			const waits = agent("waits", { models: [qwen(state, load)] });
			const loads = agent("loads", { models: [qwen("stopped", "on-demand")] });
			expect(order([waits, loads, agent("ready")])).toEqual(["ready", "loads", "waits"]);
			expect(readinessOf(waits, waits.models.get("qwen"), 0)).toBeGreaterThan(49);
			expect(readinessOf(waits, waits.models.get("qwen"), 0)).toBeLessThan(100);
		},
	);

	test("leaves out who is gone, who can't be reached and who does not have it", () => {
		const agents = [
			agent("gone", { heardAt: -SUSPECT_MS - 1 }),
			agent("behind-a-firewall", { isReachable: false }),
			agent("other", { models: ["llama"] }),
		];
		expect(order(agents)).toEqual([]);
	});

	test("is least in flight first", () => {
		expect(order([agent("a"), agent("b"), agent("c")], 0, { a: 2, b: 0, c: 1 })).toEqual(["b", "c", "a"]);
	});

	test("is by chance among equals: each of four comes first about as often", () => {
		const random = randomSource(7);
		const firsts: Record<string, number> = {};
		const four = ["a", "b", "c", "d"].map((name) => agent(name));
		for (let run = 0; run < 4000; run++) {
			const [first] = agentsFor("qwen", four, 0, () => 0, random);
			firsts[first!.agent.name] = (firsts[first!.agent.name] ?? 0) + 1;
		}
		for (const count of Object.values(firsts)) expect(Math.abs(count - 1000)).toBeLessThan(150);
	});
});

describe("the ways to a model at an agent", () => {
	const replicas = (...states: ModelState[]) => states.map((state, replica) => ({ replica, state, waiting: replica }));
	const ways = (state: ModelState, ...states: ModelState[]) =>
		accessTo({ name: "qwen", state, waiting: 9, replicas: replicas(...states) }, 0);
	const ofModel = [{ readiness: 0, reportedWaiting: 9 }];

	test("are its replicas where several are to be and all are ready, each with what it said of itself", () => {
		expect(ways("ready", "ready", "ready")).toEqual([
			{ replica: 0, readiness: 0, reportedWaiting: 0 },
			{ replica: 1, readiness: 0, reportedWaiting: 1 },
		]);
	});

	test("are those that are ready, and behind all that is ready the agent's queue, where others are not", () => {
		expect(ways("ready", "starting", "ready", "failed")).toEqual([
			{ replica: 1, readiness: 0, reportedWaiting: 1 },
			{ readiness: 90, isQueue: true },
		]);
	});

	test.each([
		["one that is to be alone", "ready", ["ready"]],
		["several of which none is ready", "starting", ["starting", "starting"]],
		["several of which one is ready that may not be called yet", "draining", ["ready", "draining"]],
		["an agent that says nothing of replicas", "ready", []],
	] as [string, ModelState, ModelState[]][])("are the model alone of %s", (_, state, states) => {
		expect(ways(state, ...states)).toEqual(ofModel);
	});

	test("count a number that is there twice once", () => {
		const [one, two] = replicas("ready", "ready");
		const numbers = (...all: (typeof one)[]) =>
			accessTo({ name: "qwen", state: "ready", replicas: all.map((each) => each!) }, 0).map(({ replica }) => replica);
		expect(numbers(one, two, one)).toEqual([0, 1]);
		expect(numbers(one, one)).toEqual([undefined]);
		expect(numbers(one, { ...one!, state: "failed" }, two)).toEqual([1, undefined]);
	});
});

describe("what is served", () => {
	test("is every model somebody serves, in the order of agents and reports", () => {
		const agents = [
			agent("a", { models: ["one", { name: "broken", state: "failed" }] }),
			agent("b", { models: ["two", "one"] }),
			agent("gone", { heardAt: -60_000, models: ["three"] }),
		];
		expect([...servedModels(agents, 0).keys()]).toEqual(["one", "two"]);
	});

	test("begins with the first that is ready, however early one stands that has to be loaded", () => {
		const agents = [
			agent("a", { models: [{ name: "cold", state: "stopped", load: "on-demand" }] }),
			agent("b", { models: ["warm", "warm-too"] }),
		];
		expect(firstServed(servedModels(agents, 0))).toBe("warm");
		expect(firstServed(servedModels(agents.slice(0, 1), 0))).toBe("cold");
		expect(firstServed(servedModels([], 0))).toBeUndefined();
	});

	test("is explained where nobody serves it", () => {
		const agents = [
			agent("a", { models: [{ name: "qwen", state: "failed", reason: "out of GPU memory" }] }),
			agent("b", { models: [qwen("starting", "always")] }),
			agent("c", { heardAt: -60_000 }),
			agent("d", { isReachable: false }),
			agent("e", { models: ["llama"] }),
		];
		expect(absenceOf("qwen", agents, 0)).toBe(
			"a: failed (out of GPU memory); b: starting; c: not heard of any more (see whether its host is up and `router --agent` runs there); d: the router can't reach it",
		);
		expect(absenceOf("nothing", agents, 0)).toBeUndefined();
		expect(absenceOf("qwen", [agent("f", { models: [qwen("stopped", "manual")] })], 0)).toBe(
			"f: stopped (POST /models/qwen/load there loads it)",
		);
	});

	test("tells of a long reason what to do, to its end", () => {
		const fix = ". What to do: set `gpu_memory: 12.1GiB`, or `--max-model-len 21440`";
		const reason = `${"No available memory for the cache blocks ".repeat(20)}${fix}`;
		const told = absenceOf("qwen", [agent("a", { models: [{ name: "qwen", state: "failed", reason }] })], 0)!;
		expect(told).toEndWith(`…${fix})`);
		expect(told.length).toBeLessThan(700);
	});

	test("says how an adapter is called that has the name of another agent's model", () => {
		const adapter = { name: "qwen", state: "ready", parent: "base" } as const;
		const agents = [agent("a", { models: [adapter] }), agent("b", { models: [qwen("failed")] })];
		expect(absenceOf("qwen", agents, 0)).toBe("a: an adapter, as local/a/qwen; b: failed");
	});
});

describe("a name", () => {
	const at = (port: number) => `http://10.0.0.7:${port}`;
	const holder = { instance: "one", endpoint: at(1), lease: "fresh" } as const;
	const plain = { endpoint: at(1), lease: "fresh" } as const;

	test("is free, or its holder's own, also at another address", () => {
		expect(admission(undefined, { instance: "one", endpoint: at(1) })).toBe("new");
		expect(admission(holder, { instance: "one", endpoint: at(2) })).toBe("same");
		expect(admission(plain, { endpoint: at(1) })).toBe("same");
	});

	test.each([
		["another instance", holder, { instance: "two", endpoint: at(1) }],
		["one without an instance at an instance's address", holder, { endpoint: at(1) }],
		["an instance at the address of one without", plain, { instance: "two", endpoint: at(1) }],
		["one without at another address", plain, { endpoint: at(2) }],
	] as const)("is not given to %s while its holder is fresh, and is afterwards", (_, held, asking) => {
		expect(admission(held, asking)).toBe("conflict");
		expect(admission({ ...held, lease: "suspect" }, asking)).toBe("takeover");
		expect(admission({ ...held, lease: "gone" }, asking)).toBe("takeover");
	});
});
