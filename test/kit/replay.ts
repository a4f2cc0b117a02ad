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

/** How an answer's bytes are cut into writes: all at once, an event a write, or before each given byte offset. */
export type Cut = "whole" | "event" | readonly number[];

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
	const body = cut === "whole" ? bytes : inPieces(pieces(bytes, cut));
	return new Response(body, { status: response.status, headers });
}

/** The bytes, cut. An event ends with its empty line. */
export function pieces(bytes: Uint8Array<ArrayBuffer>, cut: Cut): Uint8Array<ArrayBuffer>[] {
	if (cut === "whole") return [bytes];
	if (cut === "event") {
		const events = new TextDecoder().decode(bytes).split(/(?<=\n\n)/);
		return events.map((event) => new TextEncoder().encode(event));
	}
	const edges = [0, ...cut.filter((at) => at > 0 && at < bytes.length), bytes.length];
	return edges.slice(1).map((end, index) => bytes.slice(edges[index], end));
}

/** One piece a turn of the event loop, so that each leaves the process as a write of its own. */
function inPieces(parts: Uint8Array<ArrayBuffer>[]): ReadableStream<Uint8Array> {
	const left = parts.values();
	return new ReadableStream({
		async pull(controller) {
			await Bun.sleep(0);
			const next = left.next();
			if (next.done) controller.close();
			else controller.enqueue(next.value);
		},
	});
}
