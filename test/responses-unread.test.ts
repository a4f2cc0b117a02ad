/** Words, thoughts, and arguments of calls, that become events of a response by their bytes: the same events, in the same order and with the same numbers, as read ones. */
import { describe, expect, test } from "bun:test";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { RouterError } from "../src/errors.ts";
import { joinedPieces, textOf } from "../src/openai/sse.ts";
import { digitsOf, NumberedChunks, NumberedFrame } from "../src/openai/text-chunks.ts";
import type { Json } from "./kit/exchange.ts";
import { type Random, random } from "./kit/random.ts";
import { responseEvents } from "./kit/response-events.ts";
import { callChunk, callOf, chunk, fn, ROLE, readStream, written } from "./kit/responses.ts";

const TEXTS = [
	"a",
	" word",
	'"',
	"\\",
	"\n",
	"\t\u0001",
	"zwölf",
	"你好",
	"🙂",
	"\u2028",
	"}]}",
	'"content":"x"',
	"data: ",
];
const TOOLS = { tools: [fn("f"), fn("g"), { type: "custom", name: "patch" }] };

/** Escapes that a parser takes and few writers use. */
const oddly = (text: string): string => text.replaceAll("a", "\\u0061").replaceAll("/", "\\/");

/** Under one of its names or both, which say the same where the upstream is no strange one. */
function thought(rng: Random): Json {
	const text = rng.pick(TEXTS);
	const other = rng.below(20) === 0 ? "" : text;
	return rng.pick([
		{ reasoning_content: text },
		{ reasoning: text },
		{ content: "", reasoning_content: text, reasoning: other },
		{ content: null, reasoning: other, reasoning_content: text },
	]);
}

/** One stream, its events apart: runs of words and of arguments, and what may come between them. */
function chat(rng: Random): string[] {
	const events = [ROLE];
	let calls = 0;
	for (let runs = 1 + rng.below(6); runs > 0; runs--) {
		const length = rng.pick([1, 3, 12, 110]);
		switch (rng.below(7)) {
			case 0:
				for (let nth = 0; nth < length; nth++) events.push(chunk(thought(rng)));
				break;
			case 1:
				events.push(
					rng.pick([": comment\n\n", chunk({}), chunk({ content: "" }), chunk({ refusal: rng.pick(TEXTS) })]),
				);
				break;
			case 2: {
				const logprobs = { content: [{ token: "b", logprob: -1, bytes: null, top_logprobs: [] }] };
				events.push(chunk({ content: "b" }, null, { logprobs }));
				break;
			}
			case 3: {
				const at = calls++;
				events.push(callChunk(at, `id_${at}`, rng.pick(["f", "g", "patch"]), ""));
				const args = JSON.stringify({ input: Array.from({ length }, () => rng.pick(TEXTS)).join("") });
				const size = 1 + rng.below(9);
				for (let from = 0; from < args.length; from += size)
					events.push(callChunk(at, undefined, undefined, args.slice(from, from + size)));
				break;
			}
			default:
				for (let nth = 0; nth < length; nth++) {
					const event = chunk({ content: rng.pick(TEXTS) });
					events.push(rng.below(9) === 0 ? event.replace(/"content":"[^"\\]*"/, oddly) : event);
				}
		}
	}
	return [...events, chunk({}, rng.pick(["stop", "length", "tool_calls"]))];
}

/** The same events, several to a piece. */
function pieces(rng: Random, events: readonly string[]): string[] {
	const cut: string[] = [];
	const most = rng.pick([1, 4, 500]);
	for (let at = 0; at < events.length; ) {
		const next = at + 1 + rng.below(most);
		cut.push(events.slice(at, next).join(""));
		at = next;
	}
	return cut;
}

const inBytes = (sent: readonly string[]): Buffer[] => sent.map((piece) => Buffer.from(piece));

test("whatever a stream holds, and however its events are cut, its bytes say what its text does", () => {
	for (let seed = 0; seed < 400; seed++) {
		const rng = random(seed);
		const events = chat(rng);
		const expected = written(events, TOOLS);
		expect([seed, written(inBytes(pieces(rng, events)), TOOLS)]).toEqual([seed, expected]);
		responseEvents(expected);
	}
});

test("one that breaks off fails with what was said, read or not", () => {
	const error = new RouterError("upstream_truncated", "box broke off.");
	for (let seed = 0; seed < 100; seed++) {
		const rng = random(seed);
		const events = chat(rng).slice(0, -1 - rng.below(20));
		if (events.length === 0) continue;
		const sent = written(inBytes(pieces(rng, events)), TOOLS, error);
		expect([seed, sent]).toEqual([seed, written(events, TOOLS, error)]);
	}
});

test("a conversation is put in short by one item, however its words come", () => {
	const words = Array.from({ length: 40 }, (_, at) => chunk({ content: ` "${at}"` }));
	const body: Json = { input: [{ role: "user", content: "Hi" }, { type: "compaction_trigger" }] };
	const events = [ROLE, ...words, chunk({}, "stop")];
	const expected = written(events, body);
	expect(written([Buffer.from(events.join(""))], body)).toBe(expected);
	expect(responseEvents(expected).response["output"]).toMatchObject([{ type: "compaction" }]);
});

test("what is no UTF-8 is mended in the words and at their end", () => {
	const words = Array.from({ length: 5 }, () => chunk({ content: " word" }));
	const bytes = Buffer.from([ROLE, ...words, chunk({}, "stop")].join(""));
	bytes[bytes.lastIndexOf("word")] = 0xff;
	const { response, events } = readStream([bytes]);
	const text = " word word word word \uFFFDord";
	expect(response["output"][0].content[0].text).toBe(text);
	expect(events.map(({ delta }) => delta ?? "").join("")).toBe(text);
});

test("a surrogate whose halves come in two events is one character at the end", () => {
	const half = (written: string) => chunk({ content: "x" }).replace('"content":"x"', `"content":"${written}"`);
	const events = [ROLE, chunk({ content: "a" }), chunk({ content: "b" }), half("\\ud83d"), half("\\ude42")];
	for (const sent of [events, [events.join("")], inBytes(events), [Buffer.from(events.join(""))]]) {
		const { response } = readStream([...sent, chunk({}, "stop")]);
		expect(response["output"][0].content[0].text).toBe("ab🙂");
	}
});

test("nobody's memory is written to: a stream's bytes stay as they came", () => {
	const bytes = Buffer.from([ROLE, ...Array.from({ length: 30 }, () => chunk({ content: " word" }))].join(""));
	const before = bytes.toString();
	const first = openAiResponses.stream(callOf()).push(bytes);
	const copy = textOf(first);
	openAiResponses.stream(callOf()).push(bytes);
	expect([bytes.toString(), textOf(first)]).toEqual([before, copy]);
});

describe("events are numbered one after the other", () => {
	const naive = (first: number, texts: readonly string[]) =>
		texts.map((text, at) => `é{"n":${first + at},"t":"${text}"}\n`).join("");
	const texts = Array.from({ length: 120 }, (_, at) => TEXTS[at % TEXTS.length]!);
	const bytes = Buffer.from(texts.join("|"));
	const spans = new Int32Array(2 * texts.length);
	let at = 0;
	for (const [nth, text] of texts.entries()) {
		spans[2 * nth] = at;
		at += Buffer.byteLength(text);
		spans[2 * nth + 1] = at++;
	}
	const size = bytes.length - texts.length + 1;

	test.each([0, 1, 8, 9, 10, 95, 99, 100, 890, 999, 99_950, 2 ** 31])("from %d on", (first) => {
		const frame = new NumberedFrame('é{"n":', ',"t":"', '"}\n');
		const chunks = () => new NumberedChunks(bytes, spans, size, frame, first);
		// A frame is asked again, for other numbers.
		const other = new NumberedChunks(bytes, spans.slice(0, 2), spans[1]! - spans[0]!, frame, 7);
		const sent = joinedPieces("", [chunks(), other, "é", chunks()]);
		expect(textOf(sent)).toBe(`${naive(first, texts)}${naive(7, texts.slice(0, 1))}é${naive(first, texts)}`);
		expect(digitsOf(first, 120)).toBe(texts.map((_, nth) => String(first + nth)).join("").length);
	});
});
