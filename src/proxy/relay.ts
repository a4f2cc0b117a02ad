/** A call and the targets it may run on → the client's answer. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { FAILURES } from "../providers/failure.ts";
import { errorOf } from "../providers/failure-error.ts";
import type { Target } from "../providers/provider.ts";
import { attempt, timeLeft } from "./attempt.ts";
import type { Settlement } from "./settlement.ts";

/** With less left of the time its client gave a call, ms, no further attempt is begun. */
const TOO_LATE = 5;

/**
 * Tries the targets in order until one answers. What a failure allows, again at the same target or elsewhere, stands in the
 * table of failure kinds. Throws the RouterError of the last failure; the caller settles that. A returned Response has
 * settled, or does so when the upstream's stream ends.
 */
export async function relay(call: Call, targets: readonly Target[], settlement: Settlement): Promise<Response> {
	let error: RouterError | undefined;
	for (const target of targets) {
		const outcome = await tryTarget(call, target, settlement);
		if (outcome instanceof Response) return outcome;
		// That the last resort has no key says less than why the others failed.
		if (!error || outcome.error.errorCode !== "provider_key_missing") error = outcome.error;
		if (!outcome.elsewhere) break;
	}
	throw error ?? new RouterError("upstream_unreachable", "No upstream serves this model.");
}

async function tryTarget(
	call: Call,
	target: Target,
	settlement: Settlement,
): Promise<Response | { error: RouterError; elsewhere: boolean }> {
	for (let tries = 1; ; tries++) {
		try {
			const result = await attempt(call, target, settlement);
			if (result instanceof Response) return result;
			const rule = FAILURES[result.kind];
			const error = errorOf(result, target);
			if (timeLeft(call) < TOO_LATE) return { error, elsewhere: false };
			// A keep-alive connection that the upstream just closed looks like a reset: once more finds out.
			if (rule.sameTarget === "once" && tries === 1) continue;
			return { error, elsewhere: rule.elsewhere };
		} catch (thrown) {
			if (!(thrown instanceof RouterError)) throw thrown;
			settlement.provider = target.provider.name;
			return {
				error: thrown,
				elsewhere: thrown.errorCode === "provider_key_missing" || thrown.errorCode === "unsupported_parameter",
			};
		}
	}
}
