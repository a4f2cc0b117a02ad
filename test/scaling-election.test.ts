/** Which of several routers decides how many replicas there are. */
import { expect, test } from "bun:test";
import { ScalingElection } from "../src/server/agents/scaling-election.ts";

const GOALS = { qwen: { "gpu-1": { goal: "keep" as const } } };
const LOST_MS = 5_001;

test("a router that has not listened for long enough, or has no setting, decides nothing, and does what is told", () => {
	const own = new ScalingElection("a");
	expect(own.result(false, 0)).toEqual({ isDecider: false, told: undefined });
	own.hear("b", GOALS, 0);
	expect(own.result(false, 0)).toEqual({ isDecider: false, told: GOALS });
	expect(own.result(false, LOST_MS)).toEqual({ isDecider: false, told: undefined });
});

test("where nobody decides, the one of the least name that can begins, once the one that did is lost", () => {
	const [b, c] = [new ScalingElection("b"), new ScalingElection("c")];
	for (const each of [b, c]) each.hear("a", GOALS, 0);
	b.hear("c", undefined, 4000);
	c.hear("b", undefined, 4000);
	expect([b.result(true, 4000), c.result(true, 4000)]).toEqual(Array(2).fill({ isDecider: false, told: GOALS }));
	expect([b.result(true, LOST_MS), c.result(true, LOST_MS)].map(({ isDecider }) => isDecider)).toEqual([true, false]);
});

test("whoever decides goes on with that where one of a lesser name comes, which does what it is told", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	expect(b.result(true, 0).isDecider).toBe(true);
	b.hear("a", undefined, 0);
	a.hear("b", GOALS, 0);
	expect([a.result(true, 0), b.result(true, 0)]).toEqual([
		{ isDecider: false, told: GOALS },
		{ isDecider: true, told: undefined },
	]);
});

test("of two that decide, having been apart, the one of the greater name stops", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	for (const each of [a, b]) expect(each.result(true, 0).isDecider).toBe(true);
	a.hear("b", GOALS, 0);
	b.hear("a", GOALS, 0);
	expect([a.result(true, 0), b.result(true, 0)]).toEqual([
		{ isDecider: true, told: undefined },
		{ isDecider: false, told: GOALS },
	]);
});

test("one whose setting is taken out stops, and another one begins", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	expect(a.result(true, 0).isDecider).toBe(true);
	b.hear("a", GOALS, 0);
	expect([a.result(false, 0).isDecider, b.result(true, LOST_MS).isDecider]).toEqual([false, true]);
});
