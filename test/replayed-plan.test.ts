/** A decision that is made again of what the ledger has of it: the same in the same state, whatever its targets were. */
import { describe, expect, test } from "bun:test";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { explain } from "../src/routing/explain.ts";
import { plan } from "../src/routing/plan.ts";
import { snapshotOf } from "../src/routing/plan-snapshot.ts";
import type { Needs } from "../src/routing/requirements.ts";
import type { Kind, Route, RouteTarget, Tier } from "../src/routing/route.ts";
import { recordedCall } from "../src/server/replay/recorded-call.ts";
import { type PlannedCall, replannedTarget } from "../src/server/replay/replayed-plan.ts";
import { settled } from "./kit/ledger.ts";
import { type Random, random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";
import { HASH } from "./kit/snapshot-hash.ts";

/** A call as it is planned now, and as its row has it. */
function planned(clock: Clock, needs: Needs, way: Route, chance: () => number = Math.random) {
	const made = plan(needs, way, clock.state, clock.now, chance);
	const decision = explain({ model: "m", needs, route: way, plan: made, now: clock.now }, 8);
	const snapshot = snapshotOf(made, 8, undefined, HASH);
	const [row] = batchOf([settled({ decision, snapshot, stream: needs.isStream })], [0], [], new EndUsers()).calls;
	return { recorded: recordedCall(row!) as PlannedCall, first: made.targets[0]?.id };
}

const POLICIES = ["balanced", "cheapest", "fastest", "order"] as const;

/** Some targets, healthy and not, and what is known of them. */
function anyWorld(draw: Random): { clock: Clock; way: Route } {
	const clock = new Clock();
	const policy = draw.pick(POLICIES);
	const isShared = policy === "balanced" && draw.below(3) === 0;
	const some = <T>(value: () => T): T | undefined => (draw.below(4) === 0 ? value() : undefined);
	const targets = Array.from({ length: 2 + draw.below(6) }, (_, position): RouteTarget => {
		const isReplica = draw.below(2) === 0;
		const price = draw.below(5) > 0 ? { input: draw.below(300) / 7, output: draw.below(90) / 11 } : undefined;
		const tier: Tier = some(() => "fallback" as const) ?? "targets";
		const weight = isShared && tier === "targets" ? draw.below(4) : undefined;
		const kind: Kind = isReplica ? "local" : draw.pick(["cloud", "llm-d"] as const);
		const facts = { price, tier, weight, position, kind, isKeyless: some(() => true), context: some(() => 20) };
		const readiness = isReplica ? some(() => draw.pick([0.75, 4, 55, 101])) : undefined;
		return (isReplica ? replica : target)(`t${position}/m`, { ...facts, readiness });
	});
	for (let event = 0; event < draw.below(60); event++) {
		const { id } = draw.pick(targets);
		clock.now += draw.below(400);
		const what = draw.below(10);
		if (what === 0) clock.failed(id, 5);
		else if (what === 1) clock.state.opened(id, true).closed({ failure: "rate", retryAfterMs: 5_000 });
		else if (what < 6) clock.served(id, 1 + draw.below(900), call("p".repeat(draw.below(2_000))));
		else clock.state.opened(id, true, { prompt: call("q".repeat(draw.below(3_000))).prompt() });
	}
	// Most of them out of use at once, some of those dead and some that still take connections.
	if (draw.below(4) === 0) {
		for (const { id } of targets) {
			const isDead = draw.below(2) === 0;
			if (draw.below(5) === 0) continue;
			if (isDead) clock.failed(id, 5);
			else for (let at = 0; at < 5; at++) clock.state.opened(id, true).closed({ failure: "overloaded", status: 503 });
		}
	}
	return { clock, way: route(targets, { policy, ...some(() => ({ max_wait: 500 })) }) };
}

test("in the same state, by the same policy, the first target is the same one: of two thousand worlds", () => {
	const draw = random(41);
	let equal = 0;
	const rounds = 2_000;
	for (let round = 0; round < rounds; round++) {
		const { clock, way } = anyWorld(draw);
		const needs = call("p".repeat(draw.below(2_500)), { maxTokens: draw.pick([undefined, 100]) });
		const { recorded, first } = planned(clock, needs, way, () => draw.below(1e6) / 1e6);
		const again = replannedTarget(recorded, needs.prompt(), clock.state, clock.now, undefined, undefined);
		if (again === first) equal++;
	}
	expect(equal).toBe(rounds);
});

describe("another policy", () => {
	const price = (usd: number) => ({ input: usd, output: usd, cached: usd / 10 });
	const replanned = (
		clock: Clock,
		way: Route,
		...[policy, cached]: [(typeof POLICIES)[number], { target: string; tokens: number }?]
	) => {
		const needs = call("x".repeat(4_000));
		const { recorded } = planned(clock, needs, way);
		return replannedTarget(recorded, needs.prompt(), clock.state, clock.now, policy, cached);
	};

	test("takes no target that was out of use while others are well, and one of those where none is", () => {
		const clock = new Clock();
		clock.failed("cheap/m", 5);
		const targets = [target("dear/m", { price: price(2) }), target("cheap/m", { price: price(1) })];
		expect(replanned(clock, route(targets), "cheapest")).toBe("dear/m");
		expect(replanned(clock, route([targets[1]!, target("keyless/m", { isKeyless: true })]), "cheapest")).toBe(
			"cheap/m",
		);
	});

	test("takes no dead target where one that takes connections was tried all the same, most being out of use", () => {
		const clock = new Clock();
		for (const id of ["dead/m", "gone/m"]) clock.failed(id, 5);
		for (let at = 0; at < 5; at++) clock.state.opened("ill/m", true).closed({ failure: "overloaded", status: 503 });
		const targets = ["dead/m", "gone/m", "ill/m"].map((id, at) => target(id, { price: price(at + 1) }));
		expect(replanned(clock, route(targets), "cheapest")).toBe("ill/m");
	});

	test("takes no notice of shares, which it would have chosen in place of", () => {
		const targets = [
			target("dear/m", { price: price(2), weight: 99 }),
			target("cheap/m", { price: price(1), weight: 1 }),
		];
		expect(replanned(new Clock(), route(targets), "cheapest")).toBe("cheap/m");
	});

	test("has the conversation where its cache is, as long as that is cheaper", () => {
		const targets = [target("dear/m", { price: price(2) }), target("cheap/m", { price: price(1) })];
		// 1,000 tokens of prompt and 500 of answer: what is cached saves 0.9 × 2 of each of the first.
		const at = (tokens: number) => replanned(new Clock(), route(targets), "cheapest", { target: "dear/m", tokens });
		expect([0, 500, 1_000].map(at)).toEqual(["cheap/m", "cheap/m", "dear/m"]);
	});
});
