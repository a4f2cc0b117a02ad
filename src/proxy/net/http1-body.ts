/** A request's body that is read while it is sent, over HTTP/1.1. */
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
