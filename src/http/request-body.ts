/** Reading a client's body: media type, size, byte order mark. */
import { RouterError } from "../errors.ts";
import { tooLarge as jsonTooLarge } from "../openai/call.ts";
import { JsonTooLarge, parseBounded } from "../openai/json.ts";
import { utf8Text } from "../openai/validation.ts";

/** The byte order mark, UTF-8. */
const MARK = [0xef, 0xbb, 0xbf];
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** The body as text; without a byte order mark. Throws as `readRequestBody` does, and `invalid_json` where it is no UTF-8. */
export async function readRequestText(request: Request, limit: number, takesAnyType = false): Promise<string> {
	return utf8Text(await readRequestBody(request, limit, takesAnyType));
}

/** What a body says that is JSON. Throws `invalid_json`, and `body_too_large` or `invalid_value` beyond the bounds of what is read. */
export function jsonIn(text: string): unknown {
	try {
		return parseBounded(text);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw jsonTooLarge(cause);
		throw new RouterError("invalid_json", "The body is no valid JSON.");
	}
}

/**
 * The body's bytes; without a byte order mark. Whoever reads them checks that they are UTF-8. Throws `unsupported_media_type` or
 * `body_too_large`; rejects with that or `cancelled`. A body that stops half way is cut off by the server's idle timeout.
 * @param takesAnyType it is read as JSON, whatever it is called
 */
export function readRequestBody(request: Request, limit: number, takesAnyType = false): Promise<Buffer> {
	const { headers } = request;
	const type = headers.get("content-type") ?? "";
	if (!takesAnyType && !JSON_TYPE.test(type)) {
		const message = `The content-type must be application/json; it is ${type ? `"${type.slice(0, 100)}"` : "missing"}.`;
		throw new RouterError("unsupported_media_type", message);
	}
	const encoding = headers.get("content-encoding");
	if (encoding !== null && encoding !== "identity") {
		throw new RouterError("unsupported_media_type", "Send the body uncompressed, without content-encoding.");
	}
	const length = headers.get("content-length");
	if (length !== null && Number(length) > limit) throw tooLarge(limit);
	const read = length !== null || !request.body ? request.arrayBuffer() : readCounting(request.body, limit);
	return read.then(withoutMark, bodyLost);
}

function withoutMark(read: ArrayBuffer | Buffer): Buffer {
	const bytes = read instanceof ArrayBuffer ? Buffer.from(read) : read;
	heapRoom.count(bytes.length);
	const hasMark = bytes[0] === MARK[0] && bytes[1] === MARK[1] && bytes[2] === MARK[2];
	return hasMark ? bytes.subarray(MARK.length) : bytes;
}

function bodyLost(thrown: unknown): never {
	if (thrown instanceof RouterError) throw thrown;
	throw new RouterError("cancelled", "The client left before its body was complete.", { cause: thrown });
}

/** Length from which on a body's memory is worth giving back by hand, bytes. */
const LONG = 32 * 1024;

/**
 * Gives the memory of a long body back at once; nobody may read it any more. A collection would find it many calls later, and each call
 * until then takes memory that no cache of the processor holds.
 */
export function releaseBody(bytes: Buffer): void {
	const { length } = bytes;
	if (length < LONG) return;
	const { buffer } = bytes;
	// Others may lie in the same block.
	if (!(buffer instanceof ArrayBuffer) || buffer.byteLength - length > MARK.length) return;
	buffer.transfer(0);
	heapRoom.givenBack(length);
}

/** Size of the block, bytes, and of WebAssembly's pages. */
const ROOM = 64 * 1024 * 1024;
const PAGE = 64 * 1024;
/** Bodies, and bytes of long ones, after which it is decided whether it is held. */
const BODIES = 256;
const LONG_BYTES = 64 * 1024 * 1024;
/** What a call leaves for the garbage collector besides a long body, bytes. */
const OTHER_GARBAGE = 16 * 1024;
/** How many times the garbage that is left the bodies given back must come to for the block to be worth it, and less than which it is let go. */
const WORTH = 4;
const NOT_WORTH = 1;

/**
 * Keeps the garbage collector from running for long bodies. It counts their bytes when they come, and not that `releaseBody` gives them back:
 * with bodies of 200 KB it would run each 55 calls, and with those of 2 MB each 6 to 12, with next to nothing to collect. It runs the less often
 * the larger the heap is, and a block to which nobody writes makes the heap larger but takes no memory. While most garbage is another, long
 * bodies that are not given back (those of broken streams) among it, the block is not there: then it would let that pile up.
 */
export class HeapRoom {
	#block: WebAssembly.Memory | undefined;
	#bodies = 0;
	#longBytes = 0;
	#givenBack = 0;

	/** @param collect collects all garbage: how much may pile up is thought of only then */
	constructor(private readonly collect = () => Bun.gc(false)) {}

	/** Bytes that the heap was made larger by. */
	get size(): number {
		return this.#block ? ROOM : 0;
	}

	/** A body has come, of so many bytes. */
	count(length: number): void {
		if (length >= LONG) this.#longBytes += length;
		if (++this.#bodies < BODIES && this.#longBytes < LONG_BYTES) return;
		// Some were given back that had come before.
		const kept = Math.max(0, this.#longBytes - this.#givenBack);
		const share = this.#givenBack / (this.#bodies * OTHER_GARBAGE + kept);
		this.#bodies = this.#longBytes = this.#givenBack = 0;
		if (!this.#block && share > WORTH) this.#block = emptyBlock();
		else if (this.#block && share < NOT_WORTH) {
			this.#block = undefined;
			this.collect();
		}
	}

	/** The memory of a long one was given back, so many bytes. */
	givenBack(length: number): void {
		this.#givenBack += length;
	}
}

/**
 * Pages that the system gives once they are written to: an ArrayBuffer may be made of used memory, and is then filled with zeros. Undefined
 * where the process may not have so many addresses.
 */
function emptyBlock(): WebAssembly.Memory | undefined {
	try {
		return new WebAssembly.Memory({ initial: ROOM / PAGE });
	} catch {
		return undefined;
	}
}

const heapRoom = new HeapRoom();

/** Reads a chunked body, whose size is known only at its end. */
async function readCounting(body: ReadableStream<Uint8Array>, limit: number): Promise<Buffer> {
	const chunks: Uint8Array[] = [];
	let size = 0;
	for await (const chunk of body) {
		size += chunk.byteLength;
		if (size > limit) throw tooLarge(limit);
		chunks.push(chunk);
	}
	return Buffer.concat(chunks, size);
}

function tooLarge(limit: number): RouterError {
	const size = limit >= 1e6 ? `${Math.round(limit / 1e5) / 10} MB` : `${limit} bytes`;
	return new RouterError("body_too_large", `The body is larger than ${size} (server.body_limit).`, {
		headers: { connection: "close" },
	});
}
