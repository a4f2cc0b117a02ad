/** A stream on its way from its upstream's connection to its client: what arrives is written at once, unless the client must be waited for. */
import { expect, test } from "bun:test";
import { type AnswerPiece, chunksOf, textOf } from "../src/openai/sse.ts";
import type { ByteSource, CancelSignal, StreamDecoder } from "../src/providers/provider.ts";
import { CLIENT_GONE, type Deadline } from "../src/proxy/deadline.ts";
import { EventReader } from "../src/proxy/event-reader.ts";
import { Exchange } from "../src/proxy/net/http1-exchange.ts";
import { HeadReader } from "../src/proxy/net/http1-head.ts";
import { forwardStream, type PieceReceiver } from "../src/proxy/stream-flow.ts";

const HEAD = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const END = "0\r\n\r\n";
const chunk = (text: string) => Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`);
const event = (text: string) => `data: ${text}\n\n`;

/** A signal that is aborted by hand. */
function cancelSignal() {
	const controller = new AbortController();
	const signal: CancelSignal = controller.signal;
	return { signal, abort: () => controller.abort(new Error("given up")) };
}

/** What other transports and decoders do. */
interface Oddities {
	/** Brings more within the call that lets it go on, as a tunnel does. */
	readonly goesOn?: (exchange: Exchange) => void;
	readonly flush?: StreamDecoder["flush"];
}

/** An answer over a connection, which begins with its head, and who reads its events; `told` is what becomes of both. */
function streamed(body?: (exchange: Exchange) => ByteSource, { goesOn, flush }: Oddities = {}) {
	const { signal, abort } = cancelSignal();
	const told: string[] = [];
	const carrier = {
		hold(isHeld: boolean) {
			told.push(isHeld ? "held" : "let go on");
			if (!isHeld) goesOn?.(exchange);
		},
		release: (isReusable: boolean) => void told.push(isReusable ? "reusable" : "discarded"),
	};
	const exchange = new Exchange(carrier, signal, new HeadReader());
	exchange.head.catch(() => undefined);
	exchange.received(Buffer.from(HEAD));
	const deadline = {
		touch: () => void told.push("touch"),
		stopWaiting: () => void told.push("client awaited"),
		abort,
		clear() {},
		within() {},
		failure: undefined,
	} as unknown as Deadline;
	const events = {
		...{ begun() {}, held() {}, firstDelta() {}, finished() {}, comment() {}, keeps() {} },
		end: (failure: { kind: string } | undefined) => void told.push(failure?.kind ?? "good end"),
	};
	const decoder: StreamDecoder = {
		push: ({ data }) => (data === "last" ? { done: true } : { delta: true, finish: data === "finish" }),
		end: () => undefined,
		...(flush && { flush }),
	};
	const reader = new EventReader(body?.(exchange) ?? exchange, decoder, deadline, events);
	return { exchange, reader, told };
}

/** Keeps what is sent. */
function kept(taken: () => number | Promise<unknown> = () => 1) {
	const texts: string[] = [];
	const send: PieceReceiver["send"] = (piece: AnswerPiece) => {
		texts.push(textOf(chunksOf(piece)));
		return taken();
	};
	return { texts, send };
}

test("a client that can't be told a piece ends the forwarding with that error, and not the reading of the socket", async () => {
	const { exchange, reader } = streamed();
	const forwarded = forwardStream(reader, {
		send() {
			throw new Error("no words for it");
		},
	});
	expect(() => exchange.received(chunk(event("a")))).not.toThrow();
	await expect(forwarded).rejects.toThrow("no words for it");
});

test("a connection that is lost in the midst of a stream ends it as broken", async () => {
	const { exchange, reader, told } = streamed();
	const { texts, send } = kept();
	const forwarded = forwardStream(reader, { send });
	exchange.received(chunk(event("a")));
	exchange.lost(false);
	await forwarded;
	expect(texts).toEqual([event("a"), ""]);
	expect(reader.failure?.kind).toBe("truncated");
	expect(told).toContain("truncated");
});

test("a client that leaves while nothing comes ends it, and its connection is not used again", async () => {
	const { exchange, reader, told } = streamed();
	const { send } = kept();
	const forwarded = forwardStream(reader, { send });
	exchange.received(chunk(event("a")));
	reader.leave(CLIENT_GONE);
	await forwarded;
	expect(told).toContain("discarded");
	expect(reader.failure).toBe(CLIENT_GONE);
});

test("a client that leaves while a piece is written gets no other, though more has come", async () => {
	const { exchange, reader } = streamed();
	const texts: string[] = [];
	exchange.received(chunk(event("a")));
	exchange.received(chunk(event("b")));
	const send: PieceReceiver["send"] = (piece) => {
		texts.push(textOf(chunksOf(piece)));
		if (texts.length === 1) reader.leave(CLIENT_GONE);
		return 1;
	};
	await forwardStream(reader, { send });
	expect(texts.filter((text) => text !== "")).toEqual([event("a")]);
});

test("what arrives is written within the same call", async () => {
	const { exchange, reader, told } = streamed();
	const { texts, send } = kept();
	exchange.received(chunk(event("a")));
	const forwarded = forwardStream(reader, { send });
	expect(texts).toEqual([event("a")]);
	exchange.received(chunk(event("b")));
	expect(texts).toEqual([event("a"), event("b")]);
	exchange.received(Buffer.concat([chunk(event("last")), Buffer.from(END)]));
	await forwarded;
	expect(told.filter((each) => each !== "touch")).toEqual(["good end", "reusable"]);
});

test("the end of a connection's answer is the end of a stream without a last event", async () => {
	const { exchange, reader } = streamed();
	const { texts, send } = kept();
	const forwarded = forwardStream(reader, { send });
	exchange.received(Buffer.concat([chunk(event("a")), Buffer.from(END)]));
	await forwarded;
	expect(texts).toEqual([event("a"), ""]);
	expect(reader.failure).toBeUndefined();
});

test("while a client does not read nothing is written, and what has come meanwhile follows in its order", async () => {
	const { exchange, reader, told } = streamed();
	const { promise: ready, resolve } = Promise.withResolvers<void>();
	let isSlow = true;
	const { texts, send } = kept(() => (isSlow ? ready : 1));
	const forwarded = forwardStream(reader, { send });
	for (const text of ["a", "b", "c"]) exchange.received(chunk(event(text)));
	expect(texts).toEqual([event("a")]);
	expect(told).toContain("client awaited");
	isSlow = false;
	resolve();
	exchange.received(Buffer.concat([chunk(event("last")), Buffer.from(END)]));
	await forwarded;
	expect(texts.join("")).toBe(["a", "b", "c"].map(event).join(""));
});

test("an upstream is held back while more has come than is kept, and goes on once that is read", async () => {
	const { exchange, reader, told } = streamed();
	const { promise: ready, resolve } = Promise.withResolvers<void>();
	let isSlow = true;
	const { texts, send } = kept(() => (isSlow ? ready : 1));
	const forwarded = forwardStream(reader, { send });
	const long = "x".repeat(100_000);
	for (const text of [long, long, long, long]) exchange.received(chunk(event(text)));
	expect(told.filter((each) => each.startsWith("held") || each.startsWith("let"))).toEqual(["held"]);
	isSlow = false;
	resolve();
	exchange.received(Buffer.concat([chunk(event("last")), Buffer.from(END)]));
	await forwarded;
	expect(told).toContain("let go on");
	expect(texts.join("").length).toBe(4 * event(long).length);
});

for (const how of ["as they come", "when asked for"]) {
	test(`events of a read whose last one says that the answer is bad are sent all the same, pieces ${how}`, async () => {
		const asked = (exchange: Exchange): ByteSource => ({ read: () => exchange.read() });
		const flush = () => ({ failure: { kind: "overloaded", message: "not in the form that was asked for" } as const });
		const { exchange, reader } = streamed(how === "when asked for" ? asked : undefined, { flush });
		const { texts, send } = kept();
		const forwarded = forwardStream(reader, { send });
		exchange.received(chunk(["a", "finish", "last"].map(event).join("")));
		await forwarded;
		expect(texts.join("")).toBe(["a", "finish"].map(event).join(""));
		expect(reader.failure?.kind).toBe("overloaded");
	});
}

test("what a connection brings within the call that lets it go on follows what had come before", async () => {
	const long = (text: string) => event(text.repeat(100_000));
	const { exchange, reader } = streamed(undefined, {
		goesOn(exchange) {
			for (const text of ["e", "f"]) exchange.received(chunk(long(text)));
			exchange.received(Buffer.concat([chunk(event("last")), Buffer.from(END)]));
		},
	});
	const { promise: ready, resolve } = Promise.withResolvers<void>();
	let isSlow = true;
	const { texts, send } = kept(() => (isSlow ? ready : 1));
	const forwarded = forwardStream(reader, { send });
	for (const text of ["a", "b", "c", "d"]) exchange.received(chunk(long(text)));
	isSlow = false;
	resolve();
	await forwarded;
	expect(texts.join("") === ["a", "b", "c", "d", "e", "f"].map(long).join("")).toBe(true);
});

test("a source whose pieces must be asked for says the same", async () => {
	const { exchange, reader } = streamed((exchange) => ({ read: () => exchange.read() }));
	const { texts, send } = kept();
	exchange.received(chunk(event("a")));
	const forwarded = forwardStream(reader, { send });
	exchange.received(chunk(event("b")));
	exchange.received(Buffer.concat([chunk(event("last")), Buffer.from(END)]));
	await forwarded;
	expect(texts.join("")).toBe(["a", "b"].map(event).join(""));
});
