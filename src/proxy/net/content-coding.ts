/** Compressed answers: identity is asked for, and some upstreams compress all the same. */
import type { UpstreamAnswer } from "../../providers/provider.ts";
import { MalformedAnswer } from "./http1-head.ts";

/** Names of content codings (RFC 9110, 8.4.1) → those of DecompressionStream, Bun's own among them. */
const FORMATS: Readonly<Record<string, ConstructorParameters<typeof DecompressionStream>[0]>> = {
	gzip: "gzip",
	"x-gzip": "gzip",
	deflate: "deflate",
	br: "brotli",
	zstd: "zstd",
};

/** The answer with its body decompressed, where `coding` is a compression. Throws MalformedAnswer for an unknown one. */
export function decodedAnswer(answer: UpstreamAnswer, coding: string): UpstreamAnswer {
	const name = coding.trim().toLowerCase();
	if (!name || name === "identity") return answer;
	const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
	if (!format) throw new MalformedAnswer("sent a content encoding that nobody asked for");
	const { body } = answer;
	const bytes = new ReadableStream<Uint8Array<ArrayBuffer>>({
		async pull(controller) {
			const chunk = await body.read();
			if (chunk) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
			else controller.close();
		},
	});
	const reader = bytes.pipeThrough(new DecompressionStream(format)).getReader();
	return { ...answer, whole: undefined, body: { read: async () => (await reader.read()).value } };
}
