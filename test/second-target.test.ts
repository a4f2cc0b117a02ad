/** When a target counts as late, and who may be asked beside it. */
import { describe, expect, test } from "bun:test";
import { CallCost, type UsageServices } from "../src/accounts/usage/call-cost.ts";
import type { Rates } from "../src/accounts/usage/rates.ts";
import { isFree, isHealthy, isLoading, type Late, lateOf, mayRelieve } from "../src/proxy/second-target.ts";
import { breakerAfter, CLOSED } from "../src/routing/breaker.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { target } from "./kit/routes.ts";

const open = new Array(5).fill("bad").reduce((breaker) => breakerAfter(breaker, "bad", 0), CLOSED);
const times = (count: number) => ({ count, percentile: (share: number) => share * 100 });

describe("a target is late", () => {
	test.each([
		["never, where no limit is", { breaker: CLOSED }, undefined, undefined, undefined],
		["when it has been silent for so long", { breaker: CLOSED }, 9_000, undefined, { ms: 9_000, why: "silent" }],
		[
			"as before, while its usual time is not known",
			{ breaker: CLOSED },
			9_000,
			times(19),
			{ ms: 9_000, why: "silent" },
		],
		[
			"when it is slower than 95 % of its calls, and again when it is silent",
			{ breaker: CLOSED },
			9_000,
			times(20),
			{ ms: 95, why: "slow", next: { ms: 9_000, why: "silent" } },
		],
		[
			"soon, when it may be out of order",
			{ breaker: open },
			9_000,
			times(20),
			{ ms: 1_000, why: "probe", next: { ms: 9_000, why: "probe" } },
		],
	] as const)("%s", (_, view, silentMs, slow, late) => {
		expect(lateOf(view, 2_000, silentMs, slow)).toEqual(late as never);
	});
});

describe("beside it no target is asked", () => {
	const state = new LocalRoutingState(() => 0);
	const of = (id: string) => state.of(id);
	test("that is well in all", () => expect(isHealthy(target("a/m"), of("a/m"), 20_000, 10_000)).toBe(true));

	test.each([
		["without a key", target("a/m", { isKeyless: true }), {}],
		["that has yet to be loaded", target("a/m", { readiness: 3 }), {}],
		["that is retired", target("a/m", { readiness: 0.75 }), {}],
		["that was not heard of lately", target("a/m", { readiness: 102 }), {}],
		["that is out of use", target("a/m"), { breaker: open }],
		["that asked to be left alone", target("a/m"), { pausedUntil: 30_000 }],
		["that keeps a call waiting as long itself", target("a/m"), { waitingSince: 9_000 }],
	] as const)("%s", (_, its, view) => {
		const known = { ...of("a/m"), breaker: CLOSED, pausedUntil: 0, waitingSince: undefined, ...view };
		expect(isHealthy(its, known as never, 20_000, 10_000)).toBe(false);
	});

	test("a model is being loaded where its agent has something to do first", () => {
		expect([undefined, 0, 1, 99, 100].map((readiness) => isLoading(target("a/m", { readiness })))).toEqual([
			false,
			false,
			true,
			true,
			false,
		]);
	});
});

describe("a call beside one that is silent relieves it", () => {
	const silent: Late = { ms: 10_000, why: "silent" };
	const replica = target("b/m", { kind: "local" });
	const known = new LocalRoutingState(() => 0).of("b/m");
	const relieves = (late: Late, quietMs: number, theirs: number, its: number, other = replica) =>
		mayRelieve(
			late,
			quietMs,
			{ inFlight: theirs },
			other,
			{ ...known, inFlight: its, waiting: 0 } as never,
			0,
			undefined,
		);
	test.each([
		["where it has answered nobody for so long, and the other has less to do", silent, 10_000, 2, 1, true],
		["not where it has answered others meanwhile", silent, 9_900, 2, 1, false],
		["not where the other has as much to do", silent, 10_000, 2, 2, false],
		["whatever there is to do, where it is not known to be well", { ms: 1_000, why: "probe" }, 0, 1, 9, true],
		["whatever there is to do, where it is slow and doubling it was asked for", { ms: 95, why: "slow" }, 0, 1, 9, true],
	] as const)("%s", (_, late, quietMs, theirs, its, may) => {
		expect(relieves(late, quietMs, theirs, its)).toBe(may);
	});

	test("at a vendor whatever there is to do", () => {
		expect(relieves(silent, 10_000, 1, 9, target("b/m", { kind: "cloud" }))).toBe(true);
	});

	test("not where the other's queue is longer than `max_wait`", () => {
		const view = { ...known, inFlight: 1, waiting: 1, waitingSince: 0 } as never;
		const at = (maxWaitMs: number) => mayRelieve(silent, 10_000, { inFlight: 9 }, replica, view, 5_000, maxWaitMs);
		expect([at(4_999), at(5_000)]).toEqual([false, true]);
	});
});

describe("a call is free", () => {
	const costing = (rates: Rates | undefined) => {
		const services = { prices: { of: () => ({ rates, source: rates && "prices" }) } } as unknown as UsageServices;
		return new CallCost({} as never, undefined, { targets: [], label: "m" }, services);
	};
	test.each([
		["where no token costs anything", { input: 0, output: 0 }, true],
		["not where the prompt costs something", { input: 1, output: 0 }, false],
		["not where a call costs something", { input: 0, output: 0, request: 0.01 }, false],
		["not where the hardware has a price by the hour", { input: 0, output: 0, gpu_hour: 2 }, false],
		["not where nobody knows the price", undefined, false],
	])("%s", (_, rates, free) => {
		expect(isFree(target("a/m"), costing(rates))).toBe(free);
	});

	test("at local targets, where calls have no price", () => {
		expect(isFree(target("a/m", { kind: "local" }), undefined)).toBe(true);
		expect(isFree(target("a/m", { kind: "cloud" }), undefined)).toBe(false);
		expect(isFree(target("a/m", { kind: "local", price: { input: 1, output: 1 } }), undefined)).toBe(false);
		expect(isFree(target("a/m", { kind: "cloud", price: { input: 0, output: 0 } }), undefined)).toBe(true);
	});
});
