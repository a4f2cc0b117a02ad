/**
 * Chunks of one stream are alike but for their text, and for counts where a chunk has those. One that matches the last understood
 * chunk byte for byte outside of these needs no decoding and no parse: it is whole, valid, and means what that one meant.
 */
import { isUtf8 } from "node:buffer";
import { bytePart } from "../../openai/byte-part.ts";
import { ASCII_END, EventTemplate } from "../../openai/event-template.ts";

/** What differs from chunk to chunk, and how it is read. */
type Kind = "text" | "content" | "number" | "output";

/**
 * Fields whose value may differ. OpenAI pads each chunk to one length with `obfuscation`; `delta` and `sequence_number` are those of Responses. A key can stand in no text: its quotes would
 * be escaped there.
 */
const VARIABLE =
	/"(?:(content|text)|reasoning_content|reasoning|arguments|refusal|obfuscation|delta)":"|"(?:(completion_tokens)|total_tokens|reasoning_tokens|sequence_number)":(?=\d)/g;
/** The rest of a text, and of a number. Code points (`\u…`) are left to the parser. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: no JSON text holds one as it is
const TEXT = /(?:[^"\\\0-\x1f]|\\["\\/bfnrt])*(?=")/y;
const NUMBER = /(?:[1-9]\d{0,8}|0)(?!\d)/y;

const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;
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
	/** Undefined: nothing is learnt. */
	#events: EventTemplate | undefined;
	/** Which of what differs is the count of the tokens; -1: none. */
	#output = -1;
	#tries = 0;
	/** Of what `passThrough` took last: bytes of the chunk, and events. */
	length = 0;
	events = 0;
	/** Which of what differs is the text; -1: none. */
	#content = -1;
	/** The part that is not sent on. */
	#cut: { readonly from: TemplateSpan; readonly to: TemplateSpan } | undefined;
	/** Where the cuts of a chunk at hand begin and end. */
	readonly #cuts: number[] = [];
	/** The chunk at hand was refused: to try it again behind each event would cost the square of their number. */
	#isRefused = false;
	/** Tokens by the count of the last event that matched, and those before the white space at the end of the text. */
	output = 0;
	trimmed = 0;

	/** Its chunks count the tokens so far. */
	get hasCounts(): boolean {
		return this.#output !== -1;
	}

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
			start = endOf(isText ? TEXT : NUMBER, raw, from);
			if (start === -1) return;
		}
		const variables = kinds.map((kind) => (isTextual(kind) ? "text" : "number"));
		// Without text to vary, it may be anything.
		if (!kinds.some(isTextual)) return;
		if (cut && !kinds.includes("output")) return;
		starts.push(start);
		fixed.push(raw.slice(start));
		const spanAt = (at: number): TemplateSpan => {
			const part = starts.findLastIndex((each) => each <= at);
			return { part, offset: Buffer.byteLength(fixed[part]!.slice(0, at - starts[part]!)) };
		};
		this.#events = new EventTemplate({ fixed, variables, escapes: "short" });
		this.#cut = cut && { from: spanAt(cut.start), to: spanAt(cut.end) };
		this.#content = kinds.lastIndexOf("content");
		this.#output = kinds.lastIndexOf("output");
	}

	/** What comes from now on may mean something else: it is read until a shape is learnt anew. */
	forget(): void {
		this.#events = undefined;
		this.#cut = undefined;
		this.#content = this.#output = -1;
	}

	/** Whether `raw` is one event of the learnt shape, which goes on as it came: what a chunk cut inside an event leaves to look at. */
	matchesEvent(raw: string): boolean {
		return !this.hasCounts && !this.#cut && this.#events?.endIn(raw, 0) === raw.length;
	}

	/**
	 * What is sent on for the events of the learnt shape that a chunk has from `from` on, up to the first other one; undefined where there
	 * are none. With counts in them, these must be all that the chunk has left. The bytes are the chunk's own: what is cut out of it is
	 * overwritten there. `length` and `events` say how much that was.
	 */
	passThrough(chunk: Buffer, from = 0): Buffer | undefined {
		const events = this.#events;
		if (!events) return undefined;
		if (this.hasCounts) return this.#counting(chunk, from, events);
		const end = events.read(chunk, from);
		if (end === from) return undefined;
		this.#tries = 0;
		this.length = end - from;
		this.events = events.events;
		return bytePart(chunk, from, end);
	}

	/** The same for a shape with counts in it: where they are, and what is cut out, is noted. */
	#counting(chunk: Buffer, from: number, events: EventTemplate): Buffer | undefined {
		if (from === 0) this.#isRefused = false;
		if (this.#isRefused) return undefined;
		const { starts, ends } = events;
		let { output, trimmed } = this;
		let at = from;
		let count = 0;
		events.bits = 0;
		this.#cuts.length = 0;
		for (; at < chunk.length; count++) {
			const start = at;
			at = events.eventEnd(chunk, start);
			if (at === -1) break;
			this.#addCut(start, ends);
			output = numberAt(chunk, starts[this.#output]!);
			trimmed = trimmedTokens(output, trimmed, textAt(chunk, starts[this.#content] ?? 0, ends[this.#content] ?? 0));
		}
		this.#isRefused = at <= from || !(events.bits < ASCII_END || isUtf8(chunk));
		if (this.#isRefused) return undefined;
		this.#tries = 0;
		this.length = at - from;
		this.events = count;
		this.output = output;
		this.trimmed = trimmed;
		return this.#cut ? this.#withoutCuts(chunk, from) : bytePart(chunk, from, at);
	}

	/** @param start of the event; @param ends of what differs in it */
	#addCut(start: number, ends: readonly number[]): void {
		const cut = this.#cut;
		if (!cut) return;
		const placeOf = ({ part, offset }: TemplateSpan) => (part === 0 ? start : ends[part - 1]!) + offset;
		this.#cuts.push(placeOf(cut.from), placeOf(cut.to));
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

const isTextual = (kind: Kind): boolean => kind === "text" || kind === "content";

/** Past what stands there; -1 where it is something else, or needs the parser. */
function endOf(what: RegExp, raw: string, at: number): number {
	what.lastIndex = at;
	return what.test(raw) ? what.lastIndex : -1;
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

function numberAt(bytes: Buffer, at: number): number {
	let number = 0;
	for (let i = at; bytes[i]! >= ZERO && bytes[i]! <= NINE; i++) number = number * 10 + bytes[i]! - ZERO;
	return number;
}
