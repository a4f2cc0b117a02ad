/** Calls and attempts that wait to be written, and how they are taken apart where some can't be. Pure. */
import type { AttemptClosed, CallSettled } from "../../telemetry/events.ts";

/** Some of them, in the order in which they came. */
export interface PendingCalls {
	readonly calls: readonly CallSettled[];
	/** When each call settled, Unix time, ms. */
	readonly times: readonly number[];
	/** Of these calls, or of others. */
	readonly attempts: readonly AttemptClosed[];
}

/**
 * Two parts of about the same size, calls with their attempts as long as they can be; a call and its attempts come apart last.
 * Undefined for one row alone.
 */
export function halvePending({
	calls,
	times,
	attempts,
}: PendingCalls): readonly [PendingCalls, PendingCalls] | undefined {
	if (calls.length + attempts.length < 2) return undefined;
	if (calls.length > 1) {
		const middle = calls.length >> 1;
		const first = new Set(calls.slice(0, middle).map(({ id }) => id));
		return [
			{
				calls: calls.slice(0, middle),
				times: times.slice(0, middle),
				attempts: attempts.filter(({ callId }) => first.has(callId)),
			},
			{
				calls: calls.slice(middle),
				times: times.slice(middle),
				attempts: attempts.filter(({ callId }) => !first.has(callId)),
			},
		];
	}
	const others = attempts.filter(({ callId }) => callId !== calls[0]?.id);
	if (calls.length === 1 && others.length > 0 && others.length < attempts.length) {
		const own = attempts.filter(({ callId }) => callId === calls[0]!.id);
		return [
			{ calls, times, attempts: own },
			{ calls: [], times: [], attempts: others },
		];
	}
	if (calls.length === 1)
		return [
			{ calls, times, attempts: [] },
			{ calls: [], times: [], attempts },
		];
	const middle = attempts.length >> 1;
	return [
		{ calls: [], times: [], attempts: attempts.slice(0, middle) },
		{ calls: [], times: [], attempts: attempts.slice(middle) },
	];
}

/** Parts of at most so many calls, in their order: each with its calls' attempts, the first with all others. */
export function batchesOf({ calls, times, attempts }: PendingCalls, most: number): PendingCalls[] {
	const parts: (PendingCalls & { readonly attempts: AttemptClosed[] })[] = [];
	const partOf = new Map<string, number>();
	for (let at = 0; at < calls.length; at += most) {
		const some = calls.slice(at, at + most);
		for (const { id } of some) partOf.set(id, parts.length);
		parts.push({ calls: some, times: times.slice(at, at + most), attempts: [] });
	}
	for (const attempt of attempts) parts[partOf.get(attempt.callId) ?? 0]?.attempts.push(attempt);
	return parts;
}

/** All of these parts as one. */
export function joinPending(parts: readonly PendingCalls[]): PendingCalls {
	return {
		calls: parts.flatMap(({ calls }) => calls),
		times: parts.flatMap(({ times }) => times),
		attempts: parts.flatMap(({ attempts }) => attempts),
	};
}
