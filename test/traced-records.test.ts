/** Traces in the records by which a worker thread tells the main one of its calls. */
import { expect, test } from "bun:test";
import { makeRecordQueue, QueueReader } from "../src/memory/record-queue.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import { CallEventReader } from "../src/telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
import { tracedAttempt, tracedCall } from "./kit/spans.ts";

/** What the main thread hears of these, in their order. */
function heardOf(events: readonly (CallSettled | AttemptClosed)[]): object[] {
	const memory = makeRecordQueue(256 * 1024);
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

test("of one that is not, nothing goes along", () => {
	const call = tracedCall();
	const [heard] = heardOf([{ ...call, trace: { traceId: call.trace!.traceId } }]);
	expect(heard).not.toHaveProperty("trace");
});
