/** A ring that threads share: what one puts others find whole, whatever happens at the same time, and to the one that puts. */
import { afterEach, describe, expect, test } from "bun:test";
import { ringMemory, SharedRing } from "../src/memory/shared-ring.ts";
import { isRingValue, type RingReport, type RingTask, ringKey, ringValue } from "./kit/ring-worker.ts";

const workers: Worker[] = [];
afterEach(() => {
	for (const worker of workers.splice(0)) worker.terminate();
});

/** A thread that does this, and what it says then. */
function thread(task: RingTask): { worker: Worker; report: Promise<RingReport> } {
	const worker = new Worker(new URL("./kit/ring-worker.ts", import.meta.url));
	workers.push(worker);
	const { promise, resolve, reject } = Promise.withResolvers<RingReport>();
	worker.onmessage = ({ data }: MessageEvent<RingReport>) => resolve(data);
	worker.onerror = (event) => reject(new Error(event.message));
	worker.postMessage(task);
	return { worker, report: promise };
}
const textOf = (value: Uint8Array | undefined) => value && Buffer.from(value).toString();

test("what one thread puts another finds, also where it had looked before", async () => {
	const memory = ringMemory(64 * 1024);
	const ring = new SharedRing(memory, 0);
	expect([ring.find(ringKey("a")), ring.count]).toEqual([undefined, 0]);
	await thread({ is: "put", memory, thread: 1, names: ["a", "b"] }).report;
	expect([ring.get(ringKey("a")), ring.get(ringKey("b"))].map(textOf)).toEqual(["the value of a", "the value of b"]);
	expect(ring.count).toBe(2);
});

test("what one thread's values push out, or it forgets, is gone for the others", () => {
	const memory = ringMemory(16 * 1024);
	const [one, other] = [1, 2].map((number) => new SharedRing(memory, number)) as [SharedRing, SharedRing];
	one.put(ringKey("a"), ringValue(0, 100, 0));
	one.put(ringKey("b"), ringValue(1, 100, 0));
	one.delete(ringKey("b"));
	expect([other.find(ringKey("a")), other.find(ringKey("b"))]).toEqual([expect.any(Number), undefined]);
	for (let name = 0; name < 200; name++) one.put(ringKey(name), ringValue(name, 100, 0));
	expect(other.find(ringKey("a"))).toBeUndefined();
	expect([other.count, other.used]).toEqual([one.count, one.used]);
});

test("what a reader has found and others have put values over since is no value", () => {
	const memory = ringMemory(16 * 1024);
	const [reader, writer] = [1, 2].map((number) => new SharedRing(memory, number)) as [SharedRing, SharedRing];
	writer.put(ringKey("a"), ringValue(7, 1000, 0));
	const position = reader.find(ringKey("a"))!;
	expect(isRingValue(7, reader.read(position)!)).toBe(true);
	let read = reader.read(position);
	for (let name = 0; read; name++) {
		expect(isRingValue(7, read)).toBe(true);
		writer.put(ringKey(name), ringValue(name, 50, name));
		read = reader.read(position);
	}
	// Not before: half of the ring is more than what is put while a value is copied.
	expect(writer.used).toBeGreaterThan(8 * 1024);
	// Its place comes round again, and is another one.
	for (let name = 0; name < 1000; name++) {
		writer.put(ringKey(name), ringValue(name, 50, name));
		expect(reader.read(position)).toBeUndefined();
	}
});

test("a copy is the reader's own", () => {
	const memory = ringMemory(16 * 1024);
	const ring = new SharedRing(memory, 1);
	ring.put(ringKey("a"), ringValue(7, 1000, 0));
	const copy = ring.get(ringKey("a"))!;
	expect(copy.buffer).not.toBeInstanceOf(SharedArrayBuffer);
	copy.fill(0);
	expect(isRingValue(7, ring.get(ringKey("a"))!)).toBe(true);
});

test.each([
	["small values, of which many are found", 256 * 1024, 500],
	["values as long as the ring takes, which push each other out", 64 * 1024, 8000],
	["values for which the ring grows", 16 * 1024 * 1024, 40_000],
])(
	"four threads put and find at random, %s: each is whole, and one that was put by its name",
	async (_, limit, longest) => {
		const memory = ringMemory(limit);
		const reports = await Promise.all(
			[1, 2, 3, 4].map((number) => thread({ is: "play", memory, thread: number, rounds: 20_000, longest }).report),
		);
		for (const { found, wrong } of reports) {
			expect(found).toBeGreaterThan(0);
			expect(wrong).toBe(0);
		}
		const ring = new SharedRing(memory, 0);
		expect(ring.used).toBeLessThanOrEqual(limit);
		const held = Array.from({ length: 200 }, (__, name) => ring.get(ringKey(name)));
		expect(held.filter(Boolean).length).toBe(ring.count);
		expect(held.every((value, name) => !value || isRingValue(name, value))).toBe(true);
	},
);

describe("a thread that dies in the middle of a put", () => {
	test("holds nobody up, and leaves nothing half written", async () => {
		const memory = ringMemory(64 * 1024);
		const [main, other] = [0, 2].map((number) => new SharedRing(memory, number)) as [SharedRing, SharedRing];
		other.put(ringKey("a"), ringValue(7, 1000, 0));
		const position = other.find(ringKey("a"))!;
		const { worker, report } = thread({ is: "hold", memory, thread: 1 });
		await report;
		const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
		worker.terminate();
		await closed;
		main.freed(1);
		// Nobody knows what it has left.
		expect([other.find(ringKey("a")), other.read(position), other.count, other.used]).toEqual([
			undefined,
			undefined,
			0,
			0,
		]);
		for (let name = 0; name < 1000; name++) {
			other.put(ringKey(name), ringValue(name, 200, name));
			expect(isRingValue(name, main.get(ringKey(name))!)).toBe(true);
		}
		expect(other.read(position)).toBeUndefined();
	});

	test("takes nothing away where it was doing something else", () => {
		const memory = ringMemory(64 * 1024);
		const [main, dead] = [0, 1].map((number) => new SharedRing(memory, number)) as [SharedRing, SharedRing];
		dead.put(ringKey("a"), ringValue(7, 1000, 0));
		main.freed(1);
		expect(isRingValue(7, main.get(ringKey("a"))!)).toBe(true);
	});
});
