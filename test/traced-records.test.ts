/** Traces in the records by which a worker thread tells the main one of its calls. */
import { expect, test } from "bun:test";
import { makeRecordQueue, QueueReader } from "../src/memory/record-queue.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import { CallEventReader } from "../src/telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
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
	expect([heard!.trace?.traceId, heard!.trace?.span?.contents]).toEqual([long.trace!.traceId, undefined]);
	const memory = makeRecordQueue(512 * 1024);
	const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => {}, onLost: () => {} });
	const calls = Array.from({ length: 60 }, () => tracedCall({}, { contents: { ...contents } }));
	for (const call of calls) queue.callSettled(call);
	expect(queue.waiting).toBeGreaterThan(0);
	expect(calls.slice(-queue.waiting).every(({ trace }) => trace!.span!.contents === undefined)).toBe(true);
});

test("of one that is not, nothing goes along", () => {
	const call = tracedCall();
	const [heard] = heardOf([{ ...call, trace: { traceId: call.trace!.traceId } }]);
	expect(heard).not.toHaveProperty("trace");
});
