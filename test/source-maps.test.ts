/** Errors of an executable are told by the lines of the source. */
import { describe, expect, test } from "bun:test";
import { encode } from "@jridgewell/sourcemap-codec";
import { smallMap } from "../.ci/source-maps.ts";
import { inSource, withPositions } from "../src/source-maps.ts";

/** Two files in a script of two lines: `a.ts` from its lines 1, 2 and 9, then `b.ts` from its line 4. */
const WRITTEN = {
	version: 3,
	sources: ["src/a.ts", "src/b.ts"],
	sourcesContent: ["SOURCE", "SOURCE"],
	names: ["name"],
	mappings: encode([
		[[0], [4, 0, 0, 0], [9, 0, 0, 7, 0], [20, 0, 1, 2], [25, 0, 1, 9], [30, 0, 8, 0]],
		[
			[0, 0, 8, 3],
			[12, 1, 3, 1],
		],
	]),
};
const MAPS = { "main-5e6f7a8b.js": smallMap(WRITTEN) };

describe("a position in a script of an executable", () => {
	test.each([
		["of a script without a map", "    at run (/$bunfs/root/other-5e6f7a8b.js:1:5)"],
		["before anything that comes from a source", "    at run (/$bunfs/root/main-5e6f7a8b.js:1:2)"],
		["of a file of the same name elsewhere", "    at run (/home/root/main-5e6f7a8b.js:1:5)"],
		["of an engine's function", "    at forEach (native)"],
		["without a position", "    at <anonymous>"],
	])("%s stays as it is", (_, frame) => {
		expect(withPositions(frame, MAPS)).toBe(frame);
	});

	test.each([
		["1:5", "src/a.ts:1"],
		["1:12", "src/a.ts:1"],
		["1:21", "src/a.ts:2"],
		["1:31", "src/a.ts:9"],
		["2:1", "src/a.ts:9"],
		["2:13", "src/b.ts:4"],
		["2:999", "src/b.ts:4"],
	])("%s is %s", (position, expected) => {
		for (const script of ["/$bunfs/root/", "file:///$bunfs/root/", "B:\\~BUN\\root\\", "/$bunfs/root/src/store/"]) {
			expect(withPositions(`    at async run (${script}main-5e6f7a8b.js:${position})`, MAPS)).toBe(
				`    at async run (${expected})`,
			);
		}
	});

	test("is told in each line of a stack, which keeps its message", () => {
		const stack =
			"RangeError: at most 5\n    at run (/$bunfs/root/main-5e6f7a8b.js:1:5)\n    at /$bunfs/root/main-5e6f7a8b.js:2:13";
		expect(withPositions(stack, MAPS)).toBe("RangeError: at most 5\n    at run (src/a.ts:1)\n    at src/b.ts:4");
	});
});

test("a map holds one position a line, and neither the source nor names", () => {
	expect(smallMap(WRITTEN)).toEqual({
		sources: ["src/a.ts", "src/b.ts"],
		mappings: encode([
			[[0], [4, 0, 0, 0], [20, 0, 1, 0], [30, 0, 8, 0]],
			[
				[0, 0, 8, 0],
				[12, 1, 3, 0],
			],
		]),
	});
});

test("from source a stack is what the engine says", () => {
	const { stack } = new Error("here");
	expect(inSource(stack!)).toBe(stack!);
});
