/** Of all plans: no target that can do the call is left out, none starves, and the same question has the same answer. */
import { describe, expect, test } from "bun:test";
import type { Needs } from "../src/routing/requirements.ts";
import type { Route } from "../src/routing/route.ts";
import { random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

const A = "x".repeat(2_560);
const B = "y".repeat(2_560);
const cheap = { input: 1, output: 2 };
const dear = { input: 10, output: 20 };

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
					readiness: pick([undefined, 0, 3, 52, 90, 102]),
					price: pick([undefined, cheap, dear]),
					context: pick([undefined, 10, 1e6]),
					lacks: pick([undefined, ["tools"] as const]),
					isKeyless: pick([undefined, true, false]),
					isReplica: pick([undefined, true]),
					weight: pick([undefined, undefined, 0, 3]),
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
			const { targets, scored } = clock.plan(needs, way, Math.random);
			const able = way.targets.filter(({ lacks }) => !needs.features.some((feature) => lacks?.includes(feature)));
			expect(targets.map(({ id }) => id).sort()).toEqual(able.map(({ id }) => id).sort());
			expect(new Set(scored.map(({ target: { id } }) => id)).size).toBe(way.targets.length);
		});
	});

	test("the same call in the same state with the same random numbers has the same plan", () => {
		worlds((clock, way, needs) => {
			expect(clock.ids(needs, way, () => 0.3)).toEqual(clock.ids(needs, way, () => 0.3));
		});
	});

	test("what has no penalty stands before what has one, and before it all of its tier", () => {
		worlds((clock, way, needs) => {
			const { scored } = clock.plan(needs, way, Math.random);
			for (let at = 1; at < Math.min(scored.length, 8); at++) {
				expect(scored[at]!.group).toBeGreaterThanOrEqual(scored[at - 1]!.group);
			}
		});
	});

	test.each(ROUTING_KINDS)("counts of calls under way never go below zero, and end at zero: %s", (_, { Clock }) => {
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
				const { inFlight, waiting, queuedCharacters } = clock.state.of("a/m");
				expect(Math.min(inFlight, waiting, queuedCharacters)).toBeGreaterThanOrEqual(0);
			}
			for (const attempt of open) attempt.closed({});
			expect(clock.state.of("a/m")).toMatchObject({
				inFlight: 0,
				waiting: 0,
				queuedCharacters: 0,
				waitingSince: undefined,
			});
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
			const fraction = () => below(10_000) / 10_000;
			const drive = (ms: number, seen: Map<string, number>) => {
				const end = clock.now + ms;
				while (clock.now < end) {
					const needs = call(String(below(1e9)).repeat(100));
					const { targets, work } = clock.plan(needs, way, fraction);
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
		// 60 s: some twenty before it opens, then the probes after 1, 5, and every further 10 s.
		expect(wasted).toBeLessThan(40);
	});
});

describe("chats over the replicas of agents", () => {
	/** Chats at fleets of one to three agents with one to four replicas each: all begin at once, and go on one after the other. */
	test("that grow stay each where they began, every replica gets its share, and one that was started anew loses no other's", () => {
		for (let seed = 1; seed <= 100; seed++) {
			const { below } = random(seed);
			const clock = new Clock();
			const ids = Array.from({ length: 1 + below(3) }, (_, agent) =>
				Array.from({ length: 1 + below(4) }, (_, number) => `local/gpu-${agent}/m#${number}`),
			).flat();
			const way = route(ids.map((id) => replica(id, { readiness: 0 })));
			const chats = Array.from({ length: ids.length * 3 }, (_, chat) => `${seed} ${chat} `.repeat(200));
			const first = (needs: Needs) => clock.ids(needs, way, () => below(1e6) / 1e6)[0]!;
			const begun = chats.map((chat) => {
				const needs = call(chat);
				const place = first(needs);
				return { place, attempt: clock.state.opened(place, true, { prompt: needs.prompt() }) };
			});
			const places = begun.map(({ place }) => place);
			expect(new Set(places).size).toBe(ids.length);
			for (const { attempt } of begun) {
				attempt.firstToken();
				attempt.closed({});
			}
			const restarted = ids[below(ids.length)]!;
			for (let turn = 2; turn <= 5; turn++) {
				if (turn === 4) clock.state.restarted(restarted);
				for (const [at, chat] of chats.entries()) {
					const needs = call(chat.repeat(turn));
					const place = first(needs);
					// Whose cache is lost may go anywhere, once.
					if (turn === 4 && places[at] === restarted) places[at] = place;
					expect(place).toBe(places[at]!);
					clock.served(place, 10, needs);
				}
			}
		}
	});
});
