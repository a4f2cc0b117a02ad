/** What an attempt tells of itself, and who hears of it: the call's settlement, and what is known of its target. */
import type { Call } from "../openai/call.ts";
import type { Work } from "../routing/target-state.ts";
import { timeLeft } from "./attempt.ts";
import type { CallRecord, OpenRecord } from "./call-record.ts";
import type { TriedTarget } from "./candidate.ts";
import type { ProxyState } from "./proxy-state.ts";
import type { Ask } from "./round.ts";
import { type CallTimeouts, isClientTimeout } from "./timeouts.ts";

/** Whose attempt it is. */
export interface Recorded {
	readonly call: Call;
	readonly candidate: TriedTarget;
	readonly settlement: CallRecord;
	readonly state: ProxyState;
	readonly work: Work | undefined;
	/** Its part in a round of several. */
	readonly ask: Ask | undefined;
	/** What the target would have been given by a call that sets no limits, with others to ask. */
	readonly usualLimits: () => CallTimeouts;
}

/** Tells that it has begun. */
export function openRecord({ call, candidate, settlement, state, work, ask, usualLimits }: Recorded): OpenRecord {
	const { target } = candidate;
	const { targets } = state;
	const close = settlement.attempt(target, (ask?.place ?? 0) > 0);
	const seen = targets.opened(target.id, call.stream, work);
	if (ask) ask.seen = seen;
	const timeLeftMs = timeLeft(call);
	let hasBegun = false;
	const ranOut = () =>
		isClientTimeout({ isStream: call.stream, limits: call.limits, timeLeftMs, hasBegun }, usualLimits());
	return {
		firstToken: (isTypical) => {
			hasBegun = true;
			seen.firstToken(isTypical);
		},
		closed: (end) => {
			const { status, failure, tokens } = end;
			const isUnused = ask?.isLost === true;
			close(isUnused ? { ...end, isUnused } : end);
			// What one key was told is not said of the target while another is in use.
			const retryAfterMs = candidate.hasOtherKey ? undefined : failure?.retryAfterMs;
			const isVoid = failure?.kind === "timeout" && failure.isOurs && ranOut();
			// It may have been busy with others; silent towards all of them it is ill.
			const wasSilent =
				isUnused &&
				failure?.kind === "cancelled" &&
				ask.wasSilent &&
				seen.isUnheard &&
				isUsuallyLate(ask, usualLimits());
			const kind = isVoid ? "cancelled" : wasSilent ? "timeout" : failure?.kind;
			seen.closed({ status, failure: kind, retryAfterMs, tokens: tokens?.uncounted ? undefined : tokens?.output });
			const outMs = failure && candidate.outOfUseMs;
			if (outMs !== undefined) targets.pause(target.id, outMs, "its key is out of use");
		},
	};
}

/** It was late for any call, not just for one that its client gave less time. */
const isUsuallyLate = ({ late }: Ask, { lateMs = Number.POSITIVE_INFINITY }: CallTimeouts): boolean =>
	late !== undefined && late.ms >= lateMs;
