/**
 * Chunks of one stream are alike but for their text, and for counts where a chunk has those. One that matches the last understood
 * chunk byte for byte outside of these needs no decoding and no parse: it is whole, valid, and means what that one meant.
 */
import { isUtf8 } from "node:buffer";
import { bytePart } from "../../openai/byte-part.ts";
import { type Separators, separatorsOf } from "./text-separators.ts";

/** What differs from chunk to chunk, and how it is read. */
type Kind = "text" | "content" | "number" | "output";

/**
 * Fields whose value may differ. OpenAI pads each chunk to one length with `obfuscation`; `delta` and `sequence_number` are those of Responses. A key can stand in no text: its quotes would
 * be escaped there.
 */
const VARIABLE =
	/"(?:(content|text)|reasoning_content|reasoning|arguments|refusal|obfuscation|delta)":"|"(?:(completion_tokens)|total_tokens|reasoning_tokens|sequence_number)":(?=\d)/g;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
const ASCII_END = 0x80;
/** What may follow a backslash here: `"` `\` `/` b f n r t. Code points (`\u…`) are left to the parser. */
const ESCAPED = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74]);
/** A longer event, in UTF-16 units, is no token: to learn it would cost the square of its length. */
const MAX_LENGTH = 4096;
/** Learnt so often without a match, a stream's chunks are not alike. */
const MAX_TRIES = 8;

/** A part of an event that is not sent on: from the first character to before the last, in UTF-16 units. */
export interface Cut {
	readonly start: number;
	readonly end: number;
}

/** A position in the shape: an offset in bytes into one of its fixed parts. */
interface TemplateSpan {
	readonly part: number;
	readonly offset: number;
}

/** The shape of a stream's chunks, learnt from one and matched against the next. */
export class DeltaTemplate {
	/** What stands before the first variable, between variables, and behind the last. Empty: nothing learnt. */
	#fixed: readonly string[] = [];
	/** The same as bytes. */
	#bytes: readonly Buffer[] = [];
	/** What stands between them. */
	#kinds: readonly Kind[] = [];
	/** Digits of the numbers among that in the last event that was read alone, and what stands between the texts of those that are like it. */
	#widths: number[] = [];
	#separators: Separators | undefined;
	/** The part that is not sent on. */
	#cut: { readonly from: TemplateSpan; readonly to: TemplateSpan } | undefined;
	/** Where the cuts of a chunk at hand begin and end. */
	readonly #cuts: number[] = [];
	#tries = 0;
	/** Of what `passThrough` took last: bytes of the chunk, and events. */
	length = 0;
	events = 0;
	/** The chunk at hand was refused: to try it again behind each event would cost the square of their number. */
	#isRefused = false;
	/** All bytes of the texts at hand, or-ed: from 128 on where one is no ASCII. */
	#bits = 0;
	/** Its chunks count the tokens so far. */
	hasCounts = false;
	/** Tokens by the count of the last event that matched, and those before the white space at the end of the text. */
	output = 0;
	trimmed = 0;
	#countAt = 0;
	#contentFrom = 0;
	#contentTo = 0;

	/**
	 * Takes the shape of an event that carried text and nothing else of weight. `raw` as it came, blank line included; `cut` is not
	 * sent on of events like it.
	 */
	learn(raw: string, cut?: Cut): void {
		if (raw.length > MAX_LENGTH || this.#tries++ >= MAX_TRIES) return;
		const fixed: string[] = [];
		const starts: number[] = [];
		const kinds: Kind[] = [];
		let start = 0;
		for (const match of raw.matchAll(VARIABLE)) {
			const from = match.index + match[0].length;
			fixed.push(raw.slice(start, from));
			starts.push(start);
			const isText = match[0].endsWith('"');
			kinds.push(isText ? (match[1] ? "content" : "text") : match[2] ? "output" : "number");
			start = isText ? textEnd(raw, from) : digitsEnd(raw, from);
			if (start === -1) return;
		}
		// Without text to vary, it may be anything.
		if (!kinds.some((kind) => kind === "text" || kind === "content")) return;
		if (cut && !kinds.includes("output")) return;
		starts.push(start);
		fixed.push(raw.slice(start));
		const spanAt = (at: number): TemplateSpan => {
			const part = starts.findLastIndex((each) => each <= at);
			return { part, offset: Buffer.byteLength(fixed[part]!.slice(0, at - starts[part]!)) };
		};
		this.#fixed = fixed;
		this.#bytes = fixed.map((part) => Buffer.from(part));
		this.#kinds = kinds;
		this.#cut = cut && { from: spanAt(cut.start), to: spanAt(cut.end) };
		this.hasCounts = kinds.includes("output");
		this.#widths = kinds.map(() => 0);
		this.#separators = undefined;
	}

	/** What comes from now on may mean something else: it is read until a shape is learnt anew. */
	forget(): void {
		this.#fixed = [];
		this.#bytes = [];
		this.#kinds = [];
		this.#cut = undefined;
		this.hasCounts = false;
	}

	/** Whether `raw` is one event of the learnt shape, which goes on as it came: what a chunk cut inside an event leaves to look at. */
	matchesEvent(raw: string): boolean {
		if (this.hasCounts || this.#cut) return false;
		let at = 0;
		for (let i = 0; i < this.#fixed.length; i++) {
			const fixed = this.#fixed[i]!;
			if (i > 0) at = this.#kinds[i - 1] === "number" ? digitsEnd(raw, at) : textEnd(raw, at);
			if (at === -1 || !raw.startsWith(fixed, at)) return false;
			at += fixed.length;
		}
		return at > 0 && at === raw.length;
	}

	/**
	 * What is sent on for the events of the learnt shape that a chunk has from `from` on, up to the first other one; undefined where there
	 * are none. With counts in them, these must be all that the chunk has left. The bytes are the chunk's own: what is cut out of it is
	 * overwritten there. `length` and `events` say how much that was.
	 */
	passThrough(chunk: Buffer, from = 0): Buffer | undefined {
		if (from === 0) this.#isRefused = false;
		if (this.#bytes.length === 0 || this.#isRefused) return undefined;
		this.#bits = 0;
		this.events = 0;
		return this.hasCounts ? this.#plainCounting(chunk, from) : this.#plain(chunk, from);
	}

	#plain(chunk: Buffer, from: number): Buffer | undefined {
		const at = this.#eventsEnd(chunk, from);
		if (at === from) return undefined;
		const passed = bytePart(chunk, from, at);
		this.#isRefused = !this.#isUtf8(passed);
		if (this.#isRefused) return undefined;
		this.#tries = 0;
		this.length = passed.length;
		return passed;
	}

	#plainCounting(chunk: Buffer, from: number): Buffer | undefined {
		let { output, trimmed } = this;
		let at = from;
		this.#cuts.length = 0;
		for (; at < chunk.length; this.events++) {
			at = this.#countingEventEnd(chunk, at);
			if (at === -1) break;
			output = numberAt(chunk, this.#countAt);
			trimmed = trimmedTokens(output, trimmed, textAt(chunk, this.#contentFrom, this.#contentTo));
		}
		this.#isRefused = at <= from || !this.#isUtf8(chunk);
		if (this.#isRefused) return undefined;
		this.#tries = 0;
		this.length = at - from;
		this.output = output;
		this.trimmed = trimmed;
		return this.#cut ? this.#withoutCuts(chunk, from) : bytePart(chunk, from, at);
	}

	#isUtf8(chunk: Buffer): boolean {
		return this.#bits < ASCII_END || isUtf8(chunk);
	}

	#eventsEnd(chunk: Buffer, from: number): number {
		for (let past = from; ; ) {
			const end = this.#eventEnd(chunk, past);
			if (end === -1) return past;
			this.events++;
			past = end === chunk.length ? end : this.#alikeEnd(chunk, end);
			if (past === chunk.length) return past;
		}
	}

	/** The same for events like the last one that was read alone: what stands between two texts is compared at once. */
	#alikeEnd(chunk: Buffer, from: number): number {
		this.#separators ??= separatorsOf(this.#bytes, this.#widths);
		const { first, inner, last, between } = this.#separators;
		let past = from;
		let at = first.endIn(chunk, from);
		while (at !== -1) {
			for (let nth = 0; nth < inner.length; nth++) {
				const end = this.#textEnd(chunk, at);
				at = end === -1 ? -1 : inner[nth]!.endIn(chunk, end);
				if (at === -1) return past;
			}
			const end = this.#textEnd(chunk, at);
			if (end === -1) return past;
			at = between.endIn(chunk, end);
			const behind = at === -1 ? last.endIn(chunk, end) : end + last.length;
			if (behind === -1) return past;
			past = behind;
			this.events++;
		}
		return past;
	}

	/** Past the event that begins at `at`; -1 where that is no event of this shape. */
	#eventEnd(chunk: Buffer, at: number): number {
		for (let i = 0; i < this.#bytes.length; i++) {
			const fixed = this.#bytes[i]!;
			if (i > 0) at = this.#kinds[i - 1] === "number" ? this.#numberEnd(chunk, at, i - 1) : this.#textEnd(chunk, at);
			if (at === -1) return -1;
			const end = at + fixed.length;
			if (end > chunk.length || fixed.compare(chunk, at, end) !== 0) return -1;
			at = end;
		}
		return at;
	}

	#numberEnd(chunk: Buffer, at: number, nth: number): number {
		const end = digitsEndInBytes(chunk, at);
		if (end !== -1 && end - at !== this.#widths[nth]) {
			this.#widths[nth] = end - at;
			this.#separators = undefined;
		}
		return end;
	}

	/** The same for a shape with counts in it: where they are, and what is cut out, is noted. */
	#countingEventEnd(chunk: Buffer, at: number): number {
		const cut = this.#cut;
		this.#contentFrom = 0;
		this.#contentTo = 0;
		for (let i = 0; i < this.#bytes.length; i++) {
			const fixed = this.#bytes[i]!;
			if (i > 0) at = this.#variableEnd(chunk, at, this.#kinds[i - 1]!);
			if (at === -1) return -1;
			const end = at + fixed.length;
			if (end > chunk.length || fixed.compare(chunk, at, end) !== 0) return -1;
			if (cut?.from.part === i) this.#cuts.push(at + cut.from.offset);
			if (cut?.to.part === i) this.#cuts.push(at + cut.to.offset);
			at = end;
		}
		return at;
	}

	#variableEnd(chunk: Buffer, from: number, kind: Kind): number {
		if (kind === "output") this.#countAt = from;
		if (kind === "output" || kind === "number") return digitsEndInBytes(chunk, from);
		const end = this.#textEnd(chunk, from);
		if (kind === "content") {
			this.#contentFrom = from;
			this.#contentTo = end;
		}
		return end;
	}

	/** Where the JSON string that goes on at `at` is closed, in UTF-8: all that is looked for is ASCII. */
	#textEnd(bytes: Buffer, at: number): number {
		let bits = 0;
		for (let i = at; i < bytes.length; i++) {
			const byte = bytes[i]!;
			if (byte === QUOTE) {
				this.#bits |= bits;
				return i;
			}
			if (byte < SPACE) return -1;
			bits |= byte;
			if (byte === BACKSLASH && !ESCAPED.has(bytes[++i] ?? 0)) return -1;
		}
		return -1;
	}

	#withoutCuts(chunk: Buffer, from: number): Buffer {
		const cuts = this.#cuts;
		let to = cuts[0]!;
		for (let i = 0; i < cuts.length; i += 2) {
			const from = cuts[i + 1]!;
			const end = cuts[i + 2] ?? chunk.length;
			chunk.copyWithin(to, from, end);
			to += end - from;
		}
		return bytePart(chunk, from, to);
	}
}

/**
 * How many of an answer's tokens stand before the white space at its end: what goes on with the answer is given it without that. White
 * space in one chunk with other text counts as one token.
 * @param output tokens with the chunk that brought `text`
 * @param trimmed the same before it
 */
export function trimmedTokens(output: number, trimmed: number, text: string): number {
	if (!SPACE_LAST.test(text)) return output;
	return text.trimEnd() === "" ? Math.min(trimmed, output) : output - 1;
}

const SPACE_LAST = /\s$/;

/** The text that ends with white space; any other, which needs no reading, is empty. */
function textAt(bytes: Buffer, from: number, to: number): string {
	const last = bytes[to - 1];
	const isEscape = bytes[to - 2] === BACKSLASH && (last === 0x6e || last === 0x72 || last === 0x74);
	if (to <= from || (last !== SPACE && !isEscape)) return "";
	return JSON.parse(`"${bytes.toString("utf8", from, to)}"`) as string;
}

/** Where the JSON string that goes on at `at` is closed; -1 where it is not, or needs the parser. */
function textEnd(raw: string, at: number): number {
	for (let i = at; i < raw.length; i++) {
		const unit = raw.charCodeAt(i);
		if (unit === QUOTE) return i;
		if (unit < SPACE) return -1;
		if (unit === BACKSLASH && !ESCAPED.has(raw.charCodeAt(++i))) return -1;
	}
	return -1;
}

function digitsEnd(raw: string, at: number): number {
	let end = at;
	while (raw.charCodeAt(end) >= ZERO && raw.charCodeAt(end) <= NINE) end++;
	return isCount(end - at, raw.charCodeAt(at)) ? end : -1;
}

function digitsEndInBytes(bytes: Buffer, at: number): number {
	let end = at;
	while (bytes[end]! >= ZERO && bytes[end]! <= NINE) end++;
	return isCount(end - at, bytes[at]!) ? end : -1;
}

/** JSON's numbers begin with no 0. */
const isCount = (digits: number, first: number): boolean =>
	digits === 1 || (digits > 1 && digits <= MAX_DIGITS && first !== ZERO);

/** Of a count: more are none. */
const MAX_DIGITS = 9;

function numberAt(bytes: Buffer, at: number): number {
	let number = 0;
	for (let i = at; bytes[i]! >= ZERO && bytes[i]! <= NINE; i++) number = number * 10 + bytes[i]! - ZERO;
	return number;
}
