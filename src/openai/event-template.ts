/**
 * Events of one stream that are alike but for texts, numbers and blanks: what is always the same is learnt of one, and the others are found by their bytes. One
 * that is found so needs no decoding and no parse: it is whole, valid, and means what that one meant. Whatever is written otherwise is left to the parser.
 */
import { isUtf8 } from "node:buffer";
import { bytePart } from "./byte-part.ts";
import { BLANKS, type Separators, separatorsOf, type TextFrame } from "./text-separators.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const CODE_POINT = 0x75;
/** Behind ASCII. */
export const ASCII_END = 0x80;
/**
 * Where each noted text of the last `read` of any template begins and ends, and how many of these places there are: one room for all, since each
 * stream has a template and most chunks some hundred of them.
 */
let places = new Int32Array(1024);
let placed = 0;
let placedBy: EventTemplate | undefined;

function grow(): void {
	const more = new Int32Array(2 * places.length);
	more.set(places);
	places = more;
}

/** Of a number: more are none. */
const MAX_DIGITS = 9;

/** A table of some bytes. */
const tableOf = (text: string): Uint8Array => {
	const table = new Uint8Array(256);
	for (const byte of Buffer.from(text)) table[byte] = 1;
	return table;
};
/** What may stand behind a backslash, code points aside. */
const SHORT = tableOf('"\\/bfnrt');
/** What `JSON.stringify` writes there. */
const CANONICAL = tableOf('"\\bfnrt');
const HEX = tableOf("0123456789abcdefABCDEF");

/** What differs: a text, up to its quote; a number of up to nine digits; blanks, or none. */
export type VariablePart = "text" | "number" | "blanks";

/** What events have in common. */
export interface EventShape {
	/** What stands before the first variable, between two of them, and behind the last. */
	readonly fixed: readonly string[];
	/** What stands between those; at least one is a text. */
	readonly variables: readonly VariablePart[];
	/** Which of them is the text whose places are noted, and that is never empty; absent where none is. */
	readonly noted?: number;
	/** Those that texts may have: `canonical` ones are written alike by all, `any` may be `\u00e9`, and the short ones are all others. */
	readonly escapes: "canonical" | "short" | "any";
}

/** Finds events of one shape. */
export class EventTemplate {
	// What each event needs is side by side: a stream's state has left the processor's caches by its next event.
	#frame: TextFrame | undefined;
	/** Longest event that is looked for alone, bytes; -1: none is. */
	#longestAlone = -1;
	/** The chunk at hand is no UTF-8: to try it again behind each event would cost the square of their number. */
	#isRefused = false;
	/** Which of the texts is noted; -1: none. */
	readonly #noted: number;
	/** How long the noted texts of the last `read` are, how many escapes they have, where the last of them ends, and how many events that were. */
	size = 0;
	escapes = 0;
	lastEnd = 0;
	events = 0;
	/** The places of the noted texts are asked for. */
	#notes = true;
	/** All bytes of the texts, or-ed: from 128 on where one is no ASCII. */
	bits = 0;
	/** Escapes of the text that was read last, and of the noted one of the event that was read alone. */
	#escapes = 0;
	#notedEscapes = 0;
	/** Where each variable begins and ends in the event that was read alone last. */
	readonly starts: number[];
	readonly ends: number[];
	readonly #bytes: readonly Buffer[];
	/** Digits of the numbers among the variables there, and what stands between the others in events that are like it. */
	readonly #widths: number[];
	#separators: Separators | undefined;
	/** What may stand behind a backslash. */
	readonly #escaped: Uint8Array;

	constructor(private readonly shape: EventShape) {
		const { fixed, variables, escapes, noted = -1 } = shape;
		this.#escaped = escapes === "canonical" ? CANONICAL : SHORT;
		this.#bytes = fixed.map((part) => Buffer.from(part));
		this.#widths = variables.map((variable) => (variable === "blanks" ? BLANKS : 0));
		this.starts = variables.map(() => 0);
		this.ends = variables.map(() => 0);
		this.#noted = noted === -1 ? -1 : variables.slice(0, noted).filter((variable) => variable === "text").length;
	}

	/**
	 * Past the events that a chunk has from `from` on, up to the first other one; `from` where there are none.
	 * @param notes false: nobody asks where the texts are
	 */
	read(chunk: Buffer, from: number, notes = true): number {
		if (from === 0) this.#isRefused = false;
		placed = 0;
		placedBy = notes ? this : undefined;
		this.#notes = notes;
		this.size = this.escapes = this.events = this.bits = 0;
		if (this.#isRefused) return from;
		let past = chunk.length - from <= this.#longestAlone ? this.#aloneEnd(chunk, from) : -1;
		if (past === -1) past = this.#rowEnd(chunk, from);
		if (this.bits < ASCII_END || past === from || isUtf8(bytePart(chunk, from, past))) return past;
		this.#isRefused = true;
		return from;
	}

	/** Past all events of the shape. */
	#rowEnd(chunk: Buffer, from: number): number {
		this.bits = 0;
		for (let past = from; ; ) {
			if (this.#separators) past = this.#alikeEnd(chunk, past, this.#separators);
			const end = past === chunk.length ? -1 : this.eventEnd(chunk, past);
			if (end === -1) return past;
			past = end;
			this.#learn();
			this.events++;
			const { noted } = this.shape;
			if (noted !== undefined) this.#note(this.starts[noted]!, this.ends[noted]!, this.#notedEscapes);
		}
	}

	#note(start: number, end: number, escapes: number): void {
		this.size += end - start;
		this.escapes += escapes;
		this.lastEnd = end;
		if (!this.#notes) return;
		if (placed === places.length) grow();
		places[placed++] = start;
		places[placed++] = end;
	}

	/** Where each noted text of the last `read` begins and ends in the chunk: a copy. To be asked before another template reads. */
	get spans(): Int32Array {
		this.#checkRead();
		return places.slice(0, placed);
	}

	/** The same of a chunk that was read before, looked for anew when it is asked for. */
	spansLater(chunk: Buffer, from: number): () => Int32Array {
		return () => {
			const isRefused = this.#isRefused;
			this.#isRefused = false;
			this.read(chunk, from);
			this.#isRefused = isRefused;
			return this.spans;
		};
	}

	#checkRead(): void {
		if (placedBy !== this) throw new TypeError("Another template has read since, or nothing was noted.");
	}

	/** The noted texts of the last `read`, joined. To be asked before another template reads. */
	textsIn(chunk: Uint8Array): Buffer {
		this.#checkRead();
		const texts = Buffer.allocUnsafe(this.size);
		let at = 0;
		for (let i = 0; i < placed; i += 2) {
			for (let from = places[i]!; from < places[i + 1]!; from++) texts[at++] = chunk[from]!;
		}
		return texts;
	}

	#learn(): void {
		if (this.#separators) return;
		const separators = separatorsOf(this.#bytes, this.#widths);
		this.#separators = separators;
		this.#longestAlone = separators.isOne ? 2 * separators.between.length : -1;
	}

	/**
	 * Past an event like the last one that is all that the chunk has left; -1 where it is not. An event that comes alone finds nothing of its stream in the
	 * processor's caches: what it is compared with is one row of bytes.
	 */
	#aloneEnd(chunk: Buffer, from: number): number {
		this.#frame ??= { bytes: Buffer.concat(this.#bytes), before: this.#bytes[0]!.length };
		const { bytes, before } = this.#frame;
		const begin = from + before;
		const end = chunk.length - (bytes.length - before);
		if (end < begin || end - begin > bytes.length || bytes.compare(chunk, from, begin, 0, before) !== 0) return -1;
		if (this.#textEnd(chunk, begin) !== end) return -1;
		for (let at = before, nth = end; at < bytes.length; at++, nth++) if (chunk[nth] !== bytes[at]) return -1;
		if (this.#noted !== -1) {
			if (end === begin) return -1;
			this.#note(begin, end, this.#escapes);
		}
		this.events = 1;
		return chunk.length;
	}

	/** Past events like the last one that was read alone: what stands between two texts is compared at once. */
	#alikeEnd(chunk: Buffer, from: number, { first, inner, last, between }: Separators): number {
		const noted = this.#noted;
		let past = from;
		let start = 0;
		let end = 0;
		let escapes = 0;
		let at = first.endIn(chunk, from);
		while (at !== -1) {
			for (let nth = 0; ; nth++) {
				const begin = at;
				at = this.#textEnd(chunk, begin);
				if (at === -1) return past;
				if (nth === noted) {
					if (at === begin) return past;
					start = begin;
					end = at;
					escapes = this.#escapes;
				}
				if (nth === inner.length) break;
				at = inner[nth]!.endIn(chunk, at);
				if (at === -1) return past;
			}
			const next = at + between.length > chunk.length ? -1 : between.endIn(chunk, at);
			const behind = next === -1 ? last.endIn(chunk, at) : next - first.length;
			if (behind === -1) return past;
			past = behind;
			this.events++;
			if (noted !== -1) this.#note(start, end, escapes);
			at = next;
		}
		return past;
	}

	/** Past the event that begins at `at`, whose variables are noted; -1 where that is none of this shape. */
	eventEnd(chunk: Buffer, at: number): number {
		const { variables, noted } = this.shape;
		const bytes = this.#bytes;
		for (let nth = 0; ; nth++) {
			const fixed = bytes[nth]!;
			const end = at + fixed.length;
			if (end > chunk.length || fixed.compare(chunk, at, end) !== 0) return -1;
			if (nth === variables.length) return end;
			at = this.#variableEnd(chunk, end, nth);
			if (at === -1) return -1;
			this.starts[nth] = end;
			this.ends[nth] = at;
			if (nth !== noted) continue;
			if (at === end) return -1;
			this.#notedEscapes = this.#escapes;
		}
	}

	#variableEnd(chunk: Buffer, at: number, nth: number): number {
		const variable = this.shape.variables[nth];
		if (variable === "text") return this.#textEnd(chunk, at);
		if (variable === "blanks") return blanksEnd(chunk, at);
		let end = at;
		while (chunk[end]! >= ZERO && chunk[end]! <= NINE) end++;
		if (!isNumber(end - at, chunk[at]!)) return -1;
		if (end - at !== this.#widths[nth]) {
			this.#widths[nth] = end - at;
			this.#separators = undefined;
		}
		return end;
	}

	/** Where the JSON string is closed that goes on at `at`, in UTF-8: all that is looked for is ASCII. -1 where it is not. */
	#textEnd(chunk: Uint8Array, at: number): number {
		let bits = 0;
		this.#escapes = 0;
		for (let end = at; end < chunk.length; end++) {
			const byte = chunk[end]!;
			if (byte === QUOTE) {
				this.bits |= bits;
				return end;
			}
			if (byte < SPACE) return -1;
			bits |= byte;
			if (byte !== BACKSLASH) continue;
			end = this.#escapeEnd(chunk, end + 1);
			if (end === -1) return -1;
		}
		return -1;
	}

	/** The last byte of the escape behind a backslash, which is counted; -1 where that is none that texts may have here. */
	#escapeEnd(chunk: Uint8Array, at: number): number {
		this.#escapes++;
		const escaped = chunk[at] ?? 0;
		if (this.#escaped[escaped] === 1) return at;
		if (escaped !== CODE_POINT || this.shape.escapes !== "any") return -1;
		for (let nth = 1; nth <= 4; nth++) if (HEX[chunk[at + nth] ?? 0] === 0) return -1;
		return at + 4;
	}

	/** Past the event that begins at `at` in a text, whose variables are noted; -1 where that is none of this shape. */
	endIn(text: string, at: number): number {
		const { fixed, variables } = this.shape;
		for (let nth = 0; ; nth++) {
			if (!text.startsWith(fixed[nth]!, at)) return -1;
			const start = at + fixed[nth]!.length;
			if (nth === variables.length) return start;
			at = this.#variableEndIn(text, start, variables[nth]!);
			if (at === -1) return -1;
			this.starts[nth] = start;
			this.ends[nth] = at;
		}
	}

	#variableEndIn(text: string, at: number, variable: VariablePart): number {
		let end = at;
		if (variable === "blanks") {
			while (text.charCodeAt(end) === SPACE) end++;
			return end;
		}
		if (variable === "number") {
			while (text.charCodeAt(end) >= ZERO && text.charCodeAt(end) <= NINE) end++;
			return isNumber(end - at, text.charCodeAt(at)) ? end : -1;
		}
		for (; end < text.length; end++) {
			const unit = text.charCodeAt(end);
			if (unit === QUOTE) return end;
			if (unit < SPACE) return -1;
			if (unit !== BACKSLASH) continue;
			const escaped = text.charCodeAt(++end);
			if (this.#escaped[escaped] === 1) continue;
			if (escaped !== CODE_POINT || this.shape.escapes !== "any") return -1;
			for (const last = end + 4; end < last; ) if (HEX[text.charCodeAt(++end)] !== 1) return -1;
		}
		return -1;
	}
}

function blanksEnd(chunk: Uint8Array, at: number): number {
	let end = at;
	while (chunk[end] === SPACE) end++;
	return end;
}

/** JSON's numbers begin with no 0. */
const isNumber = (digits: number, first: number): boolean =>
	digits === 1 || (digits > 1 && digits <= MAX_DIGITS && first !== ZERO);
