/** Settled calls and closed attempts of traces that are sent. */
import type { AttemptClosed, CallSettled } from "../../src/telemetry/events.ts";
import type { AttemptSpan, CallSpan } from "../../src/telemetry/otel/span-context.ts";
import { newSpanId, newTraceId } from "../../src/telemetry/otel/trace-context.ts";
import { settled } from "./ledger.ts";

/** A call with its span. */
export function tracedCall(more: Partial<CallSettled> = {}, span: Partial<CallSpan> = {}): CallSettled {
	const traceId = span.traceId ?? newTraceId();
	const own: CallSpan = {
		...{ traceId, spanId: newSpanId(), isRemote: false, startedAt: 1_790_000_000_000.25 },
		...{ method: "POST", route: "/v1/chat/completions", steps: [], ...span },
	};
	return settled({ ...more, trace: { traceId, span: own } });
}

/** An attempt with its span. */
export function tracedAttempt(more: Partial<AttemptClosed> = {}, span: Partial<AttemptSpan> = {}): AttemptClosed {
	const own: AttemptSpan = {
		...{ traceId: newTraceId(), spanId: newSpanId(), parentId: newSpanId(), startedAt: 1_790_000_000_000.25 },
		...{ operation: "chat", stream: true, model: "m", origin: "http://10.0.0.1:8000", ...span },
	};
	return { callId: "req_1", number: 1, provider: "box", target: "box/m", status: 200, ms: 12.5, span: own, ...more };
}
