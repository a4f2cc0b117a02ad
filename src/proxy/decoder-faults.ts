/**
 * A fault of the router's own code while a stream is read is a failure of its kind: what a decoder's methods throw becomes a failure of kind
 * `internal` that carries the cause. Without this an exception of ours would look like a connection that the upstream broke, and be tried
 * again at the next one.
 */
import type { SseEvent } from "../openai/sse.ts";
import type { Failure } from "../providers/failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../providers/provider.ts";

/** What the decoder makes of an event. */
export function outOf(decoder: StreamDecoder, event: SseEvent): Out {
	try {
		return decoder.push(event);
	} catch (cause) {
		return { bytes: "", failure: fault(cause) };
	}
}

/** The text to send for an event; undefined where it goes on as it came. */
export const bytesOf = ({ bytes, lazyBytes }: Out): string | undefined => (lazyBytes ? lazyBytes() : bytes);

/** The events of a chunk that need no reading, from `from` on. */
export function passedBy(decoder: StreamDecoder, chunk: Buffer, from: number): PassedEvents | undefined {
	try {
		return decoder.passThrough?.(chunk, from);
	} catch {
		// Read in full, the chunk meets the same fault in `push`, which reports it.
		return undefined;
	}
}

/** What the decoder has left to send. */
export function restOf(decoder: StreamDecoder): Out {
	try {
		return decoder.flush?.() ?? {};
	} catch (cause) {
		return { bytes: "", failure: fault(cause) };
	}
}

/** Why the answer is not complete; undefined where it is. */
export function whyIncomplete(decoder: StreamDecoder): Failure | undefined {
	try {
		return decoder.end();
	} catch (cause) {
		return fault(cause);
	}
}

const fault = (cause: unknown): Failure => ({ kind: "internal", message: "the router failed", cause });
