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
