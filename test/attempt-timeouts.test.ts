/** What an attempt is given by where else its call could go. */
import { describe, expect, test } from "bun:test";
import { attemptTimeouts } from "../src/proxy/attempt-timeouts.ts";
import type { KeyRotation } from "../src/proxy/key-rotation.ts";
import { hasOthers, TriedTarget } from "../src/proxy/retry.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { replica } from "./kit/routes.ts";

/** The limits of a stream at the first of two targets, the other with these. */
function beside(other: Partial<RouteTarget>) {
	const timeouts = { connect: 5_000, first_token: 600_000, stall: 600_000, total: 600_000 };
	const provider = { name: "local", timeouts } as RouteTarget["provider"];
	const targets = [replica("gpu-1/m", { provider, readiness: 0 }), replica("gpu-2/m", { provider, ...other })];
	const tried = targets.map((target) => new TriedTarget(target, {} as KeyRotation));
	const call = { stream: true, facts: { isReasoning: () => false } } as never;
	const { firstTokenMs, stallMs } = attemptTimeouts(
		{ call, alias: undefined, tried, states: new LocalRoutingState(() => 0) },
		0,
		hasOthers(tried, 0),
	);
	return { firstTokenMs, stallMs };
}

describe("a target that answers is given up and cut off early", () => {
	const early = { firstTokenMs: 30_000, stallMs: 30_000 };
	test.each([
		["is ready", { readiness: 0 }],
		["is loaded when it is called", { readiness: 4 }],
		["was not heard of lately", { readiness: 100 }],
	])("where another %s", (_, other) => expect(beside(other)).toEqual(early));

	const whole = { firstTokenMs: 600_000, stallMs: 600_000 };
	test.each([
		["a model that is being started, for which it would wait for minutes", { readiness: 52 }],
		["the queue of its own agent, which may give it the same replica", { readiness: 90, isQueue: true }],
		["that queue, its agent not heard of lately", { readiness: 190, isQueue: true }],
	])("but not for %s", (_, other) => expect(beside(other)).toEqual(whole));
});
