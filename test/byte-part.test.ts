/** Parts of bytes that are handed on: small ones as copies, large ones as views. */
import { expect, test } from "bun:test";
import { bytePart } from "../src/openai/byte-part.ts";

const bytesOf = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at % 251));

test.each([
	["at the beginning of few bytes", 100, 0, 10],
	["in the midst of few bytes", 100, 7, 93],
	["of no bytes", 100, 50, 50],
	["in the midst of many bytes", 100_000, 700, 1_700],
	["a byte longer than what is copied", 100_000, 700, 1_701],
	["most of many bytes", 100_000, 1, 99_999],
])("a part %s holds the bytes that stand there", (_, length, start, end) => {
	const bytes = bytesOf(length);
	const part = bytePart(bytes, start, end);
	expect(part).toBeInstanceOf(Buffer);
	expect(Buffer.compare(part, bytesOf(length).subarray(start, end))).toBe(0);
});

test("all of the bytes are those themselves", () => {
	const bytes = bytesOf(100);
	expect(bytePart(bytes, 0, 100)).toBe(bytes);
});

test("what is overwritten later changes no small part, and is seen in a large one, of which there is no copy", () => {
	const bytes = bytesOf(10_000);
	const [small, large] = [bytePart(bytes, 10, 20), bytePart(bytes, 10, 9_000)];
	bytes.fill(0);
	expect(small[0]).toBe(10);
	expect(large[0]).toBe(0);
});
