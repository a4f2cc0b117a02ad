/**
 * The same streams for a client that speaks Anthropic's wire itself: what OpenAI's words have no form for (kinds of blocks, citations, how the
 * message began and ended) goes on beside them, as Anthropic has sent it, in the field `anthropic` of a choice or of its delta.
 */
import type { Call } from "../../openai/call.ts";
import type { SseEvent } from "../../openai/sse.ts";
import type { Failure } from "../failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { eventIn, MessageDecoder } from "./stream.ts";

/** Blocks that OpenAI's words have a form for. */
export const SAID: ReadonlySet<string> = new Set(["text", "thinking", "redacted_thinking", "tool_use"]);

const BEGUN = '{"type":"content_block_start"}';

/** Reads one stream. */
class NativeDecoder implements StreamDecoder {
	/** The block that is open goes on as it came. */
	#isOwn = false;
	/** How the message ended. */
	#ending: object | undefined;

	constructor(private readonly inner: MessageDecoder) {}

	push(event: SseEvent): Out {
		const read = event.data === undefined ? undefined : eventIn(event.data);
		switch (read?.type) {
			case "message_start": {
				const out = this.inner.push(event);
				return out.failure || out.dropped
					? out
					: { ...out, bytes: this.inner.chunks.beside(oneLine(event.data!)) + out.bytes };
			}
			case "content_block_start":
				this.#isOwn = !SAID.has(read.content_block?.type ?? "");
				if (this.#isOwn) return this.#asItCame(event.data!);
				return this.#begun(event, read.content_block?.type === "tool_use" ? event.data! : BEGUN);
			case "content_block_delta":
				if (this.#isOwn) return this.#asItCame(event.data!);
				return read.delta?.type === "citations_delta" ? this.#cited(event) : this.inner.push(event);
			case "content_block_stop": {
				if (!this.#isOwn) return this.inner.push(event);
				this.#isOwn = false;
				return this.#asItCame(event.data!);
			}
			case "message_delta":
				this.#ending = { ...this.#ending, ...read };
				return this.inner.push(event);
			default:
				return this.inner.push(event);
		}
	}

	/** Where a block begins says no field of OpenAI's. */
	#begun(event: SseEvent, begun: string): Out {
		const out = this.inner.push(event);
		return { ...out, bytes: this.inner.chunks.beside(oneLine(begun)) + (out.bytes ?? "") };
	}

	#asItCame(data: string): Out {
		return { bytes: this.inner.chunks.delta(`{"anthropic":${oneLine(data)}}`), delta: true };
	}

	#cited(event: SseEvent): Out {
		const { bytes } = this.#asItCame(event.data!);
		const out = this.inner.push(event);
		return { ...out, bytes: bytes + (out.bytes ?? "") };
	}

	passThrough(chunk: Uint8Array, from: number): PassedEvents | undefined {
		// A text there is none of the answer's.
		return this.#isOwn ? undefined : this.inner.passThrough(chunk, from);
	}

	end(): Failure | undefined {
		return this.inner.end();
	}

	flush(): Out {
		const ending = this.#ending ? this.inner.chunks.beside(JSON.stringify(this.#ending)) : "";
		const out = this.inner.flush();
		return { ...out, bytes: ending + (out.bytes ?? "") };
	}
}

/** One for a stream. */
export const nativeDecoder = (upstream: Upstream, call: Call): StreamDecoder =>
	new NativeDecoder(new MessageDecoder(upstream, call, undefined, true));

/** In JSON a line's end stands between two values only. */
const oneLine = (data: string): string => (data.includes("\n") ? data.replaceAll("\n", " ") : data);
