/** When rounds that repeat are a circle: pollers that wait are not, nor equal samples, and each router of several sees enough of it. */
import { describe, expect, test } from "bun:test";
import { type AgentLoop, loopAfter, roundsOf } from "../src/accounts/runaway/agent-loop.ts";
import { makeRunaways, Runaways } from "../src/accounts/runaway/runaways.ts";

const PAUSE = 5_000;
/** A router to which calls come: with histories of so many repeated rounds, so long after the answer before, and each answered in a second. */
function router(distinct = 1) {
	let loop: AgentLoop | undefined;
	let now = 0;
	return (count: number, pauseMs: number): number => {
		now += pauseMs;
		loop = loopAfter(loop, { count, distinct }, now, PAUSE);
		const rounds = roundsOf(loop, { count, distinct });
		now += 1_000;
		loop = { ...loop, endedAt: now };
		return rounds;
	};
}

describe("of one router", () => {
	test("rounds that follow at once count, from the second on", () => {
		const call = router();
		expect([call(1, 0), call(2, 10), call(3, 10), call(4, 10)]).toEqual([2, 3, 4, 5]);
	});

	test("those of a poller that waits don't, however many", () => {
		const call = router();
		expect([call(1, 0), call(2, 6_000), call(3, 60_000), call(4, 5_000)]).toEqual([2, 2, 2, 2]);
		expect([call(5, 10), call(6, 10)]).toEqual([3, 4]);
	});

	test("equal calls at once, and calls made again, count once", () => {
		const call = router();
		expect([call(1, 0), call(1, 0), call(1, 0), call(1, 1)]).toEqual([2, 2, 2, 2]);
		expect([call(2, 0), call(2, 0), call(1, 0)]).toEqual([3, 3, 2]);
	});

	test("one that begins anew, with the same words and without ids of calls, is a new one", () => {
		const call = router();
		expect([call(1, 0), call(2, 6_000), call(3, 6_000), call(4, 6_000)]).toEqual([2, 2, 2, 2]);
		expect([call(1, 0), call(2, 10), call(3, 10)]).toEqual([2, 3, 4]);
	});

	test("a circle of two rounds is at its third once both have been there three times", () => {
		const call = router(2);
		expect([call(2, 0), call(3, 0), call(4, 0), call(6, 0)]).toEqual([2, 2, 3, 4]);
	});
});

describe("of one of several routers", () => {
	test("the pause is the mean over the rounds that it has missed", () => {
		const loop = router();
		expect([loop(1, 0), loop(3, 2_000), loop(6, 3_000)]).toEqual([2, 4, 7]);
		const poller = router();
		expect([poller(1, 0), poller(3, 20_000), poller(6, 60_000)]).toEqual([2, 2, 2]);
	});

	test("what comes first with a long history is at its second round: nobody knows how it came to that", () => {
		const call = router();
		expect([call(9, 0), call(10, 0)]).toEqual([2, 3]);
	});
});

describe("what threads know together", () => {
	const whose = { keyId: "k", key: "team", session: "s", model: "fast", conversation: "c" };
	const rules = { rounds: 3, pauseMs: PAUSE, action: "warn" } as const;
	const views = () => {
		const memory = makeRunaways();
		const clock = { now: 0, wall: 1_000_000 };
		const view = (thread: number) =>
			new Runaways(
				memory,
				thread,
				() => clock.now,
				() => clock.wall,
			);
		return { clock, one: view(1), other: view(2) };
	};
	const seen = (view: Runaways, count: number, more: object = {}) =>
		view.seen({ ...whose, call: `req_${count}`, repeated: { count, distinct: 1, run: 7n }, ...more }, rules);

	test("is one circle, wherever its calls come; news at its third round and at twice as many", () => {
		const { one, other } = views();
		const told = [1, 2, 3, 4, 5].map((count) => {
			const { id, rounds, isNews } = seen(count % 2 ? one : other, count);
			(count % 2 ? other : one).ended(id, count);
			return [rounds, isNews];
		});
		expect(told).toEqual([
			[2, false],
			[3, true],
			[4, false],
			[5, false],
			[6, true],
		]);
		expect(other.list().loops).toMatchObject([{ key: "team", session: "s", rounds: 6, action: "warn", call: "req_5" }]);
	});

	test("another key's, another conversation's and another run's are others", () => {
		const { one } = views();
		for (const more of [
			{},
			{ keyId: "other" },
			{ conversation: "d" },
			{ repeated: { count: 2, distinct: 1, run: 8n } },
		]) {
			expect(seen(one, 2, more).rounds).toBe(2);
		}
	});

	test("holds no word of the session's calls, and forgets after an hour, and beyond 500", () => {
		const { one, other, clock } = views();
		seen(one, 1, { conversation: "a secret word" });
		seen(one, 2, { conversation: "a secret word" });
		expect(JSON.stringify(other.list())).not.toContain("secret");
		clock.wall += 3_600_001;
		expect(one.list().loops).toEqual([]);
		for (let at = 0; at < 600; at++) for (const count of [1, 2]) seen(one, count, { conversation: `${at}` });
		expect(other.list().loops.length).toBe(500);
	});

	test("a key with ever more conversations pushes out its own circles, and none of another key's", () => {
		const { one, other } = views();
		const long = "界".repeat(200);
		seen(one, 1, { keyId: "other" });
		// Of so long a name the memory holds fewer.
		for (const model of ["fast", long])
			for (let at = 0; at < 600; at++) seen(one, 1, { conversation: `${model} ${at}`, model, session: long });
		expect(seen(other, 2, { keyId: "other" }).rounds).toBe(3);
	});

	test("a key that spends too fast is so for all, until its time is over", () => {
		const { one, other, clock } = views();
		const fast = { keyId: "k", key: "team", usd: 20, usual: 0.5, action: "stop", until: clock.wall + 60_000 } as const;
		expect([one.fast("k"), one.sped(fast), other.sped(fast)]).toEqual([undefined, true, false]);
		expect([other.fast("k"), other.fast("x"), other.fast(undefined)]).toEqual([fast, undefined, undefined]);
		clock.wall += 60_000;
		expect([other.fast("k"), other.list().keys]).toEqual([undefined, []]);
		one.calmed();
		expect(other.sped(fast)).toBe(true);
	});
});
