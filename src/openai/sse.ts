/**
 * Server-sent events (WHATWG HTML, section 9.2), as far as model streams use them:
 * split what arrives into whole events, read an event's data, write one.
 */

/** One event. */
export interface SseEvent {
	/**
	 * Its text, the closing blank line included: as it came, unless `isMended`. Comments and one line of data are left of it then, and
	 * nothing where it had neither: clients of the OpenAI API know no other fields, and some end at what is no field at all.
	 */
	readonly raw: string;
	readonly isMended?: boolean;
	/** The `data:` lines joined; undefined for comments and empty events. */
	readonly data: string | undefined;
	/** The `event:` field, where there is one. */
	readonly name?: string | undefined;
}

/** Longest event held in memory while its end is awaited, in UTF-16 units. Images inside chunks reach some MB. */
export const MAX_EVENT = 32 * 1024 * 1024;

/** Thrown by `SseSplitter.push` when an event outgrows `MAX_EVENT`. */
export class EventTooLarge extends Error {}

/** Cuts a byte stream into events, wherever the chunks were cut: inside a line ending or a UTF-8 sequence, too. */
export class SseSplitter {
	readonly #decoder = new TextDecoder();
	/** Pieces of an event whose end has not come. They are joined once: a join a chunk would cost the square of its length. */
	#pieces: string[] = [];
	#size = 0;
	/** The bytes of the last chunk were UTF-8: its text says what they said. Of one that holds U+FFFD itself that is not known. */
	isFaithful = true;
	/** The last three characters held: the longest beginning of a boundary, which may come a byte at a time. */
	#tail = "";

	/** The events that `chunk` completes. Throws `EventTooLarge`. */
	push(chunk: Uint8Array): SseEvent[] {
		const text = this.#decoder.decode(chunk, { stream: true });
		this.isFaithful = !text.includes(REPLACEMENT);
		return this.#split(text);
	}

	/** What is left at the end of the stream: an event whose blank line never came counts as whole. */
	end(): SseEvent[] {
		const events = this.#split(this.#decoder.decode());
		const rest = this.#pieces.join("").trimEnd();
		this.#keep("");
		if (rest !== "") events.push(parseEvent(`${rest}\n\n`));
		return events;
	}

	/** Whether nothing of a later event is held. */
	get isClean(): boolean {
		return this.#size === 0;
	}

	#split(more: string): SseEvent[] {
		if (this.#size > 0 && boundary(this.#tail + more, 0) === -1) {
			this.#add(more);
			return [];
		}
		const text = this.#size === 0 ? more : this.#pieces.join("") + more;
		const events: SseEvent[] = [];
		let start = 0;
		for (;;) {
			const end = boundary(text, start);
			if (end === -1) break;
			events.push(parseEvent(text.slice(start, end)));
			start = end;
		}
		this.#keep(text.slice(start));
		return events;
	}

	#keep(text: string): void {
		this.#pieces = [];
		this.#size = 0;
		this.#tail = "";
		this.#add(text);
	}

	#add(text: string): void {
		if (text === "") return;
		this.#pieces.push(text);
		this.#size += text.length;
		this.#tail = (this.#tail + text.slice(-3)).slice(-3);
		if (this.#size > MAX_EVENT) throw new EventTooLarge(`an event larger than ${MAX_EVENT / 1024 / 1024} MB`);
	}
}

/** Past the first blank line at or after `from`; -1 where there is none yet. Lines end with LF, CRLF or CR. */
function boundary(text: string, from: number): number {
	const lf = text.indexOf("\n\n", from);
	const cr = text.indexOf("\r", from);
	if (cr === -1 || (lf !== -1 && lf < cr)) return lf === -1 ? -1 : lf + 2;
	// CRLF throughout is Gemini's form: no need for the pattern.
	if (text.startsWith("\r\n\r\n", cr) && (cr === from || text.charCodeAt(cr - 1) !== 10)) return cr + 4;
	const pattern = /\r\n\r\n|\n\r\n|\r\n\n|\n\n|\r\r/g;
	pattern.lastIndex = from;
	return pattern.exec(text) === null ? -1 : pattern.lastIndex;
}

/** One event's text, read. */
function parseEvent(raw: string): SseEvent {
	// The form nearly every upstream sends: one `data: …` line, nothing else.
	if (raw.startsWith("data: ") && raw.indexOf("\n") === raw.length - 2) return { raw, data: raw.slice(6, -2) };
	if (raw.startsWith("data: ") && raw.indexOf("\r") === raw.length - 4 && raw.indexOf("\n") === raw.length - 3) {
		return { raw, data: raw.slice(6, -4) };
	}
	// Anthropic's: an `event: …` line before it.
	if (raw.startsWith("event: ")) {
		const end = raw.indexOf("\n");
		if (raw.startsWith("data: ", end + 1) && raw.indexOf("\n", end + 1) === raw.length - 2) {
			const line = raw.slice(end + 1);
			return { raw: line, isMended: true, data: line.slice(6, -2), name: raw.slice(7, end).trim() };
		}
	}
	if (raw.startsWith(":") && raw.indexOf("\n") === raw.length - 2 && !CONTROL.test(raw))
		return { raw, data: undefined };
	return mended(raw);
}

/** An event in any other form: data, comments and its name are kept of it. */
function mended(raw: string): SseEvent {
	let data: string | undefined;
	let name: string | undefined;
	let comments = "";
	for (const line of raw.replaceAll(MARK, "").split(/\r\n|\n|\r/)) {
		if (line.startsWith("data:")) {
			const value = line.slice(line.charCodeAt(5) === 32 ? 6 : 5);
			data = data === undefined ? value : `${data}\n${value}`;
		} else if (line.startsWith("event:")) name = line.slice(6).trim();
		else if (line.startsWith(":")) comments += `${line.replace(CONTROLS, "")}\n`;
	}
	// Google's servers put an error into a stream bare.
	if (data === undefined && raw.trimStart().startsWith("{")) data = raw.trim();
	// In JSON, a line's end stands between two values only.
	const text = data === undefined ? comments : `${comments}data: ${data.replaceAll(/[\r\n]+/g, " ")}\n`;
	return { raw: text === "" ? "" : `${text}\n`, isMended: true, data, name };
}

/** What a decoder puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\uFFFD";
/** The byte order mark. In JSON it may stand inside a text. */
const MARK = /^\uFEFF/gm;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are looked for
const CONTROL = /[\0-\x08\x0B\x0C\x0E-\x1F\x7F]/;
const CONTROLS = new RegExp(CONTROL, "g");

/** An event with this data. JSON has no raw line ends, so one `data:` line always holds it. */
export function sseData(data: string): string {
	return `data: ${data}\n\n`;
}

/** A comment line: clients ignore it, connections stay open through it. */
export function sseComment(text: string): string {
	return `: ${text}\n\n`;
}

/** A piece of a stream: whole events, as they came or as they were written. */
export type StreamPiece = Uint8Array | string;

const decoder = new TextDecoder();

/** The text of a piece that is whole. */
export function textOf(piece: StreamPiece): string {
	return typeof piece === "string" ? piece : decoder.decode(piece);
}

/** The comment of a stream that has nothing to say yet, without its line ends. */
export const KEEP_ALIVE = ": keep-alive";

/** What ends every good stream of the OpenAI API. */
export const DONE = sseData("[DONE]");
