/** What calls have come to, from one thread to another: whole, once, in order, whatever becomes of the one that writes. */
import { describe, expect, test } from "bun:test";
import { forEachRecord, makeRecordQueue, QueueReader } from "../src/memory/record-queue.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import { CallEventReader, type EventChunk, RECORD, readAgain } from "../src/telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
import { settled } from "./kit/ledger.ts";
import { random } from "./kit/random.ts";
import { until } from "./kit/until.ts";

const attempt = (rest: Partial<AttemptClosed> = {}): AttemptClosed => ({
	callId: "req_1",
	number: 1,
	provider: "box",
	target: "box/m",
	status: 200,
	ms: 12.5,
	...rest,
});

/** A queue with both its ends in this thread. */
function queueOf(size = 64 * 1024) {
	const memory = makeRecordQueue(size);
	const reader = new QueueReader(memory);
	const events = new CallEventReader();
	const seen: { many: number; lost: number; heard: (CallSettled | AttemptClosed)[]; times: number[] } = {
		...{ many: 0, lost: 0, heard: [], times: [] },
	};
	const chunks: EventChunk[] = [];
	const queue = new EventQueue({
		memory,
		unsettled: { close() {} },
		onMany: () => seen.many++,
		onLost: () => seen.lost++,
		wall: () => 1_700_000_000_000 + seen.heard.length,
	});
	const listener = {
		attemptClosed: (closed: AttemptClosed) => void seen.heard.push(closed),
		callSettled(call: CallSettled, at: number) {
			seen.heard.push(call);
			seen.times.push(at);
		},
	};
	const read = () => {
		const chunk = reader.take();
		if (!chunk) return 0;
		chunks.push({ ...chunk, shared: events.shared });
		const before = seen.heard.length;
		events.read(chunk, listener);
		return seen.heard.length - before;
	};
	return { queue, read, seen, chunks };
}
/** As JSON has it: what is undefined is not there. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

describe("where the queue is full", () => {
	test("what is written waits, and comes once and in order when there is room again", async () => {
		const { queue, read, seen } = queueOf(4096);
		const calls = Array.from({ length: 300 }, (_, at) => settled({ id: `req_${at}`, cost: at }));
		for (const call of calls) queue.callSettled(call);
		expect(queue.waiting).toBeGreaterThan(200);
		expect(seen.many).toBeGreaterThan(0);
		await until(() => {
			read();
			return seen.heard.length === calls.length;
		}, "all calls");
		expect(plain(seen.heard)).toEqual(plain(calls));
		expect(queue.waiting).toBe(0);
	});

	test("for longer than there is memory, what is lost is counted", () => {
		const { queue, read, seen } = queueOf(4096);
		for (let at = 0; at < 20_100; at++) queue.callSettled(settled({ id: `req_${at}`, bill: undefined }));
		const written = read();
		expect(written).toBeGreaterThan(0);
		expect([written + queue.waiting + seen.lost, queue.waiting]).toEqual([20_100, 20_000]);
	});

	test("at the end, all that waits is written while somebody reads, and no longer waited for than that", async () => {
		const { queue, read, seen } = queueOf(4096);
		for (let at = 0; at < 100; at++) queue.callSettled(settled({ id: `req_${at}` }));
		await queue.emptied(40);
		expect(queue.waiting).toBeGreaterThan(0);
		const ends = queue.emptied(60_000);
		const reading = setInterval(read, 1);
		await ends;
		clearInterval(reading);
		read();
		expect([queue.waiting, seen.heard.length, seen.lost]).toEqual([0, 100, 0]);
	});
});

test("the reader is told of many, and not where it looks by itself", () => {
	const { queue, read, seen } = queueOf(1024 * 1024);
	for (let at = 0; at < 499; at++) queue.callSettled(settled());
	queue.looked();
	for (let at = 0; at < 499; at++) queue.callSettled(settled());
	expect([seen.many, read()]).toEqual([0, 998]);
	queue.callSettled(settled());
	expect(seen.many).toBe(1);
});

describe("what neighbours have in common is sent once", () => {
	// The price is the configuration's, one for all calls.
	const { bill } = settled();
	test.each([
		["targets", (at: number) => settled({ bill, target: `box/m${at}` })],
		["models that the cache answers for", (at: number) => settled({ bill, target: undefined, model: `m${at}` })],
		["keys", (at: number) => settled({ bill, keyId: `key-${at}` })],
		["targets that are tried", (at: number) => attempt({ target: `box/m${at}` })],
		["providers that are tried", (at: number) => attempt({ provider: `p${at}` })],
	])("of a hundred %s in turn", (_, make) => {
		const { queue, read, chunks } = queueOf(256 * 1024);
		for (let at = 0; at < 500; at++) {
			const event = make(at % 100);
			if ("callId" in event) queue.attemptClosed(event);
			else queue.callSettled(event);
		}
		expect(read()).toBe(500);
		let shared = 0;
		forEachRecord(chunks[0]!, (kind) => {
			if (kind === RECORD.SHARED) shared++;
		});
		expect(shared).toBe(100);
	});
});

describe("a report of what calls come to", () => {
	test("has all calls before its position, and none behind that, though some settle while it is read", async () => {
		const { queue } = queueOf();
		let counted = 0;
		const settle = () => {
			counted++;
			queue.callSettled(settled());
		};
		settle();
		let reads = 0;
		const sent: { counted: number; position: number }[] = [];
		await queue.report(
			async () => {
				// The registry's values are those of a moment that is not known.
				await Promise.resolve();
				if (reads++ < 2) settle();
				return String(counted);
			},
			(values, position) => void sent.push({ counted: Number(values), position }),
		);
		expect([sent, reads]).toEqual([[{ counted: 3, position: queue.position }], 3]);
	});

	test("is not sent while calls wait for room, which are in it, and behind its position as well", async () => {
		const { queue, read } = queueOf(4096);
		let sent = 0;
		const report = () =>
			queue.report(
				async () => "",
				() => sent++,
			);
		for (let at = 0; at < 100; at++) queue.callSettled(settled());
		await report();
		expect([sent, queue.waiting > 0]).toEqual([0, true]);
		for (read(); queue.waiting > 0; read()) queue.retry();
		await report();
		expect(sent).toBe(1);
	});
});

describe("what is read is what was written", () => {
	test("of odd calls: no numbers, no texts, texts of any letters, all kinds of tokens, long decisions", () => {
		const { queue, read, seen } = queueOf();
		const events = [
			settled({ tokens: undefined, cost: undefined, bill: undefined, key: undefined, keyId: undefined }),
			settled({ requested: undefined, user: undefined }),
			settled({ requested: "", user: "" }),
			settled({ requested: "東京/\u0000\n", user: 'naïve "user" 🙂' }),
			settled({ firstTokenMs: 0, cost: 0, ms: 0, tokens: { input: 0, output: 0, reasoning: 0 } }),
			settled({ tokens: { input: 5, output: 6, cached: 1, cacheWrite: 2, inputAudio: 3 } }),
			settled({
				decision: { candidates: Array(50).fill("é") },
				snapshot: "1;;;;0r",
				dropped: 3,
				droppedFields: ["a"],
				cache: "hit",
			}),
			settled({
				skipped: [{ target: "box/m", reason: "no form" }],
				error: "upstream_error",
				status: 502,
				stream: true,
			}),
			settled({ bill: { source: "own", isEstimated: true } }),
			attempt({ status: undefined, number: undefined, failure: "timeout", cost: 0.5, isSecond: true, isUnused: true }),
			attempt({ tokens: { input: 5, output: 6, outputImage: 1 }, agent: "gpu-1", isUnbilled: true }),
			attempt({ number: 2, beganMs: 3.25 }),
			attempt({ isCharged: true, beganMs: 0, tokens: { input: 5, output: 6, cached: 4, reasoning: 2 } }),
		];
		for (const event of events) {
			if ("callId" in event) queue.attemptClosed(event);
			else queue.callSettled(event);
		}
		expect(read()).toBe(events.length);
		expect(plain(seen.heard)).toEqual(plain(events));
		expect(seen.times[0]).toBe(1_700_000_000_000);
	});

	test("a number that is none is none for the reader, too", () => {
		const { queue, read, seen } = queueOf();
		queue.callSettled(settled({ cost: Number.NaN }));
		queue.callSettled(settled({ tokens: { input: Number.POSITIVE_INFINITY, output: 1 } }));
		read();
		const [one, other] = seen.heard as CallSettled[];
		expect([one!.cost, other!.tokens?.input]).toEqual([Number.NaN, Number.POSITIVE_INFINITY]);
	});

	test("a decision that is too long for the queue is left out, its call is not", () => {
		const { queue, read, seen } = queueOf(4096);
		queue.callSettled(settled({ id: "req_1", decision: { why: "x".repeat(5_000) } }));
		read();
		expect(plain(seen.heard)).toEqual(plain([settled({ id: "req_1" })]));
	});

	test("over many rounds, of more keys and providers than numbers are given, at random", () => {
		const { queue, read, seen, chunks } = queueOf(16 * 1024);
		const draw = random(7);
		const events: (CallSettled | AttemptClosed)[] = [];
		const readAll = () => {
			for (read(); queue.waiting > 0; read()) queue.retry();
		};
		let position = 0;
		let first = 0;
		for (let at = 0; at < 12_000; at++) {
			if (at === 9_000) {
				readAll();
				position = queue.position;
				first = at;
			}
			const keyId = `key-${draw.below(at % 3_000 < 1_500 ? 5 : 4_000)}`;
			const event =
				draw.below(2) === 0
					? attempt({ callId: `req_${at}`, provider: `p${draw.below(30)}`, status: 200 + draw.below(300) })
					: settled({ id: `req_${at}`, keyId, user: "é".repeat(draw.below(40)), cost: draw.below(1e6) / 1e6 });
			events.push(event);
			if ("callId" in event) queue.attemptClosed(event);
			else queue.callSettled(event);
			if (draw.below(20) === 0) read();
		}
		readAll();
		expect(plain(seen.heard)).toEqual(plain(events));
		expect([queue.waiting, seen.lost]).toEqual([0, 0]);
		// What was kept is read again from any place.
		const again: unknown[] = [];
		const collect = (event: unknown) => void again.push(event);
		const from = chunks.findIndex((chunk) => chunk.position + chunk.bytes.length / 8 > position);
		for (const chunk of chunks.slice(from))
			readAgain(chunk, { attemptClosed: collect, callSettled: collect }, position);
		expect(plain(again)).toEqual(plain(events.slice(first)));
	});
});

test("what a thread has written is there when it is ended in the midst of writing, each call whole", async () => {
	for (let round = 0; round < 3; round++) {
		const memory = makeRecordQueue(64 * 1024);
		const worker = new Worker(new URL("./kit/events-worker.ts", import.meta.url));
		const begun = Promise.withResolvers<void>();
		const ended = Promise.withResolvers<void>();
		worker.onmessage = () => begun.resolve();
		worker.addEventListener("close", () => ended.resolve());
		worker.postMessage(memory);
		await begun.promise;
		const reader = new QueueReader(memory);
		const events = new CallEventReader();
		const calls: CallSettled[] = [];
		const attempts: AttemptClosed[] = [];
		const read = () => {
			const chunk = reader.take();
			if (chunk) {
				events.read(chunk, {
					attemptClosed: (closed) => void attempts.push(closed),
					callSettled: (call) => void calls.push(call),
				});
			}
		};
		const most = 2_000 + 1_111 * round;
		await until(() => {
			read();
			return calls.length > most;
		}, "calls");
		worker.terminate();
		await ended.promise;
		read();
		expect(calls.every(({ id, cost }, at) => id === `req_${at}` && cost === at)).toBe(true);
		expect(calls.every(({ user }, at) => user === "é".repeat(at % 100))).toBe(true);
		expect(attempts.every(({ callId, ms }, at) => callId === `req_${at}` && ms === at)).toBe(true);
		expect(attempts.length - calls.length).toBeWithin(0, 2);
	}
}, 60_000);
