/** What is learned from calls that are over, and reserved for those that say nothing of themselves. */
import { describe, expect, spyOn, test } from "bun:test";
import { LearnedUsage, type LearnedView } from "../src/accounts/usage/learned-usage.ts";
import { makeLearned, SharedLearnedUsage } from "../src/accounts/usage/shared-learned-usage.ts";
import { SharedBlocks } from "../src/memory/shared-blocks.ts";
import { Death } from "./kit/dying-blocks.ts";

/** Two threads' views as if they were one: each step is the other one's. */
function alternating(): LearnedView {
	const memory = makeLearned();
	const views = [1, 2].map((thread) => new SharedLearnedUsage(memory, thread, () => 0));
	let steps = 0;
	return {
		get isAsked() {
			return views[steps++ % 2]!.isAsked;
		},
		of: (key, model) => views[steps++ % 2]!.of(key, model),
	};
}

const KINDS: [name: string, make: () => LearnedView][] = [
	["one thread", () => new LearnedUsage()],
	["two threads, by turns", alternating],
];

describe.each(KINDS)("learned by %s:", (_, make) => {
	const learned = (values: number[], key = "a") => {
		const usage = make();
		for (const answer of values) usage.of(key, "m").learn({ answer, surplus: answer / 1000 });
		return usage;
	};

	describe("the length of answers", () => {
		test("is not known before 8 are", () => {
			expect(learned(Array(7).fill(100)).of("a", "m").answerTokens).toBeUndefined();
			expect(learned(Array(8).fill(100)).of("a", "m").answerTokens).toBe(100);
		});

		test("is not moved by one long answer in ten, and is by many", () => {
			expect(learned([...Array(15).fill(100), 30_000]).of("a", "m").answerTokens).toBe(100);
			expect(learned([...Array(12).fill(100), ...Array(4).fill(30_000)]).of("a", "m").answerTokens).toBe(30_000);
		});

		test("follows the last 64", () => {
			expect(learned([...Array(64).fill(30_000), ...Array(64).fill(50)]).of("a", "m").answerTokens).toBe(50);
		});

		test("is that of the key where it is known, else of all keys by that model, and of no other model", () => {
			const usage = learned(Array(8).fill(100));
			for (let at = 0; at < 8; at++) usage.of("b", "m").learn({ answer: 900 });
			expect([usage.of("a", "m").answerTokens, usage.of("b", "m").answerTokens]).toEqual([100, 900]);
			expect(usage.of("c", "m").answerTokens).toBe(900);
			expect(usage.of("a", "other").answerTokens).toBeUndefined();
		});

		test("is not learned from what is no number", () => {
			const usage = learned(Array(8).fill(100));
			for (let at = 0; at < 64; at++)
				usage.of("a", "m").learn({ answer: Number.NaN, surplus: Number.POSITIVE_INFINITY });
			expect([usage.of("a", "m").answerTokens, usage.of("a", "m").surplus]).toEqual([100, 0.1]);
		});
	});

	test("what calls cost above their reserve is nothing until it is known", () => {
		expect(learned([]).of("a", "m").surplus).toBe(0);
		expect(learned(Array(8).fill(100)).of("a", "m").surplus).toBe(0.1);
		expect(learned(Array(8).fill(100)).of("b", "m").surplus).toBe(0.1);
	});

	test("is wanted by all once one limit has asked", () => {
		const usage = make();
		expect(usage.isAsked).toBe(false);
		usage.of("a", "m");
		expect([usage.isAsked, usage.isAsked]).toEqual([true, true]);
	});
});

test.each([0, 1, 2, 3])("a thread that dies with %i parts of a name made leaves it to be made anew", (parts) => {
	const memory = makeLearned();
	const [main, one] = [0, 1].map((thread) => new SharedLearnedUsage(memory, thread, () => 0));
	const { addPart } = SharedBlocks.prototype;
	let left = parts;
	using _dying = spyOn(SharedBlocks.prototype, "addPart").mockImplementation(function (this: SharedBlocks, ...all) {
		if (left-- === 0) throw new Death();
		return addPart.apply(this, all);
	});
	expect(() => one!.of("a", "m").learn({ answer: 7 })).toThrow(Death);
	main!.freed(1);
	const figures = main!.of("a", "m");
	for (const answer of [30_000, 50]) for (let at = 0; at < 64; at++) figures.learn({ answer, surplus: answer / 1000 });
	// What all keys together come to is something else.
	for (let at = 0; at < 64; at++) main!.of("b", "m").learn({ answer: 900, surplus: 9 });
	expect([figures.answerTokens, figures.surplus]).toEqual([50, 0.05]);
});

test("names that clients make up are let go, the oldest first", () => {
	const usage = new LearnedUsage(10);
	const learn = (model: string) => {
		for (let at = 0; at < 8; at++) usage.of("a", model).learn({ answer: 5 });
	};
	for (let at = 0; at < 100; at++) learn(`model-${at}`);
	expect(usage.of("a", "model-0").answerTokens).toBeUndefined();
	expect(usage.of("a", "model-99").answerTokens).toBe(5);
});

test("of more names than threads have room for those that were not used for longest are let go", () => {
	const memory = makeLearned();
	let now = 0;
	const [one, two] = [1, 2].map((thread) => new SharedLearnedUsage(memory, thread, () => now)) as [
		SharedLearnedUsage,
		SharedLearnedUsage,
	];
	const learn = (model: string) => {
		now++;
		for (let at = 0; at < 8; at++) [one, two][at % 2]!.of("a", model).learn({ answer: 5 });
	};
	for (let at = 0; at < 12_000; at++) learn(`model-${at}`);
	const known = Array.from({ length: 12_000 }, (_, at) => one.of("a", `model-${at}`).answerTokens !== undefined);
	const [early, late] = [known.slice(0, 6_000), known.slice(-500)].map((all) => all.filter(Boolean).length);
	expect(late).toBeGreaterThan(490);
	expect(early!).toBeLessThan(600);
	expect(two.of("b", "model-11999").answerTokens).toBe(5);
});
