/** Streams of bytes → lines, and several of them in the order they come. */

/** A longer line is cut here: a program may print one without end. */
const MAX_LINE = 16 * 1024;

/** The lines of a UTF-8 stream. `\r` ends one too: that is how progress bars are drawn. Empty lines are left out. */
export async function* splitLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const bytes of stream) {
		const parts = (rest + decoder.decode(bytes, { stream: true })).split(/[\r\n]+/);
		rest = parts.pop()!.slice(0, MAX_LINE);
		for (const part of parts) if (part !== "") yield part.slice(0, MAX_LINE);
	}
	rest += decoder.decode();
	if (rest !== "") yield rest;
}

/**
 * Both streams' lines as they come. Reads no further than its reader: at most one line of each is held. No
 * `Promise.race`: one more reaction on the quiet stream's promise for every line of the other would add up for months.
 */
export async function* mergeLines<Name extends string>(
	streams: Record<Name, AsyncIterable<string>>,
): AsyncGenerator<{ from: Name; line: string }> {
	const held: { from: Name; line: string; taken: () => void }[] = [];
	const names = Object.keys(streams) as Name[];
	let open = names.length;
	let failure: { error: unknown } | undefined;
	let wake = () => {};
	const pump = async (from: Name) => {
		try {
			for await (const line of streams[from]) {
				await new Promise<void>((taken) => {
					held.push({ from, line, taken });
					wake();
				});
			}
		} catch (error) {
			failure ??= { error };
		}
		open -= 1;
		wake();
	};
	for (const name of names) void pump(name);
	for (;;) {
		const next = held.shift();
		if (next) {
			yield { from: next.from, line: next.line };
			next.taken();
		} else if (failure) throw failure.error;
		else if (open === 0) return;
		else {
			await new Promise<void>((resolve) => {
				wake = resolve;
			});
		}
	}
}
