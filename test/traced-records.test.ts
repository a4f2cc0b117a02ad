/** Traces in the records by which a worker thread tells the main one of its calls. */
import { expect, test } from "bun:test";
import { makeRecordQueue, QueueReader } from "../src/memory/record-queue.ts";
import { type EventSinks, WorkerEvents } from "../src/server/threads/worker-events.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import { CallEventReader } from "../src/telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
import { makeUnsettledCalls } from "../src/telemetry/unsettled-calls.ts";
import { tracedAttempt, tracedCall } from "./kit/spans.ts";

/** What the main thread hears of these, in their order. */
function heardOf(events: readonly (CallSettled | AttemptClosed)[]): object[] {
	const memory = makeRecordQueue(512 * 1024);
	const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => {}, onLost: () => {} });
	for (const event of events) "callId" in event ? queue.attemptClosed(event) : queue.callSettled(event);
	const heard: object[] = [];
	const hear = (event: object) => void heard.push(event);
	new CallEventReader().read(new QueueReader(memory).take()!, { attemptClosed: hear, callSettled: hear });
	return heard;
}
/** As JSON has it: what is undefined is not there. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

test("a trace that is sent arrives whole, beside all else that a record may have", () => {
	const steps = [{ name: "queue", spanId: "00f067aa0ba902b7", startedAt: 1_790_000_000_000.5, ms: 3.25 }] as const;
	const events = [
		tracedAttempt(),
		tracedAttempt({ tokens: { input: 5, output: 2, cacheWrite: 1 } }, { reason: "hedge", firstTokenMs: 7.5 }),
		tracedAttempt({ tokens: { input: 5, output: 2 } }, { model: "模型", vendor: "openai" }),
		tracedCall({ user: "é", requested: "other" }, { steps, parentId: "0af7651916cd43dd", traceState: "a=1" }),
		tracedCall({ energyJ: 1.5, decision: { model: "m" } }),
	];
	expect(heardOf(events).map(plain)).toEqual(events.map(plain));
});

test("what a call asks and is answered goes along where there is room, and never waits in the thread's memory", () => {
	const contents = { input: "x".repeat(8_192), output: "y".repeat(8_192), isCut: false };
	const small = tracedCall({}, { contents: { ...contents } });
	expect(heardOf([small]).map(plain)).toEqual([plain(small)]);
	expect(small.trace!.span!.contents).toEqual(contents);
	const long = tracedCall({}, { contents: { ...contents, output: '"'.repeat(8_192) } });
	const [heard] = heardOf([long]) as CallSettled[];
	expect([heard!.trace?.traceId, heard!.trace?.span?.contents]).toEqual([long.trace!.traceId, { isCut: true }]);
	const memory = makeRecordQueue(512 * 1024);
	const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => {}, onLost: () => {} });
	const calls = Array.from({ length: 60 }, () => tracedCall({}, { contents: { ...contents } }));
	for (const call of calls) queue.callSettled(call);
	const { waiting } = queue;
	expect(waiting).toBeGreaterThan(0);
	const kept = calls.slice(-waiting).map(({ trace }) => trace!.span!.contents);
	expect(kept).toEqual(Array(waiting).fill({ isCut: true }));
	// That something is missing goes along once there is room.
	const reader = new QueueReader(memory);
	const events = new CallEventReader();
	events.read(reader.take()!, undefined);
	queue.retry();
	const heardLate: unknown[] = [];
	const callSettled = ({ trace }: CallSettled) => void heardLate.push(trace?.span?.contents);
	events.read(reader.take()!, { attemptClosed() {}, callSettled });
	expect(heardLate).toEqual(Array(waiting).fill({ isCut: true }));
});

test("the reader is told once that more than half of the memory is taken, long before there are many calls", () => {
	const memory = makeRecordQueue(512 * 1024);
	let told = 0;
	const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => told++, onLost: () => {} });
	const reader = new QueueReader(memory);
	const contents = { input: "x".repeat(8_192), output: "y".repeat(8_192), isCut: false };
	/** Calls that are written one after the other, and what waits of them. */
	const written = (calls: number) => {
		for (let at = 0; at < calls; at++) queue.callSettled(tracedCall({}, { contents: { ...contents } }));
		return [told, queue.waiting];
	};
	expect(written(10)).toEqual([0, 0]);
	expect(written(10)).toEqual([1, 0]);
	reader.take();
	expect(written(10)).toEqual([1, 0]);
	expect(written(10)).toEqual([2, 0]);
});

test("a ledger that a thread's rows can't be written to keeps its calls without what they ask and are answered", () => {
	const memory = { events: makeRecordQueue(512 * 1024), unsettled: makeUnsettledCalls() };
	const queue = new EventQueue({ memory: memory.events, unsettled: { close() {} }, onMany() {}, onLost() {} });
	const [exported, kept, logged]: [CallSettled[], CallSettled[], CallSettled[]] = [[], [], []];
	let refuse = () => {};
	const main = new WorkerEvents(memory, {
		ledger: {
			attemptClosed() {},
			callSettled: (call: CallSettled) => void kept.push(call),
			async takeRows(_: unknown, refused: () => void) {
				refuse = refused;
			},
		},
		metrics: { sink: { callStarted() {}, attemptClosed() {}, callSettled() {} } },
		log: { sink: { callSettled: (call: CallSettled) => void logged.push(call) } },
		otel: [{ callSettled: (call: CallSettled) => void exported.push(call) }],
	} as unknown as EventSinks);
	const contents = { input: "asked", output: "answered", isCut: false };
	queue.callSettled(tracedCall({ id: "req_1" }, { contents: { ...contents } }));
	const rows = { bytes: undefined, usage: [], settledAt: undefined, calls: 1, rows: 1, position: queue.position };
	main.tookRows(rows);
	refuse();
	queue.callSettled(tracedCall({ id: "req_2" }, { contents: { ...contents } }));
	main.end();
	expect(exported.map(({ id, trace }) => [id, trace?.span?.contents])).toEqual([
		["req_1", contents],
		["req_2", contents],
	]);
	for (const calls of [kept, logged]) {
		expect(calls.map(({ id, trace }) => [id, trace?.span?.contents])).toEqual([
			["req_1", undefined],
			["req_2", undefined],
		]);
	}
});

test("of one that is not, nothing goes along", () => {
	const call = tracedCall();
	const [heard] = heardOf([{ ...call, trace: { traceId: call.trace!.traceId } }]);
	expect(heard).not.toHaveProperty("trace");
});

test.each([
	[undefined, ["attempt", "traced attempt", "call", "traced call"]],
	["attempts", ["traced attempt", "call", "traced call"]],
	["all", ["traced attempt", "traced call"]],
] as const)(
	"who does without plain records (%s) hears of those that are traced, whatever came before",
	(omitsPlain, expected) => {
		const memory = makeRecordQueue(512 * 1024);
		const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => {}, onLost: () => {} });
		queue.attemptClosed({ ...tracedAttempt({ callId: "attempt" }), span: undefined });
		queue.attemptClosed(tracedAttempt({ callId: "traced attempt" }));
		queue.callSettled({ ...tracedCall({ id: "call" }), trace: undefined });
		queue.callSettled(tracedCall({ id: "traced call" }));
		const heard: string[] = [];
		new CallEventReader().read(new QueueReader(memory).take()!, {
			attemptClosed: ({ callId }) => void heard.push(callId),
			callSettled: ({ id }) => void heard.push(id),
			omitsPlain,
		});
		expect(heard).toEqual([...expected]);
	},
);
