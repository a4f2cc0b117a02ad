/** The plan: which target comes first, among those that are well. */
import { describe, expect, test } from "bun:test";
import type { Needs } from "../src/routing/requirements.ts";
import { random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

const A = "x".repeat(2_560);
const B = "y".repeat(2_560);
const cheap = { input: 1, output: 2 };
const dear = { input: 10, output: 20 };

describe.each(ROUTING_KINDS)("balanced, between replicas, as %s knows them", (_, { Clock }) => {
	const way = route([replica("a/m"), replica("b/m"), replica("c/m")]);

	test("the one that has the prompt in its cache comes first", () => {
		const clock = new Clock();
		clock.served("b/m", 10, call(A));
		expect(clock.ids(call(A), way)[0]).toBe("b/m");
		expect(clock.ids(call(`${A}${B}`), way)[0]).toBe("b/m");
	});

	test("which it has no more once it was started anew", () => {
		const clock = new Clock();
		clock.served("b/m", 10, call(A));
		clock.state.restarted("b/m");
		clock.state.restarted("never/seen");
		const { scored } = clock.plan(call(A), way);
		expect(new Set(scored.map(({ score }) => score))).toEqual(new Set([A.length]));
	});

	test("until its load outweighs that", () => {
		const clock = new Clock();
		clock.served("b/m", 10, call(A));
		const long = call(`${A}${"z".repeat(2_560)}`);
		const busy = () => clock.state.opened("b/m", true).firstToken();
		busy();
		expect(clock.ids(long, way, Math.random)).not.toEqual([]);
		// Half of it is cached: two calls under way weigh three times as much.
		expect(clock.ids(long, way)[0]).not.toBe("b/m");
	});

	test("one whose queue is long comes last, whatever it has cached", () => {
		const clock = new Clock();
		clock.served("b/m", 10, call(A));
		for (let at = 0; at < 5; at++) {
			const other = call(`${at}${B}`);
			clock.state.opened("b/m", true, { prompt: other.prompt() });
		}
		expect(clock.ids(call(A), way).at(-1)).toBe("b/m");
	});

	test("chance decides between equals", () => {
		const clock = new Clock();
		const { below } = random(3);
		const seen = new Set<string>();
		for (let at = 0; at < 50; at++) seen.add(clock.ids(call(), way, () => below(1000) / 1000)[0]!);
		expect([...seen].sort()).toEqual(["a/m", "b/m", "c/m"]);
	});

	test("a ready agent comes before one that has to load the model, that before one not heard of", () => {
		const agents = route([
			replica("a/m", { readiness: 101 }),
			replica("b/m", { readiness: 4 }),
			replica("c/m", { readiness: 0 }),
		]);
		expect(new Clock().ids(call(), agents)).toEqual(["c/m", "b/m", "a/m"]);
	});

	test("one that can only be waited for comes behind all that is ready, vendors and fallbacks too", () => {
		const agents = route([
			replica("waits/m", { readiness: 52 }),
			replica("queue/m", { readiness: 90, isQueue: true }),
			replica("loads/m", { readiness: 4 }),
			target("vendor/m", { kind: "cloud", position: 1 }),
			target("fallback/m", { kind: "cloud", tier: "fallback" }),
		]);
		const ids = ["loads/m", "vendor/m", "fallback/m", "waits/m", "queue/m"];
		expect(new Clock().ids(call(), agents)).toEqual(ids);
	});
});

describe.each(ROUTING_KINDS)("a session, as %s knows it", (_, { Clock }) => {
	const way = route([replica("a/m"), replica("b/m")]);
	const mine = (text: string): Needs => call(text, { session: "s" });

	test("goes where its last call went", () => {
		const clock = new Clock();
		clock.served("b/m", 10, mine("hi"));
		clock.served("a/m", 10, call(A));
		expect(clock.ids(mine(A), way)[0]).toBe("b/m");
		expect(clock.plan(mine(A), way).scored[0]).toMatchObject({ basis: "session" });
	});

	test("leaves it when that is much busier than the others, or out of use", () => {
		const clock = new Clock();
		clock.served("b/m", 10, mine("hi"));
		for (let at = 0; at < 9; at++) clock.state.opened("b/m", true).firstToken();
		expect(clock.ids(mine("hi"), way)[0]).toBe("a/m");
		const broken = new Clock();
		broken.served("b/m", 10, mine("hi"));
		broken.failed("b/m", 5);
		expect(broken.ids(mine("hi"), way)).toEqual(["a/m", "b/m"]);
	});
});

describe("kinds and tiers", () => {
	const way = route([
		target("cloud/m", { kind: "cloud", price: cheap }),
		target("llm-d/m", { kind: "llm-d" }),
		replica("a/m"),
		target("last/m", { kind: "cloud", tier: "fallback", position: 0, price: cheap }),
		replica("spare/m", { tier: "fallback", position: 1 }),
	]);

	test("local targets come first, then llm-d, then vendors, then the fallback in its order", () => {
		expect(new Clock().ids(call(), way)).toEqual(["a/m", "llm-d/m", "cloud/m", "last/m", "spare/m"]);
	});

	test("order keeps to the configuration", () => {
		const ordered = { ...way, alias: { ...way.alias!, policy: "order" as const } };
		expect(new Clock().ids(call(), ordered)).toEqual(["cloud/m", "llm-d/m", "a/m", "last/m", "spare/m"]);
	});

	test("where everything of its own is out of use, the fallback that is well is used", () => {
		const clock = new Clock();
		for (const id of ["a/m", "llm-d/m", "cloud/m"]) clock.failed(id, 5);
		expect(clock.ids(call(), way)[0]).toBe("last/m");
	});
});

describe.each(ROUTING_KINDS)("vendors, as %s knows them", (_, { Clock }) => {
	const two = (policy: "balanced" | "cheapest" | "fastest") =>
		route([target("dear/m", { price: dear }), target("cheap/m", { price: cheap }), target("odd/m")], { policy });

	test("balanced weighs price and time", () => {
		const clock = new Clock();
		expect(clock.ids(call(), two("balanced"))[0]).toBe("cheap/m");
		clock.served("dear/m", 100);
		clock.served("cheap/m", 5_000);
		expect(clock.ids(call(), two("balanced"))[0]).not.toBe("cheap/m");
	});

	test("cheapest asks the price alone; what nobody knows the price of comes last", () => {
		const clock = new Clock();
		clock.served("dear/m", 1);
		clock.served("cheap/m", 5_000);
		expect(clock.ids(call(), two("cheapest"))).toEqual(["cheap/m", "dear/m", "odd/m"]);
		const own = route([target("dear/m", { price: dear }), replica("a/m", { price: { input: 0, output: 0 } })], {
			policy: "cheapest",
		});
		expect(clock.ids(call(), own)[0]).toBe("a/m");
	});

	test("fastest asks the time alone, and tries who was never timed", () => {
		const clock = new Clock();
		clock.served("dear/m", 100);
		clock.served("cheap/m", 200);
		expect(clock.ids(call(), two("fastest"))).toEqual(["odd/m", "dear/m", "cheap/m"]);
		clock.served("odd/m", 900);
		expect(clock.ids(call(), two("fastest"))).toEqual(["dear/m", "cheap/m", "odd/m"]);
	});

	test("who was slow once is tried again", () => {
		const clock = new Clock();
		clock.served("cheap/m", 30_000);
		for (const [id, ms] of [
			["dear/m", 500],
			["odd/m", 500],
		] as const)
			clock.served(id, ms);
		expect(clock.ids(call(), two("fastest"))[2]).toBe("cheap/m");
		let first = "";
		for (let hour = 0; hour < 3_600 && first !== "cheap/m"; hour++) {
			clock.now += 1_000;
			clock.served("dear/m", 500);
			first = clock.ids(call(), two("fastest")).filter((id) => id !== "odd/m")[0]!;
		}
		expect(first).toBe("cheap/m");
	});
});

describe("what a call needs", () => {
	const way = route([
		target("deaf/m", { lacks: ["tools", "images"] }),
		target("small/m", { context: 1_000 }),
		target("all/m"),
	]);

	test("targets that are known not to have it are left out", () => {
		const { targets, scored } = new Clock().plan(call("hi", { features: ["images"] }), way);
		expect(targets.map(({ id }) => id)).toEqual(["small/m", "all/m"]);
		expect(scored.at(-1)).toMatchObject({ penalty: "missing" });
	});

	test("nothing is left where none has it", () => {
		expect(
			new Clock().ids(call("hi", { features: ["tools"] }), route([target("deaf/m", { lacks: ["tools"] })])),
		).toEqual([]);
	});

	test("a prompt that its context can't hold goes there last", () => {
		expect(new Clock().ids(call("x".repeat(9_000)), way)).toEqual(["deaf/m", "all/m", "small/m"]);
		expect(new Clock().ids(call("hi", { maxTokens: 2_000 }), way).at(-1)).toBe("small/m");
	});
});
