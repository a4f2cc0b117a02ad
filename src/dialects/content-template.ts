/**
 * Events of a stream that differ in their words alone, which nearly all do: what stands before the words and behind them is learned of one, and
 * the words of the next are read without a parse.
 */

import { joinedPieces, type SseEvent, SseSplitter, type StreamPiece, textOf } from "../openai/sse.ts";
import { type EventFrame, TextChunks } from "../openai/text-chunks.ts";
import { objectIn } from "../openai/usage.ts";

const CONTENT = /"content":\s*"/;
const QUOTE = '"';
const QUOTE_BYTE = 34;
const BACKSLASH = 92;
const LF = 10;
const ASCII_END = 128;

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

/** What stands around words, as bytes: before and behind them, and from behind some to before those of the next event. */
interface Surroundings {
	readonly head: Buffer;
	readonly tail: Buffer;
	readonly between: Buffer;
}

/** What the events of one stream have in common. */
export class ContentTemplate {
	/** The words that `matches` found, as JSON with its quotes, and where the event ends. */
	literal = "";
	end = 0;
	#head: string | undefined;
	#tail = "";
	#bytes: Surroundings | undefined;
	/** Where words begin and end in the bytes that were read last, and how long all are. */
	#spans: number[] = [];
	#size = 0;
	/** All bytes of the words, or-ed: from 128 on where one is no ASCII. */
	#bits = 0;

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
		this.#bytes = undefined;
	}

	/** The events of a piece, in another wire. */
	rewritten(piece: Uint8Array, writer: WordsWriter): StreamPiece {
		const parts: (string | TextChunks)[] = [];
		let at = 0;
		while (at < piece.length) {
			const past = writer.takesWords() ? this.#read(piece, at) : at;
			const end = past > at ? past : eventEnd(piece, at);
			parts.push(past > at ? this.#words(piece, writer) : writer.write(textOf(piece.subarray(at, end))));
			at = end;
		}
		return joinedPieces("", parts);
	}

	#words(piece: Uint8Array, writer: WordsWriter): string | TextChunks {
		const frame = writer.frame();
		const chunks = new TextChunks(piece, this.#spans, this.#size, () => frame);
		if (!writer.escaped || this.#bits < ASCII_END) return chunks;
		return writer.escaped(textOf(joinedPieces("", [chunks])));
	}

	/** Past the events like the learnt one that bytes have from `from` on, one behind the other; `from` where there are none. */
	#read(bytes: Uint8Array, from: number): number {
		if (this.#head === undefined) return from;
		this.#bytes ??= surroundings(this.#head, this.#tail);
		const { head, tail, between } = this.#bytes;
		this.#spans = [];
		this.#size = this.#bits = 0;
		let past = from;
		let at = from + head.length;
		if (at > bytes.length || head.compare(bytes, from, at) !== 0) return from;
		for (;;) {
			const end = this.#textEnd(bytes, at);
			// One without words is nothing to send.
			if (end <= at) return past;
			const next = end + between.length;
			const goesOn = next <= bytes.length && between.compare(bytes, end, next) === 0;
			const behind = end + tail.length;
			if (!goesOn && (behind > bytes.length || tail.compare(bytes, end, behind) !== 0)) return past;
			this.#spans.push(at, end);
			this.#size += end - at;
			past = behind;
			if (!goesOn) return past;
			at = next;
		}
	}

	/** Where the JSON string is closed whose text begins there; -1 where it is not. */
	#textEnd(bytes: Uint8Array, from: number): number {
		let bits = 0;
		for (let at = from; at < bytes.length; at++) {
			const byte = bytes[at]!;
			if (byte === QUOTE_BYTE) {
				this.#bits |= bits;
				return at;
			}
			bits |= byte;
			if (byte === BACKSLASH) at++;
		}
		return -1;
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

/** @param head up to the words with their quotes; @param tail from behind these on */
function surroundings(head: string, tail: string): Surroundings {
	const [before, after] = [head + QUOTE, QUOTE + tail];
	return { head: Buffer.from(before), tail: Buffer.from(after), between: Buffer.from(after + before) };
}

/** Past the event that begins there, or past several; all that there is where the next blank line is of another form. */
function eventEnd(bytes: Uint8Array, from: number): number {
	for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1))
		if (bytes[at + 1] === LF) return at + 2;
	return bytes.length;
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
