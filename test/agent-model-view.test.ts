/** What an agent reports to its router of each model, and shows of it. */
import { expect, spyOn, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import type { Gpu } from "../src/agent/gpu/gpu.ts";
import { AdapterList } from "../src/agent/models/adapter-list.ts";
import type { AgentFile } from "../src/agent/models/agent-file.ts";
import { Generations } from "../src/agent/models/generations.ts";
import type { Inventory } from "../src/agent/models/inventory.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import { ModelStatuses } from "../src/agent/models/model-status.ts";
import { ModelViews } from "../src/agent/models/model-view.ts";
import { PlacementOffers } from "../src/agent/models/placement-offers.ts";
import type { Roll } from "../src/agent/models/roll.ts";
import { Traffic } from "../src/agent/models/traffic.ts";
import { AgentModel, type AgentModelConfig } from "../src/config/agent-schema.ts";
import { withDefaults } from "../src/config/defaults.ts";
import { ModelReport } from "../src/protocol/agent.ts";
import type { Log } from "../src/telemetry/log.ts";
import type { Json } from "./kit/exchange.ts";

const quiet = { logger: { info() {}, warn() {} } } as unknown as Pick<Log, "logger">;

/** An agent with these models, whose containers are these. */
function views(models: readonly Json[], items: readonly object[] = [], gpus: readonly Gpu[] = []) {
	const file = { content: {}, update: () => undefined } as unknown as AgentFile;
	const configured = models.map((model) => withDefaults(AgentModel, model) as AgentModelConfig);
	const registry = new ModelRegistry(configured, file);
	const statuses = new ModelStatuses();
	const tick = { notify: () => {} };
	const traffic = new Traffic({ size: 9, running: 9, waitMs: 1000 }, statuses, tick);
	const inventory = { items } as unknown as Inventory;
	const adapters = new AdapterList({ registry, inventory, log: quiet });
	const generations = new Generations(file, { watch: 1, limit: 2 });
	const offers = new PlacementOffers();
	const watch = { reading: { gpus } };
	const made = new ModelViews(registry, statuses, inventory, traffic, adapters, watch, generations, offers);
	return { registry, statuses, traffic, generations, offers, views: made };
}

test("each replica is reported with its state and its own load, where there are to be several", async () => {
	const metrics = { running: 2, waiting: 1.4, kvCache: 1.2, tokens: 0 };
	const container = { id: "c1", key: "m#1", model: "m", memory: { allocations: [] }, monitor: { metrics } };
	const {
		views: made,
		statuses,
		traffic,
	} = views(
		[
			{ model: "a/m", name: "m", replicas: 3 },
			{ model: "a/one", name: "one" },
		],
		[container],
	);
	statuses.set("m", { state: "ready" }, undefined);
	statuses.setReplicas(
		new Map([
			["m#0", { state: "starting" }],
			["m#1", { state: "ready", id: "c1" }],
		]),
	);
	traffic.open("m", [{ id: "c1", replica: 1, origin: "http://127.0.0.1:1" }]);
	await traffic.acquire("m", new AbortController().signal);
	const [m, one] = made.reports();
	expect(m).toMatchObject({
		state: "ready",
		replicas: [
			{ replica: 0, state: "starting", running: 0 },
			{ replica: 1, state: "ready", running: 1, waiting: 1, kv_cache: 1 },
			{ replica: 2, state: "stopped", running: 0 },
		],
	});
	expect(one).not.toHaveProperty("replicas");
	expect([m, one].map((report) => Value.Check(ModelReport, report))).toEqual([true, true]);
});

test("a rolling change that is ordered of a model that does not serve is shown until it is decided that there is nothing to roll", () => {
	const { registry, views: made, generations } = views([{ model: "a/m", name: "m" }]);
	const entry = registry.get("m")!;
	const wanted = { hash: "h", image: "i:1", spec: entry.spec };
	generations.begin("m", wanted, 1, []);
	expect(made.of(entry)).not.toHaveProperty("roll_ordered");
	generations.order("m", { image: "i:2" });
	expect(made.of(entry)).toMatchObject({ roll_ordered: true });
	const no = () => false;
	const seen = {
		wanted: { ...wanted, image: "i:2" },
		count: 1,
		share: 0.1,
		isUp: false,
		now: 1,
		isReady: no,
		isThere: no,
		isPulled: false,
	};
	generations.step("m", seen, undefined);
	expect(made.of(entry)).not.toHaveProperty("roll_ordered");
	expect([generations.of("m")?.roll, generations.at("m#0")?.image]).toEqual([undefined, "i:2"]);
});

test("a rolling change for which there is no memory beside what serves is shown as one that goes replica by replica", () => {
	const { registry, views: made, generations } = views([{ model: "a/m", name: "m" }]);
	const entry = registry.get("m")!;
	const current = { hash: "h", image: "i:1", spec: entry.spec };
	const roll: Roll = { to: current, replicas: [], phase: "starting", share: 0.1, startedAt: 1, failures: 0 };
	for (const [isInPlace, text] of [
		[undefined, "starting"],
		[true, "starting, one replica at a time: there is no memory for one more"],
	] as const) {
		const under = { current, replicas: [0], leaving: [], roll: { ...roll, ...(isInPlace && { isInPlace }) } };
		spyOn(generations, "of").mockReturnValue(under);
		expect(made.of(entry).roll?.in_place).toBe(isInPlace);
		expect(made.reports()[0]?.roll).toBe(text);
	}
});

test.each(["promoted", "taken back"] as const)(
	"a rolling change that was %s is reported with when that was",
	(result) => {
		const { views: made, generations } = views([{ model: "a/m", name: "m" }]);
		const last = {
			result,
			hash: "h",
			image: "vllm:2",
			reason: "it was worse",
			at: Date.UTC(2026, 10, 30, 22, 45, 40, 498),
		};
		Object.assign(generations, { of: () => ({ current: {}, replicas: [0], leaving: [], last }) });
		expect(made.reports()[0]!.roll).toBe(`${result} at 2026-11-30T22:45:40Z: it was worse`);
	},
);

test("a replica's GPUs and what they draw are reported of a model that has one, and else of each", () => {
	const memory = (gpu: number) => ({ allocations: [{ gpu, bytes: 1 }] });
	const items = [
		{ id: "c1", key: "one#0", model: "one", memory: memory(0) },
		{ id: "c2", key: "two#1", model: "two", memory: memory(1) },
	];
	const models = [
		{ model: "a/one", name: "one" },
		{ model: "a/two", name: "two", replicas: 2 },
	];
	const gpu = (index: number, power: number) => ({ index, power }) as Gpu;
	const [one, two] = views(models, items, [gpu(0, 250), gpu(1, 90.5)]).views.reports();
	expect([one!.power, two!.power, two!.replicas?.map(({ power }) => power)]).toEqual([
		250,
		undefined,
		[undefined, 90.5],
	]);
	// A router shares out itself what a GPU draws that several are on.
	expect([one!.gpus, two!.gpus, two!.replicas?.map(({ gpus }) => gpus)]).toEqual([[0], undefined, [[], [1]]]);
	expect([one, two].map((report) => Value.Check(ModelReport, report))).toEqual([true, true]);
	const [silent] = views(models, items, [gpu(0, 0)]).views.reports();
	expect(silent).not.toHaveProperty("power");
});

test("a model that is to be loaded is starting before it was first looked at: a router has its calls wait", () => {
	const all = [
		{ model: "a/always", name: "always" },
		{ model: "a/demand", name: "demand", load: "on-demand" },
		{ model: "a/manual", name: "manual", load: "manual" },
		{ model: "a/ordered", name: "ordered", load: "manual" },
		{ model: "a/unloaded", name: "unloaded" },
	];
	const { views: made, registry, statuses } = views(all);
	registry.order("ordered", "load");
	registry.order("unloaded", "unload");
	const states = () => made.reports().map(({ state }) => state);
	expect(states()).toEqual(["starting", "stopped", "stopped", "starting", "stopped"]);
	expect(made.all().map(({ state }) => state)).toEqual(states());
	for (const { name } of all) statuses.set(name, { state: "stopped" }, undefined);
	expect(new Set(states())).toEqual(new Set(["stopped"]));
});

test("an adapter is reported behind the models, with its own name and all else of the model that it changes", () => {
	const { views: made, statuses } = views([
		{ model: "a/m", name: "m", replicas: 2, load: "on-demand", args: ["--lora-modules", "sql=/a"] },
		{ model: "a/one", name: "one" },
	]);
	statuses.set("m", { state: "failed", problem: { reason: "no memory", fix: "" } }, undefined);
	const [m, one, sql, ...more] = made.reports();
	expect([one!.name, more]).toEqual(["one", []]);
	expect(sql).toEqual({ ...m!, name: "sql", parent: "m" });
	expect(sql).toMatchObject({ state: "failed", load: "on-demand", replicas: [{}, {}] });
	expect(Value.Check(ModelReport, sql)).toBe(true);
	expect([m, one].some((report) => "parent" in report!)).toBe(false);
});
