/** The events of a stream that is read by `fetch`, where an `EventSource` would try again for ever. */

/** The `data` of each event. Ends with the stream; throws where that breaks off. */
export async function* eventLines(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
	let rest = "";
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const lines = (rest + value).split("\n");
		rest = lines.pop() ?? "";
		for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).replace(/^ /, "").replace(/\r$/, "");
	}
}
