/**
 * One text for all JSON texts that mean the same: no white space, keys in order, strings and plain numbers written one way.
 * Numbers that a parse might round (12345678901234567890, 1e400) stay as they are written, so that two of them are never
 * taken for one. Expects text that `JSON.parse` has accepted.
 */
import { scalarEnd, skipSpace, stringEnd } from "./json.ts";

const QUOTE = 34;
const COMMA = 44;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** Digits that a double holds exactly, whatever they are (IEEE 754: 15.95), and the smallest number of which that is true. */
const EXACT_DIGITS = 15;
const EXACT_FROM = 1e-300;
/** What most bodies hold, and what is canonical without a look. */
const PLAIN = new Set(["0", "1", "true", "false", "null"]);

/** The canonical form of the value that stands at `start`. Throws RangeError where it is nested thousands of levels deep. */
export function canonical(text: string, start = 0): string {
	return new Reader(text, start).value();
}

/** Reads once, from left to right: looking for each level's end first would cost the square of the depth. */
class Reader {
	constructor(
		private readonly text: string,
		private at: number,
	) {}

	value(): string {
		this.at = skipSpace(this.text, this.at);
		const start = this.at;
		const first = this.text.charCodeAt(start);
		if (first === OPEN_BRACE) return this.#object();
		if (first === OPEN_BRACKET) return this.#array();
		this.at = first === QUOTE ? stringEnd(this.text, start) : scalarEnd(this.text, start);
		const written = this.text.slice(start, this.at);
		return first === QUOTE ? canonicalString(written) : canonicalScalar(written);
	}

	#object(): string {
		const fields: [key: string, value: string][] = [];
		let isSorted = true;
		let last = "";
		this.at++;
		while (this.#isBefore(CLOSE_BRACE)) {
			const key = this.value();
			// The colon, which white space may surround.
			this.at = skipSpace(this.text, this.at) + 1;
			fields.push([key, this.value()]);
			isSorted &&= last <= key;
			last = key;
		}
		if (!isSorted) fields.sort(byKey);
		let text = "{";
		for (const [key, value] of fields) text += `${text === "{" ? "" : ","}${key}:${value}`;
		return `${text}}`;
	}

	#array(): string {
		let text = "[";
		this.at++;
		while (this.#isBefore(CLOSE_BRACKET)) text += (text === "[" ? "" : ",") + this.value();
		return `${text}]`;
	}

	/** Whether something comes before the bracket; past commas, and past the bracket where nothing does. */
	#isBefore(bracket: number): boolean {
		this.at = skipSpace(this.text, this.at);
		if (this.text.charCodeAt(this.at) === COMMA) this.at = skipSpace(this.text, this.at + 1);
		if (this.at < this.text.length && this.text.charCodeAt(this.at) !== bracket) return true;
		this.at++;
		return false;
	}
}

/** A key that stands twice keeps its order: parsers take the last. */
function byKey([one]: [string, string], [other]: [string, string]): number {
	if (one === other) return 0;
	return one < other ? -1 : 1;
}

/** `"\u0041"` is `"A"`, and `\/` a slash. All other escapes have but one form. */
function canonicalString(text: string): string {
	return text.includes("\\u") || text.includes("\\/") ? JSON.stringify(JSON.parse(text)) : text;
}

/** `1.0` and `1e0` are `1`; `true`, `false` and `null` are themselves. */
function canonicalScalar(text: string): string {
	if (PLAIN.has(text)) return text;
	const digits = text.length <= EXACT_DIGITS ? text.length : text.replace(/[eE].*$|\D/g, "").length;
	const value = Number(text);
	if (digits > EXACT_DIGITS || !Number.isFinite(value)) return text;
	// 1e-400 is no zero, though a parse makes it one.
	if (Math.abs(value) < EXACT_FROM) return /^[^eE]*[1-9]/.test(text) ? text : "0";
	return String(value);
}
