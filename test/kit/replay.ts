/**
 * An upstream that answers every call with one recorded exchange and remembers
 * what it was asked. A real HTTP server on a free loopback port.
 */
import { answerText, type ExchangeResponse } from "./exchange.ts";

/** What the upstream got. */
export interface Received {
	readonly method: string;
	/** Path and query. */
	readonly path: string;
	readonly headers: Headers;
	/** The body's text, byte for byte as UTF-8. */
	readonly body: string;
}

/**
 * How an answer's bytes are cut into writes: all at once, an event a write, before each given byte offset, or before the
 * event that holds a text; that one is sent once `until` resolves.
 */
export type Cut = "whole" | "event" | readonly number[] | { readonly before: string; readonly until: Promise<void> };

/** The server. Holds one answer at a time: tests in a file run one after the other. */
export interface Replay {
	/** `http://127.0.0.1:<port>`, no path. */
	readonly origin: string;
	/** All calls since the last `play`. */
	readonly received: readonly Received[];
	/** The only call since the last `play`; throws when there was another number of them. */
	only(): Received;
	/** Sets what is answered from now on and forgets the calls so far. */
	play(response: ExchangeResponse, cut?: Cut): void;
	stop(): Promise<void>;
}

/** Framing belongs to the connection of the recording, not to the one it is replayed on. */
const FRAMING = new Set(["content-length", "content-encoding", "transfer-encoding", "connection"]);

/** Starts the server; it answers 500 until `play` was called. */
export function startReplay(): Replay {
	let answer: { response: ExchangeResponse; cut: Cut } | undefined;
	let received: Received[] = [];
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		async fetch(request) {
			const { pathname, search } = new URL(request.url);
			// A router asks for the list of models by itself, once a day: that is none of the calls that are looked at.
			if (request.method === "GET" && pathname.endsWith("/models")) return Response.json({ data: [] });
			received.push({
				method: request.method,
				path: pathname + search,
				headers: request.headers,
				body: await request.text(),
			});
			return answer ? replay(answer.response, answer.cut) : new Response("nothing to replay", { status: 500 });
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		get received() {
			return received;
		},
		only() {
			const [first, ...rest] = received;
			if (!first || rest.length > 0) throw new Error(`the upstream got ${received.length} calls instead of one`);
			return first;
		},
		play(response, cut = "whole") {
			answer = { response, cut };
			received = [];
		},
		stop: () => server.stop(true),
	};
}

function replay(response: ExchangeResponse, cut: Cut): Response {
	const headers = new Headers();
	for (const [name, value] of Object.entries(response.headers)) {
		if (FRAMING.has(name)) continue;
		for (const one of typeof value === "string" ? [value] : value) headers.append(name, one);
	}
	const bytes = new TextEncoder().encode(answerText(response));
	const body =
		cut === "whole"
			? bytes
			: inPieces(pieces(bytes, cut), typeof cut === "object" && "until" in cut ? cut.until : undefined);
	return new Response(body, { status: response.status, headers });
}

/** The bytes, cut. An event ends with its empty line. Throws when no event holds the text to cut before. */
function pieces(bytes: Uint8Array<ArrayBuffer>, cut: Exclude<Cut, "whole">): Uint8Array<ArrayBuffer>[] {
	const text = new TextDecoder().decode(bytes);
	if (cut === "event") return text.split(/(?<=\n\n|\r\n\r\n)/).map((event) => new TextEncoder().encode(event));
	let offsets = cut;
	if ("before" in offsets) {
		const found = text.indexOf(offsets.before);
		const at = Math.max(text.lastIndexOf("\n\n", found) + 2, text.lastIndexOf("\r\n\r\n", found) + 4);
		if (!text.includes(offsets.before) || at < 4) throw new Error(`nothing to cut before ${offsets.before}`);
		offsets = [Buffer.byteLength(text.slice(0, at))];
	}
	const edges = [0, ...offsets.filter((at) => at > 0 && at < bytes.length), bytes.length];
	return edges.slice(1).map((end, index) => bytes.slice(edges[index], end));
}

/** One piece a turn of the event loop, so that each leaves the process as a write of its own; after the first, the wait. */
function inPieces(parts: Uint8Array<ArrayBuffer>[], until: Promise<void> | undefined): ReadableStream<Uint8Array> {
	const left = parts.entries();
	return new ReadableStream({
		async pull(controller) {
			await Bun.sleep(0);
			const { value, done } = left.next();
			if (done) return controller.close();
			if (value[0] > 0) await until;
			controller.enqueue(value[1]);
		},
	});
}
