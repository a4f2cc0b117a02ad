/** What an answer of any length says of its usage, though no more than its ends are kept. */
import { expect, test } from "bun:test";
import { AnswerEnds } from "../src/openai/answer-ends.ts";

function usageIn(text: string, size = 1000) {
	const ends = new AnswerEnds();
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; at += size) ends.push(bytes.subarray(at, at + size));
	return ends.usage();
}

const counts = {
	input_tokens: 12,
	output_tokens: 4160,
	total_tokens: 4172,
	input_tokens_details: { text_tokens: 12, image_tokens: 0 },
};
const picture = "A".repeat(500_000);

test.each([
	["behind a picture", JSON.stringify({ created: 1, data: [{ b64_json: picture }], usage: counts })],
	["before long results", JSON.stringify({ id: "r", usage: counts, results: [picture] })],
	[
		"in the last event",
		`data: {"b64_json":"${picture}"}\n\ndata: ${JSON.stringify({ type: "image_generation.completed", usage: counts })}\n\n`,
	],
	["with white space", `{ "usage" : ${JSON.stringify(counts, null, 2)} }`],
])("tokens %s are read, cut anywhere", (_, text) => {
	for (const size of [997, 10_000, 1_000_000]) {
		expect(usageIn(text, size).tokens).toMatchObject({ input: 12, output: 4160 });
	}
});

test("the length of a recording is read", () => {
	expect(usageIn('{"text":"Hi","usage":{"type":"duration","seconds":9}}')).toEqual({
		tokens: undefined,
		cost: undefined,
		seconds: 9,
	});
	expect(usageIn('{"task":"transcribe","duration":8.47,"text":"Hi"}').seconds).toBe(8.47);
	expect(usageIn('{"task":"transcribe","duration":"8.47","text":"Hi"}').seconds).toBe(8.47);
});

test.each([
	["nothing", ""],
	["no usage", '{"text":"Hi"}'],
	["usage in a text", JSON.stringify({ text: '"usage":{"input_tokens":5,"output_tokens":5}' })],
	["usage that is no object", '{"usage":null}'],
	["usage that is cut off", '{"usage":{"input_tokens":5'],
	["numbers that are none", '{"usage":{"type":"duration","seconds":-4},"duration":"x"}'],
])("%s says nothing", (_, text) => {
	expect(usageIn(text)).toEqual({ tokens: undefined, cost: undefined, seconds: undefined });
});
