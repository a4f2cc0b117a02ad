/** The plan: which target comes first, and that none is left out for ever. */
import { describe, expect, test } from "bun:test";
import { RAMP_MS } from "../src/routing/breaker.ts";
import type { Needs } from "../src/routing/needs.ts";
import type { Route } from "../src/routing/route.ts";
import { random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";

const A = "x".repeat(2_560);
const B = "y".repeat(2_560);
const cheap = { input: 1, output: 2 };
const dear = { input: 10, output: 20 };

describe("balanced, between replicas", () => {
	const way = route([replica("a/m"), replica("b/m"), replica("c/m")]);

	test("the one that has the prompt in its cache comes first", () => {
		const clock = new Clock();
		clock.served("b/m", 10, call(A));
		expect(clock.ids(call(A), way)[0]).toBe("b/m");
		expect(clock.ids(call(`${A}${B}`), way)[0]).toBe("b/m");
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
			replica("a/m", { standing: 101 }),
			replica("b/m", { standing: 4 }),
			replica("c/m", { standing: 0 }),
		]);
		expect(new Clock().ids(call(), agents)).toEqual(["c/m", "b/m", "a/m"]);
	});
});

describe("a session", () => {
	const way = route([replica("a/m"), replica("b/m")]);
	const mine = (text: string): Needs => call(text, { session: "s" });

	test("goes where its last call went", () => {
		const clock = new Clock();
		clock.served("b/m", 10, mine("hi"));
		clock.served("a/m", 10, call(A));
		expect(clock.ids(mine(A), way)[0]).toBe("b/m");
		expect(clock.plan(mine(A), way).judged[0]).toMatchObject({ basis: "session" });
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
		target("last/m", { kind: "cloud", tier: "fallback", place: 0, price: cheap }),
		replica("spare/m", { tier: "fallback", place: 1 }),
	]);

	test("the house's own come first, then llm-d, then vendors, then the fallback in its order", () => {
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

describe("vendors", () => {
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
		const { targets, judged } = new Clock().plan(call("hi", { features: ["images"] }), way);
		expect(targets.map(({ id }) => id)).toEqual(["small/m", "all/m"]);
		expect(judged.at(-1)).toMatchObject({ setback: "missing" });
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

describe("max_wait", () => {
	const targets = [
		replica("a/m"),
		target("llm-d/m", { kind: "llm-d" }),
		target("cloud/m", { tier: "fallback", place: 0 }),
	];
	const way = route(targets, { max_wait: 5_000 });
	/** Calls that wait for their first token at this target, which has needed 2 s for each so far. */
	function queue(clock: Clock, id: string, count: number): void {
		clock.served(id, 2_000);
		for (let at = 0; at < count; at++) clock.state.opened(id, true);
	}

	test("spills from the house's own to llm-d, from there to vendors", () => {
		const clock = new Clock();
		queue(clock, "a/m", 2);
		expect(clock.ids(call(), way)).toEqual(["a/m", "llm-d/m", "cloud/m"]);
		queue(clock, "a/m", 1);
		expect(clock.ids(call(), way)).toEqual(["llm-d/m", "cloud/m", "a/m"]);
		queue(clock, "llm-d/m", 3);
		expect(clock.ids(call(), way)).toEqual(["cloud/m", "a/m", "llm-d/m"]);
	});

	test("a queue that does not move is seen by its oldest call", () => {
		const clock = new Clock();
		clock.state.opened("a/m", true);
		clock.now = 5_001;
		expect(clock.ids(call(), way)[0]).toBe("llm-d/m");
	});

	test("comes back once the queue is served", () => {
		const clock = new Clock();
		clock.served("a/m", 2_000);
		const waiting = [1, 2, 3].map(() => clock.state.opened("a/m", true));
		expect(clock.ids(call(), way)[0]).toBe("llm-d/m");
		for (const attempt of waiting) attempt.firstToken();
		expect(clock.ids(call(), way)[0]).toBe("a/m");
	});

	test("a model that has yet to be loaded gets one call, which has it loaded", () => {
		const clock = new Clock();
		const cold = route([replica("a/m", { standing: 4 }), targets[1]!], { max_wait: 5_000 });
		expect(clock.ids(call(), cold)[0]).toBe("a/m");
		clock.state.opened("a/m", true);
		expect(clock.ids(call(), cold)[0]).toBe("llm-d/m");
	});

	test("what an agent says of its own queue counts, too", () => {
		const clock = new Clock();
		clock.served("a/m", 2_000);
		const said = route([replica("a/m", { reportedWaiting: 4 }), targets[1]!], { max_wait: 5_000 });
		expect(clock.ids(call(), said)[0]).toBe("llm-d/m");
	});

	test("without it nothing spills", () => {
		const clock = new Clock();
		queue(clock, "a/m", 50);
		expect(clock.ids(call(), route(targets))[0]).toBe("a/m");
	});
});

describe("health", () => {
	const way = route([replica("a/m"), replica("b/m"), replica("c/m"), replica("d/m")]);

	test("a target that is out of use comes last, and is still tried", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		expect(clock.ids(call(), way).at(-1)).toBe("a/m");
	});

	test("is not heeded once more than half are out of use", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		clock.failed("b/m", 5);
		expect(clock.ids(call(), way).slice(0, 2)).toEqual(["c/m", "d/m"]);
		clock.failed("c/m", 5);
		const plan = clock.plan(call(), way);
		expect(plan.judged.filter(({ view }) => view.breaker.state === "open")).toHaveLength(3);
		expect(plan.judged.every(({ setback }) => setback === undefined)).toBe(true);
	});

	test("one whose pause is over is tried first, by one call", () => {
		const clock = new Clock();
		clock.failed("c/m", 5);
		clock.now += 1_000;
		expect(clock.ids(call(), way)[0]).toBe("c/m");
		clock.state.opened("c/m", true);
		expect(clock.ids(call(), way).at(-1)).toBe("c/m");
	});

	test("one that is back gets its share little by little", () => {
		const clock = new Clock();
		clock.failed("c/m", 5);
		clock.now += 1_000;
		clock.state.opened("c/m", true).closed({});
		const { below } = random(5);
		const dice = () => below(10_000) / 10_000;
		const firsts = (): number => {
			let count = 0;
			for (let at = 0; at < 2_000; at++) if (clock.ids(call(), way, dice)[0] === "c/m") count++;
			return count / 2_000;
		};
		expect(firsts()).toBeLessThan(0.05);
		clock.now += RAMP_MS / 2;
		expect(firsts()).toBeWithin(0.06, 0.2);
		clock.now += RAMP_MS / 2;
		expect(firsts()).toBeWithin(0.2, 0.3);
	});

	test("one that asked to be left alone is, for as long as it said and no longer than a minute", () => {
		const clock = new Clock();
		const pair = route([target("a/m"), target("b/m")]);
		clock.state.opened("a/m", true).closed({ failure: "rate", status: 429, retryAfterMs: 20_000 });
		expect(clock.ids(call(), pair)).toEqual(["b/m", "a/m"]);
		clock.now += 20_000;
		expect(clock.ids(call(), pair)).toEqual(["a/m", "b/m"]);
		clock.state.opened("a/m", true).closed({ failure: "rate", status: 429, retryAfterMs: 86_400_000 });
		clock.now += 60_000;
		expect(clock.ids(call(), pair)).toEqual(["a/m", "b/m"]);
	});

	test("one without a key comes behind all others", () => {
		expect(new Clock().ids(call(), route([target("a/m", { isKeyless: true }), target("b/m")]))).toEqual(["b/m", "a/m"]);
	});
});

describe("whatever the state", () => {
	/** Routes of all shapes over states with all histories. */
	function worlds(look: (clock: Clock, way: Route, needs: Needs) => void): void {
		for (let seed = 1; seed <= 300; seed++) {
			const { below, pick } = random(seed);
			const clock = new Clock();
			const targets = Array.from({ length: 1 + below(12) }, (_, at) =>
				target(`p${at}/m`, {
					kind: pick(["local", "llm-d", "cloud", undefined]),
					tier: pick(["targets", "fallback", undefined]),
					standing: pick([undefined, 0, 3, 102]),
					price: pick([undefined, cheap, dear]),
					context: pick([undefined, 10, 1e6]),
					lacks: pick([undefined, ["tools"] as const]),
					isKeyless: pick([undefined, true, false]),
					isReplica: pick([undefined, true]),
				}),
			);
			const way = route(targets, {
				policy: pick(["order", "balanced", "cheapest", "fastest"]),
				...pick([{}, { max_wait: 100 }]),
			});
			for (let step = 0; step < 60; step++) {
				const { id } = pick(targets);
				const attempt = clock.state.opened(id, pick([true, false]), { prompt: call(pick([A, B])).prompt() });
				clock.now += pick([0, 10, 500, 20_000]);
				if (pick([true, false])) attempt.firstToken();
				if (pick([true, true, false]))
					attempt.closed(pick([{}, { failure: "transport" }, { failure: "rate", retryAfterMs: 9_000 }]));
			}
			look(
				clock,
				way,
				call(pick([A, B, "hi"]), { features: pick([[], ["tools"]] as const), session: pick([undefined, "s"]) }),
			);
		}
	}

	test("no target that can do the call is left out, and none stands twice", () => {
		worlds((clock, way, needs) => {
			const { targets, judged } = clock.plan(needs, way, Math.random);
			const able = way.targets.filter(({ lacks }) => !needs.features.some((feature) => lacks?.includes(feature)));
			expect(targets.map(({ id }) => id).sort()).toEqual(able.map(({ id }) => id).sort());
			expect(new Set(judged.map(({ target: { id } }) => id)).size).toBe(way.targets.length);
		});
	});

	test("the same call in the same state with the same dice has the same plan", () => {
		worlds((clock, way, needs) => {
			expect(clock.ids(needs, way, () => 0.3)).toEqual(clock.ids(needs, way, () => 0.3));
		});
	});

	test("what has no setback stands before what has one, and before it all of its tier", () => {
		worlds((clock, way, needs) => {
			const { judged } = clock.plan(needs, way, Math.random);
			for (let at = 1; at < Math.min(judged.length, 8); at++) {
				expect(judged[at]!.group).toBeGreaterThanOrEqual(judged[at - 1]!.group);
			}
		});
	});

	test("counts of calls under way never go below zero, and end at zero", () => {
		for (let seed = 1; seed <= 100; seed++) {
			const { below, pick } = random(seed);
			const clock = new Clock();
			const open: ReturnType<typeof clock.state.opened>[] = [];
			for (let step = 0; step < 200; step++) {
				clock.now += below(100);
				if (pick([true, false]))
					open.push(clock.state.opened("a/m", pick([true, false]), { prompt: call(pick([A, B])).prompt() }));
				else if (open.length > 0) {
					const attempt = pick(open);
					if (pick([true, false])) attempt.firstToken();
					else attempt.closed({});
				}
				const { inFlight, waiting, queued } = clock.state.of("a/m");
				expect(Math.min(inFlight, waiting, queued)).toBeGreaterThanOrEqual(0);
			}
			for (const attempt of open) attempt.closed({});
			expect(clock.state.of("a/m")).toMatchObject({ inFlight: 0, waiting: 0, queued: 0, waitingSince: undefined });
		}
	});
});

describe("over time", () => {
	test("no target starves: each that is well gets calls again, however it fared before", () => {
		for (let seed = 1; seed <= 30; seed++) {
			const { below, pick } = random(seed);
			const clock = new Clock();
			const way = route(["a/m", "b/m", "c/m", "d/m"].map((id) => replica(id)));
			const dead = new Set<string>();
			const dice = () => below(10_000) / 10_000;
			const drive = (ms: number, seen: Map<string, number>) => {
				const end = clock.now + ms;
				while (clock.now < end) {
					const needs = call(String(below(1e9)).repeat(100));
					const { targets, work } = clock.plan(needs, way, dice);
					// As the proxy does: on to the next until one answers.
					for (const { id } of targets) {
						const attempt = clock.state.opened(id, true, work);
						clock.now += 5 + below(20);
						if (dead.has(id)) attempt.closed({ failure: pick(["transport", "timeout"]) });
						else {
							attempt.firstToken();
							attempt.closed({});
							seen.set(id, (seen.get(id) ?? 0) + 1);
							break;
						}
					}
				}
			};
			for (let outage = 0; outage < 3; outage++) {
				const ill = pick(["a/m", "b/m", "c/m", "d/m"]);
				dead.add(ill);
				drive(10_000 + below(50_000), new Map());
				dead.delete(ill);
			}
			drive(60_000, new Map());
			const seen = new Map<string, number>();
			drive(20_000, seen);
			const counts = way.targets.map(({ id }) => seen.get(id) ?? 0);
			const mean = counts.reduce((sum, count) => sum + count) / 4;
			for (const count of counts) expect(count).toBeGreaterThan(mean / 3);
		}
	});

	test("a target that is gone costs few calls an attempt", () => {
		const clock = new Clock();
		const way = route(["a/m", "b/m", "c/m"].map((id) => replica(id)));
		let wasted = 0;
		for (let at = 0; at < 6_000; at++) {
			clock.now += 10;
			const [first] = clock.ids(call(String(at)), way, Math.random);
			if (first === "a/m") wasted++;
			clock.state.opened(first!, true).closed(first === "a/m" ? { failure: "transport" } : {});
		}
		// 60 s: some twenty before it opens, then the probes after 1, 2, 4, 8, 16 and 30 s.
		expect(wasted).toBeLessThan(40);
	});
});
