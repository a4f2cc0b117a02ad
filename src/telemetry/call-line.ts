/** The one line a settled call gets in the log. Field names are stable: people build dashboards on them. */
import type { AttemptClosed, CallSettled } from "./events.ts";

/** Longest client-written text in a line, in UTF-16 units: a model "name" may be as long as a whole body. */
const LONGEST = 200;

/** Level and fields of the line. Fields that have no value are absent, not null. */
export interface CallLine {
	readonly level: "info" | "warn";
	readonly fields: Readonly<Record<string, string | number | boolean>>;
}

/**
 * A call as a log line: no prompt, no answer, no secret; times in ms, cost in USD. 5xx are warnings (somebody must
 * look), 4xx and 499 are not (the caller must).
 */
export function callLine(call: CallSettled): CallLine {
	const { tokens } = call;
	return {
		level: call.status >= 500 ? "warn" : "info",
		fields: present({
			id: call.id,
			op: call.operation,
			stream: call.stream,
			key: call.key,
			user: clip(call.user),
			requested: call.requested === call.model ? undefined : clip(call.requested),
			model: call.model,
			provider: call.provider,
			status: call.status,
			attempts: call.attempts,
			ttft_ms: tenth(call.firstTokenMs),
			ms: tenth(call.ms),
			tokens_in: tokens?.input,
			tokens_out: tokens?.output,
			tokens_cached: tokens?.cached,
			tokens_reasoning: tokens?.reasoning,
			cost_usd: call.cost,
			cache: call.cache,
			reason: call.reason,
			error: call.error,
			dropped: call.dropped,
		}),
	};
}

/** A failed attempt as the fields of a debug line; `id` is the call's. */
export function attemptFields(attempt: AttemptClosed): CallLine["fields"] {
	return present({
		id: attempt.callId,
		provider: attempt.provider,
		target: attempt.target,
		failure: attempt.failure,
		status: attempt.status,
		ms: tenth(attempt.ms),
	});
}

function present(fields: Record<string, string | number | boolean | undefined>): CallLine["fields"] {
	const kept: Record<string, string | number | boolean> = {};
	for (const name in fields) {
		const value = fields[name];
		if (value !== undefined) kept[name] = value;
	}
	return kept;
}

function clip(text: string | undefined): string | undefined {
	return text !== undefined && text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function tenth(ms: number | undefined): number | undefined {
	return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}
