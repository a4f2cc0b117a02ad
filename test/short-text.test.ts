/** Messages that are too long for where they are shown: cut between words, and never in what to do. */
import { describe, expect, test } from "bun:test";
import { shortText } from "../src/short-text.ts";

describe("a text that is too long", () => {
	test.each([
		["one two three four", 11, "one two…"],
		["one two three four", 13, "one two three…"],
		["one two three four", 12, "one two…"],
		["one two   three four", 10, "one two…"],
		["x".repeat(30), 10, `${"x".repeat(10)}…`],
		["模型不存在".repeat(10), 7, "模型不存在模型…"],
		["a😀😀😀", 2, "a…"],
	])("%j in %d characters is cut where a word ends: %j", (text, longest, short) =>
		expect(shortText(text, longest)).toBe(short),
	);

	test("is whole where it just fits", () => expect(shortText("one two", 7)).toBe("one two"));

	test("loses words of its reason, and none of what to do", () => {
		const fix = ". What to do: `docker rm -f vllm`, or choose another port";
		const text = `the port is taken by ${"some other program ".repeat(30)}${fix}`;
		const short = shortText(text, 200);
		expect(short).toEndWith(`program some…${fix}`);
		expect(short).toStartWith("the port is taken by some other");
		expect(short.length).toBeLessThanOrEqual(202);
	});

	test("loses the end of what to do only where that alone is too long, and says its reason all the same", () => {
		const short = shortText(`the port is taken. What to do: ${"stop it ".repeat(100)}`, 100);
		expect(short).toMatch(/^the port is taken. What to do: (stop it )+stop( it)?…$/);
		expect(shortText(`${"very ".repeat(100)}bad. What to do: ${"stop it ".repeat(100)}`, 100)).toMatch(
			/^(very )+very…\. What to do: (stop it )+stop( it)?…$/,
		);
	});
});
