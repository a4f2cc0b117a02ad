/** What goes into a span of what a call asks and is answered, by the schemas of OpenTelemetry's conventions for generative AI. */
import { describe, expect, test } from "bun:test";
import { SentRecord } from "../src/openai/sent-so-far.ts";
import { inputContents, withOutput } from "../src/telemetry/otel/span-contents.ts";
import type { Loose } from "./kit/exchange.ts";

const input = (request: Record<string, unknown>) => {
	const { input, isCut } = inputContents(request);
	return [JSON.parse(input!), isCut];
};
const output = (answer: object | string, isAnswered = true) => {
	const text = typeof answer === "string" ? answer : JSON.stringify(answer);
	const { output, isCut } = withOutput({ isCut: false }, text, isAnswered);
	return [output && JSON.parse(output), isCut];
};
const streamed = (chunks: readonly object[], isAnswered: boolean) => {
	const sent = new SentRecord();
	for (const chunk of chunks) sent.add(`data: ${JSON.stringify(chunk)}\n\n`);
	const { output, isCut } = withOutput({ isCut: false }, sent.soFar(), isAnswered);
	return [output && JSON.parse(output), isCut];
};
const text = (content: string) => ({ type: "text", content });
/** A part of a request's message. */
const textPart = (each: string) => ({ type: "text", text: each });

test("an answer that is no JSON, or a stream of several choices, is left out", () => {
	expect(output("broken{")).toEqual([undefined, true]);
	const choices = [0, 1].map((index) => ({ index, delta: { content: "x" } }));
	expect(streamed([{ id: "1", choices }], true)).toEqual([undefined, true]);
});

test("a stream that broke off is what was sent of it, and ends with an error; one that never began is none", () => {
	const chunk = { id: "1", choices: [{ index: 0, delta: { content: "half" } }] };
	expect(streamed([chunk], false)).toEqual([
		[{ role: "assistant", parts: [text("half")], finish_reason: "error" }],
		false,
	]);
	expect(streamed([], false)).toEqual([undefined, false]);
});

test("pictures, sound and files are left out, and said to be; addresses of pictures stay", () => {
	const content = [
		{ type: "text", text: "look" },
		{ type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0" } },
		{ type: "image_url", image_url: { url: "https://example.com/a.png" } },
		{ type: "input_audio", input_audio: { data: "UklGRg", format: "wav" } },
		{ type: "file", file: { file_data: "data:application/pdf;base64,JVBERi0" } },
	];
	expect(input({ messages: [{ role: "user", content }] })).toEqual([
		[
			{
				role: "user",
				parts: [
					text("look"),
					{ type: "left_out", kind: "image_url" },
					{ type: "uri", modality: "image", uri: "https://example.com/a.png" },
					{ type: "left_out", kind: "input_audio" },
					{ type: "left_out", kind: "file" },
				],
			},
		],
		true,
	]);
});

test("a message that is too long by itself has its last parts alone", () => {
	const content = Array.from({ length: 4 }, (_, at) => ({ type: "text", text: `${at}${"x".repeat(3_000)}` }));
	const [messages, isCut] = input({ messages: [{ role: "user", content }] });
	expect([messages[0].parts.map((part: { content: string }) => part.content[0]), isCut]).toEqual([["2", "3"], true]);
});

describe("an attribute is never longer than its bound, and says that something is missing, for", () => {
	const long = "x".repeat(3_000_000);
	const escaped = "\u0001".repeat(4_000);
	const called = (id: string, name: string, args: unknown) => ({
		messages: [{ role: "assistant", tool_calls: [{ id, function: { name, arguments: args } }] }],
	});
	test.each<[what: string, request: object, begins: (part: Loose) => unknown, expected: unknown]>([
		["a role", { messages: [{ role: long, content: "hi" }] }, (part) => part, text("hi")],
		["a text of escapes", { messages: [{ role: "user", content: escaped }] }, (part) => part.content[0], "\u0001"],
		[
			"a tool's response of escapes",
			{ messages: [{ role: "tool", tool_call_id: long, content: escaped }] },
			(part) => part.response[0].content[0],
			"\u0001",
		],
		[
			"a tool's response of many texts",
			{
				messages: [
					{ role: "tool", tool_call_id: "1", content: ["a", "b", "c"].map((each) => textPart(each.repeat(4_000))) },
				],
			},
			(part) => part.response.map(({ content }: Loose) => content[0]),
			["b", "c"],
		],
		["a tool's name and id", called(long, long, "{}"), (part) => [part.name.length, part.id.length], [257, 257]],
		["arguments of escapes", called("1", "f", escaped), (part) => part.arguments[0], "\u0001"],
		["arguments of long numbers", called("1", "f", `[${"1e20,".repeat(800)}1]`), (part) => part.arguments.at(-1), "…"],
		["arguments that are no text", called("1", "f", { path: long }), (part) => part.arguments.slice(0, 9), '{"path":"'],
		["the end of a prompt", { prompt: "a", suffix: escaped }, (part) => part.content[0], "\u0001"],
	])("%s", (_, request, begins, expected) => {
		const { input, isCut } = inputContents(request as Loose);
		expect(input!.length).toBeWithin(10, 8_193);
		const [{ role, parts }] = JSON.parse(input!);
		expect([role.length <= 41, isCut, begins(parts[0])]).toEqual([true, true, expected]);
	});

	test("the reason for which an answer ended", () => {
		const [whole, isCut] = output({ choices: [{ index: 0, message: { content: "hi" }, finish_reason: long }] });
		expect([whole[0].parts, whole[0].finish_reason, isCut]).toEqual([[text("hi")], `${"x".repeat(40)}…`, true]);
		const delta = { content: "hi" };
		const [[sent], isStreamCut] = streamed([{ id: "1", choices: [{ index: 0, delta, finish_reason: long }] }], true);
		expect([sent.parts, sent.finish_reason, isStreamCut]).toEqual([[text("hi")], `${"x".repeat(40)}…`, true]);
	});
});

test("a text of half characters stays well-formed JSON", () => {
	const [messages, isCut] = input({ messages: [{ role: "user", content: "😀".repeat(4_096) }] });
	expect([messages[0].parts[0].content.isWellFormed(), isCut]).toEqual([true, true]);
});

test("a conversation with tools has its calls and what they gave", () => {
	const call = { id: "call_1", type: "function", function: { name: "look", arguments: '{"path":"/a"}' } };
	const messages = [
		{ role: "developer", content: "Be short." },
		{ role: "user", content: "Look." },
		{ role: "assistant", content: null, reasoning_content: "Hm.", tool_calls: [call] },
		{ role: "tool", tool_call_id: "call_1", content: "nothing" },
	];
	const called = { type: "tool_call", id: "call_1", name: "look", arguments: { path: "/a" } };
	expect(input({ messages })).toEqual([
		[
			{ role: "system", parts: [text("Be short.")] },
			{ role: "user", parts: [text("Look.")] },
			{ role: "assistant", parts: [{ type: "reasoning", content: "Hm." }, called] },
			{ role: "tool", parts: [{ type: "tool_call_response", id: "call_1", response: [text("nothing")] }] },
		],
		false,
	]);
	const answer = { choices: [{ index: 0, message: { tool_calls: [call] }, finish_reason: "tool_calls" }] };
	const said = [[{ role: "assistant", parts: [called], finish_reason: "tool_call" }], false];
	expect(output(answer)).toEqual(said);
	const delta = { tool_calls: [{ index: 0, ...call }] };
	expect(streamed([{ id: "1", choices: [{ index: 0, delta, finish_reason: "tool_calls" }] }], true)).toEqual(said);
});

test("the only call of a message that older clients and upstreams have is one of a tool", () => {
	const message = { role: "assistant", content: null, function_call: { name: "look", arguments: '{"path":"/a"}' } };
	const parts = [{ type: "tool_call", id: "", name: "look", arguments: { path: "/a" } }];
	expect(input({ messages: [message] })).toEqual([[{ role: "assistant", parts }], false]);
	expect(output({ choices: [{ index: 0, message, finish_reason: "function_call" }] })).toEqual([
		[{ role: "assistant", parts, finish_reason: "tool_call" }],
		false,
	]);
});

test("what a model refused before is there; sound and pictures that it made are left out, and said to be", () => {
	expect(input({ messages: [{ role: "assistant", refusal: "No.", audio: null, images: [] }] })).toEqual([
		[{ role: "assistant", parts: [text("No.")] }],
		false,
	]);
	const message = { role: "assistant", content: "Here.", audio: { id: "audio_1" }, images: [{ type: "image_url" }] };
	const parts = [text("Here."), { type: "left_out", kind: "audio" }, { type: "left_out", kind: "images" }];
	expect(input({ messages: [message] })).toEqual([[{ role: "assistant", parts }], true]);
});

test("prompts of text completions are their user's, with what is to follow; of tokens there is no text, and that is said", () => {
	expect(input({ prompt: "a", suffix: "z" })).toEqual([
		[{ role: "user", parts: [text("a"), { type: "suffix", content: "z" }] }],
		false,
	]);
	expect(input({ prompt: ["a", "b"] })).toEqual([
		[
			{ role: "user", parts: [text("a")] },
			{ role: "user", parts: [text("b")] },
		],
		false,
	]);
	const tokens = { role: "user", parts: [{ type: "left_out", kind: "token_ids" }] };
	expect(input({ prompt: [1, 2, 3] })).toEqual([[tokens], true]);
	expect(input({ prompt: [[1, 2], "b"] })).toEqual([[tokens, { role: "user", parts: [text("b")] }], true]);
});
