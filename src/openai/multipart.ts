/** Finds the fields of a `multipart/form-data` body (RFC 7578) while it passes, with what stands where in its bytes. Keeps no file. */
import { RouterError } from "../errors.ts";

/** A field that holds text. */
export interface FormField {
	readonly name: string;
	readonly value: string;
	/** Where the value stands, in bytes from the body's beginning. */
	readonly start: number;
	readonly end: number;
}

/** Longest head of a part, and longest text that is kept of a field, bytes. */
const LONGEST_HEAD = 8 * 1024;
const LONGEST_VALUE = 16 * 1024;
/** Parts of one body. */
const MOST_PARTS = 1000;
const HEAD_END = Buffer.from("\r\n\r\n");

/** The boundary that a content-type names; undefined where it is no form's. */
export function boundaryOf(contentType: string): string | undefined {
	if (!/^multipart\/form-data\s*;/i.test(contentType)) return undefined;
	const found = /;\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType);
	return found?.[1] ?? found?.[2];
}

/**
 * Reads along. Push all pieces in their order; its memory does not grow with the files. It takes the strict grammar alone: what one server reads
 * otherwise than another (bare line ends, parameters in quotes of other parameters, folded or encoded heads) could name a second model.
 */
export class FormScanner {
	/** Those that have come whole. Of a longer text only the name is told. */
	readonly fields: FormField[] = [];
	/** Names of all parts so far. */
	readonly names: string[] = [];
	/** The end of the form has come. */
	isDone = false;
	readonly #delimiter: Buffer;
	/** What has come and is not done with, and where it begins in the body. */
	#rest: Buffer = Buffer.alloc(0);
	#at = 0;
	#state: "start" | "head" | "text" | "file" = "start";
	#name = "";
	#start = 0;

	constructor(boundary: string) {
		this.#delimiter = Buffer.from(`\r\n--${boundary}`);
	}

	/** The field of that name; undefined where it has not come. */
	field(name: string): FormField | undefined {
		return this.fields.find((each) => each.name === name);
	}

	/** Throws `invalid_value` where it is no form, and `duplicate_key` where the model is named twice: two parsers could disagree about which one counts. */
	push(piece: Uint8Array): void {
		if (this.isDone) return;
		const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
		this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
		while (!this.isDone && this.#step());
	}

	/** Takes a part of what is there; whether there may be more to take. */
	#step(): boolean {
		if (this.#state === "start") {
			// The first boundary may stand at the very beginning, without a line end before it.
			const first = this.#delimiter.subarray(2);
			if (this.#rest.length < first.length) return false;
			if (this.#rest.indexOf(first) !== 0) throw malformed("it does not begin with its boundary");
			return this.#take(first.length, "head");
		}
		return this.#state === "head" ? this.#head() : this.#content();
	}

	#head(): boolean {
		if (this.#rest.length < 2) return false;
		if (this.#rest[0] === DASH && this.#rest[1] === DASH) {
			this.isDone = true;
			return false;
		}
		const end = this.#rest.indexOf(HEAD_END);
		if (end === -1) {
			if (this.#rest.length > LONGEST_HEAD) throw malformed("the head of a part is too long");
			return false;
		}
		if (this.#rest[0] !== CARRIAGE_RETURN || this.#rest[1] !== LINE_FEED)
			throw malformed("text stands behind a boundary");
		const { name, isFile } = partOf(this.#rest.toString("utf8", 2, end));
		this.#name = name;
		if (name === "model" && this.names.includes("model")) throw twice();
		if (this.names.push(name) > MOST_PARTS) throw malformed(`it has more than ${MOST_PARTS} parts`);
		if (isFile && name === "model") throw malformed("`model` is a file");
		const taken = this.#take(end + HEAD_END.length, isFile ? "file" : "text");
		this.#start = this.#at;
		return taken;
	}

	#content(): boolean {
		const first = this.#delimiter.subarray(2);
		if (this.#at === this.#start && this.#rest.subarray(0, first.length).equals(first)) {
			throw malformed("a boundary stands behind the head of a part");
		}
		const lineEnd = this.#rest.indexOf(this.#delimiter.subarray(1));
		if (lineEnd === 0 || (lineEnd > 0 && this.#rest[lineEnd - 1] !== CARRIAGE_RETURN)) {
			throw malformed("a boundary stands behind a bare line feed");
		}
		const end = lineEnd - 1;
		if (lineEnd === -1) {
			if (this.#state === "text" && this.#rest.length <= LONGEST_VALUE) return false;
			if (this.#name === "model") throw malformed("`model` is too long");
			// What is behind may be the beginning of a delimiter.
			const keep = Math.min(this.#rest.length, this.#delimiter.length);
			this.#take(this.#rest.length - keep, "file");
			return false;
		}
		if (this.#state === "text") {
			const value = this.#rest.toString("utf8", 0, end);
			this.fields.push({ name: this.#name, value, start: this.#start, end: this.#start + end });
		}
		return this.#take(end + this.#delimiter.length, "head");
	}

	#take(length: number, state: "head" | "text" | "file"): true {
		this.#rest = this.#rest.subarray(length);
		this.#at += length;
		this.#state = state;
		return true;
	}
}

const DASH = 45;
const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;

const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
const PARAMETER = new RegExp(`;[ \\t]*(${TOKEN})=(?:"([^"\\\\\r\n]*(?:\\\\.[^"\\\\\r\n]*)*)"|(${TOKEN}))[ \\t]*`, "y");
const PLAIN_CODINGS = ["7bit", "8bit", "binary"];

/** What the head of a part says: lines without the last one's end. Throws `invalid_value`. */
function partOf(head: string): { readonly name: string; readonly isFile: boolean } {
	let found: Map<string, string> | undefined;
	for (const line of head.split("\r\n")) {
		const header = /^([\w-]+):[ \t]*([^\r\n]*)$/.exec(line);
		if (!header) throw malformed("the head of a part has a line that is no header");
		const [name, value] = [header[1]!.toLowerCase(), header[2]!.trim()];
		if (name === "content-transfer-encoding" && !PLAIN_CODINGS.includes(value.toLowerCase())) {
			throw malformed("a part is encoded");
		}
		if (name !== "content-disposition") continue;
		if (found) throw malformed("a part has two names");
		found = parametersOf(value);
	}
	const name = found?.get("name");
	if (name === undefined || name === "") throw malformed("a part has no name");
	if (name.includes("\\")) throw malformed("the name of a part has a backslash");
	// What some servers take for the same field.
	if (name !== "model" && /^\s*model\s*(?:\[.*)?$/i.test(name)) throw malformed(`a part is called "${name.trim()}"`);
	return { name, isFile: found!.has("filename") || found!.has("filename*") };
}

/** Of a content-disposition. */
function parametersOf(value: string): Map<string, string> {
	const type = /^form-data[ \t]*/i.exec(value);
	if (!type) throw malformed("a part is no form-data");
	const found = new Map<string, string>();
	PARAMETER.lastIndex = type[0].length;
	while (PARAMETER.lastIndex < value.length) {
		const parameter = PARAMETER.exec(value);
		const name = parameter?.[1]?.toLowerCase();
		if (!parameter || name === undefined || name === "name*" || found.has(name)) {
			throw malformed("the name of a part can't be told");
		}
		found.set(name, (parameter[2] ?? parameter[3])!);
	}
	return found;
}

const malformed = (why: string) => new RouterError("invalid_value", `The form can't be read: ${why}.`);
const twice = () =>
	new RouterError("duplicate_key", 'The field "model" stands twice; send it once.', { param: "model" });
