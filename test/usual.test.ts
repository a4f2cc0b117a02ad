/** What is learned from calls that are over, and reserved for those that say nothing of themselves. */
import { describe, expect, test } from "bun:test";
import { UsualCalls } from "../src/gate/usual.ts";

const learned = (values: number[], key = "a") => {
	const usual = new UsualCalls();
	for (const answer of values) usual.learn(key, "m", { answer, surplus: answer / 1000 });
	return usual;
};

describe("the length of answers", () => {
	test("is not known before 8 are", () => {
		expect(learned(Array(7).fill(100)).answerTokens("a", "m")).toBeUndefined();
		expect(learned(Array(8).fill(100)).answerTokens("a", "m")).toBe(100);
	});

	test("is not moved by one long answer in ten, and is by many", () => {
		expect(learned([...Array(15).fill(100), 30_000]).answerTokens("a", "m")).toBe(100);
		expect(learned([...Array(12).fill(100), ...Array(4).fill(30_000)]).answerTokens("a", "m")).toBe(30_000);
	});

	test("follows the last 64", () => {
		expect(learned([...Array(64).fill(30_000), ...Array(64).fill(50)]).answerTokens("a", "m")).toBe(50);
	});

	test("is that of the key where it is known, else of all keys by that model, and of no other model", () => {
		const usual = learned(Array(8).fill(100));
		for (let at = 0; at < 8; at++) usual.learn("b", "m", { answer: 900 });
		expect([usual.answerTokens("a", "m"), usual.answerTokens("b", "m")]).toEqual([100, 900]);
		expect(usual.answerTokens("c", "m")).toBe(900);
		expect(usual.answerTokens("a", "other")).toBeUndefined();
	});

	test("is not learned from what is no number", () => {
		const usual = learned(Array(8).fill(100));
		for (let at = 0; at < 64; at++) usual.learn("a", "m", { answer: Number.NaN, surplus: Number.POSITIVE_INFINITY });
		expect([usual.answerTokens("a", "m"), usual.surplus("a", "m")]).toEqual([100, 0.1]);
	});
});

test("what calls cost above their reserve is nothing until it is known", () => {
	expect(learned([]).surplus("a", "m")).toBe(0);
	expect(learned(Array(8).fill(100)).surplus("a", "m")).toBe(0.1);
	expect(learned(Array(8).fill(100)).surplus("b", "m")).toBe(0.1);
});

test("names that clients make up are let go, the oldest first", () => {
	const usual = new UsualCalls(10);
	const learn = (model: string) => {
		for (let at = 0; at < 8; at++) usual.learn("a", model, { answer: 5 });
	};
	for (let at = 0; at < 100; at++) learn(`model-${at}`);
	expect(usual.answerTokens("a", "model-0")).toBeUndefined();
	expect(usual.answerTokens("a", "model-99")).toBe(5);
});
