/** Reading an upstream's whole answer. */
import type { UpstreamAnswer } from "../providers/provider.ts";

/** Largest non-streamed answer kept in memory, bytes: long embeddings run to tens of MB, nothing honest runs to this. */
const MAX_ANSWER = 256 * 1024 * 1024;

/** The router's own refusal to read on; the message is a predicate for the upstream's name. */
export class AnswerTooLarge extends Error {}

/** The answer's text. Throws when the body breaks off or is shorter than it said; AnswerTooLarge past `limit` bytes. */
export function readText({ headers, body }: UpstreamAnswer, limit = MAX_ANSWER): Promise<string> {
	const length = headers.get("content-length");
	// A compressed body, which nobody asked for, is longer than it says.
	const isPlain = !headers.has("content-encoding");
	if (body.text && isPlain && length !== null && Number(length) <= limit) return body.text();
	return readCounting(body, limit);
}

async function readCounting(body: UpstreamAnswer["body"], limit: number): Promise<string> {
	const decoder = new TextDecoder();
	let text = "";
	let size = 0;
	for (let chunk = await body.read(); chunk; chunk = await body.read()) {
		size += chunk.byteLength;
		if (size > limit) throw new AnswerTooLarge(`sent an answer larger than ${limit / 1024 / 1024} MB`);
		text += decoder.decode(chunk, { stream: true });
	}
	return text + decoder.decode();
}
