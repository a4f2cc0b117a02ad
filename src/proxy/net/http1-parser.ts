/**
 * Reads one HTTP/1.1 answer (RFC 9112) from the bytes of its connection, however they were cut. Pure: no socket, no clock.
 */

/** The answer's head. */
export interface Head {
	readonly status: number;
	readonly headers: Headers;
}

/** An answer that is no HTTP, or not in bounds. The message is a predicate for the upstream's name. */
export class MalformedAnswer extends Error {}

/** Longest head read, bytes; servers and proxies in the field allow 8 to 64 KB. */
const MAX_HEAD = 64 * 1024;
/** Longest line between chunks: a size with its extensions; or trailers, all of them. */
const MAX_LINE = 16 * 1024;

const CR = 13;
const LF = 10;
const NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const STATUS = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/;

type State = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "until-close" | "done";

/** One answer. Feed it with `push` until `isDone`, and tell it of the connection's end with `close`. */
export class AnswerParser {
	#state: State = "head";
	/** Bytes of a line or head whose end has not come. */
	#kept: Buffer | undefined;
	/** Bytes left of the body, or of the chunk. */
	#left = 0;
	#isReusable = false;
	head: Head | undefined;

	/** Whether the answer is complete. */
	get isDone(): boolean {
		return this.#state === "done";
	}

	/** Whether the connection may carry another call once this answer is done. */
	get isReusable(): boolean {
		return this.#state === "done" && this.#isReusable;
	}

	/**
	 * Takes what arrived, which is from then on the parser's to overwrite. Returns the body bytes in it, undefined where there
	 * are none: a view of `bytes`, in which chunks have been moved together. Throws MalformedAnswer.
	 */
	push(bytes: Buffer): Buffer | undefined {
		let input = bytes;
		if (this.#kept) {
			input = Buffer.concat([this.#kept, bytes]);
			this.#kept = undefined;
		}
		let at = 0;
		if (this.#state === "head") {
			at = this.#readHead(input);
			if (at === -1) return undefined;
		}
		return this.#readBody(input, at);
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
			if (end - start > MAX_HEAD) throw new MalformedAnswer("sent a head larger than 64 KB");
			const head = parseHead(input.toString("latin1", start, end));
			start = end;
			if (head.status >= 200) {
				this.head = head;
				this.#frame(head);
				return start;
			}
			if (head.status === 101) throw new MalformedAnswer("switched protocols unasked");
		}
	}

	/** How the body ends (RFC 9112, 6.3). */
	#frame({ status, headers, minor }: Head & { minor: string }): void {
		const encoding = headers.get("transfer-encoding")?.toLowerCase().trim();
		const length = headers.get("content-length");
		const keepsAlive = minor === "1" && !/\bclose\b/i.test(headers.get("connection") ?? "");
		if (status === 204 || status === 304) {
			this.#state = "done";
			this.#isReusable = keepsAlive;
		} else if (encoding !== undefined) {
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

	#readBody(input: Buffer, start: number): Buffer | undefined {
		if (this.#state === "until-close") return start < input.length ? input.subarray(start) : undefined;
		if (this.#state === "length") {
			const end = Math.min(input.length, start + this.#left);
			this.#left -= end - start;
			if (this.#left === 0) this.#finish(input, end);
			return end > start ? input.subarray(start, end) : undefined;
		}
		if (this.#state === "done") {
			this.#finish(input, start);
			return undefined;
		}
		return this.#readChunks(input, start);
	}

	/** Moves the chunks' bytes together at the front of what they came in: one piece to hand on, and no copy elsewhere. */
	#readChunks(input: Buffer, start: number): Buffer | undefined {
		let at = start;
		let from = -1;
		let to = start;
		while (at < input.length && this.#state !== "done") {
			if (this.#state === "chunk") {
				const end = Math.min(input.length, at + this.#left);
				if (from === -1) from = to = at;
				if (to !== at) input.copyWithin(to, at, end);
				to += end - at;
				this.#left -= end - at;
				at = end;
				if (this.#left === 0) this.#state = "chunk-end";
				continue;
			}
			const end = input.indexOf(LF, at);
			if (end === -1) {
				if (input.length - at > MAX_LINE) throw new MalformedAnswer("sent a chunk without a size");
				this.#kept = Buffer.from(input.subarray(at));
				break;
			}
			this.#readLine(input, at, input[end - 1] === CR && end > at ? end - 1 : end);
			at = end + 1;
		}
		if (this.isDone) this.#finish(input, at);
		return from === -1 || to === from ? undefined : input.subarray(from, to);
	}

	/** A line between chunks, without its end. */
	#readLine(input: Buffer, start: number, end: number): void {
		if (this.#state === "chunk-size") {
			this.#left = sizeIn(input, start, end);
			this.#state = this.#left === 0 ? "trailers" : "chunk";
		} else if (this.#state === "chunk-end") {
			if (end !== start) throw new MalformedAnswer("sent a chunk longer than its size");
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

/** Past the blank line that ends the head which begins at `start`; -1 where there is none. */
function headEnd(input: Buffer, start: number): number {
	const end = input.indexOf("\r\n\r\n", start, "latin1");
	if (end !== -1) return end + 4;
	// Bare line feeds: RFC 9112, 2.2 lets a recipient take them, and small servers send them.
	const bare = input.indexOf("\n\n", start, "latin1");
	return bare === -1 ? -1 : bare + 2;
}

function parseHead(text: string): Head & { minor: string } {
	const [first = "", ...lines] = text.trimEnd().split(/\r?\n/);
	const [, minor, status] = STATUS.exec(first) ?? [];
	if (minor === undefined || status === undefined) throw new MalformedAnswer("sent an answer that is no HTTP/1.1");
	const headers = new Headers();
	let length: string | undefined;
	for (const line of lines) {
		const colon = line.indexOf(":");
		const name = line.slice(0, colon);
		if (colon < 1 || !NAME.test(name)) throw new MalformedAnswer("sent a header line that is none");
		const value = line.slice(colon + 1).trim();
		if (name.toLowerCase() === "content-length") {
			if (length !== undefined && length !== value) throw new MalformedAnswer("sent two different lengths");
			if (length !== undefined) continue;
			length = value;
		}
		try {
			headers.append(name, value);
		} catch {
			throw new MalformedAnswer("sent a header value with characters that none may have");
		}
	}
	return { status: Number(status), headers, minor };
}

function lengthIn(value: string): number {
	if (!/^\d{1,15}$/.test(value)) throw new MalformedAnswer("sent a length that is no number");
	return Number(value);
}

/** The hexadecimal size at the beginning of the line; extensions behind `;` are passed over. */
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
	if (!isSize || (at < end && rest !== 0x3b && rest !== 0x20 && rest !== 0x09)) {
		throw new MalformedAnswer("sent a chunk without a size");
	}
	return size;
}

function hexDigit(byte: number): number {
	if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
	const letter = byte | 0x20;
	return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
