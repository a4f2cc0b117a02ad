/**
 * The canonical form of a request (see `canonical` in `json.ts`), written from its bytes: nothing is parsed, and what is canonical already,
 * which most of a prompt is, is only copied.
 */
import { canonicalScalar, canonicalString, type Field, MAX_DEPTH } from "./json.ts";
import { indexed, indexText, places } from "./request-scan.ts";

const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const ZERO = 48;
const NINE = 57;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** Where it is written; what was needed for a very long one is not kept. */
const FIRST = 64 * 1024;
const MOST_KEPT = 4 * 1024 * 1024;
let output = Buffer.allocUnsafeSlow(FIRST);
let size = 0;
// What is being read. There is but one at a time.
let bytes: Buffer = output;
let hasOtherForms = false;

/** A value that can't be written from its bytes: undefined is given for the whole. */
const UNUSUAL = -1;

/**
 * The fields as one text, `"name":value,` in the order of the names; good until the next call. Undefined where the text itself has to be
 * read for it: names with escapes or beyond ASCII, deep nesting, more structure than an index holds.
 * @param body that a scan has found good
 */
export function canonicalBytes(
	body: { readonly bytes: Buffer; readonly fields: readonly Field[] },
	without: ReadonlySet<string>,
): Buffer | undefined {
	if (indexed.text !== body.bytes && !indexText(body.bytes)) return undefined;
	bytes = body.bytes;
	// Of few escapes there are two forms.
	hasOtherForms = indexed.hasOtherEscapes;
	if (output.length > MOST_KEPT) output = Buffer.allocUnsafeSlow(FIRST);
	size = 0;
	// It is seldom longer than what it is made of.
	if (bytes.length > output.length) output = Buffer.allocUnsafeSlow(bytes.length + FIRST);
	const kept: { readonly key: string; readonly place: number }[] = [];
	let place = 1;
	for (const { key } of body.fields) {
		if (!without.has(key)) kept.push({ key, place: place + 3 });
		place = pastValue(bytes, place + 3) + 1;
	}
	kept.sort((one, other) => (one.key < other.key ? -1 : 1));
	let isUsual = true;
	for (const { key, place } of kept) {
		writeText(`${JSON.stringify(key)}:`);
		isUsual &&= writeValue(place, 1) !== UNUSUAL;
		writeByte(COMMA);
	}
	bytes = output;
	return isUsual ? output.subarray(0, size) : undefined;
}

/** The place behind a value. @param text the one that is indexed */
export function pastValue(text: Uint8Array, place: number): number {
	let depth = 0;
	do {
		const first = text[places[place]!];
		if (first === QUOTE) place++;
		else if (first === OPEN_BRACE || first === OPEN_BRACKET) depth++;
		else if (first === CLOSE_BRACE || first === CLOSE_BRACKET) depth--;
		place++;
	} while (depth > 0);
	return place;
}

/** Writes a value; the place behind it. */
function writeValue(place: number, depth: number): number {
	const start = places[place]!;
	switch (bytes[start]) {
		case QUOTE:
			writeString(start, places[place + 1]! + 1);
			return place + 2;
		case OPEN_BRACE:
			return depth > MAX_DEPTH ? UNUSUAL : writeObject(place + 1, depth);
		case OPEN_BRACKET:
			return depth > MAX_DEPTH ? UNUSUAL : writeList(place + 1, depth);
		default:
			writeScalar(start);
			return place + 1;
	}
}

function writeList(place: number, depth: number): number {
	writeByte(OPEN_BRACKET);
	for (;;) {
		if (bytes[places[place]!] !== CLOSE_BRACKET) place = writeValue(place, depth + 1);
		if (place === UNUSUAL) return UNUSUAL;
		const after = bytes[places[place++]!]!;
		writeByte(after);
		if (after === CLOSE_BRACKET) return place;
	}
}

function writeObject(place: number, depth: number): number {
	/** Where the names stand, in order. */
	const names: number[] = [];
	let isSorted = true;
	while (bytes[places[place]!] === QUOTE) {
		if (!isPlainName(place)) return UNUSUAL;
		isSorted &&= names.length === 0 || !isBefore(place, names.at(-1)!);
		names.push(place);
		place = pastValue(bytes, place + 3);
		if (bytes[places[place]!] === COMMA) place++;
	}
	// A name that stands twice stays in its order, as `sort` leaves it: parsers take the last.
	if (!isSorted) names.sort(byName);
	writeByte(OPEN_BRACE);
	for (let at = 0; at < names.length; at++) {
		const name = names[at]!;
		if (at > 0) writeByte(COMMA);
		copy(places[name]!, places[name + 1]! + 1);
		writeByte(COLON);
		if (writeValue(name + 3, depth + 1) === UNUSUAL) return UNUSUAL;
	}
	writeByte(CLOSE_BRACE);
	return place + 1;
}

/** Whether the name there is ASCII without an escape: then its bytes are in the order of its characters. */
function isPlainName(place: number): boolean {
	const end = places[place + 1]!;
	for (let at = places[place]!; at < end; at++) if (bytes[at] === BACKSLASH || bytes[at]! > 127) return false;
	return true;
}

/** Whether one name, its quotes included, comes before another. */
function isBefore(one: number, other: number): boolean {
	const end = places[one + 1]!;
	let [at, from] = [places[one]!, places[other]!];
	while (at < end && bytes[at] === bytes[from]) {
		at++;
		from++;
	}
	return bytes[at]! < bytes[from]!;
}

function byName(one: number, other: number): number {
	if (isBefore(one, other)) return -1;
	return isBefore(other, one) ? 1 : 0;
}

function writeString(start: number, end: number): void {
	if (!hasOtherForms) copy(start, end);
	else writeText(canonicalString(bytes.toString("utf8", start, end)));
}

function writeScalar(start: number): void {
	let end = start;
	let digits = true;
	for (; ; end++) {
		const byte = bytes[end];
		if (byte === undefined || byte <= 32 || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) break;
		digits &&= byte >= ZERO && byte <= NINE;
	}
	// As many digits as a double holds.
	if (digits && end - start <= 15) copy(start, end);
	else writeText(canonicalScalar(bytes.toString("latin1", start, end)));
}

function writeByte(byte: number): void {
	if (size === output.length) grow(1);
	output[size++] = byte;
}

function writeText(text: string): void {
	grow(3 * text.length);
	size += output.write(text, size);
}

/** Shorter pieces are copied in a loop sooner than by a call. */
const SHORT = 24;

function copy(start: number, end: number): void {
	grow(end - start);
	if (end - start > SHORT) output.set(bytes.subarray(start, end), size);
	else for (let at = start; at < end; at++) output[size + at - start] = bytes[at]!;
	size += end - start;
}

/** Makes room for so many bytes. */
function grow(more: number): void {
	if (size + more <= output.length) return;
	const larger = Buffer.allocUnsafeSlow(Math.max(2 * output.length, size + more));
	larger.set(output.subarray(0, size));
	output = larger;
}
