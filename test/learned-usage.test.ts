/** What is learned from calls that are over, and reserved for those that say nothing of themselves. */
import { describe, expect, test } from "bun:test";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";

const learned = (values: number[], key = "a") => {
	const usage = new LearnedUsage();
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
		for (let at = 0; at < 64; at++) usage.of("a", "m").learn({ answer: Number.NaN, surplus: Number.POSITIVE_INFINITY });
		expect([usage.of("a", "m").answerTokens, usage.of("a", "m").surplus]).toEqual([100, 0.1]);
	});
});

test("what calls cost above their reserve is nothing until it is known", () => {
	expect(learned([]).of("a", "m").surplus).toBe(0);
	expect(learned(Array(8).fill(100)).of("a", "m").surplus).toBe(0.1);
	expect(learned(Array(8).fill(100)).of("b", "m").surplus).toBe(0.1);
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
