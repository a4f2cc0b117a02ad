/** Parts of bytes that are handed on: of few bytes copies, of many views. */
import { expect, test } from "bun:test";
import { bytePart } from "../src/openai/byte-part.ts";

const bytesOf = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at % 251));

test.each([
	["at the beginning of few bytes", 100, 0, 10],
	["in the midst of few bytes", 100, 7, 93],
	["of no bytes", 100, 50, 50],
	["of as many bytes as are copied", 1000, 1, 999],
	["of a byte more", 1001, 1, 999],
	["of many bytes", 100_000, 700, 1_700],
])("a part %s holds the bytes that stand there", (_, length, start, end) => {
	const part = bytePart(bytesOf(length), start, end);
	expect(part).toBeInstanceOf(Buffer);
	expect(Buffer.compare(part, bytesOf(length).subarray(start, end))).toBe(0);
});

test("all of the bytes are those themselves", () => {
	const bytes = bytesOf(100);
	expect(bytePart(bytes, 0, 100)).toBe(bytes);
});

test("what is overwritten later changes no part of few bytes, and is seen in one of many, of which there is no copy", () => {
	const [few, many] = [bytesOf(100), bytesOf(10_000)];
	const parts = [bytePart(few, 10, 20), bytePart(many, 10, 20)];
	few.fill(0);
	many.fill(0);
	expect(parts.map(([first]) => first)).toEqual([10, 0]);
});
