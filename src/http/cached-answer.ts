/** Answers that no upstream was asked for: from the cache, or read along with another caller's. */
import type { Entry } from "../cache/entry.ts";
import type { Flight, Tail } from "../cache/flight.ts";
import type { Call } from "../openai/call.ts";
import { replayEvents } from "../openai/replay.ts";
import { DONE, sseComment } from "../openai/sse.ts";
import { headerText } from "../providers/header-text.ts";
import type { Settlement } from "../proxy/settlement.ts";

const decoder = new TextDecoder();

/** Answers with what was kept, as a stream where the call asks for one; settles. Throws where the entry holds no JSON. */
export function entryAnswer({ facts, body }: Entry, call: Call, settlement: Settlement): Response {
	let content: Uint8Array | string = body;
	if (call.stream) {
		const showsUsage = call.body.stream_options?.include_usage === true;
		const last = { provider: facts.provider, model: facts.model, attempts: 0, cache: "hit" };
		const events = replayEvents(call.operation, decoder.decode(body), showsUsage);
		content = events + sseComment(`router ${JSON.stringify(last)}`) + DONE;
	}
	const age = Math.max(0, Math.floor((Date.now() - facts.storedAt) / 1000));
	// The body is copied here, before anything else may change what it lies in.
	const answer = new Response(content as Uint8Array<ArrayBuffer> | string, {
		headers: hitHeaders(facts, call.stream, settlement, String(age)),
	});
	settlement.settle(200);
	return answer;
}

/** Reads another caller's stream along; settles when that is over. `leave` is called when this client leaves. */
export function tailAnswer(flight: Flight, tail: Tail, settlement: Settlement, leave: () => void): Response {
	const encoder = new TextEncoder();
	const stop = () => {
		flight.drop(tail);
		leave();
	};
	const stream = new ReadableStream<Uint8Array>({
		async pull(controller) {
			const pieces = await tail.read();
			if (pieces) {
				settlement.firstTokenAt ??= performance.now();
				for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
				return;
			}
			stop();
			settlement.settle(flight.broken?.status ?? 200, flight.broken?.error);
			controller.close();
		},
		cancel() {
			stop();
			settlement.settle(499, "cancelled");
		},
	});
	return new Response(stream, { headers: hitHeaders(flight.origin!, true, settlement) });
}

function hitHeaders(
	{ provider, model }: { provider: string; model: string },
	isStream: boolean,
	settlement: Settlement,
	age?: string,
): Record<string, string> {
	const headers: Record<string, string> = {
		"content-type": isStream ? "text/event-stream; charset=utf-8" : "application/json",
		"x-request-id": settlement.id,
		"x-router-provider": provider,
		"x-router-model": headerText(model),
		"x-router-attempts": "0",
		"x-router-cache": "hit",
		"x-router-overhead-ms": settlement.overheadText,
	};
	if (age !== undefined) headers["age"] = age;
	if (isStream) {
		headers["cache-control"] = "no-cache";
		headers["x-accel-buffering"] = "no";
	}
	return Object.assign(headers, settlement.headers);
}
