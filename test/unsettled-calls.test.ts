/** Calls that a thread knows of and has not written yet: each has its row when the thread dies, once. */
import { expect, test } from "bun:test";
import { makeRecordQueue } from "../src/memory/record-queue.ts";
import { type EventSinks, WorkerEvents } from "../src/server/threads/worker-events.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import type { CallSettled, NamedCall } from "../src/telemetry/events.ts";
import { callsLeftUnsettled, makeUnsettledCalls, UnsettledCalls } from "../src/telemetry/unsettled-calls.ts";
import { settled } from "./kit/ledger.ts";

const named = (id: string): NamedCall => ({
	...{ id, operation: "chat", stream: false, requested: "fast", user: undefined, label: "fast", isKnown: true },
	...{ caller: { id: "config:team-a", name: "team-a", team: "red" }, startedAt: performance.now() },
});

/** A thread that writes calls, and the main one, which does not look by itself. */
function thread() {
	const memory = { events: makeRecordQueue(4096), unsettled: makeUnsettledCalls() };
	const unsettled = new UnsettledCalls(memory.unsettled, 0);
	const seen = { lost: 0 };
	const queue = new EventQueue({ memory: memory.events, unsettled, onMany: () => {}, onLost: () => seen.lost++ });
	const rows: CallSettled[] = [];
	const counted: CallSettled[] = [];
	const sinks = {
		ledger: { attemptClosed() {}, takeRows: async () => {}, callSettled: (call: CallSettled) => void rows.push(call) },
		metrics: { sink: { callStarted() {}, attemptClosed() {}, callSettled: (call: CallSettled) => counted.push(call) } },
		log: { sink: { callSettled() {} } },
		otel: [],
	} as unknown as EventSinks;
	const call = (id: string) => {
		unsettled.callNamed(named(id));
		queue.callSettled(settled({ id }));
	};
	const left = () => callsLeftUnsettled(memory.unsettled, performance.now()).map(({ id }) => id);
	return { memory, unsettled, queue, seen, rows, counted, call, left, main: new WorkerEvents(memory, sinks) };
}

test("a call that is over, and waits for room to be written, has a row when its thread dies; and is counted once", () => {
	const { queue, rows, counted, call, left, main } = thread();
	const ids = Array.from({ length: 100 }, (_, at) => `req_${at}`);
	for (const id of ids) call(id);
	const { waiting } = queue;
	expect(waiting).toBeGreaterThan(50);
	expect(left().sort()).toEqual(ids.slice(-waiting).sort());
	main.end();
	for (const calls of [rows, counted]) expect(calls.map(({ id }) => id).sort()).toEqual(ids.toSorted());
	expect(rows.filter(({ error }) => error === "worker_ended")).toHaveLength(waiting);
});

test("a call that is written once there is room is known no more", () => {
	const { queue, rows, call, left, main } = thread();
	for (let at = 0; at < 30; at++) call(`req_${at}`);
	for (main.read(); queue.waiting > 0; main.read()) queue.retry();
	expect(left()).toEqual([]);
	main.end();
	expect(rows.map(({ status }) => status)).toEqual(Array(30).fill(200));
});

test("a call that is counted as lost is known no more, so that it is not told of as well", () => {
	const { queue, unsettled, seen, left } = thread();
	unsettled.callNamed(named("req_lost"));
	while (seen.lost === 0) queue.attemptClosed({ callId: "req", provider: "box", target: "box/m", ms: 1 });
	queue.callSettled(settled({ id: "req_lost" }));
	expect([seen.lost, left()]).toEqual([2, []]);
});

test("calls with ids that are too long for it take no memory from others", () => {
	const { memory, unsettled, left } = thread();
	const { byteLength } = memory.unsettled;
	for (let at = 0; at < 1_000; at++) unsettled.callNamed(named("x".repeat(41)));
	expect(memory.unsettled.byteLength).toBe(byteLength);
	unsettled.callNamed(named("x".repeat(40)));
	expect(left()).toEqual(["x".repeat(40)]);
});

test("calls for which the machine has no memory left go on, and are not known", () => {
	const { byteLength } = makeUnsettledCalls();
	const memory = new SharedArrayBuffer(byteLength, { maxByteLength: byteLength });
	const unsettled = new UnsettledCalls(memory, 0);
	for (let at = 0; at < 5_000; at++) unsettled.callNamed(named(`req_${at}`));
	const known = callsLeftUnsettled(memory, performance.now()).length;
	expect(known).toBeWithin(1, 5_000);
	unsettled.close("req_4999");
	unsettled.close("req_0");
	unsettled.callNamed(named("req_next"));
	expect(callsLeftUnsettled(memory, performance.now())).toHaveLength(known);
});
