/** Answers in another form than was asked for: a stream's call that got one JSON, a plain call that got a stream. */

import { foldStream, replayEvents } from "../openai/answer-forms.ts";
import type { Call } from "../openai/call.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { ParsedBody } from "../openai/parsed-body.ts";
import { DONE, type SseEvent, SseSplitter, sseData } from "../openai/sse.ts";
import { chatUsage } from "../providers/chat-answer.ts";
import { type Failure, TRUNCATED } from "../providers/failure.ts";
import type { Answer, ByteSource, Out, StreamDecoder, Target, UpstreamAnswer } from "../providers/provider.ts";
import { bytesOf } from "./decoder-faults.ts";

/** A whole answer, played as the stream that was asked for. */
export interface ReplayedAnswer {
	readonly body: ByteSource;
	readonly decoder: StreamDecoder;
}

/** Plays it. Throws where it is no JSON object, which a provider's `decode` has seen to. */
export function replayed(call: Call, { body, tokens, cost, thinking: keeps }: Answer): ReplayedAnswer {
	const { operation, facts } = call;
	const text = replayEvents(operation, body, false) + DONE;
	let isKept = false;
	const decoder: StreamDecoder = {
		push({ data }: SseEvent): Out {
			if (data === "[DONE]") return { bytes: "", done: true };
			const out: Out = { delta: true, tokens, cost, thinking: isKept ? undefined : keeps };
			isKept = true;
			return out;
		},
		end: () => undefined,
		flush: () => (facts.showsUsage ? { usage: usageChunk(operation, body) } : {}),
	};
	return { body: source([Buffer.from(text)]), decoder };
}

/** An event stream's text as the whole answer that was asked for. */
export function foldedAnswer(target: Target, call: Call, text: string): Answer | Failure {
	const asked = call.body();
	const value = { ...asked.value, stream: true, stream_options: { include_usage: true } };
	const request = new ParsedBody(asked.bytes, asked.fields, { raw: asked.raw, value });
	const decoder = target.provider.decoder({ ...call, stream: true, body: () => request, responses: undefined }, target);
	const kept: { -readonly [name in "tokens" | "cost" | "thinking"]?: Answer[name] } = {};
	const learn = ({ tokens, cost, thinking }: Out) => {
		if (tokens) kept.tokens = tokens;
		if (cost !== undefined) kept.cost = cost;
		if (thinking?.length) kept.thinking = [...(kept.thinking ?? []), ...thinking];
	};
	const failed = (failure: Failure): Failure => ({ ...failure, tokens: kept.tokens, cost: kept.cost });
	const splitter = new SseSplitter();
	let events = "";
	for (const event of [...splitter.push(Buffer.from(text)), ...splitter.end()]) {
		const out = decoder.push(event);
		learn(out);
		if (out.failure) return failed(out.failure);
		if (out.done) break;
		events += bytesOf(out) ?? event.raw;
	}
	const failure = decoder.end();
	if (failure) return failed(failure);
	const rest = decoder.flush?.() ?? {};
	learn(rest);
	if (rest.failure) return failed(rest.failure);
	events += bytesOf(rest) ?? "";
	// A stream in its client's own words has said its counts in those.
	const usage = rest.usage ?? (kept.tokens && JSON.stringify({ choices: [], usage: chatUsage(kept.tokens) }));
	if (usage) events += sseData(usage);
	const body = foldStream(call.operation, Buffer.from(events));
	return body === undefined ? failed(TRUNCATED) : { ...kept, body };
}

/** The chunk behind the answer. Where nobody counted, its usage is empty and is filled in where it is sent. */
function usageChunk(operation: Operation, body: string): string {
	const { usage, ...answer } = JSON.parse(body) as Record<string, unknown>;
	return JSON.stringify({ ...answer, object: OPERATIONS[operation].chunkObjectName, choices: [], usage: usage ?? {} });
}

/** How lines of an event stream begin: with a field's name, a colon, or nothing at all. */
const EVENTS = /^\uFEFF?\s*(?:data|event|id|retry)?:/;

/** Whether an answer's text is an event stream, whatever its media type says. */
export function isEvents(text: string): boolean {
	return text.charCodeAt(0) !== OPEN_BRACE && EVENTS.test(text.slice(0, 64));
}

const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const LESS = 0x3c;

/** Whether the first bytes of what is called a stream are none of it: JSON, or a page. */
export function isNoStream(chunk: Uint8Array): boolean {
	let at = 0;
	while (chunk[at]! <= 0x20) at++;
	return chunk[at] === OPEN_BRACE || chunk[at] === OPEN_BRACKET || chunk[at] === LESS;
}

/** These bytes, and then what `more` has. */
export function source(chunks: readonly Uint8Array[], more?: ByteSource): ByteSource {
	const left = [...chunks];
	return { read: async () => left.shift() ?? (await more?.read()) };
}

/** The answer whose first bytes were read already. */
export function rejoined({ status, headers, body }: UpstreamAnswer, first: Uint8Array): UpstreamAnswer {
	return { status, headers, body: source([first], body) };
}

/** Media types are the same in any case (RFC 9110, 8.3.1). */
export function isJson({ headers }: UpstreamAnswer): boolean {
	return headers.get("content-type")?.toLowerCase().startsWith("application/json") ?? false;
}
