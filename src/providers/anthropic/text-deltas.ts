/**
 * Pieces of text, or of a call's arguments, as Claude's API writes them, found by their bytes: each needs neither a decoding nor a parse, since a JSON string with none but the
 * short escapes is the same in OpenAI's chunk. Whatever is written otherwise is left to the parser.
 */
import { isUtf8 } from "node:buffer";
import { bytePart } from "../../openai/byte-part.ts";
import { type EventFrame, TextChunks } from "../../openai/text-chunks.ts";

const HEAD = Buffer.from('event: content_block_delta\ndata: {"type":"content_block_delta","index":');
/** What stands behind the index, before the text. */
const TYPES = {
	text: Buffer.from(',"delta":{"type":"text_delta","text":"'),
	arguments: Buffer.from(',"delta":{"type":"input_json_delta","partial_json":"'),
};

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const BRACE = 0x7d;
const LF = 0x0a;
const ASCII_END = 0x80;
/** Of UTF-8: bytes that go on with a character, and those that begin one of two UTF-16 units. */
const CONTINUED = 0xc0;
const LONGEST = 0xf0;
/** What `JSON.stringify` writes behind a backslash, code points aside: `"` `\` b f n r t. */
const ESCAPED = new Set([0x22, 0x5c, 0x62, 0x66, 0x6e, 0x72, 0x74]);

/** Reads the deltas of one type that a stream has. */
export class TextDeltas {
	/** What stood before the last text: before the next it is the same, but behind the end of a block. */
	#lead: Buffer;
	/** Where each text begins and ends in the chunk at hand. */
	#spans: number[] = [];
	#size = 0;
	/** All bytes of the texts, or-ed: from 128 on where one is no ASCII. */
	#bits = 0;
	/** The chunk at hand is no UTF-8: to try it again behind each event would cost the square of their number. */
	#isRefused = false;
	/** How long the texts of the last `read` are: UTF-16 units, and code points. */
	units = 0;
	points = 0;

	/** @param type what their text is a piece of */
	constructor(private readonly type: keyof typeof TYPES) {
		this.#lead = Buffer.concat([HEAD, Buffer.from("0"), TYPES[type]]);
	}

	/** How many there are. */
	get events(): number {
		return this.#spans.length / 2;
	}

	/** Past the deltas that a chunk has from `from` on, up to the first other event; `from` where there are none. */
	read(chunk: Buffer, from: number): number {
		if (from === 0) this.#isRefused = false;
		this.#spans = [];
		this.#size = this.#bits = this.units = this.points = 0;
		if (this.#isRefused) return from;
		let at = from;
		for (let end = at; end !== -1; end = this.#eventEnd(chunk, at)) at = end;
		this.#isRefused = this.#bits >= ASCII_END && !isUtf8(bytePart(chunk, from, at));
		return this.#isRefused ? from : at;
	}

	/**
	 * The chunks that say what was read.
	 * @param own the same as it came, for a client that speaks Anthropic's wire
	 */
	written(chunk: Buffer, frame: () => EventFrame, own?: Uint8Array): TextChunks {
		return new TextChunks(chunk, this.#spans, this.#size, frame, own);
	}

	/** Past the event that begins at `from`; -1 where that is no such delta, or has no text. */
	#eventEnd(chunk: Buffer, from: number): number {
		const known = from + this.#lead.length;
		if (known <= chunk.length && this.#lead.compare(chunk, from, known) === 0) return this.#textEnd(chunk, known);
		// What is read at once is of one block.
		const start = this.#spans.length > 0 ? -1 : textStart(chunk, from, TYPES[this.type]);
		if (start === -1) return -1;
		this.#lead = Buffer.from(chunk.subarray(from, start));
		return this.#textEnd(chunk, start);
	}

	/** Past the event whose text begins at `start`. It is counted. */
	#textEnd(chunk: Buffer, start: number): number {
		let bits = 0;
		let escapes = 0;
		let end = start;
		for (; end < chunk.length; end++) {
			const byte = chunk[end]!;
			if (byte === QUOTE) break;
			if (byte < SPACE) return -1;
			bits |= byte;
			if (byte !== BACKSLASH) continue;
			if (!ESCAPED.has(chunk[++end] ?? 0)) return -1;
			escapes++;
		}
		// Claude's API pads its events with blanks there.
		let at = end + 2;
		while (chunk[at] === SPACE) at++;
		const isEnd = chunk[end + 1] === BRACE && chunk[at] === BRACE && chunk[at + 1] === LF && chunk[at + 2] === LF;
		if (!isEnd || end === start) return -1;
		this.#bits |= bits;
		this.units += end - start - escapes;
		this.points += end - start - escapes;
		if (bits >= ASCII_END) this.#correct(chunk, start, end);
		this.#size += end - start;
		this.#spans.push(start, end);
		return at + 3;
	}

	/** Counts characters of several bytes, which were counted as so many, as one. */
	#correct(chunk: Buffer, start: number, end: number): void {
		for (let at = start; at < end; at++) {
			const byte = chunk[at]!;
			if (byte >= LONGEST) this.units++;
			if ((byte & CONTINUED) !== ASCII_END) continue;
			this.units--;
			this.points--;
		}
	}
}

/** Where the text begins of the delta of this type that begins at `from`; -1 where that is none. */
function textStart(chunk: Buffer, from: number, type: Buffer): number {
	let at = from + HEAD.length;
	if (at > chunk.length || HEAD.compare(chunk, from, at) !== 0) return -1;
	const digits = at;
	while (chunk[at]! >= ZERO && chunk[at]! <= NINE) at++;
	const start = at + type.length;
	// JSON's numbers begin with no 0.
	const isIndex = at === digits + 1 || (at > digits && chunk[digits] !== ZERO);
	return isIndex && start <= chunk.length && type.compare(chunk, at, start) === 0 ? start : -1;
}
