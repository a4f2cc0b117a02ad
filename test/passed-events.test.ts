/** Events that go on without a parse become, byte for byte, what a parse would have made of them, however a stream is cut. */
import { expect, test } from "bun:test";
import { MessagesStream } from "../src/dialects/anthropic-messages/messages-stream.ts";
import type { StreamWriter } from "../src/dialects/dialect.ts";
import { EVENTS, GeminiStream, LIST } from "../src/dialects/gemini/stream.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import { type AnswerPiece, chunksOf, SseSplitter, type StreamPiece, textOf } from "../src/openai/sse.ts";
import { nativeDecoder } from "../src/providers/anthropic/native-stream.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import { nativeGenerateDecoder } from "../src/providers/gemini/native-events.ts";
import { GenerateDecoder } from "../src/providers/gemini/stream.ts";
import { ChunkDecoder } from "../src/providers/openai/stream.ts";
import type { StreamDecoder } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Deadline } from "../src/proxy/deadline.ts";
import { EventReader } from "../src/proxy/event-reader.ts";
import { needing } from "./kit/needing.ts";
import { configOf } from "./kit/pipeline.ts";
import { type Random, random } from "./kit/random.ts";
import { claudeStream, geminiStream, openaiStream, responsesStream } from "./kit/random-streams.ts";
import { recordings } from "./kit/recordings.ts";

const upstreams = configureUpstreams(configOf(), {});
const upstream = (name: string) => upstreams.find((each) => each.name === name)!;
const asked = { model: "asked", messages: [{ role: "user", content: "hi" }], stream_options: { include_usage: true } };
const call = parseRequest("chat", JSON.stringify(asked)) as Call;

/** What a client is sent of these reads. */
function sent(decoder: StreamDecoder, reads: readonly Uint8Array[]) {
	const deadline = { touch() {}, abort() {}, clear() {}, within() {}, failure: undefined } as unknown as Deadline;
	const events = { begun() {}, held() {}, firstDelta() {}, finished() {}, comment() {}, keeps() {}, end() {} };
	const body = { read: () => Promise.resolve(undefined) };
	const reader = new EventReader(body, decoder, deadline, events);
	const pieces: StreamPiece[] = [];
	for (const bytes of reads) if (!reader.isOver) pieces.push(chunksOf(reader.take(Buffer.from(bytes))));
	if (!reader.isOver) pieces.push(chunksOf(reader.finish()));
	const { failure, tokens, last, dropped, isOver } = reader;
	// When it was made is in its events, and two readers may do so in two seconds.
	const timeless = (events: string) => events.replaceAll(/"created":\d+/g, "");
	const text = timeless(pieces.map(textOf).join(""));
	return { text, failure, tokens, usage: last?.usage && timeless(last.usage), dropped, isOver };
}

/** A stream cut somewhere, in pieces of at most some bytes. */
function cut(rng: Random, stream: string): Uint8Array[] {
	const bytes = Buffer.from(stream);
	const longest = rng.pick([3, 60, 500, 5000, 50_000]);
	const reads: Uint8Array[] = [];
	for (let at = 0; at < bytes.length; at = at + reads.at(-1)!.length)
		reads.push(bytes.subarray(at, at + 1 + rng.below(longest)));
	return reads;
}

/** Reads a stream with and without the quick way, and how many events went that way. */
function compare(
	seed: number,
	decoder: () => StreamDecoder,
	reads: readonly Uint8Array[],
	form = (text: string) => text,
): number {
	let passed = 0;
	const passing = decoder();
	const parsing = decoder();
	const counting: StreamDecoder = {
		push: (event) => passing.push(event),
		passThrough: (chunk, from) => {
			const taken = passing.passThrough?.(chunk, from);
			passed += taken?.events ?? 0;
			return taken;
		},
		passedTokens: () => passing.passedTokens?.(),
		end: () => passing.end(),
		flush: () => passing.flush?.() ?? {},
	};
	const all: StreamDecoder = {
		push: (event) => parsing.push(event),
		end: () => parsing.end(),
		flush: () => parsing.flush?.() ?? {},
	};
	const [quick, read] = [sent(counting, reads), sent(all, reads)];
	expect([seed, { ...quick, text: form(quick.text) }]).toEqual([seed, { ...read, text: form(read.text) }]);
	return passed;
}

/** All chunks in one form. */
const rewrittenChunks = (text: string): string =>
	new SseSplitter()
		.push(Buffer.from(text))
		.map(({ data, raw }) => (data?.startsWith("{") ? JSON.stringify(JSON.parse(data.replace(",,", ","))) : raw))
		.join("\n");

const claude = () => new MessageDecoder(upstream("anthropic"), call);
/** Of a client that speaks Responses itself. */
const native = { ...call, responses: { asksForTools: false, own: () => undefined } } as Call;

test.each([
	["Claude", claudeStream, claude],
	["Claude for its own clients", claudeStream, () => nativeDecoder(upstream("anthropic"), call)],
	["OpenAI", openaiStream, () => new ChunkDecoder(upstream("openai"), call)],
	["Responses", responsesStream, () => new ChunkDecoder(upstream("openai"), native)],
	// The same texts may be written otherwise in JSON.
	["Gemini", geminiStream, () => new GenerateDecoder(upstream("gemini"), call)],
] as const)("of %s", (name, stream, decoder) => {
	let passed = 0;
	for (let seed = 0; seed < 1500; seed++) {
		const rng = random(seed);
		passed += compare(seed, decoder, cut(rng, stream(rng)), name === "Gemini" ? rewrittenChunks : undefined);
	}
	expect(passed).toBeGreaterThan(1000);
});

/** Characters that a string may hold beside those that were recorded. */
const ODD = [
	'"',
	"\\",
	"/",
	"\n",
	"\t",
	"\b",
	"\0",
	"\x1f",
	"\x7f",
	"\u2028",
	"é",
	"模",
	"🙂",
	"\ud83d",
	"\udc00",
	"\ufffd",
	"\ufeff",
];

/** JSON of a value as another writer might put it. */
function rewritten(rng: Random, value: unknown): string {
	const space = () => (rng.below(8) === 0 ? " ".repeat(1 + rng.below(2)) : "");
	const text = (of: string) =>
		JSON.stringify(rng.below(3) === 0 ? of + rng.pick(ODD) : of).replace(/[^\\"u\d]/g, (one) => {
			if (rng.below(one === "/" ? 2 : 60) > 0) return one;
			return one === "/" ? "\\/" : `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
		});
	if (typeof value === "string") return text(value);
	if (typeof value !== "object" || value === null) return JSON.stringify(value);
	const [open, close] = Array.isArray(value) ? "[]" : "{}";
	const items = Array.isArray(value)
		? value.map((item) => rewritten(rng, item))
		: Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}${space()}:${space()}${rewritten(rng, item)}`);
	if (!Array.isArray(value) && rng.below(12) === 0) items.push('"unknown":{"text":"x"}');
	if (!Array.isArray(value) && rng.below(12) === 0) items.reverse();
	return open + space() + items.join(`${space()},${space()}`) + space() + close;
}

/** A recorded event, or one that says nearly the same. */
function mutated(rng: Random, event: string): string {
	const [, name, data] = /^event: (.*)\ndata: (.*?) *$/.exec(event.trimEnd()) ?? [];
	if (data === undefined || rng.below(3) === 0) return event;
	if (rng.below(40) === 0) return event.replaceAll("\n", rng.pick(["\r\n", "\r"]));
	if (rng.below(40) === 0) return event.slice(0, rng.below(event.length));
	if (rng.below(20) === 0) {
		// Most of what stands at the end is JSON's own.
		const at = event.length - 3 - rng.below(rng.pick([4, event.length - 3]));
		return (
			event.slice(0, at) + rng.pick(["", " ", ",", "}", "]", '"', "\\", ":", "0"]) + event.slice(at + rng.below(2))
		);
	}
	const json =
		rng.below(4) === 0
			? data.replace(/"index":\d+/, `"index":${rng.pick(["1", "01", "-1", "1.0"])}`)
			: rewrittenText(rng, data);
	const lead = rng.pick([`event: ${name}\n`, `event: ${name}\n`, `event: ${name}\n`, `event:${name}\n`, ""]);
	return `${lead}data: ${json}${" ".repeat(rng.below(2))}\n\n`;
}

/** The same JSON with another text in its delta, or all of it written anew. */
function rewrittenText(rng: Random, data: string): string {
	const value = JSON.parse(data);
	if (typeof value.delta?.text !== "string" || rng.below(3) === 0) return rewritten(rng, value);
	return data.replace(/"text":"(?:[^"\\]|\\.)*"/, () => `"text":${rewritten(rng, value.delta.text)}`);
}

const streams = recordings("anthropic").flatMap(({ id, response: { sse } }) => (sse ? [[id, sse] as const] : []));

needing("recordings").test.each(streams)("of the recorded %s, and of streams like it", (_, sse) => {
	const events = sse.split(/(?<=\n\n)/);
	let passed = 0;
	for (let seed = 0; seed < 200; seed++) {
		const rng = random(seed);
		// Texts come in long rows, of which a read holds many.
		const some = events.flatMap((event) =>
			Array.from({ length: /"(?:text|input_json)_delta"/.test(event) ? 1 + rng.below(8) : 1 }, () =>
				mutated(rng, event),
			),
		);
		passed += compare(seed, claude, cut(rng, some.join("")));
	}
	if (sse.includes('"text_delta"')) expect(passed).toBeGreaterThan(100);
	const asItCame = compare(0, claude, [Buffer.from(sse)]);
	const others = [ARGUMENTS, THOUGHTS].map((piece) => behindFirstOfBlocks(sse, piece));
	expect(asItCame).toBe(behindFirst(sse, '"type":"text_delta"') + others[0]! + others[1]!);
});

/** How often something occurs, but for the first time. */
const behindFirst = (text: string, what: string | RegExp): number => Math.max(0, text.split(what).length - 2);

/** Pieces of calls' arguments, and of thoughts, that say something. */
const ARGUMENTS = /"partial_json":"(?!")/;
const THOUGHTS = /"thinking":"(?!")/;

/** How often such pieces come, but for the first of each block. */
const behindFirstOfBlocks = (sse: string, piece: RegExp): number =>
	sse.split('"content_block_start"').reduce((sum, block) => sum + behindFirst(block, piece), 0);

/** What a client of the vendor's own wire is sent of these reads. */
function told(decoder: StreamDecoder, writer: StreamWriter, reads: readonly Uint8Array[]): string {
	const deadline = { touch() {}, abort() {}, clear() {}, within() {}, failure: undefined } as unknown as Deadline;
	const events = { begun() {}, held() {}, firstDelta() {}, finished() {}, comment() {}, keeps() {}, end() {} };
	const reader = new EventReader({ read: () => Promise.resolve(undefined) }, decoder, deadline, events);
	let text = "";
	const write = (piece: AnswerPiece) => {
		if (piece !== "") text += textOf(writer.push(piece));
	};
	for (const bytes of reads) if (!reader.isOver) write(reader.take(Buffer.from(bytes)));
	if (!reader.isOver) write(reader.finish());
	return text;
}

/** Events by their meaning: names and data, without those that say nothing. */
const meant = (text: string) =>
	[...new SseSplitter().push(Buffer.from(text))].flatMap(({ name, data }) =>
		data === undefined || name === "ping" ? [] : [[name, JSON.parse(data) as unknown]],
	);

const asCalled = { id: "req_1", operation: "chat", facts: call.facts, body: call.body, stream: true } as const;
const geminis = { id: "req_1", showsThoughts: true, names: undefined };

test.each([
	["Claude", claudeStream, () => nativeDecoder(upstream("anthropic"), call), () => new MessagesStream(asCalled), meant],
	[
		"Gemini",
		geminiStream,
		() => nativeGenerateDecoder(upstream("gemini"), call, "gemini-2.5-flash"),
		() => new GeminiStream(geminis, "gemini-2.5-flash", EVENTS),
		meant,
	],
	[
		"Gemini, as one list",
		geminiStream,
		() => nativeGenerateDecoder(upstream("gemini"), call, "gemini-2.5-flash"),
		() => new GeminiStream(geminis, "gemini-2.5-flash", LIST),
		(text: string) => JSON.parse(text.trim() === "" ? "[]" : `${text}]`) as unknown,
	],
] as const)("for a client of %s itself they are what its vendor has sent", (_, stream, decoder, writer, meaning) => {
	let own = 0;
	for (let seed = 0; seed < 200; seed++) {
		const rng = random(seed);
		const reads = cut(rng, stream(rng));
		const passing = decoder();
		const parsing = decoder();
		const all: StreamDecoder = {
			push: (event) => parsing.push(event),
			end: () => parsing.end(),
			flush: () => parsing.flush?.() ?? {},
		};
		const counting: StreamDecoder = {
			...all,
			push: (event) => passing.push(event),
			passThrough: (chunk, from) => {
				const taken = passing.passThrough?.(chunk, from);
				if (taken?.bytes && "own" in taken.bytes && taken.bytes.own) own += taken.events;
				return taken;
			},
			end: () => passing.end(),
			flush: () => passing.flush?.() ?? {},
		};
		expect([seed, meaning(told(counting, writer(), reads))]).toEqual([seed, meaning(told(all, writer(), reads))]);
	}
	expect(own).toBeGreaterThan(200);
});
