/** Which targets a call would not be sent to, though they serve its model, and why: what is found out otherwise only when it is their turn. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { fingerprintOf } from "../openai/call-facts.ts";
import { NO_INPUTS } from "../providers/provider.ts";
import { engineModel } from "../proxy/suspect-engines.ts";
import type { SuspectsView } from "../proxy/suspects.ts";
import type { Route, RouteTarget } from "../routing/route.ts";

/** A target's id → why. In the words of the errors and of the ledger. */
export type Refusals = ReadonlyMap<string, string>;

/**
 * Asks for no more than the words of the request: nothing is sent, and what the call would need besides is not fetched.
 * @param targets those that the call may be tried at
 */
export function refusalsOf(
	call: Call,
	targets: readonly RouteTarget[],
	alias: Route["alias"],
	suspects: KnownSuspects | undefined,
): Refusals {
	const refusals = new Map<string, string>();
	const poisonous = suspects?.hasAny ? poisonousReason(call, targets, suspects) : undefined;
	for (const target of targets) {
		const isVendor = (target.kind ?? "cloud") === "cloud";
		const reason = (isVendor ? undefined : poisonous) ?? unsupportedReason(call, target, alias);
		if (reason !== undefined) refusals.set(target.id, reason);
	}
	return refusals;
}

/** What is known of calls that engines may have died of. */
type KnownSuspects = Pick<SuspectsView, "stateOf" | "refusalOf" | "hasAny" | "prune">;

/** What a call's targets have to do with it where an engine may have died of it: it is not sent to them as others are. Undefined of any other. */
export function suspicionOf(
	call: Call,
	targets: readonly RouteTarget[],
	suspects: KnownSuspects | undefined,
): string | undefined {
	const { state, known } = (suspects?.hasAny && knownOf(call, targets, suspects)) || {};
	if (state !== "suspect") return undefined;
	const calls = [...new Set(known!.calls)].join(", ");
	return `suspected, since an engine died while it had no token yet (${calls}): it goes to one engine at a time, while another is left, or alone to the one that died once that is back`;
}

function poisonousReason(call: Call, targets: readonly RouteTarget[], suspects: KnownSuspects): string | undefined {
	const { state, known } = knownOf(call, targets, suspects);
	return state === "refused" ? known.reason : undefined;
}

function knownOf({ operation, facts }: Call, targets: readonly RouteTarget[], suspects: KnownSuspects) {
	// As a call does: what is no longer refused may still be known.
	suspects.prune();
	const fingerprint = fingerprintOf(operation, facts, engineModel(targets));
	return { state: suspects.stateOf(fingerprint), known: suspects.refusalOf(fingerprint) };
}

/** A field of the call that the target has no form for, and that may not be left out. */
function unsupportedReason(call: Call, target: RouteTarget, alias: Route["alias"]): string | undefined {
	try {
		target.provider.encode(call, target, NO_INPUTS, { unsupported: alias?.unsupported });
	} catch (thrown) {
		// Whatever else stops it (no key, a picture that was not fetched) is no word against the field.
		if (thrown instanceof RouterError && thrown.errorCode === "unsupported_parameter") return thrown.message;
	}
	return undefined;
}
