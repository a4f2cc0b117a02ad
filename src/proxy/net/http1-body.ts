/** How long bodies of requests are sent over HTTP/1.1, and those that are read while they are. */
import type { BodyStream } from "../../openai/call.ts";

/** What takes the bytes. */
export interface BodyCarrier {
	readonly isOpen: boolean;
	/** Resolves once the kernel has taken them, or the connection is gone. */
	take(pieces: Buffer[]): Promise<void> | undefined;
}

/** Of a body whose length nobody knows (RFC 9112, 7.1). */
const CHUNK_END = Buffer.from("\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/**
 * Sends it: no piece is read before the kernel has taken the one before. Resolves when all of it has left, or never will since the connection is
 * gone. Rejects with what the body can't be read on for.
 */
export async function sendStream(head: Buffer, body: BodyStream, carrier: BodyCarrier): Promise<void> {
	const isChunked = body.length === undefined;
	await carrier.take([head]);
	for (let piece = await body.read(); piece; piece = await body.read()) {
		if (!carrier.isOpen) return;
		const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
		await carrier.take(isChunked ? [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, CHUNK_END] : [bytes]);
	}
	if (isChunked && carrier.isOpen) await carrier.take([LAST_CHUNK]);
}

/** Longest piece that is copied sooner than the kernel is called for it alone, bytes. */
const SHORT = 4096;

/** The pieces of a message that the socket takes, the short ones at its beginning as one. Of a text that is ASCII no copy is made. */
export function messagePieces(head: Buffer, body: string | readonly Buffer[] = []): (string | Buffer)[] {
	if (typeof body === "string") return [head, Buffer.byteLength(body) === body.length ? body : Buffer.from(body)];
	const first = [head];
	for (const piece of body) {
		if (piece.length > SHORT) break;
		first.push(piece);
	}
	return [Buffer.concat(first), ...body.slice(first.length - 1)];
}
