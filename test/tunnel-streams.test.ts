/** The frames of a tunnel and its streams: nothing that is no frame is read, and all bytes come as they were sent, however slow their reader. */
import { describe, expect, test } from "bun:test";
import {
	creditFrame,
	dataFrame,
	FRAME,
	frame,
	MOST_DATA,
	openerOf,
	parseFrame,
	STREAM_WINDOW,
	streamIn,
	streamNumber,
	TunnelFault,
} from "../src/protocol/tunnel.ts";
import { TunnelStream } from "../src/protocol/tunnel-stream.ts";
import { TunnelLost } from "../src/proxy/net/http1-exchange.ts";
import { readText } from "../src/proxy/net/read-body.ts";
import { TunnelStreams } from "../src/proxy/net/tunnel-streams.ts";
import { ThreadTunnels, TunnelHub } from "../src/server/agents/tunnels.ts";
import { random as randomOf } from "./kit/random.ts";
import { until } from "./kit/until.ts";

const bytes = (length: number, value = 7) => Buffer.alloc(length, value);

describe("what is no frame is refused:", () => {
	test.each([
		["nothing", bytes(0)],
		["half a head", frame(FRAME.open, 1).subarray(0, 4)],
		["a type that there is none of", Buffer.from([9, 0, 0, 0, 1])],
		["type 0", Buffer.from([0, 0, 0, 0, 1])],
		["data without bytes", Buffer.from([FRAME.data, 0, 0, 0, 1])],
		["data of more bytes than a frame has", dataFrame(1, bytes(MOST_DATA + 1))],
		["a credit of three bytes", creditFrame(1, 1).subarray(0, 8)],
		["an end with bytes", Buffer.concat([frame(FRAME.end, 1), bytes(1)])],
	])("%s", (_, message) => {
		expect(() => parseFrame(message)).toThrow(TunnelFault);
	});
});

test("frames are read as they were made", () => {
	const stream = streamNumber(255, 255, 0xffff);
	const openers = [stream, streamNumber(0, 0, 1), streamNumber(8, 256, 2 ** 16)].map(openerOf);
	expect([stream, ...openers]).toEqual([0xffff_ffff, 255, 0, 8]);
	expect(parseFrame(frame(FRAME.open, stream))).toMatchObject({ type: FRAME.open, stream });
	expect(parseFrame(dataFrame(stream, bytes(3)))).toMatchObject({ type: FRAME.data, stream, bytes: bytes(3) });
	expect(parseFrame(creditFrame(1, 0xffff_ffff))).toMatchObject({ type: FRAME.credit, credit: 0xffff_ffff });
});

/** A side whose frames wait until they are taken. */
function pair() {
	const queue: { readonly to: TunnelStream; readonly message: Buffer }[] = [];
	const received: Buffer[] = [];
	const events: string[] = [];
	const writer: TunnelStream = new TunnelStream(1, (message) => queue.push({ to: reader, message }), {
		received: () => events.push("received"),
		writable: () => events.push("writable"),
		closed: (isClean) => events.push(`closed ${isClean}`),
	});
	const reader: TunnelStream = new TunnelStream(1, (message) => queue.push({ to: writer, message }), {
		received: (piece) => received.push(piece),
		writable: () => {},
		closed: (isClean) => events.push(`reader closed ${isClean}`),
	});
	const step = () => {
		const next = queue.shift();
		if (next) next.to.take(parseFrame(next.message));
		return next !== undefined;
	};
	return { writer, reader, received, events, step, queue };
}

describe("a stream", () => {
	test("takes no more than its reader has room for, and goes on once that has consumed", () => {
		const { writer, reader, received, events, step } = pair();
		expect(writer.write(bytes(STREAM_WINDOW + 1000))).toBe(STREAM_WINDOW);
		while (step());
		expect(Buffer.concat(received)).toHaveLength(STREAM_WINDOW);
		expect(writer.write(bytes(1))).toBe(0);
		reader.consumed(STREAM_WINDOW / 2 - 1);
		expect([step(), events]).toEqual([false, []]);
		reader.consumed(1);
		step();
		expect(events).toEqual(["writable"]);
		expect(writer.write(bytes(STREAM_WINDOW))).toBe(STREAM_WINDOW / 2);
	});

	test("that is sent more than there is room for is a fault, as is more credit than there is room", () => {
		const { writer, reader, step } = pair();
		writer.write(bytes(STREAM_WINDOW));
		while (step());
		expect(() => reader.take(parseFrame(dataFrame(1, bytes(1))))).toThrow(TunnelFault);
		expect(() => pair().writer.take(parseFrame(creditFrame(1, 1)))).toThrow(TunnelFault);
		expect(() => pair().writer.take(parseFrame(frame(FRAME.open, 1)))).toThrow(TunnelFault);
	});

	test("ends behind all that was sent, and once", () => {
		const { writer, reader, received, events, step } = pair();
		writer.write(bytes(10));
		writer.close(true);
		writer.close(false);
		expect(writer.write(bytes(1))).toBe(0);
		while (step());
		expect([Buffer.concat(received).length, events]).toEqual([10, ["reader closed true"]]);
		reader.lost();
		reader.consumed(STREAM_WINDOW);
		expect([step(), events]).toEqual([false, ["reader closed true"]]);
	});

	test("is over for its reader where the tunnel is gone", () => {
		const { reader, events } = pair();
		reader.lost();
		expect(events).toEqual(["reader closed false"]);
	});
});

test("whatever is written, taken and consumed in whatever order, all bytes come in order, and never more than the window is under way", () => {
	for (let seed = 1; seed <= 200; seed++) {
		const { next: random } = randomOf(seed);
		const { writer, reader, received, step, queue } = pair();
		const total = 1 + Math.floor(random() * 4 * STREAM_WINDOW);
		const sent = Buffer.alloc(total);
		for (let at = 0; at < total; at++) sent[at] = (at * 31 + (at >> 8)) & 255;
		let written = 0;
		let consumed = 0;
		const arrived = () => received.reduce((sum, piece) => sum + piece.length, 0);
		for (let turn = 0; consumed < total; turn++) {
			expect(turn).toBeLessThan(100_000);
			const choice = random();
			if (choice < 0.3) written += writer.write(sent.subarray(written, written + Math.ceil(random() * 70_000)));
			else if (choice < 0.8) step();
			else {
				const count = Math.ceil(random() * (arrived() - consumed));
				reader.consumed(count);
				consumed += count;
			}
			expect(written - consumed).toBeLessThanOrEqual(STREAM_WINDOW);
		}
		while (queue.length > 0) step();
		expect(Buffer.concat(received).equals(sent)).toBe(true);
	}
});

describe("streams that a thread has opened", () => {
	test("are not given what an agent sent the worker before which had the thread's number", async () => {
		const hub = new TunnelHub();
		const sent: Buffer[] = [];
		const socket = { sendBinary: (message: Uint8Array) => sent.push(Buffer.from(message)), close() {}, terminate() {} };
		const tunnel = hub.thread(0).accept({ agent: "gpu-1", instance: "", process: "" });
		tunnel.open(socket);
		const streamsAsked = () => sent.filter(([type]) => type === FRAME.data).map(streamIn);
		const ask = async (epoch: number) => {
			const before = streamsAsked().length;
			const worker = new ThreadTunnels(2, hub.exchangeOf(2), epoch);
			hub.addThread(2, worker);
			const request = { url: "tunnel://gpu-1/x", headers: {} };
			const answer = worker.transportTo(request.url).send(request, new AbortController().signal);
			await until(() => streamsAsked().length > before, "the request");
			return { stream: streamsAsked().at(-1)!, answer };
		};
		const reply = (stream: number, text: string) => {
			const answer = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
			tunnel.message(socket, dataFrame(stream, answer));
		};
		const dead = await ask(0);
		hub.endThread(2);
		const next = await ask(1);
		reply(dead.stream, "for another client");
		reply(next.stream, "for this one");
		expect(await readText(await next.answer)).toBe("for this one");
		tunnel.close();
	});

	test("have no timer once the tunnel turned out not to be open", async () => {
		const told: string[] = [];
		const streams: TunnelStreams = new TunnelStreams(
			() => 1,
			"tunnel://gpu-1",
			() => streams.lost(),
		);
		const tell = (what: string) => () => void told.push(what);
		const listener = { received() {}, written() {}, ended() {}, lost: tell("lost"), check: tell("check") };
		streams.open(listener).timeout(0);
		// One that was set before would have fired before.
		await new Promise((resolve) => setTimeout(resolve, 5));
		expect(told).toEqual(["lost"]);
	});
});

describe("a call to an agent whose tunnel has closed", () => {
	/** A hub whose agent's socket keeps what it is sent. */
	function agent() {
		const hub = new TunnelHub();
		const threads = [hub.thread(0), hub.thread(1)] as const;
		const opened: number[] = [];
		const socket = {
			sendBinary(message: Uint8Array) {
				if (message[0] === FRAME.open) opened.push(streamIn(Buffer.from(message)));
				return 1;
			},
			close() {},
			terminate() {},
		};
		const open = () => {
			const tunnel = threads[0].accept({ agent: "gpu-1", instance: "", process: "" });
			tunnel.open(socket);
			return tunnel;
		};
		const send = (thread: 0 | 1, signal: AbortSignal, connectMs?: number) => {
			const request = { url: "tunnel://gpu-1/x", headers: {} };
			return threads[thread].transportTo(request.url).send(request, signal, connectMs);
		};
		return { opened, open, send };
	}
	const never = new AbortController().signal;

	test.each([0, 1] as const)("waits for the next one, also in a thread that has none: %i", async (thread) => {
		const { opened, open, send } = agent();
		open().close();
		const answer = send(thread, never).catch((error: Error) => error);
		await Promise.resolve();
		expect(opened).toEqual([]);
		const tunnel = open();
		await until(() => opened.length === 1, "the stream");
		tunnel.close();
		expect(await answer).toBeInstanceOf(TunnelLost);
	});

	test("is not sent any more once it was given up, nor waits for longer than its connection may take", async () => {
		const { opened, open, send } = agent();
		open().close();
		const leave = new AbortController();
		const left = send(0, leave.signal).catch((error: unknown) => error);
		leave.abort("left");
		expect(await left).toBe("left");
		expect(await send(0, never, 1).catch((error: unknown) => error)).toBeInstanceOf(TunnelLost);
		expect(opened).toEqual([]);
	});

	test("fails at once where it never had one", async () => {
		const { send } = agent();
		expect(await send(1, never).catch((error: unknown) => error)).toBeInstanceOf(TunnelLost);
	});
});
