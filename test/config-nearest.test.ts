import { describe, expect, test } from "bun:test";
import { didYouMean, nearest } from "../src/config/did-you-mean.ts";

describe("the nearest name", () => {
	test("is none where nothing is close", () => {
		expect(nearest("zebra", ["port", "host"])).toEqual([]);
		expect(nearest("", ["port"])).toEqual([]);
		expect(nearest("ab", ["xy"])).toEqual([]);
		expect(didYouMean("zebra", ["port"])).toBeUndefined();
	});

	test("is not sought for a word so long that seeking costs", () => {
		expect(nearest("a".repeat(129), ["a".repeat(128)])).toEqual([]);
	});

	test("takes a letter left out, added, changed or swapped", () => {
		for (const word of ["prt", "poort", "port1", "prot", "PORT"]) {
			expect(nearest(word, ["host", "port", "config"])).toEqual(["port"]);
		}
	});

	test("lists the closest first, and at most as many as asked for", () => {
		const names = ["gpt-5", "gpt-5-mini", "gpt-4", "gpt-4o"];
		expect(nearest("gpt-5-min", names)[0]).toBe("gpt-5-mini");
		expect(nearest("gpt-5x", names, 2)).toHaveLength(2);
	});

	test("takes a name that goes on where the word ends", () => {
		expect(nearest("qwen3", ["llama", "qwen3-8b-instruct"])).toEqual(["qwen3-8b-instruct"]);
	});

	test("names each candidate once", () => {
		expect(nearest("prt", ["port", "port"])).toEqual(["port"]);
	});
});
