/** What goes into a span of what a call asks and is answered, by the schemas of OpenTelemetry's conventions for generative AI. */
import { expect, test } from "bun:test";
import { SentRecord } from "../src/openai/sent-so-far.ts";
import { inputContents, withOutput } from "../src/telemetry/otel/span-contents.ts";

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

test("an answer that is no JSON, or a stream of several choices, is left out", () => {
	expect(output("broken{")).toEqual([undefined, false]);
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

test("prompts of text completions are their user's; of tokens there is no text", () => {
	expect(input({ prompt: ["a", "b"] })).toEqual([
		[
			{ role: "user", parts: [text("a")] },
			{ role: "user", parts: [text("b")] },
		],
		false,
	]);
	expect(input({ prompt: [1, 2, 3] })).toEqual([[], false]);
});
