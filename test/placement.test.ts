/** Where a model is loaded that several agents offer: the order of the offers, and what calls see of it. */
import { describe, expect, test } from "bun:test";
import type { GpuReport, ModelReport, ModelState, PlacementReport } from "../src/protocol/agent.ts";
import { type AgentView, agentsFor, withinMax } from "../src/routing/agent-targets.ts";
import { offerOf, type PlacementOffer, rankOffers } from "../src/routing/placement.ts";

const GB = 1e9;
const offer = (agent: string, over: Partial<PlacementOffer> = {}): PlacementOffer => ({
	...{ agent, fits: "now", download: 0, memory: undefined, free: 80 * GB, temperature: 40, power: 0.1 },
	...{ loading: 0, loaded: 0, waiting: 0 },
	...over,
});
const first = (...offers: PlacementOffer[]) => rankOffers("qwen", offers)[0]!.offer.agent;
const whyOf = (over: Partial<PlacementOffer>) => rankOffers("qwen", [offer("a", over)])[0]!.why;

describe("of several offers the first is", () => {
	test.each([
		["one that fits, before one that never does", { fits: "no" }, { fits: "busy", download: 60 * GB }],
		["one that does not wait for calls of others", { fits: "busy" }, { fits: "evicting" }],
		["one with its memory free", { fits: "evicting" }, { fits: "now" }],
		["one with the weights on its disk, though idle models go for it", { download: 16 * GB }, { fits: "evicting" }],
		["one that is known to have the weights", { download: undefined }, {}],
		["one that loads nothing else", { loading: 1 }, {}],
		["a cooler one", { temperature: 88 }, { temperature: 60 }],
		["one that is not near its limit of power", { power: 1 }, { power: 0.5 }],
		["one where calls wait for it already", {}, { waiting: 1, download: 16 * GB }],
		["that with the most free memory, for a model that takes what is left", { free: 20 * GB }, { free: 40 * GB }],
		["that with the least, for one of a given size", { memory: GB, free: 40 * GB }, { memory: GB, free: 20 * GB }],
		["that with the fewest models", { loaded: 2 }, { loaded: 1 }],
	] as [string, Partial<PlacementOffer>, Partial<PlacementOffer>][])("%s", (_, worse, better) => {
		expect([first(offer("a", worse), offer("b", better)), first(offer("b", worse), offer("a", better))]).toEqual([
			"b",
			"a",
		]);
	});

	test("the same whatever the order in which they were heard, and another one for another model", () => {
		const four = ["a", "b", "c", "d"].map((name) => offer(name));
		const names = ["q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8"];
		const firsts = names.map((name) => rankOffers(name, four)[0]!.offer.agent);
		expect(names.map((name) => rankOffers(name, four.toReversed())[0]!.offer.agent)).toEqual(firsts);
		expect(new Set(firsts).size).toBeGreaterThan(1);
	});
});

test("an offer says in words what it was judged by", () => {
	expect(whyOf({})).toBe("its weights are there, its memory is free");
	expect(whyOf({ fits: "evicting", download: 16.4 * GB, loading: 2, temperature: 84, waiting: 1 })).toBe(
		"calls wait for it there, 16.4 GB to download, idle models go for it, 2 other models are being loaded, a GPU has 84 °C",
	);
	expect(whyOf({ fits: undefined, download: undefined })).toBe("its agent does not say whether it fits");
});

const gpu = (over: Partial<GpuReport> = {}): GpuReport => ({
	index: 0,
	name: "L4",
	memory_total: 24 * GB,
	memory_used: GB,
	...over,
});
const model = (state: ModelState, placement?: PlacementReport, name = "qwen"): ModelReport => ({
	...{ name, state, load: "on-demand" },
	...(placement && { placement }),
});
const agent = (name: string, models: ModelReport[], over: Partial<AgentView> = {}): AgentView => ({
	...{
		name,
		heardAt: 0,
		isReachable: true,
		isSuspect: false,
		models: new Map(models.map((each) => [each.name, each])),
	},
	...over,
});

test("an offer is made of what an agent reports: its GPUs, its other models, none of which is an adapter", () => {
	const others = [
		model("starting", undefined, "b"),
		model("ready", undefined, "c"),
		{ ...model("ready", undefined, "d"), parent: "c" },
	];
	const gpus = [
		gpu({ temperature: 71, power: 300, power_limit: 400 }),
		gpu({ index: 1, temperature: 66, power: 100, power_limit: 400 }),
	];
	const host = agent("gpu-1", [model("stopped", { fits: "now", download: 5, memory: 7 }), ...others], { gpus });
	expect(offerOf(host, "qwen", 3)).toEqual({
		...{ agent: "gpu-1", fits: "now", download: 5, memory: 7, free: 46 * GB, temperature: 71, power: 0.5 },
		...{ loading: 1, loaded: 1, waiting: 3 },
	});
	expect(offerOf(agent("old", [model("stopped")]), "qwen", 0)).toMatchObject({
		fits: undefined,
		free: 0,
		temperature: 0,
		power: 0,
	});
});

describe("calls for a model that no agent has loaded", () => {
	const cold = (name: string, placement?: PlacementReport, over: Partial<AgentView> = {}) =>
		agent(name, [model("stopped", placement)], over);
	const order = (agents: AgentView[], busy: Record<string, number> = {}) =>
		agentsFor("qwen", agents, 0, ({ name }) => busy[name] ?? 0, Math.random);
	const names = (found: ReturnType<typeof order>) => found.map(({ agent: { name } }) => name);

	test("go to the best place, and those of the same moment too, whatever chance says", () => {
		const agents = [cold("far", { fits: "now", download: 30 * GB }), cold("near", { fits: "now", download: 0 })];
		for (let call = 0; call < 20; call++) expect(names(order(agents))).toEqual(["near", "far"]);
		// The first call waits there, before the agent has said anything.
		expect(names(order(agents, { near: 1 }))).toEqual(["near", "far"]);
		expect(names(order(agents, { far: 1 }))).toEqual(["far", "near"]);
	});

	test("keep that order in a plan, and stay behind what is ready and before what is late", () => {
		const agents = [
			cold("late", { fits: "now", download: 0 }, { isSuspect: true }),
			cold("b", { fits: "busy" }),
			cold("a", { fits: "now", download: 0 }),
			agent("ready", [model("ready")]),
		];
		const found = order(agents);
		expect(names(found)).toEqual(["ready", "a", "b", "late"]);
		const ranks = found.map(({ readiness }) => readiness);
		expect(ranks).toEqual([...new Set(ranks)].sort((a, b) => a - b));
		expect(found[1]!.placement).toBe("its weights are there, its memory is free");
		expect(found[0]!.placement).toBeUndefined();
	});

	test("are not told of a place where there is nothing to choose", () => {
		expect(order([cold("only", { fits: "now" })])).toMatchObject([{ readiness: 4 }]);
		expect(order([cold("only", { fits: "now" })])[0]!.placement).toBeUndefined();
	});
});

describe("a retired replica", () => {
	const goals = [{ model: "qwen", goal: "unload" as const }];
	test("comes behind those that stay, and before what has to be loaded; one that goes once it idles is like any other", () => {
		const going = agent("going", [model("ready")], { goals });
		const idle = agent("idle", [model("ready")], { goals: [{ ...goals[0]!, idle_ms: 60_000 }] });
		const found = agentsFor(
			"qwen",
			[going, agent("cold", [model("sleeping")]), idle],
			0,
			() => 0,
			() => 0,
		);
		expect(found.map(({ agent: { name } }) => name)).toEqual(["idle", "going", "cold"]);
	});
});

describe("with `max` calls load a model", () => {
	const cold = agent("cold", [model("stopped")]);
	const names = (agents: AgentView[], max: number) => withinMax("qwen", agents, agents, max, 0).map(({ name }) => name);

	test("nowhere beyond it, counting what is on its way and each replica of several", () => {
		expect(names([agent("a", [model("ready")]), cold], 1)).toEqual(["a"]);
		expect(names([agent("a", [model("starting")]), cold], 1)).toEqual(["a"]);
		expect(names([agent("a", [model("ready")]), cold], 2)).toEqual(["a", "cold"]);
		const two = { ...model("stopped"), replicas: [0, 1].map((replica) => ({ replica, state: "stopped" as const })) };
		expect(names([agent("a", [model("ready")]), agent("two", [two])], 2)).toEqual(["a"]);
	});

	test("in the place of one that drains, or that calls can't reach", () => {
		expect(names([agent("a", [model("draining")]), cold], 1)).toEqual(["a", "cold"]);
		expect(names([agent("a", [model("ready")], { isSuspect: true }), cold], 1)).toEqual(["a", "cold"]);
		expect(names([agent("a", [model("ready")], { isReachable: false }), cold], 1)).toEqual(["a", "cold"]);
	});
});
