/**
 * Events of a stream that differ in their words alone, which nearly all do: what stands before the words and behind them is learned of one, and
 * the words of the next are read without a parse.
 */
import { ASCII_END, EventTemplate } from "../openai/event-template.ts";
import { joinedPieces, type SseEvent, SseSplitter, type StreamPiece, textOf } from "../openai/sse.ts";
import { type EventFrame, TextChunks } from "../openai/text-chunks.ts";
import { objectIn } from "../openai/usage.ts";

const CONTENT = /"content":\s*"/;
/** The same for pieces of a call's arguments. */
export const ARGUMENTS = /"arguments":\s*"/;
/** The same for what a model thinks, which has two names, or one of them. */
export const THOUGHTS = /"reasoning(?:_content)?":\s*"/;
/** Its other name, right behind. */
const THOUGHTS_AGAIN = /,\s*"reasoning(_content)?":\s*"/y;
const QUOTE = '"';
const BACKSLASH = 92;
const LF = 10;

/** Words that were read in their bytes. */
export interface ReadWords {
	/** Past their events. */
	readonly end: number;
	/** Where those of each begin and end, and how long all are, bytes. */
	readonly spans: Int32Array;
	readonly size: number;
	/** All of them, JSON without its quotes. */
	readonly literal: string;
}

/** How a wire writes events of OpenAI's. */
export interface WordsWriter {
	/** Whether words can be written unread at present. */
	takesWords(): boolean;
	/** What words are then written into. */
	frame(): EventFrame;
	/** What becomes of other events. */
	write(events: string): string;
	/** Puts characters right that no text may hold as they are, none of them ASCII; absent where it may hold all. */
	readonly escaped?: ((events: string) => string) | undefined;
}

/** What the events of one stream have in common. */
export class ContentTemplate {
	/** The words that `matches` found, as JSON with its quotes, and where the event ends. */
	literal = "";
	end = 0;
	#events: EventTemplate | undefined;
	/** Which of its texts are the words. */
	#noted = 0;

	/** @param field what stands before the words, up to their first quote */
	constructor(private readonly field = CONTENT) {}

	/**
	 * Learns from an event that brings words and nothing else; whether it could.
	 * @param event its text, the blank line included
	 * @param content the words
	 */
	learn(event: string, content: string): boolean {
		const found = this.field.exec(event);
		if (!found) return false;
		const start = found.index + found[0].length;
		const end = textEnd(event, start, content);
		if (end === -1) return false;
		THOUGHTS_AGAIN.lastIndex = end + 1;
		const again = this.field === THOUGHTS ? THOUGHTS_AGAIN.exec(event) : null;
		if (!again) {
			const fixed = [event.slice(0, start), event.slice(end)];
			this.#events = new EventTemplate({ fixed, variables: ["text"], noted: 0, escapes: "any" });
			this.#noted = 0;
			return true;
		}
		const next = end + 1 + again[0].length;
		const last = textEnd(event, next, content);
		if (last === -1) return false;
		const fixed = [event.slice(0, start), event.slice(end, next), event.slice(last)];
		// Where the two differ, what stands under the longer name counts.
		const noted = again[1] ? 1 : 0;
		this.#events = new EventTemplate({ fixed, variables: ["text", "text"], noted, escapes: "any" });
		this.#noted = noted;
		return true;
	}

	/** The words of events like that one which stand in some bytes from `at` on; undefined where none do. To be asked before another template reads. */
	read(bytes: Buffer, at: number): ReadWords | undefined {
		const events = this.#events;
		const end = events ? events.read(bytes, at) : at;
		if (end === at) return undefined;
		const { spans, size } = events!;
		return { end, spans, size, literal: events!.textsIn(bytes).toString() };
	}

	/** The events of a piece, in another wire. */
	rewritten(piece: Uint8Array, writer: WordsWriter): StreamPiece {
		const bytes = asBuffer(piece);
		const parts: (string | TextChunks)[] = [];
		let at = 0;
		while (at < bytes.length) {
			const past = this.#events && writer.takesWords() ? this.#events.read(bytes, at) : at;
			const end = past > at ? past : eventEnd(bytes, at);
			parts.push(past > at ? this.#words(bytes, writer) : writer.write(textOf(bytes.subarray(at, end))));
			at = end;
		}
		return joinedPieces("", parts);
	}

	#words(piece: Uint8Array, writer: WordsWriter): string | TextChunks {
		const frame = writer.frame();
		const { spans, size, bits } = this.#events!;
		const chunks = new TextChunks(piece, spans, size, () => frame);
		if (!writer.escaped || bits < ASCII_END) return chunks;
		return writer.escaped(textOf(joinedPieces("", [chunks])));
	}

	/** Whether an event like those stands there. */
	matches(text: string, at: number): boolean {
		const events = this.#events;
		const end = events ? events.endIn(text, at) : -1;
		if (end === -1) return false;
		this.literal = text.slice(events!.starts[this.#noted]! - 1, events!.ends[this.#noted]! + 1);
		this.end = end;
		return true;
	}
}

/** The same bytes. */
export const asBuffer = (piece: Uint8Array): Buffer =>
	piece instanceof Buffer ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.length);

/** Past the event that begins there, or past several; all that there is where the next blank line is of another form. */
export function eventEnd(bytes: Uint8Array, from: number): number {
	for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1))
		if (bytes[at + 1] === LF) return at + 2;
	return bytes.length;
}

/** Where the JSON string is closed that goes on at `start`, and says this; -1 where it does not. */
function textEnd(event: string, start: number, text: string): number {
	const end = literalEnd(event, start - 1);
	return end === -1 || JSON.parse(event.slice(start - 1, end)) !== text ? -1 : end - 1;
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

/** The text of a JSON string. */
export const literalText = (literal: string): string =>
	literal.includes("\\") ? (JSON.parse(literal) as string) : literal.slice(1, -1);

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
	return typeof content === "string" && hasNothing(rest) ? content : undefined;
}

/** What a chunk's first choice says the model thinks, where it is all that it brings; undefined where there is more. */
export function thoughtsAlone(choice: unknown): string | undefined {
	const { index, delta, finish_reason } = objectIn(choice) ?? {};
	const piece = objectIn(delta);
	if ((index ?? 0) !== 0 || finish_reason || !piece) return undefined;
	const { content, reasoning_content: long, reasoning: short, role: _, ...rest } = piece;
	const thought = long ?? short;
	return typeof thought === "string" && !content && hasNothing(rest) ? thought : undefined;
}

/** A piece of a call's arguments. */
export interface ArgumentsPiece {
	/** The call's. */
	readonly index: number;
	readonly args: string;
}

/** The piece of arguments of a chunk's first choice, where it is all that it brings; undefined where there is more. */
export function argumentsAlone(choice: unknown): ArgumentsPiece | undefined {
	const { index, delta, finish_reason } = objectIn(choice) ?? {};
	if ((index ?? 0) !== 0 || finish_reason) return undefined;
	const { tool_calls: calls, role: _, ...rest } = objectIn(delta) ?? {};
	if (!Array.isArray(calls) || calls.length !== 1 || !hasNothing(rest)) return undefined;
	const { index: call, function: piece, type: __, ...more } = objectIn(calls[0]) ?? {};
	const { arguments: args, ...others } = objectIn(piece) ?? {};
	if (typeof call !== "number" || typeof args !== "string" || !hasNothing(more) || !hasNothing(others))
		return undefined;
	return { index: call, args };
}

const hasNothing = (fields: Readonly<Record<string, unknown>>): boolean =>
	Object.values(fields).every((value) => value === null);
