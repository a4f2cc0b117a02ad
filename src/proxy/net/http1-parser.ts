/**
 * Reads one HTTP/1.1 answer (RFC 9112) from the bytes of its connection, however they were cut. Pure: no socket, no clock.
 */
import { bytePart } from "../../openai/byte-part.ts";
import { type Head, HeadReader, MalformedAnswer, type ParsedHead } from "./http1-head.ts";

/** Longest head read, bytes; servers and proxies in the field allow 8 to 64 KB. */
const MAX_HEAD = 64 * 1024;
/** Longest line between chunks: a size with its extensions; or trailers, all of them. */
const MAX_LINE = 16 * 1024;

const CR = 13;
const LF = 10;

type State = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "until-close" | "done";

const EMPTY = Buffer.alloc(0);

/** One answer. Feed it with `push` until `isDone`, and tell it of the connection's end with `close`. */
export class AnswerParser {
	#state: State = "head";
	/** Bytes of a line or head whose end has not come. */
	#kept: Buffer | undefined;
	/** The body bytes that came with the last `push` lie in these, from `start` to `end`; chunks have been moved together there. */
	bytes: Buffer = EMPTY;
	start = 0;
	end = 0;
	/** Bytes of a chunk have come. */
	#hasChunk = false;
	head: Head | undefined;
	/** Bytes left of the body, or of the chunk. */
	#left = 0;
	#isReusable = false;

	/** @param heads reads its head */
	constructor(private readonly heads = new HeadReader()) {}

	/** Whether the answer is complete. */
	get isDone(): boolean {
		return this.#state === "done";
	}

	/** Whether the connection may carry another call once this answer is done. */
	get isReusable(): boolean {
		return this.#state === "done" && this.#isReusable;
	}

	/** Takes what arrived, which is from then on the parser's to overwrite. Throws MalformedAnswer. */
	push(bytes: Buffer): void {
		let input = bytes;
		if (this.#kept) {
			input = Buffer.concat([this.#kept, bytes]);
			this.#kept = undefined;
		}
		this.bytes = input;
		this.start = this.end = 0;
		let at = 0;
		if (this.#state === "head") {
			at = this.#readHead(input);
			if (at === -1) return;
		}
		this.#readBody(input, at);
	}

	/** What `push` found of the body; undefined where that is nothing. */
	get piece(): Buffer | undefined {
		return this.start < this.end ? bytePart(this.bytes, this.start, this.end) : undefined;
	}

	/** The connection was closed in good order: true where that completes the answer. */
	close(): boolean {
		if (this.#state === "until-close") this.#state = "done";
		return this.#state === "done";
	}

	/** Past the head; -1 where its end has not come. Interim answers (100, 103) are passed over. */
	#readHead(input: Buffer): number {
		let start = 0;
		for (;;) {
			const end = headEnd(input, start);
			if (end === -1) {
				if (input.length - start > MAX_HEAD) throw new MalformedAnswer("sent a head larger than 64 KB");
				this.#kept = Buffer.from(input.subarray(start));
				return -1;
			}
			const head = this.heads.read(input.toString("latin1", start, end));
			if (head.size > MAX_HEAD) throw new MalformedAnswer("sent a head larger than 64 KB");
			start += head.size;
			if (head.status >= 200) {
				this.head = head;
				this.#frame(head);
				return start;
			}
			if (head.status === 101) throw new MalformedAnswer("switched protocols unasked");
		}
	}

	/** How the body ends (RFC 9112, 6.3). */
	#frame({ status, encoding, length, keepsAlive }: ParsedHead): void {
		if (status === 204 || status === 304) {
			this.#state = "done";
			this.#isReusable = keepsAlive;
		} else if (encoding !== null) {
			if (encoding !== "chunked") throw new MalformedAnswer("sent a transfer encoding other than chunked");
			this.#state = "chunk-size";
			// Both lengths together are how messages are smuggled: nothing else goes over such a connection.
			this.#isReusable = keepsAlive && length === null;
		} else if (length !== null) {
			this.#left = lengthIn(length);
			this.#state = this.#left === 0 ? "done" : "length";
			this.#isReusable = keepsAlive;
		} else this.#state = "until-close";
	}

	#readBody(input: Buffer, start: number): void {
		if (this.#state === "length" || this.#state === "until-close") {
			this.start = start;
			this.end = this.#state === "length" ? Math.min(input.length, start + this.#left) : input.length;
			if (this.#state === "until-close") return;
			this.#left -= this.end - start;
			if (this.#left === 0) this.#finish(input, this.end);
		} else if (this.#state === "done") this.#finish(input, start);
		else if (this.#state !== "chunk-size" || !this.#readOneChunk(input, start)) this.#readChunks(input, start);
	}

	/** Reads one chunk where that is all there is, as an upstream sends its events; false where it is not. */
	#readOneChunk(input: Buffer, start: number): boolean {
		const last = input.length - 1;
		let at = start;
		let size = 0;
		for (let digit = hexDigit(input[at]!); digit !== -1 && at - start < SHORT_LINE; digit = hexDigit(input[++at]!))
			size = size * 16 + digit;
		if (size === 0 || at + size + 3 !== last || input[at] !== CR || input[at + 1] !== LF) return false;
		if (input[last - 1] !== CR || input[last] !== LF) return false;
		this.#hasChunk = true;
		this.start = at + 2;
		this.end = last - 1;
		return true;
	}

	/** Moves the chunks' bytes together at the front of what they came in: one piece to hand on, and no copy elsewhere. */
	#readChunks(input: Buffer, start: number): void {
		let [at, from, to] = [start, -1, start];
		while (at < input.length && this.#state !== "done") {
			if (this.#state === "chunk") {
				const end = Math.min(input.length, at + this.#left);
				if (from === -1) from = to = at;
				this.#hasChunk = true;
				if (to !== at) input.copyWithin(to, at, end);
				to += end - at;
				this.#left -= end - at;
				at = end;
				if (this.#left === 0) this.#state = "chunk-end";
				continue;
			}
			const end = lineFeed(input, at);
			if (end === -1) {
				if (input.length - at > MAX_LINE) throw new MalformedAnswer("sent a chunk without a size", this.#hasChunk);
				this.#kept = Buffer.from(input.subarray(at));
				break;
			}
			this.#readLine(input, at, input[end - 1] === CR && end > at ? end - 1 : end);
			at = end + 1;
		}
		if (this.isDone) this.#finish(input, at);
		if (from === -1) return;
		this.start = from;
		this.end = to;
	}

	/** A line between chunks, without its end. */
	#readLine(input: Buffer, start: number, end: number): void {
		if (this.#state === "chunk-size") {
			this.#left = sizeIn(input, start, end);
			if (this.#left === -1) throw new MalformedAnswer("sent a chunk without a size", this.#hasChunk);
			this.#state = this.#left === 0 ? "trailers" : "chunk";
		} else if (this.#state === "chunk-end") {
			if (end !== start) throw new MalformedAnswer("sent a chunk longer than its size", true);
			this.#state = "chunk-size";
		} else {
			this.#left += end - start;
			if (this.#left > MAX_LINE) throw new MalformedAnswer("sent trailers larger than 16 KB");
			if (end === start) this.#state = "done";
		}
	}

	/** Bytes behind the answer belong to nobody: a connection with such is not used again. */
	#finish(input: Buffer, end: number): void {
		this.#state = "done";
		if (end < input.length) this.#isReusable = false;
	}
}

const BLANK_LINE = Buffer.from("\r\n\r\n");
/** Bare line feeds: RFC 9112, 2.2 lets a recipient take them, and small servers send them. */
const BARE_LINES = ["\n\n", "\n\r\n"].map((line) => Buffer.from(line));

/** Past a blank line behind the head which begins at `start`; -1 where there is none. */
function headEnd(input: Buffer, start: number): number {
	const end = input.indexOf(BLANK_LINE, start);
	if (end !== -1) return end + BLANK_LINE.length;
	for (const line of BARE_LINES) {
		const bare = input.indexOf(line, start);
		if (bare !== -1) return bare + line.length;
	}
	return -1;
}

function lengthIn(value: string): number {
	if (!/^\d{1,15}$/.test(value)) throw new MalformedAnswer("sent a length that is no number");
	return Number(value);
}

/** Nearly every line between chunks is shorter, bytes. */
const SHORT_LINE = 8;

/** The next LF; -1 where there is none. The lines are so short that to look at each byte is faster than a call. */
function lineFeed(input: Buffer, start: number): number {
	for (let at = start; at < start + SHORT_LINE; at++) if (input[at] === LF) return at;
	return input.indexOf(LF, start);
}

/** The hexadecimal size at the beginning of the line; extensions behind `;` are passed over. -1 where there is none. */
function sizeIn(input: Buffer, start: number, end: number): number {
	let size = 0;
	let at = start;
	for (; at < end; at++) {
		const digit = hexDigit(input[at]!);
		if (digit === -1) break;
		size = size * 16 + digit;
	}
	const isSize = at > start && at - start <= 12;
	const rest = input[at];
	// A blank or `;` may follow: the extensions.
	return isSize && (at === end || rest === 0x3b || rest === 0x20 || rest === 0x09) ? size : -1;
}

function hexDigit(byte: number): number {
	if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
	const letter = byte | 0x20;
	return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
