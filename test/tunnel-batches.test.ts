/** Several frames of a tunnel in one message: what a router makes of it, and when an agent sends one. */
import { describe, expect, test } from "bun:test";
import { FrameBatch } from "../src/agent/router-link/frame-batch.ts";
import {
	batchFrame,
	dataFrame,
	FRAME,
	frame,
	framesIn,
	helloFrame,
	MOST_BATCHED,
	MOST_FRAME,
	parseHello,
	TunnelFault,
} from "../src/protocol/tunnel.ts";
import { AgentTunnel } from "../src/server/agents/agent-tunnel.ts";

/** A router's end that hears messages: the frames it took, and the code by which it closed. */
function router() {
	const taken: string[] = [];
	const closed: (number | undefined)[] = [];
	const listener = { opened() {}, received: (each: Buffer) => void taken.push(each.toString("hex")), closed() {} };
	const tunnel = new AgentTunnel(listener);
	const socket = { sendBinary: () => 1, close: (code?: number) => void closed.push(code), terminate() {} };
	tunnel.open(socket);
	return { taken, closed, tunnel, hears: (message: Buffer) => tunnel.message(socket, message) };
}
const data = (stream: number, text: string) => dataFrame(stream, Buffer.from(text));

describe("a router closes the tunnel", () => {
	test.each<[string, Buffer]>([
		["for a batch that ends in a length", Buffer.concat([batchFrame([data(1, "a")]), Buffer.of(0, 0)])],
		["for a batch that ends in the midst of a frame", batchFrame([data(1, "abc")]).subarray(0, -1)],
		["for a batch in a batch", batchFrame([batchFrame([data(1, "a")])])],
		[
			"for one that is larger than a frame may be",
			Buffer.concat([batchFrame([data(1, "a")]), Buffer.alloc(MOST_FRAME)]),
		],
	])("%s", (_, message) => {
		const one = router();
		one.hears(message);
		one.tunnel.close();
		expect(one.closed).toEqual([1002]);
	});
});

test("a router takes the frames of a batch one after the other, and of an empty one none", () => {
	const one = router();
	const frames = [data(1, "first"), frame(FRAME.end, 1), data(2, "second"), frame(FRAME.ping, 0)];
	one.hears(batchFrame(frames));
	one.hears(batchFrame([]));
	one.hears(data(3, "alone"));
	one.tunnel.close();
	expect([one.taken, one.closed]).toEqual([[...frames, data(3, "alone")].map((each) => each.toString("hex")), []]);
	expect(() => framesIn(Buffer.concat([batchFrame([]), Buffer.of(1)]))).toThrow(TunnelFault);
});

test("a router says that it takes batches, and an older one does not", () => {
	const names = { router: "r", routers: ["r"] };
	expect(parseHello(helloFrame({ ...names, takesBatches: true })).takesBatches).toBe(true);
	for (const takesBatches of [undefined, "yes" as never]) {
		expect(parseHello(helloFrame({ ...names, takesBatches })).takesBatches).toBe(false);
	}
});

describe("an agent", () => {
	/** Messages that it sent, as the frames in each. */
	function agent() {
		const sent: string[][] = [];
		const text = (each: Buffer) => each.toString("latin1", 5, 15);
		const batch = new FrameBatch((message) => {
			expect(message.length).toBeLessThanOrEqual(MOST_FRAME);
			sent.push(message[0] === FRAME.batch ? framesIn(message).map(text) : [text(message)]);
		});
		return { batch, sent, turn: () => new Promise<void>((next) => setImmediate(next)) };
	}

	test("sends each frame by itself to a router that takes no batches", async () => {
		const one = agent();
		for (const text of ["a", "b"]) one.batch.send(data(1, text));
		expect(one.sent).toEqual([["a"], ["b"]]);
		await one.turn();
		expect(one.sent).toHaveLength(2);
	});

	test("sends those of one turn in one message, one alone as it is, and all in their order", async () => {
		const one = agent();
		one.batch.isTaken = true;
		for (const text of ["a", "b", "c"]) one.batch.send(data(1, text));
		expect(one.sent).toEqual([]);
		await one.turn();
		one.batch.send(data(1, "d"));
		await one.turn();
		expect(one.sent).toEqual([["a", "b", "c"], ["d"]]);
		one.batch.send(data(1, "e"));
		one.batch.send(data(1, "f".repeat(MOST_BATCHED)));
		one.batch.send(data(1, "g"));
		await one.turn();
		expect(one.sent.slice(2)).toEqual([["e"], ["ffffffffff"], ["g"]]);
	});

	test("sends what is more than a batch holds in several, however small the frames are", async () => {
		const one = agent();
		one.batch.isTaken = true;
		const count = 3 * MOST_BATCHED;
		for (let at = 0; at < count / 6; at++) one.batch.send(data(1, String(at % 10)));
		await one.turn();
		expect(one.sent).toHaveLength(4);
		expect(one.sent.flat()).toEqual(Array.from({ length: count / 6 }, (_, at) => String(at % 10)));
	});

	test("sends what waits before it closes the tunnel in good order, and nothing once that is gone", async () => {
		const one = agent();
		one.batch.isTaken = true;
		one.batch.send(data(1, "a"));
		one.batch.flush();
		one.batch.send(data(1, "b"));
		one.batch.end();
		await one.turn();
		expect(one.sent).toEqual([["a"]]);
	});
});
