/** Words of streams reach clients of the Messages API as they were, whether they were parsed on the way or not. */
import { expect, test } from "bun:test";
import { MessagesStream } from "../src/dialects/anthropic-messages/messages-stream.ts";
import { ContentTemplate } from "../src/dialects/content-template.ts";
import { type Json, namedEvents } from "./kit/exchange.ts";

const chunk = (delta: Json, more: Json = {}) =>
	`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, logprobs: null, finish_reason: null }], ...more })}\n\n`;
const WORDS = [
	"plain",
	' "quoted" ',
	"back\\slash",
	"ends with \\",
	'\\"',
	"line\nend\r\n",
	"\u2028\u2029\u0000",
	"你好 🙂",
	'"content":"no"',
	'"},"finish_reason":"stop"}]}',
	"",
	"data: x\n\nevent: error",
	"\ud83d",
];
const write = (pieces: readonly (string | Uint8Array)[]) => {
	const stream = new MessagesStream({ id: "req_1", facts: { model: "m" } } as never);
	const sent = pieces.map((piece) => stream.push(piece)).join("");
	const end = stream.end({ provider: "p", model: "m", attempts: 1 });
	const events = namedEvents(sent + end);
	return events.map(({ delta }) => delta?.text ?? "").join("");
};
const wellFormed = (text: string) => text.toWellFormed();

test("whatever they are, and however they are put together", () => {
	const chunks = [...WORDS, ...WORDS].map((content) => chunk({ content }));
	const said = wellFormed([...WORDS, ...WORDS].join(""));
	const start = chunk({ role: "assistant", content: "" });
	expect(wellFormed(write([start, ...chunks]))).toBe(said);
	expect(wellFormed(write([start + chunks.join("")]))).toBe(said);
	expect(wellFormed(write([Buffer.from(start), ...chunks.map((each) => Buffer.from(each))]))).toBe(said);
	for (const size of [2, 3, 5]) {
		const pieces = Array.from({ length: Math.ceil(chunks.length / size) }, (_, at) =>
			chunks.slice(at * size, at * size + size).join(""),
		);
		expect(wellFormed(write([start, ...pieces]))).toBe(said);
	}
});

test("where each chunk says something else beside them", () => {
	const chunks = WORDS.map((content, index) =>
		chunk({ content }, { obfuscation: "x".repeat(index), service_tier: null }),
	);
	expect(wellFormed(write(chunks))).toBe(wellFormed(WORDS.join("")));
});

test("where servers write spaces, and lines that end with CR", () => {
	const spaced = (text: string) => text.replaceAll('":', '": ').replaceAll(',"', ', "');
	const words = ["one ", "two ", "three"];
	expect(write(words.map((content) => spaced(chunk({ content }))))).toBe(words.join(""));
	expect(write(words.map((content) => chunk({ content }).replaceAll("\n", "\r\n")))).toBe(words.join(""));
	expect(write([`${words.map((content) => chunk({ content })).join("")}: a comment\n\n`, "data: [DONE]\n\n"])).toBe(
		words.join(""),
	);
});

test("an event that differs in more than its words is not taken for one that differs in them", () => {
	const template = new ContentTemplate();
	expect(template.matches(chunk({ content: "a" }), 0)).toBe(false);
	template.learn(chunk({ content: "a" }), "a");
	expect(template.matches(chunk({ content: "b" }), 0)).toBe(true);
	expect(template.literal).toBe('"b"');
	for (const other of [
		chunk({ content: "b", tool_calls: [] }),
		chunk({ content: ["b"] }),
		chunk({ reasoning: "b" }),
		chunk({ content: "b" }).replace('"finish_reason":null', '"finish_reason":"stop"'),
		chunk({ content: "b" }).slice(0, -4),
		chunk({ content: "b" }, { usage: {} }),
	]) {
		expect(template.matches(other, 0)).toBe(false);
	}
});

test.each([
	["one index for all", 0],
	["no index", undefined],
])("calls of a server that says %s stay apart, each under its name", (_, index) => {
	const piece = (call: Json) => chunk({ tool_calls: [{ ...(index === undefined ? {} : { index }), ...call }] });
	const stream = new MessagesStream({ id: "req_1", facts: { model: "m" } } as never);
	const pieces = [
		piece({ id: "a", function: { name: "", arguments: "" } }),
		piece({ function: { name: "f", arguments: '{"n":' } }),
		piece({ id: "a", function: { name: "f", arguments: "1}" } }),
		piece({ id: "b", function: { name: "g", arguments: "" } }),
		piece({ id: "c", function: { name: "h", arguments: "{}" } }),
	];
	const sent = pieces.map((each) => stream.push(each)).join("");
	const events = namedEvents(sent + stream.end({ provider: "p", model: "m", attempts: 1 }));
	const blocks = events.filter(({ type }) => type === "content_block_start").map(({ content_block: block }) => block);
	expect(blocks).toMatchObject([
		{ id: "a", name: "f" },
		{ id: "b", name: "g" },
		{ id: "c", name: "h" },
	]);
	const inputs = ["", "", ""];
	for (const { index, delta } of events) if (delta?.partial_json) inputs[index] += delta.partial_json;
	expect(inputs).toEqual(['{"n":1}', "", "{}"]);
});
