/** The plan where a queue is long or a target unwell: who stands behind the others, and for how long. */
import { describe, expect, test } from "bun:test";
import { RAMP_MS } from "../src/routing/breaker.ts";
import { random } from "./kit/random.ts";
import { type Clock, call, replica, route, target } from "./kit/routes.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

describe.each(ROUTING_KINDS)("max_wait, as %s knows the queues", (_, { Clock }) => {
	const targets = [
		replica("a/m"),
		target("llm-d/m", { kind: "llm-d" }),
		target("cloud/m", { tier: "fallback", position: 0 }),
	];
	const way = route(targets, { max_wait: 5_000 });
	/** Calls that wait for their first token at this target, which has needed 2 s for each so far. */
	function queue(clock: Clock, id: string, count: number): void {
		clock.served(id, 2_000);
		for (let at = 0; at < count; at++) clock.state.opened(id, true);
	}

	test("spills from local targets to llm-d, from there to vendors", () => {
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
		const cold = route([replica("a/m", { readiness: 4 }), targets[1]!], { max_wait: 5_000 });
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

describe.each(ROUTING_KINDS)("health, as %s knows it", (_, { Clock }) => {
	const way = route([replica("a/m"), replica("b/m"), replica("c/m"), replica("d/m")]);

	test("a target that is out of use comes last, and is still tried", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		expect(clock.ids(call(), way).at(-1)).toBe("a/m");
	});

	test("is not heeded once more than half are out of use", () => {
		const clock = new Clock();
		const overloaded = (id: string) => {
			for (let at = 0; at < 5; at++) clock.state.opened(id, true).closed({ failure: "overloaded", status: 503 });
		};
		overloaded("a/m");
		overloaded("b/m");
		expect(clock.ids(call(), way).slice(0, 2)).toEqual(["c/m", "d/m"]);
		overloaded("c/m");
		const plan = clock.plan(call(), way);
		expect(plan.scored.filter(({ view }) => view.breaker.state === "open")).toHaveLength(3);
		expect(plan.scored.every(({ penalty }) => penalty === undefined)).toBe(true);
	});

	test("one that takes no connection stays behind those that do, however many are out of use", () => {
		const clock = new Clock();
		for (const id of ["a/m", "b/m", "c/m"]) clock.failed(id, 5);
		for (let at = 0; at < 9; at++) clock.state.opened("d/m", true);
		expect(clock.ids(call(), way)[0]).toBe("d/m");
		clock.state.opened("b/m", true).closed({ failure: "overloaded", status: 503 });
		expect(clock.ids(call(), way).slice(0, 2)).toEqual(["b/m", "d/m"]);
	});

	test("nobody stays behind where none takes one", () => {
		const clock = new Clock();
		for (const id of ["a/m", "b/m", "c/m", "d/m"]) clock.failed(id, 5);
		expect(clock.plan(call(), way).scored.every(({ penalty }) => penalty === undefined)).toBe(true);
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
		const fraction = () => below(10_000) / 10_000;
		const firsts = (): number => {
			let count = 0;
			for (let at = 0; at < 2_000; at++) if (clock.ids(call(), way, fraction)[0] === "c/m") count++;
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
