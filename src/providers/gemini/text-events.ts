/**
 * Events of Gemini's that bring a text and counts, which nearly all do, found by their bytes: what stands around the text is learned of one, and the
 * others are neither decoded nor parsed, since a JSON string is the same in OpenAI's chunk. Whatever is written otherwise is left to the parser.
 */
import { isUtf8 } from "node:buffer";
import { bytePart } from "../../openai/byte-part.ts";
import type { GenerateResponse } from "./response.ts";

const TEXT = /"text":\s*("(?:[^"\\]|\\.)*")/;
const COUNTS = '"usageMetadata"';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const ASCII_END = 0x80;
const CODE_POINT = 0x75;
/** What may stand behind a backslash, code points aside: `"` `\` `/` b f n r t. */
const ESCAPED = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74]);
const HEX = new Set(Buffer.from("0123456789abcdefABCDEF"));

/** Events of one stream that are learned from: where each differs from those before, none needs to be. */
const MOST_LEARNED = 16;

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
	new DataView(buffer, byteOffset, byteLength);

/** Chunks up to so many bytes are viewed in a copy: to have a view of a small array made takes longer (see `bytePart`). */
const SMALL = 1000;
const copy = new Uint8Array(SMALL);
const copyView = viewOf(copy);

/** Bytes that are searched, and a view of them, which may be longer. */
class Chunk {
	readonly view: DataView;
	readonly length: number;

	constructor(readonly bytes: Buffer) {
		this.length = bytes.length;
		if (bytes.length <= SMALL) {
			copy.set(bytes);
			this.view = copyView;
		} else this.view = viewOf(bytes);
	}
}

/**
 * How many of the known bytes from `nth` on stand in the chunk from `at` on, as far as eight at a time say it: mostly at most seven more do. As
 * numbers eight bytes are compared in the time of one; of text, which holds no zeros, no two that differ are equal.
 */
function sameEights(known: DataView, nth: number, { view, length }: Chunk, at: number): number {
	const most = Math.min(known.byteLength - nth, length - at) - 8;
	let same = 0;
	while (same <= most && known.getFloat64(nth + same, true) === view.getFloat64(at + same, true)) same += 8;
	return same;
}

/** Whether the known bytes stand there. */
function hasBytes(chunk: Chunk, at: number, known: Known): boolean {
	const { bytes } = known;
	for (let nth = sameEights(known.view, 0, chunk, at); nth < bytes.length; nth++) {
		if (chunk.bytes[at + nth] !== bytes[nth]) return false;
	}
	return true;
}

/** Bytes that are looked for. */
class Known {
	readonly view: DataView;
	constructor(readonly bytes: Buffer) {
		this.view = viewOf(bytes);
	}
}
const NOTHING = new Known(Buffer.alloc(0));

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= ZERO && byte <= NINE;

/** Reads the text events of one stream. */
export class TextEvents {
	/** Up to the text; behind it, up to the counts; the counts and all behind them, in which numbers may be others. */
	#head: Known | undefined;
	#close = NOTHING;
	#counts = NOTHING;
	#learned = 0;
	/** The chunk at hand is no UTF-8: to try it again behind each event would cost the square of their number. */
	#isRefused = false;
	/** All bytes of the texts, or-ed: from 128 on where one is no ASCII. */
	#bits = 0;
	/** Where each text of the last `read` begins and ends in its chunk, and how long all are. */
	spans: number[] = [];
	size = 0;
	/** Where the counts of the last event begin, and where it ends; and its counts, once it was read. */
	#countsAt = 0;
	#end = 0;
	#counted: Buffer | undefined;

	/** Learns from an event that was read, where it is such a one. */
	learn(event: string, response: GenerateResponse): void {
		const text = textAlone(response);
		if (text === undefined || this.#learned === MOST_LEARNED) return;
		this.#learned++;
		const found = TEXT.exec(event);
		if (!found) return;
		const literal = found[1]!;
		if (JSON.parse(literal) !== text) return;
		const end = found.index + found[0].length - 1;
		const start = end - literal.length + 2;
		const counts = event.indexOf(COUNTS, end);
		this.#head = new Known(Buffer.from(event.slice(0, start)));
		this.#close = new Known(Buffer.from(event.slice(end, counts === -1 ? undefined : counts)));
		this.#counts = counts === -1 ? NOTHING : new Known(Buffer.from(event.slice(counts)));
	}

	/** Past the text events that a chunk has from `from` on, up to the first other one; `from` where there are none. */
	read(bytes: Buffer, from: number): number {
		if (from === 0) this.#isRefused = false;
		this.spans = [];
		this.size = 0;
		const head = this.#head;
		if (!head || this.#isRefused) return from;
		const chunk = new Chunk(bytes);
		let at = from;
		this.#bits = 0;
		while (hasBytes(chunk, at, head)) {
			const start = at + head.bytes.length;
			const end = this.#textEnd(bytes, start);
			if (end <= start || !this.#hasTail(chunk, end)) break;
			this.spans.push(start, end);
			this.size += end - start;
			at = this.#end;
		}
		this.#isRefused = this.#bits >= ASCII_END && !isUtf8(bytePart(bytes, from, at));
		if (this.#isRefused || at === from) return from;
		if (this.#counts !== NOTHING) this.#counted = bytePart(bytes, this.#countsAt, this.#end);
		return at;
	}

	/** Where the JSON string is closed whose text begins there; -1 where it is not. */
	#textEnd(chunk: Uint8Array, start: number): number {
		let bits = 0;
		for (let at = start; at < chunk.length; at++) {
			const byte = chunk[at]!;
			if (byte === QUOTE) {
				this.#bits |= bits;
				return at;
			}
			if (byte < SPACE) return -1;
			bits |= byte;
			if (byte !== BACKSLASH) continue;
			at = escapeEnd(chunk, at + 1) - 1;
			if (at < start) return -1;
		}
		return -1;
	}

	/** Whether the known ends of an event stand there. */
	#hasTail(chunk: Chunk, from: number): boolean {
		if (!hasBytes(chunk, from, this.#close)) return false;
		const { bytes } = chunk;
		const { bytes: counts, view: known } = this.#counts;
		let at = from + this.#close.bytes.length;
		const countsAt = at;
		let same = sameEights(known, 0, chunk, at);
		at += same;
		for (let nth = same; nth < counts.length; nth++, at++) {
			if (counts[nth] === bytes[at]) continue;
			// In a number, whose digits may be others, and more of them or fewer.
			const isNumber = isDigit(counts[nth - 1]) || (isDigit(counts[nth]) && isDigit(bytes[at]));
			if (!isNumber || at >= bytes.length) return false;
			while (isDigit(counts[nth])) nth++;
			while (isDigit(bytes[at])) at++;
			if (counts[nth] !== bytes[at]) return false;
			same = sameEights(known, nth + 1, chunk, at + 1);
			nth += same;
			at += same;
		}
		this.#countsAt = countsAt;
		this.#end = at;
		return true;
	}

	/** The counts of the last event that was read since this was asked, as JSON of an answer; undefined where there are none. */
	takeCounts(): string | undefined {
		const counted = this.#counted;
		this.#counted = undefined;
		return counted && `{${counted.toString()}`;
	}

	/** The texts that were read, joined, as JSON without its quotes. */
	textsIn(chunk: Buffer): Buffer {
		const texts = Buffer.allocUnsafe(this.size);
		let at = 0;
		for (let i = 0; i < this.spans.length; i += 2) {
			for (let from = this.spans[i]!; from < this.spans[i + 1]!; from++) texts[at++] = chunk[from]!;
		}
		return texts;
	}
}

/** Past the escape behind a backslash; -1 where that is none. */
function escapeEnd(chunk: Uint8Array, at: number): number {
	const byte = chunk[at] ?? 0;
	if (ESCAPED.has(byte)) return at + 1;
	if (byte !== CODE_POINT) return -1;
	for (let nth = 1; nth <= 4; nth++) if (!HEX.has(chunk[at + nth] ?? 0)) return -1;
	return at + 5;
}

const hasOnly = (object: object, names: ReadonlySet<string>): boolean =>
	Object.keys(object).every((name) => names.has(name));

const RESPONSE = new Set(["candidates", "usageMetadata", "modelVersion", "responseId"]);
const CANDIDATE = new Set(["content", "index"]);
const CONTENT = new Set(["parts", "role"]);
const PART = new Set(["text"]);

/** The text of an answer's piece that brings nothing else but counts; undefined of any other. */
function textAlone(response: GenerateResponse): string | undefined {
	const [candidate, ...others] = response.candidates ?? [];
	if (!candidate || others.length > 0 || (candidate.index ?? 0) !== 0 || !hasOnly(response, RESPONSE)) return undefined;
	const { content } = candidate;
	const [part, ...more] = content?.parts ?? [];
	if (!content || !part || more.length > 0) return undefined;
	if (!hasOnly(candidate, CANDIDATE) || !hasOnly(content, CONTENT) || !hasOnly(part, PART)) return undefined;
	return part.text || undefined;
}
