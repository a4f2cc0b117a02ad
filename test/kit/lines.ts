/** A reader of bytes, whichever of the runtime's types its stream has. */
interface Bytes {
	read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
}

/**
 * What a byte stream says up to and with a text, which its chunks may cut; the rest is left to the caller. Throws where the stream ends before:
 * at its end a reader answers at once, so that whoever goes on asking keeps the event loop, and no timeout of a test ends that.
 */
export async function readTo(reader: Bytes, end: string): Promise<string> {
	const decoder = new TextDecoder();
	for (let text = ""; ; ) {
		const { value, done } = await reader.read();
		if (done) throw new Error(`The stream ended before "${end}" came: ${JSON.stringify(text)}`);
		text += decoder.decode(value, { stream: true });
		if (text.includes(end)) return text;
	}
}

/** Calls back with each line of a byte stream as it comes; resolves at its end. */
export async function lines(stream: ReadableStream<Uint8Array>, line: (text: string) => void): Promise<void> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const bytes of stream) {
		const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n");
		rest = parts.pop() ?? "";
		parts.forEach(line);
	}
	if (rest) line(rest);
}
