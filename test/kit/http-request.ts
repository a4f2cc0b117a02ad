/** Just enough HTTP/1.1 for an upstream that speaks it badly on purpose. */
import type { Received } from "./replay.ts";

const BLANK_LINE = new TextEncoder().encode("\r\n\r\n");

/**
 * The first whole request in the bytes so far, and what follows it; undefined while
 * it is incomplete. Bodies have a content-length (the router never sends chunks).
 */
export function readRequest(bytes: Buffer): { request: Received; rest: Buffer } | undefined {
	const headEnd = bytes.indexOf(BLANK_LINE);
	if (headEnd < 0) return undefined;
	const [first = "", ...fields] = bytes.subarray(0, headEnd).toString("latin1").split("\r\n");
	const [method = "", path = ""] = first.split(" ");
	const headers = new Headers();
	for (const field of fields) {
		const colon = field.indexOf(":");
		headers.append(field.slice(0, colon), field.slice(colon + 1).trim());
	}
	const start = headEnd + BLANK_LINE.length;
	const end = start + Number(headers.get("content-length") ?? 0);
	if (bytes.length < end) return undefined;
	return {
		request: { method, path, headers, body: bytes.subarray(start, end).toString("utf8") },
		rest: bytes.subarray(end),
	};
}

/** A status line and headers, with the blank line. */
export function head(status: string, headers: Record<string, string>): string {
	const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
	return `HTTP/1.1 ${status}\r\n${fields.join("")}\r\n`;
}

/** Bytes in chunked framing; of none, the end of the body. */
export function framed(data: string | Uint8Array): Buffer {
	const bytes = Buffer.from(data as Uint8Array);
	return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}
