/**
 * Events of a stream that differ in their words alone, which nearly all do: what stands before the words and behind them is learned of one, and
 * the words of the next are read without a parse.
 */

import { type SseEvent, SseSplitter } from "../openai/sse.ts";
import { objectIn } from "../openai/usage.ts";

const CONTENT = /"content":\s*"/;
const QUOTE = '"';
const BACKSLASH = 92;

/** What the events of one stream have in common. */
export class ContentTemplate {
	/** The words that `matches` found, as JSON with its quotes, and where the event ends. */
	literal = "";
	end = 0;
	#head: string | undefined;
	#tail = "";

	/**
	 * Learns from an event that brings words and nothing else.
	 * @param event its text, the blank line included
	 * @param content the words
	 */
	learn(event: string, content: string): void {
		const found = CONTENT.exec(event);
		if (!found) return;
		const start = found.index + found[0].length - 1;
		const end = literalEnd(event, start);
		if (end === -1 || JSON.parse(event.slice(start, end)) !== content) return;
		this.#head = event.slice(0, start);
		this.#tail = event.slice(end);
	}

	/** Whether an event like those stands there. */
	matches(text: string, at: number): boolean {
		const head = this.#head;
		if (head === undefined || !text.startsWith(head, at)) return false;
		const start = at + head.length;
		const end = literalEnd(text, start);
		if (end === -1 || !text.startsWith(this.#tail, end)) return false;
		this.literal = text.slice(start, end);
		this.end = end + this.#tail.length;
		return true;
	}
}

/** Past the JSON string that begins there; -1 where none does. */
function literalEnd(text: string, start: number): number {
	if (text[start] !== QUOTE) return -1;
	for (let at = text.indexOf(QUOTE, start + 1); at !== -1; at = text.indexOf(QUOTE, at + 1)) {
		let slashes = 0;
		while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
		if (slashes % 2 === 0) return at + 1;
	}
	return -1;
}

/** An event's text and its data; undefined where it has none. */
export type ReadEvent = Pick<SseEvent, "raw" | "data">;

/** The events of a text, which is whole, from the one that begins at `at` on: that one, or all where it is not one line of data. */
export function eventsAt(text: string, at: number): { readonly events: readonly ReadEvent[]; readonly end: number } {
	const line = text.indexOf("\n", at);
	if (line !== -1 && text.startsWith("data: ", at) && text.startsWith("\n\n", line) && text[line - 1] !== "\r") {
		const end = line + 2;
		return { events: [{ raw: text.slice(at, end), data: text.slice(at + 6, line) }], end };
	}
	return { events: new SseSplitter().push(Buffer.from(text.slice(at))), end: text.length };
}

/** The words of the first choice of a chunk, where they are all that it brings; undefined where there is more. */
export function wordsAlone(choice: unknown): string | undefined {
	const { index, delta, finish_reason } = objectIn(choice) ?? {};
	const piece = objectIn(delta);
	if ((index ?? 0) !== 0 || finish_reason || !piece) return undefined;
	const { content, role: _, ...rest } = piece;
	const isAlone = typeof content === "string" && Object.values(rest).every((value) => value === null);
	return isAlone ? content : undefined;
}
