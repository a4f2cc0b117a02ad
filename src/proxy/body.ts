/** Reading an upstream's whole answer. */

/** Largest non-streamed answer kept in memory, bytes: long embeddings run to tens of MB, nothing honest runs to this. */
export const MAX_ANSWER = 256 * 1024 * 1024;

/** The answer's text. Throws when the body breaks off, is shorter than it said, or is larger than `limit` bytes. */
export async function readText(response: Response, limit = MAX_ANSWER): Promise<string> {
	const length = response.headers.get("content-length");
	if (length !== null && Number(length) <= limit) return response.text();
	if (!response.body) return "";
	const decoder = new TextDecoder();
	let text = "";
	let size = 0;
	for await (const chunk of response.body) {
		size += chunk.byteLength;
		if (size > limit) throw new Error(`the answer is larger than ${limit / 1024 / 1024} MB`);
		text += decoder.decode(chunk, { stream: true });
	}
	return text + decoder.decode();
}
