/** Event streams, cut anywhere: the events are the same. */
import { describe, expect, test } from "bun:test";
import { EventTooLarge, MAX_EVENT, type SseEvent, SseSplitter, sseComment, sseData } from "../src/openai/sse.ts";
import { random } from "./kit/random.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const meaning = ({ data, name }: SseEvent) => (name === undefined ? data : `${name}|${data}`);

/** The events' meaning when the stream arrives in these chunks. Comments and empty events are left out. */
function read(chunks: readonly Uint8Array[]): string[] {
	const splitter = new SseSplitter();
	const events = [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()];
	return events.map(meaning).filter((each) => each !== undefined);
}

/** One stream written with each kind of line ending. */
const STREAM = [
	'data: {"a":"Grüße 你好 🙂"}',
	": a comment",
	'event: error\ndata: {"b":1}',
	"data: two\ndata: lines",
	"data:no space",
	"id: 7\nretry: 10",
	"data: [DONE]",
];
const EVENTS = ['{"a":"Grüße 你好 🙂"}', 'error|{"b":1}', "two\nlines", "no space", "[DONE]"];
const ENDINGS = [
	["LF", "\n"],
	["CRLF", "\r\n"],
	["CR", "\r"],
] as const;
const written = (ending: string) => STREAM.map((event) => `${event}\n\n`.replaceAll("\n", ending)).join("");

describe.each(ENDINGS)("a stream with %s line endings", (_, ending) => {
	const whole = bytes(written(ending));

	test("is read whole", () => expect(read([whole])).toEqual(EVENTS));

	test("cut in two at any byte gives the same events", () => {
		for (let at = 0; at <= whole.length; at++) {
			expect([at, read([whole.slice(0, at), whole.slice(at)])]).toEqual([at, EVENTS]);
		}
	});

	test("that comes byte by byte gives the same events", () => {
		expect(read([...whole].map((byte) => Uint8Array.of(byte)))).toEqual(EVENTS);
	});

	test("gives each event as soon as its blank line is there, also byte by byte", () => {
		const splitter = new SseSplitter();
		const seen = [...bytes(`data: 1${ending}${ending}`)].flatMap((byte) => splitter.push(Uint8Array.of(byte)));
		expect(seen.map(meaning)).toEqual(["1"]);
		expect(splitter.isClean).toBe(true);
	});

	test("cut in many places at random gives the same events", () => {
		for (let seed = 0; seed < 300; seed++) {
			const source = random(seed);
			const chunks: Uint8Array[] = [];
			for (let at = 0; at < whole.length; ) {
				const size = 1 + source.below(9);
				chunks.push(whole.slice(at, at + size), new Uint8Array(0));
				at += size;
			}
			expect([seed, read(chunks)]).toEqual([seed, EVENTS]);
		}
	});

	test("without its last blank line still gives the last event", () => {
		expect(read([bytes(written(ending).trimEnd())])).toEqual(EVENTS);
	});

	test("behind a byte order mark is the same", () => {
		const marked = new Uint8Array([0xef, 0xbb, 0xbf, ...whole]);
		for (const at of [0, 1, 2, 3, 4]) expect(read([marked.slice(0, at), marked.slice(at)])).toEqual(EVENTS);
	});
});

test("what came is given back as it came", () => {
	const text = ': x\n\ndata: {"a":1}\n\ndata: 2\r\n\r\n';
	expect(
		new SseSplitter()
			.push(bytes(text))
			.map(({ raw }) => raw)
			.join(""),
	).toBe(text);
});

test.each([
	["a field that clients of the OpenAI API don't know", "event: e\ndata: 1\n\n", "data: 1\n\n"],
	["fields that would have a browser come back otherwise", "id: 7\nretry: 1\ndata: 1\n\n", "data: 1\n\n"],
	["a line that is no field", "garbage\ndata: 1\n\n", "data: 1\n\n"],
	["an event of such lines only", "garbage\nevent: e\n\n", ""],
	["a comment with one behind it", ": c\ngarbage\n\n", ": c\n\n"],
	["control characters in a comment", ": a\0b\n\n", ": ab\n\n"],
	["lines that end with CR", 'data: {"a":1}\r\r', 'data: {"a":1}\n\n'],
	["a CR inside JSON", 'data: {"a":1,\r"b":2}\n\n', 'data: {"a":1, "b":2}\n\n'],
	["a CR inside a comment", ": a\rdata: 1\n\n", ": a\ndata: 1\n\n"],
	["data over several lines", 'data: {"a":\ndata: 1}\n\n', 'data: {"a": 1}\n\n'],
	["a byte order mark in the middle", "\uFEFFdata: 1\n\n", "data: 1\n\n"],
	["an empty line too many", "\ndata: 1\n\n", "data: 1\n\n"],
	["JSON without a field", '{\n "error": 1\n}\n\n', 'data: {  "error": 1 }\n\n'],
])("%s does not go on", (_, text, sent) => {
	const [event] = new SseSplitter().push(bytes(`data: 0\n\n${text}`)).slice(1);
	expect(event).toMatchObject({ raw: sent, isMended: true });
});

test("bytes that are no UTF-8 are told", () => {
	const splitter = new SseSplitter();
	splitter.push(bytes("data: é\n\n"));
	expect(splitter.isFaithful).toBe(true);
	splitter.push(new Uint8Array([...bytes("data: "), 0xff, ...bytes("\n\n")]));
	expect(splitter.isFaithful).toBe(false);
});

test("isClean says whether a piece of an event is kept back", () => {
	const splitter = new SseSplitter();
	expect(splitter.isClean).toBe(true);
	splitter.push(bytes("data: 1\n\ndata:"));
	expect(splitter.isClean).toBe(false);
	splitter.push(bytes(" 2\n\n"));
	expect(splitter.isClean).toBe(true);
	splitter.push(bytes("data: 3"));
	splitter.end();
	expect(splitter.isClean).toBe(true);
});

test("an event that outgrows the limit is refused, in one chunk or many", () => {
	const half = bytes("x".repeat(MAX_EVENT / 2 + 1));
	const splitter = new SseSplitter();
	splitter.push(half);
	expect(() => splitter.push(half)).toThrow(EventTooLarge);
	expect(() => new SseSplitter().push(bytes("x".repeat(MAX_EVENT + 1)))).toThrow(EventTooLarge);
});

test("many events that together exceed the limit of one are fine", () => {
	const splitter = new SseSplitter();
	const event = bytes(`data: ${"x".repeat(MAX_EVENT / 4)}\n\n`);
	for (let count = 0; count < 6; count++) expect(splitter.push(event).length).toBe(1);
});

test("what is written is read back", () => {
	expect(read([bytes(sseComment("wait") + sseData('{"a":1}'))])).toEqual(['{"a":1}']);
});
