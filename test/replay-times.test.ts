/** What is worked out of answers for replays: how long targets take, and in which order things happen. */
import { describe, expect, test } from "bun:test";
import { linearFit } from "../src/server/replay/linear-fit.ts";
import type { RecordedCall } from "../src/server/replay/recorded-call.ts";
import {
	AllServiceTimes,
	type ObservedAnswer,
	percentile,
	queueTimes,
	serviceTimes,
	type TargetFacts,
} from "../src/server/replay/service-times.ts";
import { TimedEvents } from "../src/server/replay/timed-events.ts";
import { random } from "./kit/random.ts";

const call = { id: "req_1" } as RecordedCall;
const answer = (beganAt: number, firstAt: number | undefined, more: Partial<ObservedAnswer> = {}): ObservedAnswer => ({
	...{ call, beganAt, firstAt, endedAt: (firstAt ?? beganAt) + 100, characters: 1_000, tokensOut: 10 },
	...more,
});

describe("a fit", () => {
	test("of nothing, and of factors that are always 0, is 0", () => {
		expect(linearFit([], [])).toEqual([]);
		expect(linearFit([[0, 0]], [5])).toEqual([0, 0]);
	});

	test("has no factor that saves time: the others are fitted without it", () => {
		const rows = [1, 2, 3, 4].map((each) => [1, each]);
		expect(linearFit(rows, [40, 30, 20, 10])).toEqual([expect.closeTo(25, 3), 0]);
	});

	test("finds what each factor adds", () => {
		const { below } = random(4);
		const rows = Array.from({ length: 200 }, () => [1, below(1_000), below(50)]);
		const values = rows.map(([, one, other]) => 12 + 0.5 * one! + 7 * other!);
		const found = linearFit(rows, values);
		for (const [at, each] of [12, 0.5, 7].entries()) expect(found[at]).toBeCloseTo(each, 1);
	});
});

describe("how long a target takes", () => {
	/** Prompts of 200 to 1,000 characters every 30 ms, 0.05 ms a character: half of them have to wait where they do. */
	function streams(waits: boolean): ObservedAnswer[] {
		const { below } = random(8);
		let free = 0;
		return Array.from({ length: 100 }, (_, nth) => {
			const [beganAt, characters] = [nth * 30, 200 + below(800)];
			free = (waits ? Math.max(beganAt, free) : beganAt) + 5 + characters * 0.05;
			return answer(beganAt, free, { characters, endedAt: free + 80, tokensOut: 10 });
		});
	}

	test("is told from its answers: with a queue where prompts wait for one another, and without", () => {
		for (const waits of [true, false]) {
			const times = serviceTimes([streams(waits)], waits);
			expect(times.isQueue).toBe(waits);
			expect(times.prompt(1_000)).toBeCloseTo(55, 0);
			expect([times.token, times.isGuess]).toEqual([8, false]);
			expect(times.spread.prompt(0.5)).toBeCloseTo(1, 1);
		}
	});

	test("where both explain it as well, an engine is a queue and a vendor is none", () => {
		const apart = [1, 2, 3, 4].map((nth) => answer(nth * 10_000, nth * 10_000 + 50));
		expect([true, false].map((isEngine) => serviceTimes([apart], isEngine).isQueue)).toEqual([true, false]);
	});

	test("a prompt that had its first token before one that came earlier took no time of the queue", () => {
		expect(queueTimes([answer(0, 100), answer(10, 60), answer(120, 130)])).toEqual([100, 0.05, 10]);
	});

	test("of answers that are no streams is told by what was read and written", () => {
		const { below } = random(2);
		const wholes = Array.from({ length: 60 }, (_, nth) => {
			const [characters, tokensOut] = [below(5_000), 1 + below(300)];
			return answer(nth * 50, undefined, {
				characters,
				tokensOut,
				endedAt: nth * 50 + 30 + 0.02 * characters + 9 * tokensOut,
			});
		});
		expect(serviceTimes([wholes], false).whole(1_000, 100)).toBeCloseTo(30 + 20 + 900, 0);
	});

	test("is that of its equals where little was seen of it; else what was told of it, or what others take, as a guess", () => {
		const answers = new Map([
			["a/m", streams(true)],
			["b/m", streams(true).slice(0, 2)],
		]);
		const facts = { isEngine: true, kin: "local m", toldMs: undefined };
		const times = new AllServiceTimes(
			answers,
			new Map<string, TargetFacts>([
				...["a/m", "b/m", "c/m"].map((id) => [id, facts] as const),
				["told/m", { isEngine: false, kin: undefined, toldMs: 321 }],
			]),
		);
		expect(times.of("b/m").prompt(1_000)).toBeCloseTo(55, 0);
		expect(["b/m", "c/m", "told/m", "unknown/m"].map((id) => times.of(id).isGuess)).toEqual([false, true, true, true]);
		expect(times.of("told/m").prompt(9)).toBe(321);
	});
});

test("a percentile is one of the values, of none there is none", () => {
	expect(percentile([], 0.5)).toBeUndefined();
	expect([0.5, 0, 1].map((share) => percentile([3, 1, 2], share)!)).toEqual([2, 1, 3]);
});

test("events come in the order of their times, those of one time in the order in which they were added", () => {
	const { below } = random(6);
	for (let round = 0; round < 50; round++) {
		const events = new TimedEvents();
		const added = Array.from({ length: below(60) }, (_, nth) => ({ at: below(20), nth }));
		const seen: unknown[] = [];
		for (const each of added) events.add(each.at, () => void seen.push(each));
		while (events.next < Number.POSITIVE_INFINITY) events.take()!();
		expect(seen).toEqual([...added].sort((one, other) => one.at - other.at || one.nth - other.nth));
	}
	expect(new TimedEvents().take()).toBeUndefined();
});
