/** Reading a client's body: media type, size, byte order mark. */
import { isUtf8 } from "node:buffer";
import { noUtf8, RouterError } from "../errors.ts";

/** The byte order mark, UTF-8. */
const MARK = [0xef, 0xbb, 0xbf];
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** The body as text; without a byte order mark. Throws as `readRequestBody` does, and `invalid_json` where it is no UTF-8. */
export async function readRequestText(request: Request, limit: number): Promise<string> {
	const bytes = await readRequestBody(request, limit);
	if (!isUtf8(bytes)) throw noUtf8();
	return bytes.toString();
}

/**
 * The body's bytes; without a byte order mark. Whoever reads them checks that they are UTF-8. Throws `unsupported_media_type`,
 * `body_too_large` or `cancelled`. A body that stops half way is cut off by the server's idle timeout.
 */
export async function readRequestBody(request: Request, limit: number): Promise<Buffer> {
	const { headers } = request;
	const type = headers.get("content-type") ?? "";
	if (!JSON_TYPE.test(type)) {
		const message = `The content-type must be application/json; it is ${type ? `"${type.slice(0, 100)}"` : "missing"}.`;
		throw new RouterError("unsupported_media_type", message);
	}
	const encoding = headers.get("content-encoding");
	if (encoding !== null && encoding !== "identity") {
		throw new RouterError("unsupported_media_type", "Send the body uncompressed, without content-encoding.");
	}
	const length = headers.get("content-length");
	if (length !== null && Number(length) > limit) throw tooLarge(limit);
	let bytes: Buffer;
	try {
		bytes =
			length !== null || !request.body
				? Buffer.from(await request.arrayBuffer())
				: await readCounting(request.body, limit);
	} catch (thrown) {
		if (thrown instanceof RouterError) throw thrown;
		throw new RouterError("cancelled", "The client left before its body was complete.", { cause: thrown });
	}
	const hasMark = bytes[0] === MARK[0] && bytes[1] === MARK[1] && bytes[2] === MARK[2];
	return hasMark ? bytes.subarray(MARK.length) : bytes;
}

/** Length from which on a body's memory is worth giving back by hand, bytes. */
const LONG = 32 * 1024;

/**
 * Gives the memory of a long body back at once; nobody may read it any more. A collection would find it many calls later, and each call
 * until then takes memory that no cache of the processor holds.
 */
export function releaseBody(bytes: Buffer): void {
	const { buffer, length } = bytes;
	// Others may lie in the same block.
	if (length >= LONG && buffer instanceof ArrayBuffer && buffer.byteLength - length <= MARK.length) buffer.transfer(0);
}

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
