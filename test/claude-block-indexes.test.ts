/** Deltas of Claude's blocks by the indexes that an upstream gives these: a few digits pass unread, and nothing is kept for more. */
import { expect, test } from "bun:test";
import { TextDeltas } from "../src/providers/anthropic/text-deltas.ts";

const event = (index: string, text = "one") =>
	`event: content_block_delta\ndata: {"type":"content_block_delta","index":${index},"delta":{"type":"text_delta","text":"${text}"}}\n\n`;

test.each(["12345", "123456789012345678901234567890", "01", "-1", "1.5", "1e3", '"1"', ""])(
	"a delta of the block %s is left to the parser",
	(index) => {
		const deltas = new TextDeltas("text");
		expect(deltas.read(Buffer.from(event(index)), 0)).toBe(0);
		// And those behind it are taken again.
		expect(deltas.read(Buffer.from(event("1")), 0)).toBe(event("1").length);
	},
);

test.each(["0", "9", "10", "1234"])("deltas of the block %s pass unread", (index) => {
	const deltas = new TextDeltas("text");
	const chunk = Buffer.from(event(index) + event(index, "two"));
	expect(deltas.read(chunk, 0)).toBe(chunk.length);
	expect(deltas.textsIn(chunk).toString()).toBe("onetwo");
});
