/**
 * The same streams for a client that speaks Anthropic's wire itself: what OpenAI's words have no form for (kinds of blocks, citations, how the
 * message began and ended) goes on beside them, as Anthropic has sent it, in the field `anthropic` of a choice or of its delta.
 */
import type { Call } from "../../openai/call.ts";
import type { SseEvent } from "../../openai/sse.ts";
import type { Failure } from "../failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { SAID } from "./own-answer.ts";
import { MessageDecoder } from "./stream.ts";
import { type ClaudeEvent, eventIn } from "./stream-event.ts";

const NOTHING: Out = { bytes: "" };
const BEGUN = '{"type":"content_block_start"}';

/**
 * Pieces of blocks whose events, once read, go on as they came. Arguments of calls go on by OpenAI's words then: of several calls at once these keep
 * them apart. Those that pass unread have both forms.
 */
const PIECES: ReadonlySet<unknown> = new Set(["text_delta", "thinking_delta", "signature_delta", "citations_delta"]);

/** Reads one stream. */
class NativeDecoder implements StreamDecoder {
	/** Of the block that is open. */
	#type = "";
	/** It goes on as it came alone. */
	#isOwn = false;
	/** How the message ended. */
	#ending: ClaudeEvent | undefined;

	constructor(private readonly inner: MessageDecoder) {}

	push({ data, name }: SseEvent): Out {
		if (data === undefined) return NOTHING;
		const event = eventIn(data);
		const out = this.#read(event, data);
		const goesOn = event !== undefined && !out.failure && !out.dropped && this.#isNative(event);
		return goesOn && name === event.type ? { ...out, own: event } : out;
	}

	#read(event: ClaudeEvent | undefined, data: string): Out {
		const { inner } = this;
		if (!event || (!inner.chunks.hasBegun && event.type !== "message_start")) return inner.read(event);
		switch (event.type) {
			case "message_start": {
				return this.#beside(oneLine(data), inner.read(event));
			}
			case "content_block_start": {
				this.#type = event.content_block?.type ?? "";
				this.#isOwn = !SAID.has(this.#type);
				if (this.#isOwn) return this.#asItCame(data);
				// Where a block begins says no field of OpenAI's.
				return this.#beside(this.#type === "tool_use" ? oneLine(data) : BEGUN, inner.read(event));
			}
			case "content_block_delta":
				if (this.#isOwn) return this.#asItCame(data);
				return event.delta?.type === "citations_delta" ? this.#cited(event, data) : inner.read(event);
			case "content_block_stop": {
				if (!this.#isOwn) return inner.read(event);
				this.#isOwn = false;
				return this.#asItCame(data);
			}
			case "message_delta":
				this.#ending = { ...this.#ending, ...event };
				return inner.read(event);
			default:
				return inner.read(event);
		}
	}

	/** Whether an event's own words say all that OpenAI's do. */
	#isNative({ type, delta }: ClaudeEvent): boolean {
		if (type === "message_start") return true;
		if (!type.startsWith("content_block_") || this.#type === "tool_use") return false;
		return type !== "content_block_delta" || !SAID.has(this.#type) || PIECES.has(delta?.type);
	}

	#asItCame(data: string): Out {
		return { bytes: this.inner.chunks.delta(`{"anthropic":${oneLine(data)}}`), delta: true };
	}

	#cited(event: ClaudeEvent, data: string): Out {
		const { bytes } = this.#asItCame(data);
		const out = this.inner.read(event);
		return { ...out, bytes: bytes + chunksIn(out) };
	}

	/** What an event becomes in OpenAI's words, behind what is said beside those. */
	#beside(own: string, out: Out): Out {
		return { ...out, bytes: undefined, lazyBytes: () => this.inner.chunks.beside(own) + chunksIn(out) };
	}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		// A text there is none of the answer's.
		return this.#isOwn ? undefined : this.inner.passThrough(chunk, from);
	}

	end(): Failure | undefined {
		return this.inner.end();
	}

	flush(): Out {
		const out = this.inner.flush();
		const ending = this.#ending;
		if (!ending) return out;
		const lazyBytes = () => this.inner.chunks.beside(JSON.stringify(ending)) + chunksIn(out);
		return { ...out, bytes: undefined, lazyBytes, own: ending };
	}
}

const chunksIn = ({ bytes = "", lazyBytes }: Out): string => (lazyBytes ? lazyBytes() : bytes);

/** One for a stream. */
export const nativeDecoder = (upstream: Upstream, call: Call): StreamDecoder =>
	new NativeDecoder(new MessageDecoder(upstream, call, undefined, true));

/** In JSON a line's end stands between two values only. */
const oneLine = (data: string): string => (data.includes("\n") ? data.replaceAll("\n", " ") : data);
