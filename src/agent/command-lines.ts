/** Streams of bytes → lines, and several of them in the order they come. */

/** A longer line is cut here: a program may print one without end. */
const LONGEST = 16 * 1024;

/** The lines of a UTF-8 stream. `\r` ends one too: that is how progress bars are drawn. Empty lines are left out. */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const bytes of stream) {
		const parts = (rest + decoder.decode(bytes, { stream: true })).split(/[\r\n]+/);
		rest = parts.pop()!.slice(0, LONGEST);
		for (const part of parts) if (part !== "") yield part.slice(0, LONGEST);
	}
	rest += decoder.decode();
	if (rest !== "") yield rest;
}

/** Both streams' lines as they come. Reads no further than its reader: at most one line of each is held. */
export async function* merged<Name extends string>(
	streams: Record<Name, AsyncGenerator<string>>,
): AsyncGenerator<{ from: Name; line: string }> {
	const next = (from: Name) => streams[from].next().then((result) => ({ from, result }));
	const waiting = new Map((Object.keys(streams) as Name[]).map((from) => [from, next(from)]));
	while (waiting.size > 0) {
		const { from, result } = await Promise.race(waiting.values());
		if (result.done) {
			waiting.delete(from);
			continue;
		}
		yield { from, line: result.value };
		waiting.set(from, next(from));
	}
}
