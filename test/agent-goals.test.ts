/** What an agent makes of its router's goals for on-demand models, and what it offers to load. */
import { describe, expect, test } from "bun:test";
import type { ModelRegistry, RegisteredModel } from "../src/agent/models/model-registry.ts";
import { PlacementOffers } from "../src/agent/models/placement-offers.ts";
import { RouterGoals } from "../src/agent/models/router-goals.ts";
import { type Capacity, fitOf, type ModelDemand, schedule } from "../src/agent/models/scheduler.ts";
import { GOAL_MS } from "../src/protocol/agent.ts";

const NOW = 1_000_000;
const demand = (name: string, over: Partial<ModelDemand> = {}): ModelDemand => ({
	...{ name, load: "on-demand", state: "stopped", waiting: 0, running: 0, usedAt: 0 },
	...over,
});
const ready = (name: string, over: Partial<ModelDemand> = {}) =>
	demand(name, { state: "ready", readyAt: 0, loadMs: 1000, ...over });
const room = (slots: number): Capacity => ({ fits: (_, awake) => awake.size < slots, canSleep: () => false });
const awakeAfter = (models: ModelDemand[], slots: number, ...before: string[]) => {
	const residents = { awake: new Set(before), asleep: new Set<string>() };
	return [...schedule(models, residents, room(slots), { switchAfterMs: 30_000 }, NOW).awake].sort();
};

describe("a goal is no goal", () => {
	test("of a model that was unloaded by an order, or is never loaded by calls", () => {
		expect(awakeAfter([demand("a", { order: "unload", goal: { goal: "keep" } })], 1)).toEqual([]);
		expect(awakeAfter([demand("a", { load: "manual", goal: { goal: "keep" } })], 1)).toEqual([]);
		expect(awakeAfter([ready("a", { load: "always", goal: { goal: "unload" } })], 1, "a")).toEqual(["a"]);
	});

	test("that would unload a model with calls, or one whose load is under way", () => {
		const goal = { goal: "unload" as const };
		expect(awakeAfter([ready("a", { goal, running: 1 })], 1, "a")).toEqual(["a"]);
		expect(awakeAfter([demand("a", { goal, state: "starting" })], 1, "a")).toEqual(["a"]);
	});

	test("once the router has not said it for a while; what it says anew counts at once, and brings the next tick", () => {
		let [now, ticks] = [NOW, 0];
		const goals = new RouterGoals({ notify: () => void ticks++ }, () => now);
		expect(goals.of("a")).toBeUndefined();
		goals.take([{ model: "a", goal: "keep" }]);
		now += GOAL_MS - 1;
		expect([goals.of("a")?.goal, goals.of("b"), ticks]).toEqual(["keep", undefined, 1]);
		goals.take([{ model: "a", goal: "keep" }]);
		now += GOAL_MS - 1;
		expect([goals.of("a")?.goal, ticks]).toEqual(["keep", 1]);
		now += 1;
		expect(goals.of("a")).toBeUndefined();
		goals.take([]);
		expect([goals.of("a"), ticks]).toEqual([undefined, 2]);
	});

	test("but holds on where a router has nothing to say of goals yet, until it lapses", () => {
		let now = NOW;
		const goals = new RouterGoals({ notify: () => undefined }, () => now);
		goals.take([{ model: "a", goal: "keep" }]);
		for (let heartbeat = 0; heartbeat < 5; heartbeat++) {
			now += 5000;
			goals.take(undefined);
			expect(goals.of("a")?.goal).toBe("keep");
		}
		now += GOAL_MS - 25_000;
		expect(goals.of("a")).toBeUndefined();
	});
});

describe("a model that its router", () => {
	test("keeps is loaded and never evicted, also for calls that wait", () => {
		const kept = { goal: { goal: "keep" as const } };
		expect(awakeAfter([demand("a", kept)], 1)).toEqual(["a"]);
		expect(awakeAfter([ready("a", { ...kept, ttl: 1 }), demand("b", { waiting: 1, oldestAt: 0 })], 1, "a")).toEqual([
			"a",
		]);
	});

	test("loads takes free memory and that of idle models, and leaves busy ones alone, after every call that waits", () => {
		const loaded = demand("a", { goal: { goal: "load" } });
		expect(awakeAfter([loaded], 1)).toEqual(["a"]);
		expect(awakeAfter([loaded, ready("b")], 1, "b")).toEqual(["a"]);
		expect(awakeAfter([loaded, ready("b", { running: 1 })], 1, "b")).toEqual(["b"]);
		expect(awakeAfter([loaded, demand("b", { waiting: 1, oldestAt: NOW })], 1)).toEqual(["b"]);
	});

	test("unloads goes once it has no call, or has had none for so long; its own `ttl` may be shorter", () => {
		const idle = (idle_ms?: number) => ({
			goal: { goal: "unload" as const, ...(idle_ms !== undefined && { idle_ms }) },
		});
		expect(awakeAfter([ready("a", idle())], 1, "a")).toEqual([]);
		expect(awakeAfter([ready("a", { ...idle(60_000), usedAt: NOW - 59_999 })], 1, "a")).toEqual(["a"]);
		expect(awakeAfter([ready("a", { ...idle(60_000), usedAt: NOW - 60_000 })], 1, "a")).toEqual([]);
		expect(awakeAfter([ready("a", { ...idle(60_000), usedAt: NOW - 10_000, ttl: 5000 })], 1, "a")).toEqual([]);
		// The next call loads it again.
		expect(awakeAfter([demand("a", { ...idle(), waiting: 1, oldestAt: NOW })], 1)).toEqual(["a"]);
	});

	test("says nothing of stays as long as its own `ttl` says", () => {
		expect(awakeAfter([ready("a", { usedAt: 0 })], 1, "a")).toEqual(["a"]);
	});
});

describe("what loading a model would take", () => {
	const fit = (slots: number, models: ModelDemand[], ...awake: string[]) =>
		fitOf("a", [demand("a"), ...models], { awake: new Set(awake), asleep: new Set() }, room(slots), NOW);

	test("is nothing where its memory is free, or it has it; that of idle models; that of busy ones; or can't be had", () => {
		expect([fit(1, []), fit(1, [], "a")]).toEqual(["now", "now"]);
		expect(fit(1, [ready("b")], "b")).toBe("evicting");
		expect(fit(1, [ready("b", { running: 1 })], "b")).toBe("busy");
		expect(fit(2, [ready("b", { running: 1 }), ready("c")], "b", "c")).toBe("evicting");
		expect([fit(1, [ready("b", { load: "always" })], "b"), fit(0, [])]).toEqual(["no", "no"]);
		expect(fit(1, [ready("b", { goal: { goal: "keep" } })], "b")).toBe("no");
	});

	test("is said of on-demand models alone, and worked out anew after 4 s, or once other models hold memory", () => {
		const offers = new PlacementOffers();
		const entry = (name: string, over: Partial<RegisteredModel> = {}): ReturnType<ModelRegistry["all"]>[number] => ({
			...{ spec: { name, model: `org/${name}`, gpu_memory: 7 }, load: "on-demand", isConfigured: true },
			...over,
		});
		const offered = () => offers.of(entry("a"));
		expect(offered()).toBeUndefined();
		const tick = (ms: number, download: number | undefined, { isMisfit = false, awake = [] as string[] } = {}) =>
			offers.set({
				...{ demands: [demand("a"), ready("b")], residents: { awake: new Set(awake), asleep: new Set() } },
				...{ capacity: room(1), now: NOW + ms, downloadOf: () => download, isMisfit: () => isMisfit },
			});
		tick(0, undefined);
		expect(offered()).toEqual({ fits: "now", memory: 7 });
		tick(3999, 5);
		expect(offered()).toEqual({ fits: "now", memory: 7 });
		tick(4000, 5);
		expect(offered()).toEqual({ fits: "now", download: 5, memory: 7 });
		tick(4001, 5, { awake: ["b"] });
		expect(offered()).toEqual({ fits: "evicting", download: 5, memory: 7 });
		tick(9000, 5, { isMisfit: true });
		expect(offered()).toEqual({ fits: "no", download: 5, memory: 7 });
		expect(offers.of(entry("a", { load: "always" }))).toBeUndefined();
		expect(offers.of(entry("a", { order: "unload" }))).toBeUndefined();
	});
});
