/** The one line a settled call gets in the log. Field names are stable: people build dashboards on them. */

import { shortText } from "../short-text.ts";
import type { AttemptClosed, CallSettled } from "./events.ts";

/** Longest client-written text in a line, in UTF-16 units: a model "name" may be as long as a whole body. */
const LONGEST = 200;

/** The line as an object to write as JSON, in pino's form. Fields that have no value are undefined, so absent from the line. */
export interface CallLine {
	readonly level: "info" | "warn";
	readonly time: string;
	readonly msg: "call";
	readonly [field: string]: string | number | boolean | undefined;
}

/** Statuses from here on are warnings (an operator must look); 4xx and 499 are not (the caller must). */
export const SERVER_ERROR = 500;

/**
 * A call as a log line: no prompt, no answer, no secret; times in ms, cost in USD.
 * @param time when it settled, as ISO 8601 says it
 */
export function callLine(call: CallSettled, time: string): CallLine {
	const { tokens } = call;
	return {
		level: call.status >= SERVER_ERROR ? "warn" : "info",
		time,
		id: call.id,
		trace_id: call.trace?.traceId,
		op: call.operation,
		stream: call.stream,
		key: call.key,
		user: clip(call.user),
		requested: call.requested === call.model ? undefined : clip(call.requested),
		model: call.model,
		provider: call.provider,
		agent: call.agent,
		status: call.status,
		attempts: call.attempts,
		ttft_ms: tenth(call.firstTokenMs),
		ms: tenth(call.ms),
		tokens_in: tokens?.input,
		tokens_out: tokens?.output,
		tokens_cached: tokens?.cached,
		tokens_reasoning: tokens?.reasoning,
		cost_usd: call.cost,
		energy_j: call.energyJ === undefined ? undefined : Number(call.energyJ.toPrecision(4)),
		cache: call.cache,
		reason: call.reason,
		error: call.error,
		dropped: call.dropped,
		dropped_fields: call.droppedFields?.join(","),
		msg: "call",
	};
}

/** A failed attempt as the fields of a debug line; `id` is the call's. */
export function attemptFields(attempt: AttemptClosed): Record<string, string | number | undefined> {
	return {
		id: attempt.callId,
		provider: attempt.provider,
		target: attempt.target,
		failure: attempt.failure,
		status: attempt.status,
		ms: tenth(attempt.ms),
	};
}

function clip(text: string | undefined): string | undefined {
	return text !== undefined && text.length > LONGEST ? shortText(text, LONGEST) : text;
}

/** ms, to a tenth. */
function tenth(ms: number | undefined): number | undefined {
	return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}
