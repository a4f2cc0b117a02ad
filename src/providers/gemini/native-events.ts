/**
 * The same streams for a client that speaks Google's wire itself: each event goes on as Google has sent it, in the field `gemini` of a choice, ahead of the
 * chunks that say the same in OpenAI's words, for all that reads those (resume, counts), and how many these are.
 */
import type { Call } from "../../openai/call.ts";
import type { SseEvent } from "../../openai/sse.ts";
import type { Tokens } from "../../openai/usage.ts";
import type { Failure } from "../failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { AS_IT_CAME } from "./response.ts";
import { GenerateDecoder } from "./stream.ts";

/** Kinds of parts of which OpenAI's words have no form. In a text the quotes would be escaped. */
const UNSAID = /"(?:executableCode|codeExecutionResult|fileData|toolCall|toolResponse)"\s*:/;

/** What the stream ends with, of which Google's events have said all. */
const NOTHING = {};

/** Reads one stream. */
class NativeGenerateDecoder implements StreamDecoder {
	constructor(private readonly inner: GenerateDecoder) {}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		return this.inner.passThrough(chunk, from);
	}

	passedTokens(): Tokens | undefined {
		return this.inner.passedTokens();
	}

	push(event: SseEvent): Out {
		const { chunks } = this.inner;
		const before = chunks.count;
		const { out, response } = this.inner.read(event);
		const { data } = event;
		if (data === undefined || out.failure || !response) return out;
		const isUnsaid = UNSAID.test(data);
		if (out.lazyBytes && !isUnsaid) return { ...out, lazyBytes: this.#marked(data, out.lazyBytes), own: response };
		// Who goes on with this answer elsewhere would not know of it.
		const unsaid = isUnsaid ? chunks.delta('{"gemini":true}') : "";
		const bytes = unsaid + (out.bytes ?? out.lazyBytes?.() ?? "");
		const count = chunks.count - before;
		return {
			...out,
			bytes: this.#mark(data, count) + bytes,
			lazyBytes: undefined,
			own: response,
			delta: out.delta || isUnsaid,
		};
	}

	/** The chunks of an event, made when they are asked for, behind the event itself. */
	#marked(data: string, make: () => string): () => string {
		return () => {
			const before = this.inner.chunks.count;
			const bytes = make();
			return this.#mark(data, this.inner.chunks.count - before) + bytes;
		};
	}

	/** Before the first event there is no chunk, and nothing to mark. @param count of the chunks that say the same */
	#mark(data: string, count: number): string {
		return this.inner.chunks.beside(`{"chunks":${count},"event":${oneLine(data)}}`, "gemini");
	}

	end(): Failure | undefined {
		return this.inner.end();
	}

	flush(): Out {
		const out = this.inner.flush();
		return out.lazyBytes ? { ...out, lazyBytes: this.#marked("null", out.lazyBytes), own: NOTHING } : out;
	}
}

/** One for a stream. */
export const nativeGenerateDecoder = (upstream: Upstream, call: Call, model: string): StreamDecoder =>
	new NativeGenerateDecoder(new GenerateDecoder(upstream, call, model, AS_IT_CAME));

/** In JSON a line's end stands between two values only. */
const oneLine = (data: string): string => (/[\r\n]/.test(data) ? data.replace(/[\r\n]+/g, " ") : data);
