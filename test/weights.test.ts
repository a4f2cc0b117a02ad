/** `weight`: a target's share of the calls, counted over many plans with chances that are the same on every run. */
import { describe, expect, test } from "bun:test";
import { explanationText } from "../src/cli/explain-command.ts";
import type { TargetConfig } from "../src/config/schema.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { type Explanation, explain } from "../src/routing/explain.ts";
import type { Needs } from "../src/routing/requirements.ts";
import type { Route, RouteTarget } from "../src/routing/route.ts";
import { configure, refusal } from "./kit/configure.ts";
import { configOf, entriesOf, pipeline } from "./kit/pipeline.ts";
import { random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";

const PLANS = 20_000;

/** How often each target stands at a place of the plan, as a share of all plans. */
function shares(clock: Clock, way: Route, { place = 0, needs = call() }: { place?: number; needs?: Needs } = {}) {
	const { next } = random(7);
	const counts: Record<string, number> = {};
	for (let at = 0; at < PLANS; at++) {
		const id = clock.ids(needs, way, next)[place]!;
		counts[id] = (counts[id] ?? 0) + 1;
	}
	return Object.fromEntries(Object.entries(counts).map(([id, count]) => [id, count / PLANS]));
}

/** Four standard deviations of a share that is counted so often. */
const near = (share: number) => 4 * Math.sqrt((share * (1 - share)) / PLANS);
function expectShares(counted: Record<string, number>, expected: Record<string, number>): void {
	expect(Object.keys(counted).sort()).toEqual(Object.keys(expected).sort());
	for (const [id, share] of Object.entries(expected)) {
		expect(Math.abs(counted[id]! - share), `${id}: ${counted[id]}`).toBeLessThanOrEqual(near(share));
	}
}
const weighted = (...weights: readonly number[]) =>
	route(weights.map((weight, at) => target(`${"abcdef"[at]}/m`, { weight, price: { input: at + 1, output: 1 } })));

describe("weights that say nothing, or against each other", () => {
	const models = (target: object, more: object = {}) =>
		JSON.stringify({
			models: [{ name: "m", targets: [{ provider: "dummy", model: "m", ...target }, "dummy"], ...more }],
		});

	test.each(["order", "cheapest", "fastest"])("are refused beside the policy %s", (policy) => {
		expect(refusal({ yaml: models({ weight: 3 }, { policy }) })).toContain(
			`models[0].targets[0].weight: shares calls out, and \`policy: ${policy}\` chooses otherwise`,
		);
	});

	test("are refused where all are 0", () => {
		const targets = ["a", "b"].map((model) => ({ provider: "dummy", model, weight: 0 }));
		expect(refusal({ yaml: JSON.stringify({ models: [{ name: "m", targets }] }) })).toContain(
			"models[0].targets[0].weight: is 0, as all are in this list",
		);
		const fallback = { targets: ["dummy"], fallback: targets };
		expect(refusal({ yaml: JSON.stringify({ models: [{ name: "m", ...fallback }] }) })).toContain(
			"models[0].fallback[0].weight: is 0, as all are",
		);
	});

	test.each([-1, "many", null, 1e9])("are refused as %p", (weight) => {
		expect(refusal({ yaml: models({ weight }) })).toContain("models[0].targets[0].weight: must be a number from 0 to");
	});

	test.each([0, 0.25, 3, 1_000_000])("may be %p", (weight) => {
		const [first] = configure({ yaml: models({ weight }) }).config.models[0]!.targets as Exclude<
			TargetConfig,
			string
		>[];
		expect(first?.weight).toBe(weight);
	});
});

describe("of calls each target gets first", () => {
	test("its share, whatever it costs", () => {
		expectShares(shares(new Clock(), weighted(3, 1)), { "a/m": 0.75, "b/m": 0.25 });
		expectShares(shares(new Clock(), weighted(1, 9)), { "a/m": 0.1, "b/m": 0.9 });
		expectShares(shares(new Clock(), weighted(0.5, 0.3, 0.2)), { "a/m": 0.5, "b/m": 0.3, "c/m": 0.2 });
		expectShares(shares(new Clock(), weighted(1, 1, 1, 1)), { "a/m": 0.25, "b/m": 0.25, "c/m": 0.25, "d/m": 0.25 });
	});

	test("and where that fails, the others theirs of what is left", () => {
		// 3/4 × 1/… : of calls that a got first, b and c share what is left as 2 to 1, and so on.
		const [a, b, c] = [0.5, 1 / 3, 1 / 6];
		expectShares(shares(new Clock(), weighted(3, 2, 1), { place: 1 }), {
			"a/m": b * (a / (a + c)) + c * (a / (a + b)),
			"b/m": a * (b / (b + c)) + c * (b / (a + b)),
			"c/m": a * (c / (b + c)) + b * (c / (a + c)),
		});
	});

	test("its share also of targets of other kinds, which come first without weights", () => {
		const way = route([
			target("cloud/m", { kind: "cloud", weight: 3 }),
			target("llm-d/m", { kind: "llm-d", weight: 1 }),
			replica("box/m", { weight: 4 }),
		]);
		expectShares(shares(new Clock(), way), { "cloud/m": 3 / 8, "llm-d/m": 1 / 8, "box/m": 4 / 8 });
	});

	test("one share for all replicas of an entry, the least busy of which comes first", () => {
		const agents = ["gpu-1/m", "gpu-2/m", "gpu-3/m"].map((id) => replica(id, { weight: 1, position: 0 }));
		const way = route([...agents, target("cloud/m", { kind: "cloud", weight: 1, position: 1 })]);
		const clock = new Clock();
		clock.state.opened("gpu-1/m", true, { prompt: call("x".repeat(999)).prompt() });
		const counted = shares(clock, way);
		expect(counted["gpu-1/m"]).toBeUndefined();
		expectShares(
			{ agents: counted["gpu-2/m"]! + counted["gpu-3/m"]!, cloud: counted["cloud/m"]! },
			{ agents: 0.5, cloud: 0.5 },
		);
		expectShares({ two: counted["gpu-2/m"]!, three: counted["gpu-3/m"]! }, { two: 0.25, three: 0.25 });
	});

	test("in a fallback, of the calls that come to it", () => {
		const way = route([
			target("a/m", { tier: "targets", position: 0 }),
			target("b/m", { tier: "fallback", position: 0, weight: 1 }),
			target("c/m", { tier: "fallback", position: 1, weight: 3 }),
		]);
		expectShares(shares(new Clock(), way), { "a/m": 1 });
		expectShares(shares(new Clock(), way, { place: 1 }), { "b/m": 0.25, "c/m": 0.75 });
	});
});

describe("a target", () => {
	test("that is out of use leaves its share to the others", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		expectShares(shares(clock, weighted(8, 3, 1)), { "b/m": 0.75, "c/m": 0.25 });
		expect(new Set(PLACES.map((place) => Object.keys(shares(clock, weighted(8, 3, 1), { place })).join()))).toEqual(
			new Set(["b/m,c/m", "c/m,b/m", "a/m"]),
		);
	});
	const PLACES = [0, 1, 2];

	test("that comes back gets its share little by little", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		clock.now += 1_500;
		clock.served("a/m", 10);
		const early = shares(clock, weighted(1, 1))["a/m"]!;
		clock.now += 15_000;
		const later = shares(clock, weighted(1, 1))["a/m"]!;
		clock.now += 30_000;
		expect(early).toBeLessThan(0.1);
		expect(later).toBeGreaterThan(early);
		expect(later).toBeLessThan(0.4);
		expectShares(shares(clock, weighted(1, 1)), { "a/m": 0.5, "b/m": 0.5 });
	});

	test("with the weight 0 gets none while another of its list is well, and all before the fallback where none is", () => {
		const drained = weighted(0, 1, 1);
		const way = { ...drained, targets: [...drained.targets, target("z/m", { tier: "fallback" })] };
		expectShares(shares(new Clock(), way), { "b/m": 0.5, "c/m": 0.5 });
		expectShares(shares(new Clock(), way, { place: 2 }), { "a/m": 1 });
		const clock = new Clock();
		clock.failed("b/m", 5);
		clock.failed("c/m", 5);
		expectShares(shares(clock, way), { "a/m": 1 });
	});

	test("with the weight 0 loses its sessions, others keep theirs", () => {
		const mine = call("hi", { session: "s" });
		for (const [weights, expected] of [
			[[0, 1], { "b/m": 1 }],
			[[1, 99], { "a/m": 1 }],
		] as const) {
			const clock = new Clock();
			clock.served("a/m", 10, mine);
			expectShares(shares(clock, weighted(...weights), { needs: mine }), expected);
		}
	});

	test("with a large share keeps its sessions although it is the busiest", () => {
		const mine = call("hi", { session: "s" });
		const clock = new Clock();
		clock.served("a/m", 10, mine);
		for (let at = 0; at < 90; at++) clock.state.opened("a/m", true).firstToken();
		for (let at = 0; at < 10; at++) clock.state.opened("b/m", true).firstToken();
		expectShares(shares(clock, weighted(9, 1), { needs: mine }), { "a/m": 1 });
		// Nine times its share of what is under way is more than busy.
		expect(shares(clock, weighted(1, 1), { needs: mine })["a/m"]).toBeLessThan(0.6);
	});

	test("with the weight 0 keeps no session that makes it wait, where all that are left have that", () => {
		const mine = call("hi", { session: "s" });
		const clock = new Clock();
		clock.served("a/m", 10, mine);
		for (let at = 0; at < 90; at++) clock.state.opened("a/m", true).firstToken();
		clock.failed("c/m", 5);
		const way = route([0, 0, 1].map((weight, at) => replica(`${"abc"[at]}/m`, { weight })));
		expectShares(shares(clock, way, { needs: mine }), { "b/m": 1 });
	});

	test("that can't do what the call asks has no share of it", () => {
		const way = route([target("a/m", { weight: 9, lacks: ["tools"] }), target("b/m", { weight: 1 })]);
		expectShares(shares(new Clock(), way, { needs: call("hi", { features: ["tools"] }) }), { "b/m": 1 });
	});
});

describe("in `models:`", () => {
	const ofModel = (settings: object, name = "m"): readonly RouteTarget[] => {
		const config = configOf({ providers: { openai: { api_key: "k" } }, ...settings });
		return createCatalog(config, entriesOf(config)).find(name)!.targets;
	};
	const weightsOf = (targets: readonly RouteTarget[]) => targets.map(({ id, weight }) => [id, weight]);

	test("a target that says nothing has 1 where another says something, and else none has any", () => {
		const model = (weight?: number) => ({
			models: [{ name: "m", targets: [{ provider: "openai", model: "a", weight }, "dummy"], fallback: ["openai/z"] }],
		});
		expect(weightsOf(ofModel(model(3)))).toEqual([
			["openai/a", 3],
			["dummy/dummy", 1],
			["openai/z", undefined],
		]);
		expect(weightsOf(ofModel(model())).map(([, weight]) => weight)).toEqual([undefined, undefined, undefined]);
	});

	test("a name that leads on has the weight that it has there, not that of its own target", () => {
		const models = [
			{ name: "inner", targets: [{ provider: "openai", model: "a", weight: 7 }, "openai/b"] },
			{ name: "outer", targets: ["inner", { provider: "openai", model: "c", weight: 2 }] },
			{ name: "plain", targets: ["inner", "openai/c"] },
		];
		expect(weightsOf(ofModel({ models }, "outer"))).toEqual([
			["openai/a", 1],
			["openai/c", 2],
		]);
		expect(weightsOf(ofModel({ models }, "plain")).map(([, weight]) => weight)).toEqual([undefined, undefined]);
	});

	test("a name with a star, too", () => {
		const models = [{ name: "team/*", targets: [{ provider: "openai", model: "*", weight: 3 }, "dummy/*"] }];
		expect(weightsOf(ofModel({ models }, "team/a"))).toEqual([
			["openai/a", 3],
			["dummy/a", 1],
		]);
	});
});

test("calls go where they were drawn, and their record says so", async () => {
	const targets = [
		{ provider: "dummy", model: "a", weight: 4 },
		{ provider: "dummy", model: "b" },
		{ provider: "dummy", model: "c", weight: 0 },
	];
	const made = pipeline({ config: { models: [{ name: "m", targets }] } });
	const { next } = random(5);
	Object.assign(made.context, { random: next });
	const CALLS = 200;
	for (let at = 0; at < CALLS; at++)
		await (await made.send({ model: "m", messages: [{ role: "user", content: "hi" }] })).text();
	const settled = await made.settledCalls(CALLS);
	const count = (id: string) => settled.filter(({ target: went }) => went === id).length;
	expect(count("dummy/a") + count("dummy/b")).toBe(CALLS);
	expect(Math.abs(count("dummy/b") / CALLS - 0.2)).toBeLessThan(4 * Math.sqrt(0.16 / CALLS));
	expect((settled[0]?.decision as Explanation | undefined)?.candidates[0]?.reason).toMatch(
		/^drawn by weight: [14] of 5$/,
	);
});

test("`router explain` says what was drawn, of how much, and what is left out", () => {
	const clock = new Clock();
	const way = weighted(3, 1, 0);
	const needs = call();
	const { next } = random(1);
	const made = clock.plan(needs, way, next);
	const explained = explain({ model: "m", needs, route: way, plan: made, now: clock.now });
	const [first, second, last] = explained.candidates;
	expect(first?.reason).toBe(`drawn by weight: ${first?.inputs.weight} of 4`);
	expect(second?.reason).toBe("drawn later");
	expect([last?.id, last?.inputs.weight, last?.reason]).toEqual([
		"c/m",
		0,
		"weight 0: used where no other of its list is well",
	]);
	expect(explanationText(explained)).toContain("weight 3");
});
