/**
 * What translating costs: `bun test/bench/vendors.ts`. Prints the median of each and the promise it is held to; a busy machine is
 * no fault of the code, so nothing fails by it.
 */

import { parseRequest } from "../../src/dialects/openai-chat.ts";
import type { Call } from "../../src/openai/call.ts";
import { fieldsOf } from "../../src/openai/json.ts";
import { SseSplitter } from "../../src/openai/sse.ts";
import { messagesRequest } from "../../src/providers/anthropic/request.ts";
import { MessageDecoder } from "../../src/providers/anthropic/stream.ts";
import { detailsOf } from "../../src/providers/anthropic/thinking.ts";
import { generateRequest } from "../../src/providers/gemini/request.ts";
import { GenerateDecoder } from "../../src/providers/gemini/stream.ts";
import type { StreamDecoder } from "../../src/providers/provider.ts";
import { configureUpstreams } from "../../src/providers/registry.ts";
import { configOf } from "../kit/pipeline.ts";
import { median } from "./measure.ts";

/** 50 tool turns in 100 KB: a call with arguments, its result, and words between them. */
function history(): string {
	const words = 'The quick brown fox jumps over the lazy dog, and "thinks" — während 你好 🙂. '.repeat(10);
	const messages: object[] = [{ role: "system", content: words }];
	for (let turn = 0; turn < 50; turn++) {
		messages.push(
			{ role: "user", content: words.slice(0, 300) },
			{
				role: "assistant",
				content: words.slice(0, 300),
				tool_calls: [
					{
						id: `toolu_${turn}`,
						type: "function",
						function: { name: "look", arguments: JSON.stringify({ at: words.slice(0, 300), n: turn }) },
					},
				],
			},
			{ role: "tool", tool_call_id: `toolu_${turn}`, content: JSON.stringify({ found: words.slice(0, 700) }) },
		);
	}
	const tools = [
		{
			type: "function",
			function: { name: "look", parameters: { type: "object", properties: { at: { type: "string" } } } },
		},
	];
	return JSON.stringify({ model: "m", messages, tools, reasoning_effort: "high" });
}

function medianMicros(run: () => unknown, rounds: number): number {
	for (let i = 0; i < rounds / 2; i++) run();
	return median(
		Array.from({ length: rounds }, () => {
			const start = performance.now();
			run();
			return (performance.now() - start) * 1000;
		}),
	);
}

const raw = history();
const body = parseRequest("chat", raw).body().value;
const thoughts = JSON.stringify(
	detailsOf([
		{
			block: { type: "thinking", thinking: "x".repeat(300), signature: "s".repeat(400) },
			after: { text: 0, calls: 0 },
		},
	]),
);
const keptThoughts = { media: () => undefined, thinking: () => thoughts };
const keptSignature = { media: () => undefined, thinking: () => "s".repeat(400) };
const line = (name: string, value: number, limit: number) =>
	console.log(
		`${name.padEnd(52)} ${value.toFixed(2).padStart(8)} µs  ${value <= limit ? "ok" : "OVER"} (limit ${limit})`,
	);

console.log(`history: ${(Buffer.byteLength(raw) / 1024).toFixed(0)} KB, ${fieldsOf(raw).length} fields\n`);
line(
	"Anthropic: encode the history",
	medianMicros(() => messagesRequest(body, "claude-opus-4-7", true, keptThoughts).body, 300),
	1000,
);
line(
	"Gemini: encode the history",
	medianMicros(() => generateRequest(body, "gemini-3-flash", "https://g", keptSignature), 300),
	1000,
);

const upstreams = configureUpstreams(configOf(), {});
const upstream = (name: string) => upstreams.find((each) => each.name === name)!;
const asked = { ...body, model: "m", stream_options: { include_usage: true } };
const call = parseRequest("chat", JSON.stringify(asked)) as Call;

/** One chunk: the bytes split into an event, the event read, its chunk written. */
function chunkMicros(decoder: StreamDecoder, first: string, chunk: string): number {
	const splitter = new SseSplitter();
	for (const event of splitter.push(Buffer.from(first))) decoder.push(event);
	const bytes = Buffer.from(chunk);
	const many = 1000;
	return (
		medianMicros(() => {
			for (let i = 0; i < many; i++) for (const event of splitter.push(bytes)) decoder.push(event);
		}, 60) / many
	);
}

const sse = (event: object) => `event: x\ndata: ${JSON.stringify(event)}\n\n`;
const start = sse({
	type: "message_start",
	message: { id: "msg_1", model: "claude-opus-4-7", usage: { input_tokens: 1 } },
});
const text = sse({
	type: "content_block_delta",
	index: 0,
	delta: { type: "text_delta", text: " a few tokens of text" },
});
const args = sse({
	type: "content_block_delta",
	index: 1,
	delta: { type: "input_json_delta", partial_json: ' "at": "a place"' },
});
const piece = `data: ${JSON.stringify({
	candidates: [{ content: { parts: [{ text: " a few tokens of text" }], role: "model" }, index: 0 }],
	usageMetadata: {
		promptTokenCount: 272,
		candidatesTokenCount: 23,
		totalTokenCount: 1409,
		promptTokensDetails: [{ modality: "TEXT", tokenCount: 14 }],
		thoughtsTokenCount: 1114,
	},
	modelVersion: "gemini-3-flash",
	responseId: "PwGzacKDPOmtz7IPmcKhqAM",
})}\r\n\r\n`;
line(
	"Anthropic: a streamed chunk of text",
	chunkMicros(new MessageDecoder(upstream("anthropic"), call), start, text),
	5,
);
line(
	"Anthropic: a streamed chunk of arguments",
	chunkMicros(new MessageDecoder(upstream("anthropic"), call), start, args),
	5,
);
line("Gemini: a streamed chunk of text", chunkMicros(new GenerateDecoder(upstream("gemini"), call), piece, piece), 5);
