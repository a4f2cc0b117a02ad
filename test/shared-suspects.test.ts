/** Calls that may have killed an engine, as threads of one process know them together. */
import { describe, expect, test } from "bun:test";
import { textMemory } from "../src/memory/shared-text.ts";
import { SharedSuspects } from "../src/proxy/shared-suspects.ts";
import type { DeathReport, SuspectEvent } from "../src/proxy/suspect-step.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { suspectViews } from "./kit/suspect-kinds.ts";

/** Views of the main thread and of two workers, whose clocks began later, and what each reports. */
function threads() {
	const clock = { now: 500_000 };
	const [main, one, two] = suspectViews(() => clock.now);
	const events: [thread: string, SuspectEvent["what"]][] = [];
	one.report = ({ what }) => events.push(["one", what]);
	two.report = ({ what }) => events.push(["two", what]);
	const dies = (view: SharedSuspects, fingerprint: string, more: Partial<DeathReport> = {}) =>
		view.died({
			...{ engine: "a", startedAt: view.time() - 500, fingerprint, model: "m", call: `req_${fingerprint}` },
			...{ hasTokens: false, turn: undefined, wasWell: true },
			...more,
		});
	return { clock, main, one, two, events, dies };
}

describe("an engine that dies under calls of several threads", () => {
	test("has died once, whichever finds it, and all of them are suspected in each", () => {
		const { main, one, two, events, dies } = threads();
		expect([one.hasAny, two.hasAny, two.concerns("m")]).toEqual([false, false, false]);
		expect([dies(one, "x"), dies(two, "y"), dies(two, "z", { hasTokens: true })]).toEqual([
			"suspect",
			"suspect",
			"bystander",
		]);
		for (const view of [main, one, two]) {
			expect([view.hasAny, view.concerns("m"), view.isDead("a")]).toEqual([true, true, true]);
			expect(["x", "y", "z"].map((each) => view.stateOf(each))).toEqual(["suspect", "suspect", "clear"]);
		}
		expect(events).toEqual([["one", "died"]]);
	});

	test("is dead, away and back at the same times, on each one's clock", () => {
		const { clock, main, one, two, dies } = threads();
		dies(one, "x");
		expect([main, one, two].map((view) => view.lastDead("a")! - view.time())).toEqual([0, 0, 0]);
		clock.now += 7_000;
		main.reportedReady("a", true);
		expect([one.isDead("a"), two.isDead("a")]).toEqual([false, false]);
		clock.now += 1_000;
		dies(two, "y", { startedAt: two.time() - 1 });
		clock.now += 2_000;
		expect([main, one, two].map((view) => view.backInMs("a"))).toEqual([5_000, 5_000, 5_000]);
	});

	test("dies of a call at one thread, and again of the same call at another: it is refused in all, and the others are free", () => {
		const { clock, main, one, two, events, dies } = threads();
		for (const each of ["x", "y"]) dies(one, each);
		one.cameBack("a");
		clock.now += 1_000;
		const turn = two.enter("m", two.time());
		expect(two.begin(turn, "a", true)).toBe(true);
		clock.now += 100;
		expect(dies(two, "x", { turn, startedAt: two.time() - 1, wasWell: false })).toBe("refused");
		two.leave(turn);
		for (const view of [main, one, two]) {
			expect([view.stateOf("x"), view.stateOf("y")]).toEqual(["refused", "clear"]);
			expect(view.refusalOf("x")).toMatchObject({ leftMs: 600_000, engines: 1, calls: ["req_x", "req_x"] });
		}
		expect(events).toEqual([
			["one", "died"],
			["two", "died"],
			["two", "convicted"],
		]);
		clock.now += 600_000;
		for (const view of [one, two]) {
			view.prune();
			expect([view.stateOf("x"), view.hasAny]).toEqual(["clear", false]);
		}
	});

	test("is asked how it is by a thread that has never called it, by the target of its id", () => {
		const { one, two, dies } = threads();
		const target = { id: "a", model: "m" } as RouteTarget;
		const found = { id: "a", model: "found" } as RouteTarget;
		two.targetAt = () => found;
		expect(two.targetOf("a")).toBeUndefined();
		dies(one, "x", { target });
		expect([one.targetOf("a"), two.targetOf("a")]).toEqual([target, found]);
		two.cameBack("a");
		expect(one.targetOf("a")).toBe(target);
	});
});

describe("the line of suspected calls of several threads", () => {
	test("lets one of them run at a time, and keeps others from its engine in each thread", () => {
		const { one, two, dies } = threads();
		dies(one, "x");
		dies(two, "y");
		one.cameBack("a");
		const first = one.enter("m", one.time() - 1);
		const second = two.enter("m", two.time());
		expect([one.hasTurn(first), two.hasTurn(second)]).toEqual([false, true]);
		two.waitFor(second, ["a"]);
		expect([one.isReserved("a", undefined), two.isReserved("a", second)]).toEqual([true, false]);
		expect([two.begin(second, "a", true), one.begin(first, "a", true)]).toEqual([true, false]);
		expect([one.isReserved("a", first), two.isReserved("a", second)]).toEqual([true, false]);
		two.pass(second);
		expect([one.passedAt("a"), one.begin(first, "b", false), first.engine]).toEqual([1, true, "b"]);
	});

	test("wakes those that wait in another thread", async () => {
		const { one, two, dies } = threads();
		dies(one, "x");
		expect(two.isDead("a")).toBe(true);
		const { change } = two;
		one.cameBack("a");
		await change;
		expect(two.isDead("a")).toBe(false);
	});

	test("goes on without the calls of a thread that has died, however often that is said", () => {
		const { main, one, two, dies } = threads();
		dies(one, "x");
		const [dead, next] = [one.enter("m", one.time()), two.enter("m", two.time() - 5)];
		one.begin(dead, "a", true);
		expect([two.hasTurn(next), two.isReserved("a", next)]).toEqual([false, true]);
		main.freed(1);
		expect([two.hasTurn(next), two.isReserved("a", next)]).toEqual([true, false]);
		main.freed(1);
		// What it had died of is not forgotten.
		expect(two.stateOf("x")).toBe("suspect");
		expect(two.begin(next, "a", true)).toBe(true);
	});
});

test("where there is no room for all calls the oldest are forgotten, in each thread", () => {
	const memory = textMemory(4_096);
	const [one, two] = [1, 2].map((thread) => new SharedSuspects(memory, thread, 0)) as [SharedSuspects, SharedSuspects];
	const names = Array.from({ length: 200 }, (_, at) => `call ${at}`);
	for (const fingerprint of names) {
		const startedAt = one.time() - 60_000;
		const report = { engine: "a", startedAt, fingerprint, model: "m", call: "req", hasTokens: false };
		expect(one.died({ ...report, turn: undefined, wasWell: true })).toBe("suspect");
		expect(two.stateOf(fingerprint)).toBe("suspect");
	}
	expect(names.filter((name) => two.stateOf(name) === "suspect").length).toBeWithin(5, 100);
	expect(names.map((name) => one.stateOf(name))).toEqual(names.map((name) => two.stateOf(name)));
});
