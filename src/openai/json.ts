/**
 * JSON as text: where the fields of an object stand in it, edits to it, its bounds, and its canonical form.
 *
 * Upstreams that speak OpenAI get the client's own text with a few splices, so that
 * unknown fields, key order and numbers that a parse would round (12345678901234567890,
 * 1e400) survive. Where nothing else is said, text that `JSON.parse` has accepted is expected.
 */

/** One field: its decoded key, where that stands, and where its value stands in the text (`end` exclusive). */
export interface Field {
	readonly key: string;
	readonly keyStart: number;
	readonly start: number;
	readonly end: number;
}

/** Replace `text[start, end)` by `insert`. */
export interface Edit {
	readonly start: number;
	readonly end: number;
	readonly insert: string;
}

/**
 * Fields, objects and lists of one text, together, and levels inside each other: `JSON.parse` takes seconds for a million distinct
 * fields, and more for millions of levels, while no other call is served. 100,000 are 14,000 messages of several parts each; what
 * upstreams are written in reads 200 to 1,000 levels.
 */
export const MAX_PARTS = 100_000;
export const MAX_DEPTH = 1_000;
/** Length of a text that can't hold so many parts that a parse would be felt, nor more levels than all that walks through it takes, UTF-16 units. */
export const UNCHECKED_LENGTH = 8 * MAX_DEPTH;

/** More than the bounds. The message is a predicate for what the text is. */
export class JsonTooLarge extends Error {
	override readonly name = "JsonTooLarge";

	constructor(
		readonly bound: "parts" | "depth",
		message: string,
	) {
		super(message);
	}
}

/** What has been counted of one text. */
export interface Tally {
	parts: number;
}

const COLON = 58;
const QUOTE = 34;
const BACKSLASH = 92;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const COMMA = 44;
const SPACE = 32;

/**
 * The fields of the object whose `{` is the first character at or after `from`, in order, repeated keys included. With a tally
 * the text need not have been parsed before, and what `JSON.parse` would refuse is for it to say; throws JsonTooLarge past the bounds.
 */
export function fieldsOf(text: string, from = 0, tally?: Tally): Field[] {
	const fields: Field[] = [];
	let at = text.indexOf("{", from) + 1;
	for (;;) {
		at = skipSpace(text, at);
		if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
		if (text.charCodeAt(at) !== QUOTE) return fields;
		const keyStart = at;
		const keyEnd = stringEnd(text, at);
		const key = keyIn(text, at, keyEnd);
		const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
		at = valueEnd(text, start, tally);
		if (tally) count(tally, 1);
		fields.push({ key, keyStart, start, end: at });
	}
}

/** The key between these quotes. Few have an escape in them: only those are parsed. */
function keyIn(text: string, at: number, end: number): string {
	const key = text.slice(at + 1, end - 1);
	return key.includes("\\") ? (JSON.parse(text.slice(at, end)) as string) : key;
}

/** Where the items of the array whose `[` is the first character at or after `from` stand in the text, in order. */
export function itemsOf(text: string, from: number): Pick<Field, "start" | "end">[] {
	return [...eachItem(text, from)];
}

/** The same, each looked for when it is asked for: for who mostly needs the first ones. */
export function* eachItem(text: string, from: number): Generator<Pick<Field, "start" | "end">> {
	let at = text.indexOf("[", from) + 1;
	for (;;) {
		at = skipSpace(text, at);
		if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
		if (at >= text.length || text.charCodeAt(at) === CLOSE_BRACKET) return;
		const start = at;
		at = valueEnd(text, start);
		yield { start, end: at };
	}
}

/** An object's text from the texts of its values, and of `values` that become JSON here, undefined ones left out. No name may need an escape. */
export function objectText(
	texts: Readonly<Record<string, string | undefined>>,
	values?: Readonly<Record<string, unknown>>,
): string {
	let text = "";
	for (const key in texts) if (texts[key] !== undefined) text += `${text === "" ? "{" : ","}"${key}":${texts[key]}`;
	for (const key in values) {
		const value = JSON.stringify(values[key]);
		if (value !== undefined) text += `${text === "" ? "{" : ","}"${key}":${value}`;
	}
	return text === "" ? "{}" : `${text}}`;
}

/** The last field of that name (the one `JSON.parse` keeps), if any. */
export function fieldNamed(fields: readonly Field[], key: string): Field | undefined {
	return fields.findLast((field) => field.key === key);
}

/** Keys that are compared each with each sooner than put into a set. */
const FEW = 8;

/** The first key that stands twice, if any. */
export function repeatedKey(fields: readonly Field[]): string | undefined {
	if (fields.length <= FEW) {
		for (let at = 1; at < fields.length; at++) {
			const { key } = fields[at]!;
			for (let before = 0; before < at; before++) if (fields[before]!.key === key) return key;
		}
		return undefined;
	}
	const seen = new Set<string>();
	// Every key against every other would stop the process for minutes where a body has 300,000 keys.
	return fields.find(({ key }) => seen.size === seen.add(key).size)?.key;
}

/** The edit that adds `"key":value` to the object whose `{` stands at `open`; `isEmpty` says whether it has no fields yet. */
export function addField(open: number, isEmpty: boolean, key: string, value: string): Edit {
	return { start: open + 1, end: open + 1, insert: `${JSON.stringify(key)}:${value}${isEmpty ? "" : ","}` };
}

/** The edit that takes one of `fields` out, with the comma that goes with it. */
export function removeField(fields: readonly Field[], field: Field): Edit {
	const index = fields.indexOf(field);
	const next = fields[index + 1];
	if (next) return { start: field.keyStart, end: next.keyStart, insert: "" };
	return { start: fields[index - 1]?.end ?? field.keyStart, end: field.end, insert: "" };
}

/** The text with all edits made. They must not overlap; those at one offset are made in their order. */
export function splice(text: string, edits: readonly Edit[]): string {
	if (edits.length === 0) return text;
	const ordered = edits.length === 1 ? edits : [...edits].sort((a, b) => a.start - b.start);
	let result = "";
	let at = 0;
	for (const edit of ordered) {
		result += text.slice(at, edit.start) + edit.insert;
		at = edit.end;
	}
	return result + text.slice(at);
}

/** Past the white space at `at`. */
function skipSpace(text: string, at: number): number {
	while (text.charCodeAt(at) <= SPACE) at++;
	return at;
}

/** Past the closing quote of the string that opens at `at`; the text's end where there is none. `indexOf` is native, a loop over a long prompt is not. */
export function stringEnd(text: string, at: number): number {
	let end = text.indexOf('"', at + 1);
	while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
	return end === -1 ? text.length : end + 1;
}

function isEscaped(text: string, quote: number): boolean {
	let at = quote - 1;
	while (text.charCodeAt(at) === BACKSLASH) at--;
	return (quote - 1 - at) % 2 === 1;
}

/** Past the value that begins at `at`. Throws JsonTooLarge where there is a tally, and more than it allows. */
function valueEnd(text: string, at: number, tally?: Tally): number {
	const first = text.charCodeAt(at);
	if (first === QUOTE) return stringEnd(text, at);
	if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return scalarEnd(text, at);
	let depth = 0;
	let parts = 0;
	while (at < text.length) {
		const code = text.charCodeAt(at);
		if (code === QUOTE) {
			at = stringEnd(text, at);
			continue;
		}
		if (code === COLON) parts++;
		else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
			parts++;
			if (++depth > MAX_DEPTH && tally) throw new JsonTooLarge("depth", `is nested more than ${MAX_DEPTH} levels deep`);
		} else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) {
			at++;
			break;
		}
		at++;
	}
	if (tally) count(tally, parts);
	return at;
}

function count(tally: Tally, parts: number): void {
	tally.parts += parts;
	if (tally.parts > MAX_PARTS) {
		throw new JsonTooLarge("parts", `has more than ${MAX_PARTS} fields, objects and lists`);
	}
}

/**
 * `JSON.parse` within the bounds. Throws JsonTooLarge past them, SyntaxError as it does.
 * @param from length from which on it is worth a look; a shorter text is only parsed
 */
export function parseBounded(text: string, from = MAX_DEPTH): unknown {
	if (text.length > from) valueEnd(text, skipSpace(text, 0), { parts: 0 });
	return JSON.parse(text);
}

/** What `parseWithFields` has read. */
export interface ParsedText {
	readonly value: unknown;
	/** The top-level fields, where the value is an object. */
	readonly fields: readonly Field[];
	/** The first key among them that stands twice. */
	readonly repeated: string | undefined;
}

/**
 * `JSON.parse` within the bounds, and where the fields stand. Of a list nothing is read: its value is an empty one. Throws JsonTooLarge past
 * the bounds, SyntaxError as `JSON.parse` does, RangeError where it is nested too deeply for it.
 */
export function parseWithFields(text: string): ParsedText {
	if (text.charCodeAt(skipSpace(text, 0)) === OPEN_BRACKET) return { value: [], fields: [], repeated: undefined };
	// Counts what there is before anything is made of it.
	const fields = fieldsOf(text, 0, { parts: 0 });
	return { value: JSON.parse(text), fields, repeated: repeatedKey(fields) };
}

/** Past the number or word at `at`. */
function scalarEnd(text: string, at: number): number {
	while (at < text.length) {
		const code = text.charCodeAt(at);
		if (code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || code <= SPACE) break;
		at++;
	}
	return at;
}

/** Digits that a double holds exactly, whatever they are (IEEE 754: 15.95), and the smallest number of which that is true. */
const EXACT_DIGITS = 15;
const EXACT_FROM = 1e-300;
/** Scalars that most bodies hold, and that are canonical without a look. */
const CANONICAL = new Set(["0", "1", "true", "false", "null"]);

/**
 * The canonical form of the value that stands at `start`: one text for all JSON texts that mean the same, with no white space, keys in order,
 * strings and plain numbers written one way. Numbers that a parse might round (12345678901234567890, 1e400) stay as they are written, so
 * that two of them are never taken for one. Throws RangeError where it is nested thousands of levels deep.
 */
export function canonical(text: string, start = 0): string {
	return new CanonicalReader(text, start).value();
}

/** Reads once, from left to right: looking for each level's end first would cost the square of the depth. */
class CanonicalReader {
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
export function canonicalString(text: string): string {
	return text.includes("\\u") || text.includes("\\/") ? JSON.stringify(JSON.parse(text)) : text;
}

/** `1.0` and `1e0` are `1`; `true`, `false` and `null` are themselves. */
export function canonicalScalar(text: string): string {
	if (CANONICAL.has(text)) return text;
	const digits = text.length <= EXACT_DIGITS ? text.length : text.replace(/[eE].*$|\D/g, "").length;
	const value = Number(text);
	if (digits > EXACT_DIGITS || !Number.isFinite(value)) return text;
	// 1e-400 is no zero, though a parse makes it one.
	if (Math.abs(value) < EXACT_FROM) return /^[^eE]*[1-9]/.test(text) ? text : "0";
	return String(value);
}
