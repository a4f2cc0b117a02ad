/** What stands around a text that is sent on unread: the same as around one that was parsed, whatever the upstream calls its answer and its model. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import { doubleFrame, type EventFrame, eventFrame, TextChunks } from "../src/openai/text-chunks.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import { ChatChunks } from "../src/providers/chat-answer.ts";

const HEADS = [
	["", ""],
	["", "m"],
	["x", ""],
	["x", 'a"'],
	['x"', "m"],
	['"', '"'],
	['a""b', 'c""""d'],
	['","reasoning_content":"","reasoning":""', '{"content":""}'],
] as const;

/** Texts in their frame, one event each. */
function framed(frame: EventFrame, texts: readonly string[]): string {
	const bytes = Buffer.from(texts.join(""));
	const ends: number[] = [0];
	for (const text of texts) ends.push(ends.at(-1)! + Buffer.byteLength(text));
	const spans = Int32Array.from(texts.flatMap((_, at) => [ends[at]!, ends[at + 1]!]));
	const written = new TextChunks(bytes, spans, bytes.length, () => frame);
	const into = Buffer.alloc(written.length);
	written.writeTo(into, 0);
	return into.toString();
}

const TEXTS = ["one", "", "zwölf"];

describe.each(HEADS)("of the answer %j of the model %j", (id, model) => {
	const chunks = new ChatChunks(7);
	chunks.begin(id, model);

	test.each([
		["a text", eventFrame(chunks.textFrame()), (text: string) => chunks.text(text)],
		["a thought", doubleFrame(chunks.reasoningFrame()), (text: string) => chunks.reasoning(text)],
		["arguments", eventFrame(chunks.argsFrame(3)), (text: string) => chunks.args(3, text)],
	])("%s is framed as it is written", (_, frame, write) => {
		expect(framed(frame, TEXTS)).toBe(TEXTS.map(write).join(""));
	});
});

test.each([{ id: "msg_1", model: "m" }, { model: "m" }, { id: "x" }, { id: "", model: "" }, { id: "x", model: 'a"' }])(
	"a thought of Claude's message %j that passes unread is the chunk that a parse makes of it",
	(message) => {
		const call = { body: () => ({ value: { messages: [] }, at: () => undefined }) } as unknown as Call;
		const decoder = new MessageDecoder({} as never, call);
		const delta = (thinking: string) =>
			JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking } });
		const push = (data: string) => decoder.push({ data, raw: "" });
		push(JSON.stringify({ type: "message_start", message }));
		push('{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}');
		push(delta("one"));
		const passed = decoder.passThrough(Buffer.from(`event: content_block_delta\ndata: ${delta("two")}\n\n`), 0);
		const bytes = passed!.bytes!;
		const into = Buffer.alloc(bytes.length);
		(bytes as TextChunks).writeTo(into, 0);
		expect(JSON.parse(into.toString().slice("data: ".length)).choices[0].delta).toEqual({
			reasoning_content: "two",
			reasoning: "two",
		});
	},
);
