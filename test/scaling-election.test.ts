/** Which of several routers decides how many replicas there are. */
import { expect, test } from "bun:test";
import { ScalingElection } from "../src/server/agents/scaling-election.ts";

const GOALS = { qwen: { "gpu-1": { goal: "keep" as const } } };
const DECIDER = { role: "decider" as const, goals: GOALS };
const CANDIDATE = { role: "candidate" as const };
const FOLLOWS = { isDecider: false, isLed: true, told: GOALS };
const DECIDES = { isDecider: true, isLed: false, told: undefined };
const LOST_MS = 5_001;

test("a router that has not listened for long enough, or has no setting, decides nothing, and does what is told", () => {
	const own = new ScalingElection("a");
	expect(own.result(false, 0)).toEqual({ isDecider: false, isLed: false, told: undefined });
	own.hear("b", DECIDER, 0);
	expect(own.result(false, 0)).toEqual(FOLLOWS);
	expect(own.result(false, LOST_MS)).toEqual({ isDecider: false, isLed: false, told: undefined });
});

test("where nobody decides, the one of the least name that can begins, once the one that did is lost", () => {
	const [b, c] = [new ScalingElection("b"), new ScalingElection("c")];
	for (const each of [b, c]) each.hear("a", DECIDER, 0);
	b.hear("c", CANDIDATE, 4000);
	c.hear("b", CANDIDATE, 4000);
	expect([b.result(true, 4000), c.result(true, 4000)]).toEqual(Array(2).fill(FOLLOWS));
	expect([b.result(true, LOST_MS), c.result(true, LOST_MS)].map(({ isDecider }) => isDecider)).toEqual([true, false]);
});

test("whoever decides goes on with that where one of a lesser name comes, which does what it is told", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	expect(b.result(true, 0).isDecider).toBe(true);
	b.hear("a", CANDIDATE, 0);
	a.hear("b", DECIDER, 0);
	expect([a.result(true, 0), b.result(true, 0)]).toEqual([FOLLOWS, DECIDES]);
});

test("of two that decide, having been apart, the one of the greater name stops", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	for (const each of [a, b]) expect(each.result(true, 0).isDecider).toBe(true);
	a.hear("b", DECIDER, 0);
	b.hear("a", DECIDER, 0);
	expect([a.result(true, 0), b.result(true, 0)]).toEqual([DECIDES, FOLLOWS]);
});

test("one whose setting is taken out stops, and another one begins", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	expect(a.result(true, 0).isDecider).toBe(true);
	b.hear("a", DECIDER, 0);
	expect([a.result(false, 0).isDecider, b.result(true, LOST_MS).isDecider]).toEqual([false, true]);
});

test("one whose decisions are too long to tell decides all the same", () => {
	const b = new ScalingElection("b");
	b.hear("c", { role: "decider", goals: undefined }, 0);
	expect(b.result(true, 0)).toEqual({ isDecider: false, isLed: true, told: undefined });
});

test("after a time when nobody could be heard the one that decided before does so after, as long as it is there", () => {
	const [a, b] = [new ScalingElection("a"), new ScalingElection("b")];
	expect(b.result(true, 0).isDecider).toBe(true);
	a.hear("b", DECIDER, 0);
	for (const each of [a, b]) each.keep(60_000);
	expect([a.result(true, 60_000), b.result(true, 60_000), b.isDecider]).toEqual([FOLLOWS, DECIDES, true]);
	expect(a.result(true, 60_000 + LOST_MS)).toEqual(DECIDES);
});

test("one that the others went on without follows, whatever its name", () => {
	const a = new ScalingElection("a");
	expect(a.result(true, 0).isDecider).toBe(true);
	a.leave();
	a.hear("b", DECIDER, 0);
	expect([a.isDecider, a.result(true, 0)]).toEqual([false, FOLLOWS]);
	a.leave();
	expect(a.result(false, 0)).toEqual({ isDecider: false, isLed: false, told: undefined });
});
