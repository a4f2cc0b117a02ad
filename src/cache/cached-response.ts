/** Answers that no upstream was asked for: from the cache, or another caller's stream. */

import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import { replayEvents } from "../openai/answer-forms.ts";
import type { StreamPiece } from "../openai/sse.ts";
import { headerText } from "../providers/request-headers.ts";
import { allDropped } from "../providers/unsupported-fields.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { DROPPED_HEADER, overheadText } from "../proxy/response-headers.ts";
import type { CacheEntry, EntryFacts } from "./entry.ts";
import type { SingleFlight } from "./single-flight.ts";
import type { StreamFollower } from "./stream-follower.ts";

const decoder = new TextDecoder();

/**
 * Answers with what was kept, as a stream where the call asks for one; settles. Throws where the entry holds no JSON.
 * @param isRepeat the same entry has answered before, and may again
 */
export function cachedResponse(
	{ facts, body }: CacheEntry,
	call: ClientCall,
	record: CallRecord,
	isRepeat = false,
): Response {
	const { dialect, stream } = call;
	let content: StreamPiece;
	if (stream) {
		const showsUsage = call.facts.showsUsage;
		const { provider, model } = facts;
		const { droppedFields } = record;
		const writer = dialect.stream(call);
		content = writer.push(replayEvents(call.operation, decoder.decode(body), showsUsage));
		content += writer.end({ provider, model, attempts: 0, cache: "hit", droppedFields, times: record });
	} else {
		content = dialect.answer(body, call, undefined, record);
	}
	const isPrepared = isRepeat && !call.leftOut;
	const headers = isPrepared ? preparedHeaders(facts, call) : agedHeaders(facts, call, ageOf(facts));
	// The body is copied here, before anything else may change what it lies in.
	const answer = new Response(content as Uint8Array<ArrayBuffer> | string, { headers });
	setCallHeaders(answer.headers, dialect, record);
	record.settle(200);
	return answer;
}

/** Follows another caller's stream; settles when that is over. `leave` is called when this client leaves. */
export function followedResponse(
	flight: SingleFlight,
	follower: StreamFollower,
	call: ClientCall,
	record: CallRecord,
	leave: () => void,
): Response {
	const encoder = new TextEncoder();
	const stop = () => {
		flight.unfollow(follower);
		leave();
	};
	const stream = new ReadableStream<Uint8Array>({
		async pull(controller) {
			const pieces = await follower.read();
			if (pieces) {
				record.firstTokenAt ??= performance.now();
				for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
				return;
			}
			stop();
			record.settle(flight.failure?.status ?? 200, flight.failure?.error);
			if (flight.failure?.isCut) controller.error(new Error("The thread that made this call has ended."));
			else controller.close();
		},
		cancel() {
			stop();
			record.settle(499, "cancelled");
		},
	});
	const answer = new Response(stream, { headers: sharedHeaders(flight.origin!, call) });
	setCallHeaders(answer.headers, call.dialect, record);
	return answer;
}

/** What the answers of one entry have in common, as long as they are of the same age. */
interface Prepared {
	readonly dialect: Dialect;
	readonly age: number;
	readonly headers: Headers;
}

/** To copy headers takes a third of what it takes to make them: those of entries that answer again and again are remembered. */
const prepared = { whole: new WeakMap<EntryFacts, Prepared>(), streamed: new WeakMap<EntryFacts, Prepared>() };

function preparedHeaders(facts: EntryFacts, call: ClientCall): Headers {
	const { dialect, stream } = call;
	const age = ageOf(facts);
	const known = stream ? prepared.streamed : prepared.whole;
	const before = known.get(facts);
	if (before?.age === age && before.dialect === dialect) return before.headers;
	const headers = new Headers(agedHeaders(facts, call, age));
	known.set(facts, { dialect, age, headers });
	return headers;
}

/** s (RFC 9111, 5.1). */
const ageOf = ({ storedAt }: EntryFacts) => Math.max(0, Math.floor((Date.now() - storedAt) / 1000));

function agedHeaders(served: Served, call: ClientCall, age: number): Record<string, string> {
	return { ...sharedHeaders(served, call), age: String(age) };
}

function sharedHeaders({ provider, model, dropped: atTarget }: Served, call: ClientCall): Record<string, string> {
	const { dialect, stream } = call;
	const dropped = call.leftOut ? allDropped(call, atTarget) : atTarget;
	return {
		"content-type": stream ? dialect.streamContentType : dialect.contentType,
		"x-router-provider": provider,
		"x-router-model": headerText(model),
		"x-router-attempts": "0",
		"x-router-cache": "hit",
		...(dropped ? { [DROPPED_HEADER]: headerText(dropped.join(", ")) } : undefined),
		...(stream ? { "cache-control": "no-cache", "x-accel-buffering": "no" } : undefined),
	};
}

/** Who has made an answer. */
type Served = Pick<EntryFacts, "provider" | "model" | "dropped">;

/** What is said of this call alone. */
function setCallHeaders(headers: Headers, { headers: headersOf }: Dialect, record: CallRecord): void {
	const { id, headers: more } = record;
	headers.set("x-request-id", id);
	const own = headersOf?.(id, more);
	for (const name in own) headers.set(name, own[name]!);
	headers.set("x-router-overhead-ms", overheadText(record));
	for (const name in more) headers.set(name, more[name]!);
}
