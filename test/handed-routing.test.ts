/** What is known of targets, as the process that takes a router's place goes on with it: each with one worker or several. */
import { describe, expect, test } from "bun:test";
import { admits } from "../src/routing/breaker.ts";
import { type HandedState, handRouting, takeRouting } from "../src/routing/handed-routing.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { MOST_SLABS } from "../src/routing/shared-prefixes.ts";
import { makeRoutingMemory, SharedRoutingState } from "../src/routing/shared-routing-state.ts";
import { MOST_SESSIONS, type RoutingState } from "../src/routing/target-state.ts";

const TARGET = "vendor/model";
const prompt = { blocks: Int32Array.of(1, 2, 3), characters: 3_000 };
const blockPrompt = (block: number) => ({ blocks: Int32Array.of(block), characters: 300 });

/** A router's holder: as whoever answers calls has it, and as whoever hands it on does. */
interface Holder {
	readonly calls: RoutingState;
	readonly handed: HandedState;
}

/** How much later a worker's clock began than the main thread's, ms. */
const OFFSET = 5_000;

/** @param time its clock, ms */
type Make = (time: () => number) => Holder;

const one: Make = (time) => {
	const state = new LocalRoutingState(time);
	return { calls: state, handed: state };
};
const several: Make = (time) => {
	const memory = makeRoutingMemory();
	return {
		calls: new SharedRoutingState(memory, { thread: 1, offset: OFFSET }, () => time() - OFFSET),
		handed: new SharedRoutingState(memory, { thread: 0, offset: 0 }, time),
	};
};
const PAIRS: [name: string, from: Make, to: Make][] = [
	["from one worker to one", one, one],
	["from several workers to several", several, several],
	["from one worker to several", one, several],
	["from several workers to one", several, one],
];

const failure = { failure: "transport", status: 502 } as const;
function fail(state: RoutingState, times: number): void {
	for (let call = 0; call < times; call++) state.opened(TARGET, false).closed(failure);
}

/** What goes from one process to another. */
const hand = (from: HandedState, to: HandedState) => takeRouting(to, JSON.parse(JSON.stringify(handRouting(from))));

describe.each(PAIRS)("%s", (_, from, to) => {
	/** A holder, and one that goes on with what that knew, on a clock that began later. */
	function handedOn(use: (state: RoutingState, time: { now: number }) => void) {
		const time = { now: 9_000_000 };
		const old = from(() => time.now);
		use(old.calls, time);
		const next = to(() => time.now - 8_000_000);
		hand(old.handed, next.handed);
		return { old: old.calls, next: next.calls, handed: next.handed, time };
	}

	test("a target that is out of use is so in the new process, until the same moment", () => {
		const { old, next, time } = handedOn((state) => fail(state, 5));
		expect(old.of(TARGET).breaker.state).toBe("open");
		expect(next.of(TARGET).breaker.state).toBe("open");
		time.now += 999;
		expect(admits(next.of(TARGET).breaker, next.now())).toBe("no");
		time.now += 1;
		expect(admits(next.of(TARGET).breaker, next.now())).toBe("probe");
		expect(next.of(TARGET).breaker.closedAt).toBe(Number.NEGATIVE_INFINITY);
	});

	test("failures that did not take a target out of use count on, and leave the window when they would have", () => {
		const { next } = handedOn((state) => fail(state, 4));
		expect(next.of(TARGET).breaker.state).toBe("closed");
		fail(next, 1);
		expect(next.of(TARGET).breaker.state).toBe("open");
	});

	test("a target that asked to be left alone is, and why is known", () => {
		const { next } = handedOn((state) => state.pause(TARGET, 5_000, "its key is out of use"));
		expect(next.of(TARGET).pausedUntil).toBe(next.now() + 5_000);
		expect(next.of(TARGET).pausedFor).toBe("its key is out of use");
	});

	test("a target whose reason to be left alone is one of a later version is left alone all the same", () => {
		const { handed, next } = handedOn(() => {});
		const { breaker } = next.of(TARGET);
		handed.learnHealth(TARGET, { breaker, pausedUntil: handed.now() + 50, pausedFor: "it is Sunday" });
		expect(next.of(TARGET).pausedUntil).toBe(next.now() + 50);
		expect(next.of(TARGET).pausedFor).not.toBe("");
	});

	test("cached prompts, sessions and conversations are where they were; a target without any is left without", () => {
		const key = { first: 1, second: 2 };
		const { next } = handedOn((state) => {
			state.opened(TARGET, true, { prompt, session: "one" }).closed({});
			state.opened("other/model", true).closed({});
			state.conversations.keep(key, 60_000);
		});
		expect(next.session("one")).toBe(TARGET);
		expect(next.session("two")).toBeUndefined();
		expect(next.of(TARGET).prefixes?.uncached(prompt)).toBeLessThan(prompt.characters);
		expect(next.of("other/model").prefixes).toBeUndefined();
		expect(next.of(TARGET).inFlight).toBe(0);
		expect(next.conversations.leftMs(key)).toBeWithin(59_000, 61_001);
	});

	test("a session that has moved since goes where it went then, also after one more upgrade", () => {
		const { next, handed } = handedOn((state) => {
			for (const session of ["moves", "stays"]) state.opened(TARGET, true, { prompt, session }).closed({});
		});
		next.opened("other/model", true, { prompt, session: "moves" }).closed({});
		expect([next.session("moves"), next.session("stays")]).toEqual(["other/model", TARGET]);
		for (const make of [one, several]) {
			const third = make(() => 0);
			hand(handed, third.handed);
			expect([third.calls.session("moves"), third.calls.session("stays")]).toEqual(["other/model", TARGET]);
		}
	});

	test("of more sessions than a router remembers the last ones are there", () => {
		const { next } = handedOn((state) => {
			for (let at = 0; at < MOST_SESSIONS + 100; at++) {
				state.opened(TARGET, true, { prompt: { ...prompt, blocks: new Int32Array(0) }, session: `s${at}` }).closed({});
			}
		});
		const known = Array.from({ length: MOST_SESSIONS }, (__, at) => next.session(`s${at + 100}`));
		expect(known.filter((target) => target !== TARGET)).toEqual([]);
	});

	test("of more targets with cached prompts than there is room for, those that were used last keep theirs", () => {
		const targets = MOST_SLABS + 20;
		const { next } = handedOn((state) => {
			for (let at = 0; at < targets; at++) state.opened(`t/${at}`, true, { prompt: blockPrompt(at + 1) }).closed({});
		});
		for (let at = targets - MOST_SLABS; at < targets; at++) {
			expect(next.of(`t/${at}`).prefixes?.uncached(blockPrompt(at + 1))).toBeLessThan(300);
		}
	});

	test("a router that knows nothing hands that on", () => {
		const { handed } = handedOn(() => {});
		expect([...handed.healths()]).toEqual([]);
		expect([...handed.sessions()]).toEqual([]);
		expect([...handed.hashedSessions()]).toEqual([]);
	});
});

test("what a version tells that has no hashes of sessions is taken over", () => {
	const { handed, calls } = several(() => 0);
	const parts = [{ prompts: [], sessions: [["one", TARGET] as const], conversations: [] }];
	takeRouting(handed, { now: 0, parts, healths: [] });
	expect(calls.session("one")).toBe(TARGET);
});
