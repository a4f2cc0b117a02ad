/**
 * A request's bytes, read once: whether they are UTF-8 and JSON, whether they are what a schema asks for, and where the top-level fields stand.
 * Nothing is made of them. What is not found good here is for `JSON.parse` and TypeBox to judge, which know why: a scan says yes, or nothing.
 */
import { isUtf8 } from "node:buffer";
import type { TSchema } from "@sinclair/typebox";
import { type Field, MAX_PARTS } from "./json.ts";
import {
	BEYOND_ASCII,
	indexModule,
	MEMORY,
	MOST_PLACES,
	OTHER_ESCAPES,
	PLACES,
	STATE,
	STEP_BYTES,
	WINDOW,
} from "./json-index-code.ts";
import { type ObjectShape, type Property, shapeOf, type ValueShape } from "./request-shape.ts";

/** Levels inside each other that a scan looks into. */
const DEPTH = 64;
/** Top-level fields of which each name is compared with all others. */
const MOST_FIELDS = 64;

const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const POINT = 46;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const SPACE = 32;
const PLUS = 43;
const LOWER_E = 101;
const LOWER_F = 102;
const LOWER_N = 110;
const LOWER_T = 116;
const [TRUE, FALSE, NULL] = ["true", "false", "null"].map((word) => [...Buffer.from(word)]) as [
	number[],
	number[],
	number[],
];

/** A top-level field, offsets in bytes. */
export interface RequestField extends Field {
	/** Levels of objects and lists in its value, 0 where it is neither; Infinity where nobody has counted. */
	readonly levels: number;
	/** Items, where it is a list. */
	readonly items: number;
}

/** What reads requests of one schema: the top-level fields, or undefined where JSON.parse is to judge. */
export type RequestScan = (bytes: Buffer) => RequestField[] | undefined;

/** What `indexModule` exports. */
interface IndexExports {
	readonly memory: { readonly buffer: ArrayBuffer };
	index(length: number, base: number, count: number): number;
	/** Undefined where the processor has no vectors. */
	surplus?(length: number): number;
}

/** Where the processor has no vectors (x64 without AVX) nothing is ever found good, and all is parsed. */
function indexExports(): IndexExports {
	try {
		return new WebAssembly.Instance(new WebAssembly.Module(indexModule())).exports as unknown as IndexExports;
	} catch {
		return { memory: { buffer: new ArrayBuffer(MEMORY) }, index: () => -1 };
	}
}
const { memory, index, surplus } = indexExports();
const input = new Uint8Array(memory.buffer, 0, WINDOW);
const state = new Int32Array(memory.buffer, STATE, STEP_BYTES / 4);
/** Where brackets, commas, colons and quotes stand, and numbers and words begin: see `indexModule`. */
export const places = new Uint32Array(memory.buffer, PLACES, MOST_PLACES);

// What is being read, and how far it is. There is but one at a time.
const NOTHING = Buffer.alloc(0);
let text: Buffer = NOTHING;
/** The text whose structure `places` holds, how many those are, whether it is ASCII, and whether it has `\u` or `\/`. */
export const indexed: { text: Buffer | undefined; count: number; isAscii: boolean; hasOtherEscapes: boolean } = {
	text: undefined,
	count: 0,
	isAscii: false,
	hasOtherEscapes: false,
};
let next = 0;
let parts = 0;
let items = 0;
let levels = 0;

const isZero = (at: number): boolean => state[at / 4] === 0 && state[at / 4 + 1] === 0;

/** The scan of a schema. Throws TypeError for one that it can't compile: a keyword or a type that no request has needed. */
export function requestScan(schema: TSchema): RequestScan {
	const shape = shapeOf(schema)?.object;
	if (!shape) throw new TypeError("A request is an object.");
	return (bytes) => {
		const count = indexOf(bytes);
		indexed.text = count === -1 ? undefined : bytes;
		if (count === -1 || bytes[places[0]!] !== OPEN_BRACE || !(indexed.isAscii || isUtf8(bytes))) return undefined;
		text = bytes;
		next = 1;
		parts = 0;
		const fields: RequestField[] = [];
		const isValid = readTop(shape, fields) && next === count && parts <= MAX_PARTS;
		text = NOTHING;
		return isValid ? fields : undefined;
	};
}

/** Fills `places` for a text that is JSON, where it is not `indexed`. False where there are too many. */
export function indexText(bytes: Buffer): boolean {
	indexed.text = indexOf(bytes) === -1 ? undefined : bytes;
	return indexed.text !== undefined;
}

/** Puts the next bytes where the two functions look for them, and says how many. */
function read(bytes: Uint8Array, at: number): number {
	const { length } = bytes;
	const size = Math.min(length - at, WINDOW);
	input.set(size === length ? bytes : bytes.subarray(at, at + WINDOW));
	if (size % STEP_BYTES !== 0) input.fill(SPACE, size, Math.ceil(size / STEP_BYTES) * STEP_BYTES);
	return size;
}

/** Finds the structure of a text; -1 where there is none, or too much. */
function indexOf(bytes: Uint8Array): number {
	state.fill(0);
	const { length } = bytes;
	let count = 0;
	for (let at = 0; at < length; at += WINDOW) {
		count = index(read(bytes, at), at, count);
		if (count === -1) return -1;
	}
	if (count === 0 || state[0] !== 0) return -1;
	indexed.count = count;
	indexed.isAscii = isZero(BEYOND_ASCII);
	indexed.hasOtherEscapes = !isZero(OTHER_ESCAPES);
	// Where a reader that looks ahead finds nothing.
	for (let at = count; at < count + 4; at++) places[at] = length;
	return count;
}

/** The length of a text in UTF-8 as `toString` makes it, UTF-16 units: a decoded one would be garbage twice as long as a body. */
export function utf16Length(bytes: Buffer): number {
	const { length } = bytes;
	if (!surplus) return bytes.toString().length;
	let units = length;
	for (let at = 0; at < length; at += WINDOW) units -= surplus(read(bytes, at));
	return units;
}

/** The top-level object, past its brace. */
function readTop(shape: ObjectShape, fields: RequestField[]): boolean {
	let seen = 0;
	if (text[places[next]!] === CLOSE_BRACE) {
		next++;
		return shape.required === 0;
	}
	for (;;) {
		const keyStart = places[next]!;
		const keyEnd = places[next + 1]!;
		if (text[keyStart] !== QUOTE || text[places[next + 2]!] !== COLON || fields.length === MOST_FIELDS) return false;
		const property = propertyIn(shape, keyStart + 1, keyEnd);
		if (!property && hasEscape(keyStart + 1, keyEnd)) return false;
		next += 3;
		parts++;
		levels = 0;
		items = 0;
		const start = places[next]!;
		const end = readValue(property?.value, 1);
		if (end === BAD) return false;
		if (property) seen |= property.bit;
		const key = property ? property.name : text.toString("utf8", keyStart + 1, keyEnd);
		for (const field of fields) if (field.key === key) return false;
		fields.push({ key, keyStart, start, end, levels, items });
		const after = text[places[next++]!];
		if (after === CLOSE_BRACE) return (seen & shape.required) === shape.required;
		if (after !== COMMA) return false;
	}
}

/** Where no value ends. */
const BAD = 0;

/** Past the value that begins at the next place; `BAD` where there is none, or another than may stand there. */
function readValue(value: ValueShape, depth: number): number {
	const at = places[next]!;
	switch (text[at]) {
		case QUOTE:
			return readText(value, at);
		case OPEN_BRACE:
			if (value && !value.object) return BAD;
			return enter(depth) ? readObject(value?.object, depth) : BAD;
		case OPEN_BRACKET:
			return enter(depth) ? readLists(value, depth) : BAD;
		case LOWER_T:
			return value && !value.isBoolean ? BAD : readWord(at, TRUE);
		case LOWER_F:
			return value && !value.isBoolean ? BAD : readWord(at, FALSE);
		case LOWER_N:
			return value && !value.isNull ? BAD : readWord(at, NULL);
		default:
			return value && !value.number ? BAD : readNumber(value, at);
	}
}

function enter(depth: number): boolean {
	parts++;
	if (depth > levels) levels = depth;
	return depth <= DEPTH;
}

function readText(value: ValueShape, at: number): number {
	const end = places[next + 1]! + 1;
	next += 2;
	if (!value) return end;
	const bounds = value.text;
	// Characters are no more than bytes; where they are fewer, it is not for here to count them.
	return bounds && end - at - 2 >= bounds.least && end - at - 2 <= bounds.most ? end : BAD;
}

function readObject(shape: ObjectShape | undefined, depth: number): number {
	let seen = 0;
	next++;
	if (text[places[next]!] === CLOSE_BRACE) return shape && shape.required !== 0 ? BAD : places[next++]! + 1;
	for (;;) {
		const keyStart = places[next]!;
		if (text[keyStart] !== QUOTE || text[places[next + 2]!] !== COLON) return BAD;
		let value: ValueShape;
		if (shape) {
			const keyEnd = places[next + 1]!;
			const property = propertyIn(shape, keyStart + 1, keyEnd);
			if (property) {
				seen |= property.bit;
				value = property.value;
			} else if (hasEscape(keyStart + 1, keyEnd)) return BAD;
		}
		next += 3;
		parts++;
		if (readValue(value, depth + 1) === BAD) return BAD;
		const at = places[next++]!;
		const after = text[at];
		if (after === CLOSE_BRACE) return shape && (seen & shape.required) !== shape.required ? BAD : at + 1;
		if (after !== COMMA) return BAD;
	}
}

function readLists(value: ValueShape, depth: number): number {
	if (!value) return readList(undefined, 0, depth);
	const from = next;
	const before = parts;
	for (const { item, least } of value.lists) {
		const end = readList(item, least, depth);
		if (end !== BAD) return end;
		next = from;
		parts = before;
	}
	return BAD;
}

function readList(item: ValueShape, least: number, depth: number): number {
	let count = 0;
	next++;
	if (text[places[next]!] === CLOSE_BRACKET) return least > 0 ? BAD : places[next++]! + 1;
	for (;;) {
		if (readValue(item, depth + 1) === BAD) return BAD;
		count++;
		const at = places[next++]!;
		const after = text[at];
		if (after === CLOSE_BRACKET) {
			if (depth === 1) items = count;
			return count < least ? BAD : at + 1;
		}
		if (after !== COMMA) return BAD;
	}
}

function readWord(at: number, word: readonly number[]): number {
	for (let index = 1; index < word.length; index++) if (text[at + index] !== word[index]) return BAD;
	return endScalar(at + word.length);
}

/** As JSON writes numbers (RFC 8259, 6). */
function readNumber(value: ValueShape, start: number): number {
	let at = text[start] === MINUS ? start + 1 : start;
	const first = at;
	at = pastDigits(at);
	if (at === first || (text[first] === ZERO && at > first + 1)) return BAD;
	if (text[at] === POINT) {
		const fraction = at + 1;
		at = pastDigits(fraction);
		if (at === fraction) return BAD;
	}
	// E or e
	if ((text[at]! | 32) === LOWER_E) {
		at++;
		if (text[at] === MINUS || text[at] === PLUS) at++;
		const exponent = at;
		at = pastDigits(exponent);
		if (at === exponent) return BAD;
	}
	const bounds = value?.number;
	if (bounds) {
		const number = Number(text.toString("latin1", start, at));
		const fits = number >= bounds.least && number <= bounds.most && (!bounds.isWhole || Number.isInteger(number));
		if (!fits) return BAD;
	}
	return endScalar(at);
}

function pastDigits(at: number): number {
	while (text[at]! >= ZERO && text[at]! <= NINE) at++;
	return at;
}

/** Past a number or a word that ends before `at`, where something may end it. */
function endScalar(at: number): number {
	const after = text[at];
	const isOver =
		after === COMMA || after === CLOSE_BRACE || after === CLOSE_BRACKET || after === undefined || after <= SPACE;
	if (!isOver) return BAD;
	next++;
	return at;
}

function propertyIn({ properties }: ObjectShape, start: number, end: number): Property | undefined {
	const candidates = properties[end - start];
	if (!candidates) return undefined;
	for (const property of candidates) {
		const { name } = property;
		let at = 0;
		while (at < name.length && text[start + at] === name.charCodeAt(at)) at++;
		if (at === name.length) return property;
	}
	return undefined;
}

/** Whether a key is written with an escape, behind which any name may be. */
function hasEscape(start: number, end: number): boolean {
	for (let at = start; at < end; at++) if (text[at] === BACKSLASH) return true;
	return false;
}
