/** A request as OpenAI's JSON: its bytes, and what is made of them only where somebody asks. */
import { isAscii } from "node:buffer";
import type { Edit, Field } from "./json.ts";
import type { RequestBody } from "./request-fields.ts";
import { type RequestField, utf16Length } from "./request-scan.ts";

const QUOTE = 34;
const COLON = 58;
const OPEN_BRACKET = 91;
const LOWER_F = 102;
const LOWER_N = 110;
const LOWER_T = 116;
/** In a text, a backslash would stand before each quote. */
const TYPE = Buffer.from('"type"');

/** Longest value that is parsed alone, bytes: of what is longer all is parsed, once. */
const ALONE = 1024;

/** Longest body that is copied sooner than sent in pieces, bytes. */
const SHORT = 16 * 1024;

/** What upstreams that speak OpenAI get, and of which the requests of all others are made. Checked against its operation's schema. */
export class ParsedBody {
	#isAscii: boolean | undefined;
	#keeps = true;
	#raw: string | undefined;
	#value: RequestBody | undefined;

	/**
	 * @param bytes JSON in UTF-8, without a byte order mark. A client of OpenAI's own wire has sent these very bytes.
	 * @param fields where the top-level fields stand in them
	 * @param isAscii where that is known
	 */
	constructor(
		readonly bytes: Buffer,
		readonly fields: readonly RequestField[],
		made?: { readonly raw: string; readonly value: RequestBody },
		isAscii?: boolean,
	) {
		this.#isAscii = isAscii;
		this.#raw = made?.raw;
		this.#value = made?.value;
	}

	/** Of a text, its parse, and the fields as they stand in the text. */
	static of(raw: string, fields: readonly Field[], value: RequestBody): ParsedBody {
		const bytes = Buffer.from(raw);
		let [at, length] = [0, 0];
		const inBytes = (index: number) => {
			length += Buffer.byteLength(raw.slice(at, index));
			at = index;
			return length;
		};
		const moved = fields.map(({ key, keyStart, start, end }) => {
			const places = { keyStart: inBytes(keyStart), start: inBytes(start), end: inBytes(end) };
			return { key, ...places, levels: Number.POSITIVE_INFINITY, items: 0 };
		});
		return new ParsedBody(bytes, moved, { raw, value });
	}

	/** The same as text. */
	get raw(): string {
		if (this.#raw !== undefined) return this.#raw;
		const raw = this.bytes.toString();
		if (this.#keeps) this.#raw = raw;
		return raw;
	}

	/** The parse of it, for reading only. */
	get value(): RequestBody {
		if (this.#value) return this.#value;
		const value = JSON.parse(this.raw) as RequestBody;
		if (this.#keeps) this.#value = value;
		return value;
	}

	/** Forgets what was made of the bytes, and from now on keeps nothing: where it is remembered itself, that would take far more than they do. */
	keepNothing(): void {
		this.#keeps = false;
		this.#raw = undefined;
		this.#value = undefined;
	}

	/** The field of that name (the one `JSON.parse` keeps), if any. */
	field(name: string): RequestField | undefined {
		const { fields } = this;
		for (let at = fields.length - 1; at >= 0; at--) if (fields[at]!.key === name) return fields[at];
		return undefined;
	}

	/** The value of the field of that name; undefined where there is none. Costs no more than what it is, unless that is long. */
	at(name: string): unknown {
		if (this.#value) return this.#value[name];
		const field = this.field(name);
		return field && this.valueOf(field);
	}

	/** The value of one of the fields. */
	valueOf(field: RequestField): unknown {
		if (this.#value || field.end - field.start > ALONE) return this.value[field.key];
		return this.valueIn(field);
	}

	/** The same, parsed alone, however long it is: for who asks for all but one of them. */
	valueIn(field: RequestField): unknown {
		switch (this.bytes[field.start]) {
			case LOWER_T:
				return true;
			case LOWER_F:
				return false;
			case LOWER_N:
				return null;
			case QUOTE: {
				const text = this.bytes.toString("utf8", field.start + 1, field.end - 1);
				if (!text.includes("\\")) return text;
			}
		}
		return JSON.parse(this.textOf(field));
	}

	/** The JSON text of one of the fields. */
	textOf({ start, end }: Pick<Field, "start" | "end">): string {
		return this.bytes.toString("utf8", start, end);
	}

	/** Its length as text, UTF-16 units. */
	lengthOf({ start, end }: Pick<Field, "start" | "end">): number {
		this.#isAscii ??= isAscii(this.bytes);
		return this.#isAscii ? end - start : utf16Length(this.bytes.subarray(start, end));
	}

	/** Items of the list that stands in the field of that name; 0 where there is none. */
	itemsOf(name: string): number {
		const field = this.field(name);
		if (!field || this.bytes[field.start] !== OPEN_BRACKET) return 0;
		return field.levels === Number.POSITIVE_INFINITY ? (this.valueOf(field) as unknown[]).length : field.items;
	}

	/** Whether an object in the field may have a `type` that fits: false is certain. Nothing is made of the bytes for it. */
	mayHaveType({ start, end }: Pick<Field, "start" | "end">, types: RegExp): boolean {
		const text = this.bytes.subarray(start, end);
		// Written so, a name or a type is not seen.
		if (text.includes("\\u00")) return true;
		for (let at = text.indexOf(TYPE); at !== -1; at = text.indexOf(TYPE, at + 1)) {
			const colon = pastSpace(text, at + TYPE.length);
			const quote = pastSpace(text, colon + 1);
			if (text[colon] !== COLON || text[quote] !== QUOTE) continue;
			const type = text.toString("latin1", quote + 1, text.indexOf(QUOTE, quote + 1));
			if (type.includes("\\") || types.test(type)) return true;
		}
		return false;
	}

	/**
	 * Its pieces with the edits, whose offsets are bytes: what is not edited of a long one is not copied. The edits must not overlap; those at
	 * one offset are made in their order.
	 */
	edited(edits: readonly Edit[]): readonly Buffer[] {
		const { bytes } = this;
		if (edits.length === 0) return [bytes];
		const ordered = edits.length === 1 ? edits : [...edits].sort((a, b) => a.start - b.start);
		if (bytes.length <= SHORT) return [rewritten(bytes, ordered)];
		const pieces: Buffer[] = [];
		let from = 0;
		for (const { start, end, insert } of ordered) {
			pieces.push(bytes.subarray(from, start), Buffer.from(insert));
			from = end;
		}
		pieces.push(bytes.subarray(from));
		return pieces;
	}
}

function pastSpace(text: Buffer, at: number): number {
	let next = at;
	while (text[next] === 32 || text[next] === 10 || text[next] === 13 || text[next] === 9) next++;
	return next;
}

/** Prompts of a text completion: several are a list. */
export function promptsIn(body: ParsedBody): number {
	const field = body.field("prompt");
	// Most are one text, however long.
	const prompts = field && field.levels > 0 ? body.valueOf(field) : undefined;
	// An array of numbers is one prompt, given as tokens.
	const isSeveral = Array.isArray(prompts) && prompts.length > 0 && typeof prompts[0] !== "number";
	return isSeveral ? prompts.length : 1;
}

/** A copy of the bytes with the edits, which are in order. */
function rewritten(bytes: Buffer, edits: readonly Edit[]): Buffer {
	let length = bytes.length;
	for (const { start, end, insert } of edits) length += Buffer.byteLength(insert) - (end - start);
	const copy = Buffer.allocUnsafe(length);
	let from = 0;
	let to = 0;
	for (const { start, end, insert } of edits) {
		to += bytes.copy(copy, to, from, start);
		to += copy.write(insert, to);
		from = end;
	}
	bytes.copy(copy, to, from);
	return copy;
}
