/** How many replicas an on-demand model has over all agents, and at which: on a simulated clock. */
import { describe, expect, test } from "bun:test";
import { scaleModel } from "../src/routing/replica-scaling.ts";
import { type ReplicaBounds, UNSCALED } from "../src/routing/scaling-state.ts";
import { random } from "./kit/random.ts";
import { type LoggedEvent, type SimulatedAgent, SimulatedFleet } from "./kit/simulated-fleet.ts";

const GB = 1e9;
const bounds = (over: Partial<ReplicaBounds> = {}): ReplicaBounds => ({ min: 0, calls: 10, ttl: 60_000, ...over });
const said = (events: readonly LoggedEvent[]) => events.map(({ what, agent }) => `${what} ${agent}`);
const fleet = (over: Partial<ReplicaBounds>, ...agents: Partial<SimulatedAgent>[]) =>
	new SimulatedFleet(bounds(over), agents);

function stepUntil(over: SimulatedFleet, isSo: () => boolean): void {
	for (let second = 0; !isSo(); second++) {
		if (second === 1000) throw new Error(`not after ${second} s: ${JSON.stringify(said(over.events))}`);
		over.step();
	}
}

describe("no replica is loaded", () => {
	test("at an agent that is late, or gone, or drains: `min` says what is missing, and why", () => {
		const late = fleet({ min: 1 }, { isAway: true, heardAt: -16_000 }, { isDraining: true }).run(10);
		expect([said(late.events), late.shortage]).toEqual([
			[],
			expect.stringMatching(/gpu-1: not heard of.*gpu-2: draining/),
		]);
		expect(late.run(10).shortage).toBe("gpu-2: draining");
	});

	test("where it does not fit, or only once calls of other models are over", () => {
		const full = fleet({ min: 1 }, { fits: "no" }, { fits: "busy" }).run(20);
		expect([full.events, full.shortage]).toEqual([[], "gpu-1: no room (no); gpu-2: no room (busy)"]);
	});

	test("beyond `max`, however many calls there are, also where an agent has several", () => {
		const busy = fleet({ min: 1, max: 3 }, { size: 2 }, { size: 2 }, {}, {});
		busy.demand = 1000;
		busy.run(600);
		expect(busy.ready).toBe(3);
		expect(fleet({ min: 1, max: 1 }, { size: 2 }).run(60)).toMatchObject({
			ready: 0,
			shortage: expect.stringContaining("max"),
		});
	});

	test("while one is on its way, or the calls were too many for a moment", () => {
		const one = fleet({ min: 1 }, {}, {}, {}).run(60);
		one.demand = 11;
		one.run(8);
		one.demand = 9;
		one.run(30);
		expect(one.ready).toBe(1);
		one.demand = 100;
		one.run(30);
		expect(said(one.events)).toHaveLength(2);
		expect(one.run(60).ready).toBeGreaterThan(1);
	});

	test("for a slow first token while each call has a replica of its own: the prompts are long", () => {
		const slow = fleet({ max: 8, first_token: 2000 }, ...Array.from({ length: 8 }, () => ({ firstToken: 5000 })));
		slow.demand = 1;
		expect([slow.run(600).ready, said(slow.events)]).toEqual([1, []]);
		slow.demand = 3;
		expect(slow.run(900).ready).toBe(3);
	});

	test("for a first token that was slow at a replica which has no call any more", () => {
		const two = fleet({ max: 3, first_token: 2000 }, { state: "ready", firstToken: 60_000 }, { state: "ready" }, {});
		const [idle, busy] = two.agents as [SimulatedAgent, SimulatedAgent];
		busy.firstToken = 100;
		for (let second = 0; second < 60; second++) {
			busy.streams = 4;
			two.step();
		}
		expect([idle.calls, busy.calls, two.events]).toEqual([0, 4, []]);
	});

	test("at an agent that takes no goals: an older one, or one where the model is loaded always", () => {
		const old = fleet({ min: 1 }, {});
		const [agent] = old.agents as [SimulatedAgent];
		agent.heard = { ...agent.heard, takesGoals: false };
		old.step();
		expect(old.events).toEqual([]);
		expect(old.shortage).toContain("older version");
	});
});

describe("a replica is loaded", () => {
	test("where the weights are, though another agent comes first; the download is chosen where they are nowhere", () => {
		expect(said(fleet({ min: 1 }, { download: 16 * GB }, {}).run(20).events)).toEqual(["load gpu-2"]);
		expect(said(fleet({ min: 1 }, { download: 16 * GB }, { fits: "no" }).run(20).events)).toEqual(["load gpu-1"]);
	});

	test("by a call where there are none, and a further one once there are too many calls for one", () => {
		const two = fleet({ max: 2 }, {}, {});
		two.demand = 5;
		expect(two.run(60).ready).toBe(1);
		two.demand = 15;
		expect(two.run(120).ready).toBe(2);
		expect(said(two.events)).toEqual(["load gpu-2"]);
	});

	test("elsewhere where it failed, and again where it was where there is no other place", () => {
		const broken = fleet({ min: 1 }, { isBroken: true }, { download: 16 * GB }).run(200);
		expect(said(broken.events)).toEqual(["load gpu-1", "failed gpu-1", "load gpu-2"]);
		expect(broken.ready).toBe(1);
		const alone = fleet({ min: 1 }, { isBroken: true });
		while (alone.agents[0]!.state !== "failed") alone.step();
		expect(alone.run(1).shortage).toBe("gpu-1: it failed there");
		alone.run(120).agents[0]!.isBroken = false;
		expect(alone.run(60).ready).toBe(1);
	});

	test("for demand not where it has just failed, though that is the only place left", () => {
		const three = fleet({ max: 3 }, {}, { isBroken: true }, { download: 16 * GB });
		three.demand = 25;
		three.run(280);
		expect([said(three.events), three.ready]).toEqual([["load gpu-2", "failed gpu-2", "load gpu-3"], 2]);
		three.agents[1]!.isBroken = false;
		expect(three.run(200).ready).toBe(3);
	});

	test("for one that calls have not reached for 15 s, though its agent is heard of: it is in nobody's way", () => {
		const host = (agent: string, state: "ready" | "stopped", isFresh: boolean) =>
			({ ...fleet({}, { name: agent, state }).agents[0]!.heard, isFresh }) as const;
		let state = UNSCALED;
		const events: string[] = [];
		const decide = (second: number) => {
			const hosts = [host("gpu-1", "ready", false), host("gpu-2", "stopped", true)];
			const made = scaleModel("qwen", hosts, bounds({ min: 1, max: 1 }), state, second * 1000);
			events.push(...made.events.map(({ what, agent }) => `${second}: ${what} ${agent}`));
			state = made.state;
		};
		for (let second = 0; second < 30; second++) decide(second);
		expect(events).toEqual(["15: load gpu-2"]);
	});

	test("for one whose agent is gone, once that is certain; none for one that was late for a moment", () => {
		const two = fleet({ min: 1, max: 1 }, {}, {}).run(60);
		const holder = two.agents.find(({ state }) => state === "ready")!;
		holder.isAway = true;
		two.run(25);
		expect(two.events).toHaveLength(1);
		holder.isAway = false;
		two.run(60);
		expect(two.events).toHaveLength(1);
		holder.isAway = true;
		two.run(80);
		expect(two.ready).toBe(1);
		// It comes back with its replica: one of the two goes.
		holder.isAway = false;
		two.run(30);
		expect(two.ready).toBe(1);
	});
});

describe("a replica goes", () => {
	test("once half of what the rest could take has come for `ttl`, and the last once it has idled for that", () => {
		const two = fleet({ max: 2 }, {}, {});
		two.demand = 15;
		two.run(180);
		expect(two.ready).toBe(2);
		two.demand = 6;
		expect(two.run(120).ready).toBe(2);
		two.demand = 4;
		expect(two.run(50).ready).toBe(2);
		expect(two.run(30).ready).toBe(1);
		two.demand = 0;
		// Calls that come and go within a second are not seen: the agent knows of them.
		for (let second = 0; second < 200; second++) {
			for (const agent of two.agents) agent.idleSince = two.now;
			two.step();
		}
		expect(two.ready).toBe(1);
		expect(two.run(50).ready).toBe(1);
		expect(two.run(30).ready).toBe(0);
	});

	test("and stays where calls are too many again before those that it has are over", () => {
		const two = fleet({ min: 1, max: 2 }, { streams: 1 }, { streams: 1 });
		two.demand = 15;
		two.run(180);
		two.demand = 2;
		while (two.events.at(-1)!.what !== "retire") two.step();
		const retired = two.events.at(-1)!.agent;
		two.demand = 30;
		two.run(20);
		expect([said(two.events).at(-1), two.ready]).toEqual([`stay ${retired}`, 2]);
	});

	test("never a living one where the other's agent has died: that one counts for nothing, though its lease is not over", () => {
		for (const dead of [0, 1]) {
			const two = fleet({ min: 1, max: 2, calls: 2, ttl: 20_000 }, { state: "ready" }, { state: "ready" });
			two.demand = 4;
			two.run(60);
			two.agents[dead]!.isAway = true;
			two.demand = 0;
			expect([said(two.run(120).events), two.ready]).toEqual([[], 1]);
			const living = two.agents[1 - dead]!;
			expect(living.goal).toEqual({ goal: "keep" });
			// It is back, with its replica: that one has the `ttl` of its agent.
			two.agents[dead]!.isAway = false;
			expect([two.run(60).ready, two.events, living.state]).toEqual([1, [], "ready"]);
		}
	});

	test("not while calls run at it and it is the last that serves: the other's agent is late, and the order is taken back", () => {
		const two = fleet({ min: 1, max: 2, ttl: 20_000 }, { state: "ready", streams: 1 }, { state: "ready", streams: 1 });
		stepUntil(two, () => two.events.length > 0);
		const retired = two.agents.find(({ name }) => name === two.events[0]!.agent)!;
		const other = two.agents.find((agent) => agent !== retired)!;
		other.isAway = true;
		two.run(25);
		retired.streams = 0;
		two.run(60);
		expect([said(two.events), two.ready]).toEqual([[`retire ${retired.name}`, `stay ${retired.name}`], 1]);
	});

	test("that can't be reached, where one is too many, and not the one that serves; one that is still being loaded goes before both", () => {
		const max = fleet({ min: 1, max: 2 }, { state: "ready" }, { state: "ready" }).run(10);
		max.agents[0]!.isAway = true;
		max.run(18);
		max.bounds = { ...max.bounds, max: 1 };
		expect(said(max.run(3).events)).toEqual(["retire gpu-1"]);
		const back = fleet({ min: 1, max: 1 }, { state: "ready" }, {}).run(10);
		back.agents[0]!.isAway = true;
		back.run(35);
		back.agents[0]!.isAway = false;
		back.run(60);
		expect([said(back.events), back.ready]).toEqual([["load gpu-2", "retire gpu-2"], 1]);
	});

	test("only after `ttl` of its own: a quiet time begins anew once another one serves, and the reason says what was", () => {
		const two = fleet({ min: 1, max: 2, calls: 2, ttl: 20_000 }, { state: "ready" }, {}).run(60);
		// Asked for by hand, not by calls: there were none all the time.
		two.bounds = { ...two.bounds, min: 2 };
		stepUntil(two, () => two.agents[1]!.state === "ready");
		const readyAt = two.now;
		two.bounds = { ...two.bounds, min: 1 };
		two.agents[0]!.streams = 1;
		stepUntil(two, () => {
			// Calls that come and go within a second: the agent knows of them, so that it does not go by itself.
			for (const agent of two.agents) agent.idleSince = two.now;
			return two.events.at(-1)!.what === "retire";
		});
		const { at, why } = two.events.at(-1)!;
		expect(at - readyAt).toBeGreaterThanOrEqual(20_000);
		expect(why).toBe("at most 1 call for 2 replicas for 20 s");
	});

	test("not below `min`, though nobody calls for an hour", () => {
		const kept = fleet({ min: 2 }, {}, {}, {}).run(3600);
		expect([kept.ready, kept.events.length]).toEqual([2, 2]);
	});
});

/** Fleets, bounds and misfortunes by chance: what must hold of every history. */
describe("whatever befalls a fleet", () => {
	const seeds = Array.from({ length: 60 }, (_, seed) => seed + 1);

	/** Twenty minutes of misfortunes, then an hour in which nothing happens. */
	function history(seed: number): SimulatedFleet {
		const { below, pick } = random(seed);
		const min = below(3);
		const made = fleet(
			{ min, max: min + 1 + below(3), ttl: pick([30_000, 120_000]) },
			...Array.from({ length: 2 + below(7) }, () => ({
				size: pick([1, 1, 1, 2]),
				download: pick([0, 16 * GB]),
				fits: pick(["now", "now", "evicting", "busy", "no"] as const),
				isBroken: below(8) === 0,
			})),
		);
		for (let second = 0; second < 1200; second++) {
			const agent = pick(made.agents);
			if (below(20) === 0) agent.isAway = below(3) === 0;
			if (below(60) === 0) agent.isDraining = !agent.isDraining;
			if (below(60) === 0) agent.fits = pick(["now", "evicting", "busy", "no"] as const);
			if (below(30) === 0) made.demand = pick([0, 0, 3, 9, 20, 45, 80]);
			made.step();
		}
		for (const agent of made.agents) Object.assign(agent, { isAway: false, isDraining: false });
		return made;
	}

	test.each(seeds)(
		"fleet %d: loads fit and are within `max`, never at an agent that is late or drains, and where weights are first",
		(seed) => {
			const made = history(seed);
			const { max } = made.bounds;
			for (const { what, agent, hosts, before, at } of made.events) {
				if (what !== "load") continue;
				const host = hosts.find((each) => each.agent === agent)!;
				expect(host).toMatchObject({ isFresh: true, state: "stopped" });
				expect(["now", "evicting"]).toContain(host.offer.fits!);
				const named = new Set(made.events.flatMap((event) => (event.at === at ? event.agent : [])));
				const isOpen = (each: typeof host) =>
					each.isFresh && each.state === "stopped" && !named.has(each.agent) && !before.avoided.has(each.agent);
				const cached = hosts.filter(
					(each) =>
						isOpen(each) &&
						each.size <= host.size &&
						each.offer.download === 0 &&
						/now|evicting/.test(each.offer.fits!),
				);
				if (host.offer.download !== 0) expect(cached.map((each) => each.agent)).toEqual([]);
				const held = hosts.filter(({ state }) => /ready|starting/.test(state));
				expect(held.reduce((sum, { size }) => sum + size, 0) + host.size).toBeLessThanOrEqual(max!);
			}
			// Counted by the agents themselves, which may have been away: never more at those that the router hears.
			made.run(120);
			for (let second = 0; second < 300; second++) {
				made.step();
				const there = made.agents.filter(({ state }) => /ready|starting/.test(state));
				expect(there.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(max!);
			}
		},
	);

	test.each(seeds)(
		"fleet %d: once it is left alone `min` comes back where there is room for it, and nothing is loaded or retired without end",
		(seed) => {
			const made = history(seed);
			made.run(900);
			const { min, max } = made.bounds;
			const able = made.agents.filter(
				({ fits, isBroken, state }) => !isBroken && (state === "ready" || /now|evicting/.test(fits)),
			);
			const mostOfSizes = able
				.map(({ size }) => size)
				.reduce((sum, size) => (sum + size <= max! ? sum + size : sum), 0);
			if (mostOfSizes >= min && able.every(({ size }) => size === 1)) expect(made.ready).toBeGreaterThanOrEqual(min);
			const settled = made.events.length;
			made.run(2700);
			const later = made.events
				.slice(settled)
				.filter(({ what, agent }) => what !== "failed" && !made.agents.find(({ name }) => name === agent)!.isBroken);
			expect(said(later)).toEqual([]);
		},
	);
});
