/** Events that go on without a parse become, byte for byte, what a parse would have made of them, however a stream is cut. */
import { expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import { type StreamPiece, textOf } from "../src/openai/sse.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import { ChunkDecoder } from "../src/providers/openai/stream.ts";
import type { StreamDecoder } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Deadline } from "../src/proxy/deadline.ts";
import { EventReader } from "../src/proxy/event-reader.ts";
import { configOf } from "./kit/pipeline.ts";
import { type Random, random } from "./kit/random.ts";

const upstreams = configureUpstreams(configOf(), {});
const upstream = (name: string) => upstreams.find((each) => each.name === name)!;
const asked = { model: "asked", messages: [{ role: "user", content: "hi" }], stream_options: { include_usage: true } };
const call = parseRequest("chat", JSON.stringify(asked)) as Call;

/** Texts as they stand in JSON. */
const TEXTS = [
	"word",
	" and",
	"",
	"é",
	"模型",
	"🙂🙂",
	"\\n\\n",
	'\\"x\\"',
	"a\\\\b",
	"\\/",
	"\\u00e9",
	"\\ud83d",
	"\u2028",
	"\x7f",
];
const BROKEN = ["a\nb", "\\x", "\uFFFD"];
const saying = (rng: Random, from = TEXTS) => Array.from({ length: 1 + rng.below(3) }, () => rng.pick(from)).join("");
const many = <T>(rng: Random, make: () => T): T[] => Array.from({ length: rng.below(12) }, make);

function claudeStream(rng: Random): string {
	const event = (type: string, rest: string) => `event: ${type}\ndata: {"type":"${type}"${rest}}\n\n`;
	const piece = () => {
		const text = saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS);
		const rest = `,"index":${rng.pick([0, 1, 10])},"delta":{"type":"text_delta","text":"${text}"}`;
		return event("content_block_delta", rest + " ".repeat(rng.below(3)));
	};
	const cited = { type: "char_location", cited_text: "c", document_index: 0, start_char_index: 0, end_char_index: 1 };
	const other = () =>
		rng.pick([
			": comment\n\n",
			event("ping", ""),
			event("content_block_delta", ',"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}'),
			event("content_block_delta", `,"index":0,"delta":{"type":"citations_delta","citation":${JSON.stringify(cited)}}`),
		]);
	const blocks = many(rng, () => [
		event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
		...many(rng, () => (rng.below(6) === 0 ? other() : piece())),
		event("content_block_stop", ',"index":0'),
	]);
	return [
		event("message_start", ',"message":{"id":"msg_1","model":"c","usage":{"input_tokens":5,"output_tokens":1}}'),
		...blocks.flat(),
		event("message_delta", ',"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}'),
		event("message_stop", ""),
	].join("");
}

function openaiStream(rng: Random): string {
	const chunk = (delta: string, finish = "null", rest = "") =>
		`data: {"id":"a","choices":[{"index":0,"delta":{${delta}},"finish_reason":${finish}}]${rest}}\n\n`;
	const piece = () => chunk(`"content":"${saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS)}"`);
	const other = () => rng.pick([": comment\n\n", chunk('"reasoning":"hm"'), "event: x\ndata: {}\n\n", "data: {]\n\n"]);
	return [
		chunk('"role":"assistant","content":""'),
		...many(rng, () => (rng.below(6) === 0 ? other() : piece())),
		...many(rng, piece),
		chunk("", '"stop"'),
		'data: {"id":"a","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}\n\n',
		"data: [DONE]\n\n",
	].join("");
}

/** What a client is sent of these reads. */
function sent(decoder: StreamDecoder, reads: readonly Uint8Array[]) {
	const deadline = { touch() {}, abort() {}, clear() {}, within() {}, failure: undefined } as unknown as Deadline;
	const events = { begun() {}, held() {}, firstDelta() {}, finished() {}, comment() {}, keeps() {}, end() {} };
	const body = { read: () => Promise.resolve(undefined) };
	const reader = new EventReader(body, decoder, deadline, events);
	const pieces: StreamPiece[] = [];
	for (const bytes of reads) if (!reader.isOver) pieces.push(reader.take(Buffer.from(bytes)));
	if (!reader.isOver) pieces.push(reader.finish());
	const { failure, tokens, usage, dropped, isOver } = reader;
	const text = pieces
		.map(textOf)
		.join("")
		.replaceAll(/"created":\d+/g, "");
	return { text, failure, tokens, usage, dropped, isOver };
}

test.each([
	["Claude", claudeStream, () => new MessageDecoder(upstream("anthropic"), call)],
	["OpenAI", openaiStream, () => new ChunkDecoder(upstream("openai"), call)],
] as const)("of %s", (_, stream, decoder) => {
	let passed = 0;
	for (let seed = 0; seed < 1500; seed++) {
		const rng = random(seed);
		const bytes = Buffer.from(stream(rng));
		const longest = rng.pick([3, 60, 500, 5000]);
		const reads: Uint8Array[] = [];
		for (let at = 0; at < bytes.length; at = at + reads.at(-1)!.length)
			reads.push(bytes.subarray(at, at + 1 + rng.below(longest)));
		const passing = decoder();
		const parsing = decoder();
		const counting: StreamDecoder = {
			push: (event) => passing.push(event),
			passThrough: (chunk, from) => {
				const taken = passing.passThrough(chunk, from);
				passed += taken?.events ?? 0;
				return taken;
			},
			end: () => passing.end(),
			flush: () => passing.flush(),
		};
		const all: StreamDecoder = {
			push: (event) => parsing.push(event),
			end: () => parsing.end(),
			flush: () => parsing.flush(),
		};
		expect([seed, sent(counting, reads)]).toEqual([seed, sent(all, reads)]);
	}
	expect(passed).toBeGreaterThan(1000);
});
