/**
 * The upstream of a bench, a process of its own on a plain socket (a server of the HTTP kind costs two to three times
 * as much an answer): `bun upstream.ts PORT`. It reads a request to its end before it answers, as models do: one that
 * answers earlier makes `fetch` open a connection for every call. `GET /` tells what it has sent. A path that names no mode has that of a second argument.
 */
import type { Socket } from "bun";
import { Heads } from "./heads.ts";
import {
	ANSWER,
	FLOOD_BYTES,
	MODES,
	type Mode,
	NO_STAMP,
	PAUSE_MS,
	STAMP_DIGITS,
	STREAM,
	TOKENS,
	type Wire,
} from "./wire.ts";

/** What the upstream has sent since it started. */
export interface Sent {
	bytes: number;
}

const DEFAULT_MODE = MODES.find((name) => name === process.argv[3]);
const sent: Sent = { bytes: 0 };

const head = (type: string, rest: string) => `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${rest}\r\n\r\n`;
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const END = "0\r\n\r\n";
const whole = (text: string) => Buffer.from(head("application/json", `content-length: ${text.length}`) + text);

/** The pieces of one wire's answers, ready to be written. */
function pieces(wire: Wire) {
	const { head: opening, token, tail } = STREAM[wire];
	const open = head("text/event-stream", "transfer-encoding: chunked") + opening.map(chunked).join("");
	const event = chunked(token);
	const close = tail.map(chunked).join("") + END;
	return {
		whole: whole(ANSWER[wire]),
		burst: Buffer.from(open + event.repeat(TOKENS) + close),
		open: Buffer.from(open),
		/** One buffer for all: each write puts its own stamp in before the socket takes a copy. */
		event: Buffer.from(event),
		stampAt: event.indexOf(NO_STAMP),
		flood: Buffer.from(event.repeat(300)),
		close: Buffer.from(close),
	};
}
const PIECES = {
	openai: pieces("openai"),
	claude: pieces("claude"),
	gemini: pieces("gemini"),
	responses: pieces("responses"),
};

/** One connection and the stream that it is in the midst of. */
interface Connection {
	readonly heads: Heads;
	wire: Wire;
	mode: Mode | undefined;
	/** Of the stream that runs. */
	tokens: number;
	/** Bytes of the last piece that the socket did not take. */
	left: Buffer | undefined;
	/** ms, when the next event is due; the clock of `performance.now`. */
	due: number;
}
type Client = Socket<Connection>;

/** What the socket has no room for waits until it has drained. */
function write(client: Client, piece: Buffer): void {
	const { data } = client;
	if (data.left) piece = Buffer.concat([data.left, piece]);
	const taken = Math.max(0, client.write(piece));
	sent.bytes += taken;
	data.left = taken < piece.length ? Buffer.from(piece.subarray(taken)) : undefined;
}

function flood(client: Client): void {
	const { data } = client;
	const piece = PIECES[data.wire].flood;
	while (!data.left && data.tokens * piece.length < FLOOD_BYTES) {
		data.tokens++;
		write(client, piece);
	}
}

const now = () => performance.timeOrigin + performance.now();

function token(client: Client): void {
	const { data } = client;
	const { event, stampAt, close } = PIECES[data.wire];
	event.write(Math.round(now() * 1000).toString(), stampAt, STAMP_DIGITS, "latin1");
	write(client, event);
	data.tokens++;
	if (data.mode !== "paced" || data.tokens < TOKENS) return;
	write(client, close);
	data.mode = undefined;
	streams.delete(client);
}

/** Streams with a pause between their events. */
const streams = new Set<Client>();
let timer: Timer | undefined;

/** One timer for all: it looks every ms, as long as there is a stream, whose event is due. */
function tick(): void {
	const at = performance.now();
	for (const client of streams) {
		const { data } = client;
		if (data.due > at) continue;
		data.due += PAUSE_MS[data.mode ?? "hold"] ?? 1000;
		token(client);
	}
	if (streams.size > 0) return;
	clearInterval(timer);
	timer = undefined;
}

/** The wire that a request's path is of. */
function wireOf(request: string): Wire {
	if (/^\S+ \S+\/messages/.test(request)) return "claude";
	if (/^\S+ \S+\/responses/.test(request)) return "responses";
	return /^\S+ \S+:(?:streamG|g)enerateContent/.test(request) ? "gemini" : "openai";
}

function answer(client: Client, request: string): void {
	const { data } = client;
	const path = /^POST \/(\w+)\S*? HTTP/.exec(request);
	if (!path) {
		// An agent asks what it serves.
		const isList = /^GET \S+\/models HTTP/.test(request);
		write(client, whole(JSON.stringify(isList ? { object: "list", data: [{ id: "bench", object: "model" }] } : sent)));
		return;
	}
	data.wire = wireOf(request);
	const mode = MODES.find((name) => name === path[1]) ?? DEFAULT_MODE;
	const piece = PIECES[data.wire];
	if (!mode || mode === "whole") write(client, piece.whole);
	else if (mode === "burst") write(client, piece.burst);
	else begin(client, mode);
}

function begin(client: Client, mode: Mode): void {
	const { data } = client;
	data.mode = mode;
	data.tokens = 0;
	write(client, PIECES[data.wire].open);
	if (mode === "flood") {
		flood(client);
		return;
	}
	// Apart from the first, which says that the stream is there, streams are out of step: in step, whoever
	// relays them would find many at one wake-up. `paced` ones are so from the first.
	const pause = PAUSE_MS[mode] ?? 0;
	data.due = performance.now() + Math.random() * pause;
	streams.add(client);
	timer ??= setInterval(tick, 1);
	if (mode !== "paced") token(client);
}

function gone(client: Client): void {
	streams.delete(client);
	client.data.mode = undefined;
}

Bun.listen<Connection>({
	hostname: "127.0.0.1",
	port: Number(process.argv[2]),
	socket: {
		open(client) {
			client.setNoDelay(true);
			client.data = { heads: new Heads(), wire: "openai", mode: undefined, tokens: 0, left: undefined, due: 0 };
		},
		data(client, bytes) {
			for (const request of client.data.heads.push(bytes)) answer(client, request);
		},
		drain(client) {
			if (client.data.left) write(client, Buffer.alloc(0));
			if (client.data.mode === "flood") flood(client);
		},
		close: gone,
		error: gone,
	},
});

// A bench that was killed can stop nobody: then this process ends by itself.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.exit(1), 1000).unref();
