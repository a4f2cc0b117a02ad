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
		const before = this.inner.chunks.count;
		const { out, response } = this.inner.read(event);
		const { data } = event;
		const { bytes = "", failure } = out;
		if (data === undefined || failure || !response) return out;
		if (!UNSAID.test(data)) return { ...out, bytes: this.#marked(data, bytes, before), own: response };
		// Who goes on with this answer elsewhere would not know of it.
		const unsaid = this.inner.chunks.delta('{"gemini":true}');
		return { ...out, bytes: this.#marked(data, unsaid + bytes, before), own: response, delta: true };
	}

	/** Before the first event there is no chunk, and nothing to mark. @param before how many chunks there were ahead of these */
	#marked(data: string, chunks: string, before: number): string {
		const own = `{"chunks":${this.inner.chunks.count - before},"event":${oneLine(data)}}`;
		return this.inner.chunks.beside(own, "gemini") + chunks;
	}

	end(): Failure | undefined {
		return this.inner.end();
	}

	flush(): Out {
		const before = this.inner.chunks.count;
		const out = this.inner.flush();
		const { bytes } = out;
		return out.failure || !bytes ? out : { ...out, bytes: this.#marked("null", bytes, before), own: NOTHING };
	}
}

/** One for a stream. */
export const nativeGenerateDecoder = (upstream: Upstream, call: Call, model: string): StreamDecoder =>
	new NativeGenerateDecoder(new GenerateDecoder(upstream, call, model, AS_IT_CAME));

/** In JSON a line's end stands between two values only. */
const oneLine = (data: string): string => (/[\r\n]/.test(data) ? data.replace(/[\r\n]+/g, " ") : data);
