/** The events of a stream that is read by `fetch`, where an `EventSource` would try again for ever. */

type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

/** The lines of a stream, without their ends. Ends with the stream; throws where that breaks off. */
async function* linesOf(body: Bytes): AsyncGenerator<string> {
	let rest = "";
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			const lines = (rest + value).split("\n");
			rest = lines.pop() ?? "";
			for (const line of lines) yield line.replace(/\r$/, "");
		}
	} finally {
		// Whoever reads no further wants no more of it: a call that nobody reads costs all the same.
		await reader.cancel().catch(() => undefined);
	}
}

/** The `data` of each event. */
export async function* eventLines(body: Bytes): AsyncGenerator<string> {
	for await (const line of linesOf(body)) if (line.startsWith("data:")) yield line.slice(5).replace(/^ /, "");
}

/** The `data` of each event, and each comment. */
export async function* eventsAndComments(
	body: Bytes,
): AsyncGenerator<{ readonly data?: string; readonly comment?: string }> {
	for await (const line of linesOf(body)) {
		if (line.startsWith("data:")) yield { data: line.slice(5).replace(/^ /, "") };
		else if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
	}
}
