/** What an attempt's failure says of its target. Pure. */
import type { Call } from "../openai/call.ts";
import type { Failure, FailureKind } from "../providers/failure.ts";
import type { OpenAttempt } from "../routing/target-state.ts";
import type { Late } from "./second-target.ts";
import { type CallTimeouts, isClientTimeout } from "./timeouts.ts";

/** An attempt that failed. */
export interface FailedAttempt {
	readonly call: Pick<Call, "stream" | "limits">;
	/** What was left of the time that its client gave the call when it was sent, ms. */
	readonly timeLeftMs: number;
	/** The first piece of a stream was here. */
	readonly hasFirstToken: boolean;
	readonly state: Pick<OpenAttempt, "targetWasSilent"> | undefined;
	/** Its part in a round of several. */
	readonly part:
		| { readonly isUnused: boolean; readonly wasSilent: boolean; readonly late: Late | undefined }
		| undefined;
}

/**
 * The kind of failure that counts for its target.
 * @param usual what the target would have been given by a call that sets no limits, with others to ask
 */
export function failureOfTarget(failure: Failure, failed: FailedAttempt, usual: () => CallTimeouts): FailureKind {
	const { call, timeLeftMs, hasFirstToken: hasBegun, state, part } = failed;
	if (failure.isOfTunnel) return "cancelled";
	if (failure.kind === "timeout" && failure.isOurs) {
		const client = { isStream: call.stream, limits: call.limits, timeLeftMs, hasBegun };
		return isClientTimeout(client, usual()) ? "cancelled" : "timeout";
	}
	// It may have been busy with others; silent towards all of them it is ill.
	const wasSilent = failure.kind === "cancelled" && part?.isUnused && part.wasSilent && state?.targetWasSilent;
	if (!wasSilent || !part.late) return failure.kind;
	// Late for any call, not just for one that its client gave less time.
	const { lateMs = Number.POSITIVE_INFINITY } = usual();
	return part.late.ms >= lateMs ? "timeout" : failure.kind;
}
