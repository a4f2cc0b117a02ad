/**
 * Chunks of one stream are alike but for their text. One that matches the last understood chunk byte for byte outside its text
 * needs no decoding and no parse: it is whole, valid, and says what that one said. Saves 2 of 9 µs of our own CPU a chunk.
 */

/** Fields whose value may differ from chunk to chunk. OpenAI pads each chunk to one length with `obfuscation`. */
const TEXT = /"(?:content|reasoning_content|reasoning|text|arguments|refusal|obfuscation)":"/g;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
/** What may follow a backslash here: `"` `\` `/` b f n r t. Code points (`\u…`) are left to the parser. */
const ESCAPED = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74]);
/** A longer event, in UTF-16 units, is no token: to learn it would cost the square of its length. */
const LONGEST = 4096;
/** Learnt so often without a match, a stream's chunks are not alike. */
const MAX_TRIES = 8;

/** The shape of a stream's chunks, learnt from one and matched against the next. */
export class DeltaTemplate {
	/** What stands before the first text, between texts, and behind the last. Empty: nothing learnt. */
	#fixed: readonly string[] = [];
	/** The same as bytes. */
	#bytes: readonly Buffer[] = [];
	#tries = 0;

	/** Takes the shape of an event that carried text and nothing else of weight. `raw` as it came, blank line included. */
	learn(raw: string): void {
		if (raw.length > LONGEST || this.#tries++ >= MAX_TRIES) return;
		const fixed: string[] = [];
		let start = 0;
		for (const match of raw.matchAll(TEXT)) {
			const from = match.index + match[0].length;
			fixed.push(raw.slice(start, from));
			start = textEnd(raw, from);
			if (start === -1) return;
		}
		if (fixed.length === 0) return;
		this.#fixed = [...fixed, raw.slice(start)];
		this.#bytes = this.#fixed.map((part) => Buffer.from(part));
	}

	/** Whether `raw` is one event of the learnt shape: what a chunk cut inside an event leaves to look at. */
	matchesEvent(raw: string): boolean {
		let at = 0;
		for (let i = 0; i < this.#fixed.length; i++) {
			const fixed = this.#fixed[i]!;
			if (i > 0) at = textEnd(raw, at);
			if (at === -1 || !raw.startsWith(fixed, at)) return false;
			at += fixed.length;
		}
		return at > 0 && at === raw.length;
	}

	/** Whether `chunk` is one or more whole events of the learnt shape. */
	matches(chunk: Uint8Array): boolean {
		if (this.#bytes.length === 0) return false;
		let at = 0;
		while (at < chunk.length) {
			at = this.#eventEnd(chunk, at);
			if (at === -1) return false;
		}
		this.#tries = 0;
		return true;
	}

	/** Past the event that begins at `at`; -1 where that is no event of this shape. */
	#eventEnd(chunk: Uint8Array, at: number): number {
		for (let i = 0; i < this.#bytes.length; i++) {
			const fixed = this.#bytes[i]!;
			if (i > 0) at = textEndInBytes(chunk, at);
			if (at === -1) return -1;
			const end = at + fixed.length;
			if (end > chunk.length || fixed.compare(chunk, at, end) !== 0) return -1;
			at = end;
		}
		return at;
	}
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

/** The same in UTF-8: all that is looked for is ASCII. */
function textEndInBytes(bytes: Uint8Array, at: number): number {
	for (let i = at; i < bytes.length; i++) {
		const byte = bytes[i]!;
		if (byte === QUOTE) return i;
		if (byte < SPACE) return -1;
		if (byte === BACKSLASH && !ESCAPED.has(bytes[++i] ?? 0)) return -1;
	}
	return -1;
}
