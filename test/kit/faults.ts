/** Ways an upstream goes wrong, as scripts for `fault-upstream.ts`. */
import { DONE, finishEvent, goodStream, textEvent } from "./events.ts";
import type { Connection, Script } from "./fault-upstream.ts";
import { framed, head } from "./http-request.ts";

const SSE = { "content-type": "text/event-stream" };
const JSON_TYPE = { "content-type": "application/json" };

/** How the body's end is marked: with chunks it is explicit, without it is the closed socket. */
export type Framing = "chunked" | "until-close";

/** A stream's head, and how its pieces are framed. */
function stream(connection: Connection, framing: Framing = "chunked") {
	const chunked = framing === "chunked";
	const headers = { ...SSE, ...(chunked ? { "transfer-encoding": "chunked" } : { connection: "close" }) };
	return {
		start: () => connection.write(head("200 OK", headers)),
		send: (data: string | Uint8Array) => connection.write(chunked ? framed(data) : data),
		finish: async () => {
			if (chunked) await connection.write(framed(""));
			else connection.end();
		},
	};
}

/** Sends these pieces as a stream and ends it cleanly. */
export const streams =
	(pieces: readonly (string | Uint8Array)[], framing?: Framing): Script =>
	async (connection) => {
		const out = stream(connection, framing);
		await out.start();
		for (const piece of pieces) await out.send(piece);
		await out.finish();
	};

/** Sends these pieces of a stream and leaves it open, for the test to go on with; its end is the closed socket. */
export const begins =
	(pieces: readonly string[]): Script =>
	async (connection) => {
		const out = stream(connection, "until-close");
		await out.start();
		for (const piece of pieces) await out.send(piece);
	};

/** Answers with this status, headers and body, and a right content-length. */
export const answers =
	(status: string, body: string, headers: Record<string, string> = JSON_TYPE): Script =>
	async (connection) => {
		await connection.write(head(status, { ...headers, "content-length": String(Buffer.byteLength(body)) }) + body);
	};

/** Tears the connection down before a byte of answer. */
export const resetsBeforeHeaders: Script = (connection) => connection.destroy();

/** Takes the request and says nothing, for ever. */
export const neverAnswers: Script = (connection) => connection.closed;

/** Stops in the middle of a header line, with the socket open. */
export const stopsInHeaders: Script = async (connection) => {
	await connection.write("HTTP/1.1 200 OK\r\ncontent-ty");
	await connection.closed;
};

/** Tears the connection down in the middle of a header line. */
export const cutsInHeaders: Script = async (connection) => {
	await connection.write("HTTP/1.1 200 OK\r\ncontent-ty");
	connection.end();
};

/** Sends n pieces of text, then the socket is gone. Until-close framing ends with a clean FIN: no error to see. */
export const cutsAfter =
	(n: number, framing: Framing = "chunked"): Script =>
	async (connection) => {
		const out = stream(connection, framing);
		await out.start();
		for (const piece of goodStream(n).slice(0, n + 1)) await out.send(piece);
		if (framing === "until-close") return connection.end();
		await Bun.sleep(20); // else the reset overtakes the bytes and nothing of the stream is seen
		connection.destroy();
	};

/** Sends n pieces of text, then nothing, with the socket open. */
export const stallsAfter =
	(n: number): Script =>
	async (connection) => {
		const out = stream(connection);
		await out.start();
		for (const piece of goodStream(n).slice(0, n + 1)) await out.send(piece);
		await connection.closed;
	};

/** A stream whose pieces come this many ms apart. */
export const trickles =
	(pieces: readonly string[], gapMs: number): Script =>
	async (connection) => {
		const out = stream(connection);
		await out.start();
		for (const piece of pieces) {
			await Bun.sleep(gapMs);
			await out.send(piece);
		}
		await out.finish();
	};

/** A good stream but for an event that is no JSON. */
export const garbageInTheMiddle: Script = streams([
	textEvent("before "),
	'data: {"id":"chatcmpl-kit","choices":[{"ind\n\n',
	textEvent("after"),
	finishEvent(),
	DONE,
]);

/** Every byte of the stream in a write, and a chunk, of its own. */
export const splitAtEveryByte = (pieces: readonly string[]): Script =>
	streams([...Buffer.from(pieces.join(""))].map((byte) => Uint8Array.of(byte)));

/** Says it has more bytes than it sends, then closes. */
export const shortBody: Script = async (connection) => {
	await connection.write(`${head("200 OK", { ...JSON_TYPE, "content-length": "4096" })}{"id":"chatcmpl-kit"`);
	connection.end();
};

/** Sends up to `bytes` of a line that never ends, as fast as they are taken. */
export const endlessLine =
	(bytes: number): Script =>
	async (connection) => {
		const out = stream(connection);
		await out.start();
		const piece = "x".repeat(1 << 20);
		await out.send('data: {"choices":[{"delta":{"content":"');
		for (let sent = 0; sent < bytes; sent += piece.length) if (!(await out.send(piece))) return;
		await out.finish();
	};

/** Sends events as fast as they are taken until `bytes` are sent or the peer is gone. */
export const floods =
	(bytes: number): Script =>
	async (connection) => {
		const out = stream(connection);
		await out.start();
		const piece = textEvent("y".repeat(4000)).repeat(16);
		for (let sent = 0; sent < bytes; sent += piece.length) if (!(await out.send(piece))) return;
		await out.send(finishEvent() + DONE);
		await out.finish();
	};

/**
 * Answers the first request and keeps the connection, then closes it the moment
 * the next request arrives on it, unread: what a load balancer's idle timeout does.
 * Requests on a new connection are answered.
 */
export function staleKeepAlive(answer: Script): Script {
	const used = new WeakSet<Promise<void>>();
	return async (connection) => {
		if (used.has(connection.closed)) return connection.destroy();
		used.add(connection.closed);
		await answer(connection);
	};
}
