/** The line of suspected calls of a model: whose turn it is, for how long, and from which engines others are kept meanwhile. */
import { afterEach, describe, expect, jest, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import type { AttemptRecord, CallRecord } from "../src/proxy/call-record.ts";
import { findBack } from "../src/proxy/engine-health.ts";
import type { Pause } from "../src/proxy/pause.ts";
import { TriedTarget } from "../src/proxy/retry.ts";
import { SuspectCall } from "../src/proxy/suspect-call.ts";
import type { SuspectTurn } from "../src/proxy/suspect-step.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { fleet, stopEngines } from "./kit/scripted-engines.ts";
import { SUSPECT_KINDS, suspectHolder } from "./kit/suspect-kinds.ts";

afterEach(async () => {
	jest.useRealTimers();
	await stopEngines();
});

describe.each(SUSPECT_KINDS)("known to %s, the line of suspected calls", (_, make) => {
	const holder = () => suspectHolder(make);

	const three = () => {
		const { suspects } = holder();
		return { suspects, turns: ["m", "m", "other"].map((model, at) => suspects.enter(model, at)) as SuspectTurn[] };
	};

	test("lets one of a model run at a time, the last to come first", () => {
		const { suspects, turns } = three();
		const having = () => turns.map((turn) => suspects.hasTurn(turn));
		expect(having()).toEqual([false, true, true]);
		suspects.begin(turns[1]!, "a", true);
		expect(having()).toEqual([false, true, true]);
		suspects.leave(turns[1]!);
		expect([suspects.hasTurn(turns[0]!), suspects.hasTurn(turns[2]!)]).toEqual([true, true]);
	});

	test("keeps one from beginning whose turn another has, also where it had been its own", () => {
		const { suspects, turns } = three();
		const [first, second] = turns as [SuspectTurn, SuspectTurn];
		expect(suspects.begin(first, "a", false)).toBe(false);
		expect([first.engine, suspects.begin(second, "a", false)]).toEqual([undefined, true]);
		const late = suspects.enter("m", 9);
		expect([suspects.hasTurn(late), suspects.begin(late, "b", false)]).toEqual([false, false]);
		suspects.leave(second);
		expect([suspects.begin(late, "b", false), late.engine]).toEqual([true, "b"]);
	});

	test("is passed on by one that runs for long, which stays suspected", () => {
		const { suspects, dies, clock } = holder();
		for (const each of ["x", "y"]) dies(each);
		const turns = [1, 2].map((at) => suspects.enter("m", at)) as [SuspectTurn, SuspectTurn];
		suspects.begin(turns[1], "a", true);
		expect(suspects.hasTurn(turns[0])).toBe(false);
		suspects.pass(turns[1]);
		expect([suspects.hasTurn(turns[0]), suspects.passedAt("a")]).toEqual([true, 1]);
		clock.now += 100;
		expect(dies("y", { turn: turns[1], startedAt: clock.now - 1, wasWell: false })).toBe("refused");
		suspects.leave(turns[1]);
		expect([suspects.stateOf("x"), suspects.passedAt("a")]).toEqual(["clear", 0]);
	});

	test("is passed on by one that is none of the causes beside the next, whichever is heard of first", () => {
		const { clock, suspects, dies } = holder();
		for (const each of ["x", "y"]) dies(each);
		const [next, passed] = [1, 2].map((at) => suspects.enter("m", at)) as [SuspectTurn, SuspectTurn];
		suspects.begin(passed, "a", true);
		suspects.pass(passed);
		suspects.begin(next, "a", true);
		clock.now += 100;
		const there = { startedAt: clock.now - 1, wasWell: false };
		expect(dies("y", { ...there, turn: passed })).toBe("bystander");
		expect(dies("x", { ...there, turn: next })).toBe("refused");
		expect(dies("y", { ...there, turn: passed })).toBe("bystander");
		expect(suspects.stateOf("y")).toBe("clear");
	});

	test("is kept by one whose engine is not back, and for the whole of its time once that is", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		const turn = suspects.enter("m", clock.now);
		suspects.begin(turn, "a", true);
		clock.now += 60_000;
		expect(suspects.turnLeftMs(turn, 3_000)).toBe(3_000);
		suspects.cameBack("a");
		clock.now += 1_000;
		expect(suspects.turnLeftMs(turn, 3_000)).toBe(2_000);
		clock.now += 2_000;
		expect(suspects.turnLeftMs(turn, 3_000)).toBe(0);
	});

	test("is not kept by one whose engine was well", () => {
		const { clock, suspects } = holder();
		const turn = suspects.enter("m", clock.now);
		suspects.begin(turn, "b", false);
		expect(suspects.turnLeftMs(turn, 3_000)).toBeLessThanOrEqual(0);
	});

	test("keeps others from an engine for as long as that takes to start, where one is tried there before that", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		clock.now += 60_000;
		suspects.cameBack("a");
		dies("y");
		const turn = suspects.enter("m", clock.now);
		suspects.begin(turn, "a", true);
		clock.now += 59_999;
		expect(suspects.isReserved("a", undefined)).toBe(true);
		clock.now += 1;
		expect(suspects.isReserved("a", undefined)).toBe(false);
	});

	test("keeps other calls from an engine that one waits for or runs at alone, for half a minute at most", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		const turn = suspects.enter("m", clock.now);
		expect(suspects.isReserved("a", undefined)).toBe(false);
		suspects.waitFor(turn, ["a"]);
		expect([suspects.isReserved("a", undefined), suspects.isReserved("a", turn)]).toEqual([true, false]);
		suspects.cameBack("a");
		suspects.begin(turn, "a", true);
		expect([suspects.isReserved("a", undefined), suspects.isReserved("a", turn)]).toEqual([true, false]);
		clock.now += 30_000;
		expect(suspects.isReserved("a", undefined)).toBe(false);
		suspects.leave(turn);
		expect(suspects.isReserved("a", undefined)).toBe(false);
	});

	test("keeps them away for that long only once for each suspected call, however often that is tried there", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		suspects.cameBack("a");
		const [turn, next] = [1, 0].map((at) => suspects.enter("m", at)) as [SuspectTurn, SuspectTurn];
		/** For so many seconds it is tried there again and again, and does not get to know whether the engine takes it. */
		const tries = (each: SuspectTurn, seconds: number) => {
			for (let second = 0; second < seconds; second++) {
				suspects.waitFor(each, ["a"]);
				suspects.begin(each, "a", true);
				clock.now += 1_000;
				suspects.end(each);
			}
			return suspects.isReserved("a", undefined);
		};
		expect([tries(turn, 29), tries(turn, 1)]).toEqual([true, false]);
		suspects.waitFor(next, ["a"]);
		suspects.yield(turn);
		expect([tries(next, 29), tries(next, 1)]).toEqual([true, false]);
		suspects.yield(next);
		expect(tries(turn, 1)).toBe(false);
	});

	test("where it is not alone nobody is kept away", () => {
		const { clock, suspects } = holder();
		const turn = suspects.enter("m", clock.now);
		suspects.begin(turn, "b", false);
		expect(suspects.isReserved("b", undefined)).toBe(false);
	});

	test("whoever waits hears of each change; how long an engine was away is known the next time", async () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		const { change } = suspects;
		clock.now += 7_000;
		suspects.cameBack("a");
		await change;
		dies("y");
		clock.now += 2_000;
		expect(suspects.backInMs("a")).toBe(5_000);
	});
});

/** Calls under which an agent's only engine has died, which the agent holds until it is back: each with its attempt's end. */
function heldByAgent(contents: readonly string[], isStream: boolean) {
	const { state } = fleet(1).router.context;
	const provider = { name: "local", reportsLoading: true };
	const target = { kind: "local", provider, id: "local/gpu/m", model: "m" } as RouteTarget;
	const record = { startedAt: performance.now() } as AttemptRecord;
	const failure = { kind: "engine_died", message: "" } as const;
	const calls = contents.map((content) => {
		const call = {
			id: content,
			operation: "chat",
			startedAt: 0,
			stream: isStream,
			facts: { canonical: () => content },
		};
		return new SuspectCall({
			call: call as unknown as Call,
			tried: [new TriedTarget(target, state.keys)],
			state,
			record: { atEnd: () => undefined, waitedMs: 0 } as unknown as CallRecord,
			pause: { isOver: false, until: (change: Promise<void>) => change } as unknown as Pause,
			slot: undefined,
			until: () => performance.now() + 600_000,
		});
	});
	for (const each of calls) each.failed({ target, record, hasTokens: false }, failure, "engine_died");
	const tried: string[] = [];
	for (const [at, each] of calls.entries()) {
		const ended = { index: 0, failure, error: new Error() as never, wasNotTried: false };
		void each.next(ended).then(() => {
			state.targets.opened(target.id, isStream);
			tried.push(contents[at]!);
		});
	}
	return { suspects: state.suspects, id: target.id, tried };
}

/** After so many ms, and all that comes of that. */
async function after(ms: number): Promise<void> {
	jest.advanceTimersByTime(ms);
	for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

describe("of calls that an agent holds until their engine is back", () => {
	test.each([
		["whole answers", false, 3_000],
		["streams", true, 30_000],
	])(
		"one at a time is sent, however long that takes, and the next once the first has run for long (%s)",
		async (_, isStream, turnMs) => {
			jest.useFakeTimers();
			const { suspects, id, tried } = heldByAgent(["x", "y"], isStream);
			await after(0);
			expect(tried).toEqual(["x"]);
			await after(300_000);
			expect(tried).toEqual(["x"]);
			suspects.reportedReady(id, true);
			await after(turnMs - 1);
			expect(tried).toEqual(["x"]);
			await after(1);
			expect(tried).toEqual(["x", "y"]);
		},
	);

	test.each([
		["stays dead until its agent says that it is ready", true, true],
		["counts as back where nobody could say so", undefined, false],
	])("an engine of which nothing was heard since its death %s", async (_, reportsLoading, isDead) => {
		jest.useFakeTimers();
		const { suspects, targets } = fleet(1).router.context.state;
		const death = { startedAt: performance.now(), fingerprint: "f", model: "m", call: "req", hasTokens: false };
		suspects.died({ ...death, engine: "local/gpu/m", turn: undefined, wasWell: true });
		await after(60_000);
		const target = { kind: "local", provider: { name: "local", reportsLoading }, id: "local/gpu/m", model: "m" };
		await findBack([target.id], [{ target: target as RouteTarget }], { suspects, targets });
		expect(suspects.isDead(target.id)).toBe(isDead);
	});
});
