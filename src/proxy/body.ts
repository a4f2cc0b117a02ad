/** Reading an upstream's whole answer. */

/** Largest non-streamed answer kept in memory, bytes: long embeddings run to tens of MB, nothing honest runs to this. */
export const MAX_ANSWER = 256 * 1024 * 1024;

/** The answer's text. Throws when the body breaks off, is shorter than it said, or is larger than `MAX_ANSWER`. */
export async function readText(response: Response): Promise<string> {
	const length = response.headers.get("content-length");
	if (length !== null && Number(length) <= MAX_ANSWER) return response.text();
	if (!response.body) return "";
	const decoder = new TextDecoder();
	let text = "";
	let size = 0;
	for await (const chunk of response.body) {
		size += chunk.byteLength;
		if (size > MAX_ANSWER) throw new Error(`the answer is larger than ${MAX_ANSWER / 1024 / 1024} MB`);
		text += decoder.decode(chunk, { stream: true });
	}
	return text + decoder.decode();
}
