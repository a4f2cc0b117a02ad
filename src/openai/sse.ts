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
	/** It came as a line with its name and a line of data: only the former is missing in `raw`. */
	readonly isNamed?: boolean;
	/** The `data:` lines joined; undefined for comments and empty events. */
	readonly data: string | undefined;
	/** The `event:` field, where there is one. */
	readonly name?: string | undefined;
}

/** Longest event held in memory while its end is awaited, bytes. Images inside chunks reach some MB. */
export const MAX_EVENT = 32 * 1024 * 1024;

/** Thrown by `SseSplitter.push` when an event outgrows `MAX_EVENT`. */
export class EventTooLarge extends Error {}

/**
 * Cuts a byte stream into events, wherever the chunks were cut: inside a line ending or a UTF-8 sequence, too. Either `push` gives all events
 * that a chunk completes; or `add` it, and `next` gives one after the other, with `bytes` and `at` for who reads some of them as bytes.
 */
export class SseSplitter {
	/** What is being read: the last chunk, behind what was held of the one before. */
	bytes: Buffer = NOTHING;
	/** Where the next event begins in it. */
	at = 0;
	/** The events read since the last `add` were UTF-8: their text says what the bytes said. Of one that holds U+FFFD itself that is not known. */
	isFaithful = true;
	/** Pieces of an event whose end has not come. They are joined once: a join a chunk would cost the square of its length. */
	#pieces: Buffer[] = [];
	#size = 0;
	/** The last three bytes held: the longest beginning of a boundary, which may come a byte at a time. */
	#tail: Buffer = NOTHING;
	/** There are CRs in what is being read: two in a row end an event, too. Undefined until that is asked, since most is never looked into. */
	#hasCr: boolean | undefined;

	/** The events that `chunk` completes. Throws `EventTooLarge`. */
	push(chunk: Uint8Array): SseEvent[] {
		this.add(chunk);
		const events: SseEvent[] = [];
		for (let event = this.next(); event; event = this.next()) events.push(event);
		return events;
	}

	/** Takes a chunk, once all events of the one before have been read. Throws `EventTooLarge`. */
	add(chunk: Uint8Array): void {
		const bytes = asBuffer(chunk);
		this.isFaithful = true;
		if (this.#size === 0) this.#read(bytes);
		else if (this.#completes(bytes)) {
			const pieces = [...this.#pieces, bytes];
			this.#pieces = [];
			this.#size = 0;
			this.#read(Buffer.concat(pieces));
		} else {
			this.#read(NOTHING);
			this.#hold(bytes);
		}
	}

	/** The next whole event; undefined where there is none: what is left then is held for the next chunk. Throws `EventTooLarge`. */
	next(): SseEvent | undefined {
		const { bytes, at } = this;
		if (at === bytes.length) return undefined;
		const end = this.#boundary();
		if (end === -1) {
			this.at = bytes.length;
			this.#hold(bytes.subarray(at));
			return undefined;
		}
		this.at = end;
		const text = bytes.toString("utf8", at, end);
		if (text.includes(REPLACEMENT)) this.isFaithful = false;
		return parseEvent(text);
	}

	/** The first `end` bytes of what is being read; "" where that is none. */
	before(end: number): StreamPiece {
		if (end === 0) return "";
		return end < this.bytes.length ? this.bytes.subarray(0, end) : this.bytes;
	}

	/** What is left at the end of the stream: an event whose blank line never came counts as whole. */
	end(): SseEvent[] {
		const rest = Buffer.concat(this.#pieces).toString().trimEnd();
		this.#pieces = [];
		this.#size = 0;
		return rest === "" ? [] : [parseEvent(`${rest}\n\n`)];
	}

	/** Whether nothing of a later event is held. */
	get isClean(): boolean {
		return this.#size === 0;
	}

	#read(bytes: Buffer): void {
		this.bytes = bytes;
		this.at = 0;
		this.#hasCr = undefined;
	}

	/** Whether these bytes bring the end of the event that is held. */
	#completes(bytes: Buffer): boolean {
		const seam = Buffer.concat([this.#tail, bytes.subarray(0, 3)]);
		return boundary(seam, 0) !== -1 || seam.includes("\r\r") || boundary(bytes, 0) !== -1 || bytes.includes("\r\r");
	}

	#hold(piece: Buffer): void {
		if (piece.length === 0) return;
		const before = this.#size === 0 ? NOTHING : this.#tail;
		this.#tail = piece.length >= 3 ? piece.subarray(-3) : Buffer.concat([before, piece]).subarray(-3);
		this.#pieces.push(piece);
		this.#size += piece.length;
		if (this.#size > MAX_EVENT) throw new EventTooLarge(`an event larger than ${MAX_EVENT / 1024 / 1024} MB`);
	}

	/** Past the first blank line from `at` on; -1 where there is none yet. Lines end with LF, CRLF or CR. */
	#boundary(): number {
		const { bytes, at } = this;
		const end = boundary(bytes, at);
		this.#hasCr ??= bytes.includes(CR);
		if (!this.#hasCr) return end;
		const crs = bytes.subarray(at, end === -1 ? undefined : end).indexOf("\r\r");
		return crs === -1 ? end : at + crs + 2;
	}
}

/** Past the first blank line at or after `from`, where lines end with LF or CRLF; -1 where there is none yet. */
function boundary(bytes: Buffer, from: number): number {
	for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
		if (bytes[at + 1] === LF) return at + 2;
		if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
	}
	return -1;
}

/** Bytes without UTF-8's byte order mark before them. */
export const unmarked = (bytes: Uint8Array): Uint8Array =>
	bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;

const NOTHING = Buffer.alloc(0);
const LF = 10;
const CR = 13;

const asBuffer = (bytes: Uint8Array): Buffer =>
	bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** One event's text, read. */
function parseEvent(raw: string): SseEvent {
	// The form nearly every upstream sends: one `data: …` line, nothing else.
	if (raw.startsWith("data: ") && raw.indexOf("\n") === raw.length - 2)
		return raw.includes("\r") ? withoutCrs(raw) : { raw, data: raw.slice(6, -2) };
	if (raw.startsWith("data: ") && raw.indexOf("\r") === raw.length - 4 && raw.indexOf("\n") === raw.length - 3) {
		return { raw, data: raw.slice(6, -4) };
	}
	// Anthropic's: an `event: …` line before it.
	if (raw.startsWith("event: ")) {
		const end = raw.indexOf("\n");
		if (raw.startsWith("data: ", end + 1) && raw.indexOf("\n", end + 1) === raw.length - 2) {
			if (raw.includes("\r")) return withoutCrs(raw);
			const line = raw.slice(end + 1);
			const name = raw.slice(7, end).trim();
			return { raw: line, isMended: true, isNamed: name.length === end - 7, data: line.slice(6, -2), name };
		}
	}
	if (raw.startsWith(":") && raw.indexOf("\n") === raw.length - 2 && !CONTROL.test(raw))
		return { raw, data: undefined };
	return mended(raw);
}

/** An event whose lines end with LF: in JSON, a CR stands between two values only, and for clients it ends the line. */
const withoutCrs = (raw: string): SseEvent => mended(raw.replaceAll("\r", " "));

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
const CONTROL = /[\0-\x08\x0B-\x1F\x7F]/;
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

/** Bytes that are written where they are put together with others. */
export interface WritableBytes {
	readonly length: number;
	writeTo(into: Uint8Array, at: number): void;
	/** Events as their upstream has written them, of which these bytes say the same, for a client that speaks the upstream's wire. */
	readonly own?: Uint8Array | undefined;
}

/** An event of which its upstream's own words say the same, for a client that speaks them. */
export class NativeEvent {
	/**
	 * @param own as it came; none where it has been sent already, or is none for clients
	 * @param event the same, parsed
	 * @param words the same in OpenAI's words, or what makes it: most are never asked for
	 */
	constructor(
		readonly own: Uint8Array,
		readonly event: Readonly<Record<string, unknown>>,
		private words: string | (() => string),
	) {}

	/** In OpenAI's words. */
	get chunks(): string {
		if (typeof this.words === "function") this.words = this.words();
		return this.words;
	}
}

/** What a piece is put together of. */
export type PiecePart = StreamPiece | WritableBytes | NativeEvent;

/** A piece of a stream, of which some is there as its upstream has written it, too. To be read, or written, before the next one is. */
export class NativePiece {
	constructor(readonly parts: readonly PiecePart[]) {}

	/** All of it in OpenAI's words. */
	chunks(): StreamPiece {
		return joinedPieces("", this.parts.map(inChunks));
	}
}

/** A part in OpenAI's words. */
type Chunks = StreamPiece | WritableBytes;

/** The part in those. */
export const inChunks = (part: PiecePart): Chunks => (part instanceof NativeEvent ? part.chunks : part);

/** A piece of an answer. */
export type AnswerPiece = StreamPiece | NativePiece;

/** What stands behind `first`, and that, as one piece. `isNative`: some of it is there as its upstream has written it, too. */
export function answerPiece(first: StreamPiece, rest: readonly PiecePart[], isNative: boolean): AnswerPiece {
	return isNative ? new NativePiece(first === "" ? rest : [first, ...rest]) : joinedPieces(first, rest as Chunks[]);
}

/** A piece in OpenAI's words. */
export const chunksOf = (piece: AnswerPiece): StreamPiece => (piece instanceof NativePiece ? piece.chunks() : piece);

/** Several pieces as one: `first`, which may be empty, and those behind it. */
export function joinedPieces(first: StreamPiece, rest: readonly Chunks[]): StreamPiece {
	if (rest.length === 0) return first;
	const pieces = first === "" ? rest : [first, ...rest];
	const [only] = pieces;
	if (pieces.length === 1 && isPiece(only!)) return only;
	if (pieces.every((piece) => typeof piece === "string")) return pieces.join("");
	let size = 0;
	for (const piece of pieces) size += typeof piece === "string" ? Buffer.byteLength(piece) : piece.length;
	const all = Buffer.allocUnsafe(size);
	let at = 0;
	for (const piece of pieces) {
		if (typeof piece === "string") at += all.write(piece, at);
		else {
			if (isPiece(piece)) all.set(piece, at);
			else piece.writeTo(all, at);
			at += piece.length;
		}
	}
	return all;
}

/** Whether it is written already. */
export const isPiece = (piece: PiecePart): piece is StreamPiece =>
	typeof piece === "string" || piece instanceof Uint8Array;

const decoder = new TextDecoder();

/** The text of a piece that is whole. */
export function textOf(piece: StreamPiece): string {
	return typeof piece === "string" ? piece : decoder.decode(piece);
}

/** The comment of a stream that has nothing to say yet, without its line ends. */
export const KEEP_ALIVE = ": keep-alive";

/** What ends every good stream of the OpenAI API. */
export const DONE = sseData("[DONE]");

/** A piece longer than this, UTF-16 units, may be a picture: it is looked into. */
const LONG = 16_384;
/** What one counts for: some 500 tokens. */
const MEDIA_LENGTH = 2_000;

/** How long a piece of the answer is, as far as its tokens follow from its length. */
export const spokenLength = (text: string): number =>
	text.length > LONG && text.includes('"data:') ? MEDIA_LENGTH : text.length;
