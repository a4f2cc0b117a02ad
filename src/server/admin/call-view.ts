/** A past call as `GET /admin/calls/{id}` shows it. */
import type { CallDetails } from "../../accounts/usage/call-details.ts";
import { type Explanation, withSkipped } from "../../routing/explain.ts";
import type { LedgerAttempt, LedgerCall } from "../../store/ledger-batch.ts";
import type { Bill } from "../../telemetry/events.ts";

/** What the first ledgers kept in place of `source`, `price` and `estimated`. */
interface OlderDetails {
	readonly bill?: Bill;
	readonly attempts?: number;
}

/** The call. */
export type ShownCall = ReturnType<typeof shownCall>;

/** Puts a call and its attempts together. */
export function shownCall(call: LedgerCall, attempts: readonly LedgerAttempt[]) {
	const {
		operation = "chat",
		stream = false,
		requested = call.model,
		bill,
		attempts: _,
		source = bill?.source,
		price = bill?.price,
		estimated = bill?.isEstimated || undefined,
		decision,
		snapshot: _snapshot,
		attempt_ms,
		began_ms,
		target,
		route,
		tokens = counted(call),
		...details
	} = JSON.parse(call.details) as CallDetails & OlderDetails;
	const { id, at, key, team, user, model, provider, status, cost } = call;
	const sole = {
		...{ number: 1, provider, target: target ?? "", status, ms: attempt_ms ?? 0, began_ms, agent: details.agent },
		// What was estimated the upstream did not count, and what was worked out by a price it did not say.
		tokens: estimated ? undefined : tokens,
		cost: source === "upstream" ? cost : undefined,
	};
	return {
		id,
		at: new Date(at).toISOString(),
		...filled({ key, team, user }),
		model,
		operation,
		stream,
		...(requested === null ? {} : { requested }),
		...details,
		status,
		...(details.error === "poisonous_request" && route !== undefined ? { refusal: route } : {}),
		provider,
		...(target === undefined ? {} : { target }),
		attempts: (attempt_ms === undefined ? attempts : [sole, ...attempts]).map(shownAttempt),
		...(tokens ? { tokens } : {}),
		...(cost === undefined ? {} : { cost_usd: cost }),
		...(source ? { price: { source, ...(price ? { rates: price } : {}) } } : {}),
		...(estimated ? { estimated } : {}),
		decision: decisionWith(details.skipped, decision ?? soleCandidate(requested ?? model, route, target)),
	};
}

function shownAttempt(attempt: LedgerAttempt) {
	const { number, provider, target, failure, status, ms, began_ms, agent, tokens, cost, hedge, paid_by } = attempt;
	return {
		number,
		provider,
		target,
		outcome: failure ?? "answered",
		...(status === undefined ? {} : { status }),
		ms,
		...(began_ms === undefined ? {} : { began_ms }),
		...(agent === undefined ? {} : { agent }),
		...(tokens ? { tokens } : {}),
		...(cost === undefined ? {} : { cost }),
		...(hedge ? { hedge } : {}),
		...(paid_by ? { paid_by } : {}),
	};
}

/** Tokens that have no kind but the two. */
function counted({ tokensIn, tokensOut }: LedgerCall) {
	return tokensIn === undefined ? undefined : { input: tokensIn, output: tokensOut ?? 0 };
}

/** The decision, as it came out where targets were skipped. */
function decisionWith(skipped: CallDetails["skipped"], decision: object): object {
	// Of one target nothing was weighed, and no policy is told.
	const { candidates, policy = "balanced" } = decision as Partial<Explanation>;
	if (!skipped || !candidates) return decision;
	return { ...decision, candidates: withSkipped({ candidates, policy }, skipped) };
}

/** Where there was one target only nothing was weighed. */
function soleCandidate(model: string, route: string | undefined, target: string | undefined) {
	const candidates = target === undefined ? [] : [{ rank: 1, id: target, reason: "the only one" }];
	return { model, ...(route === undefined ? {} : { route }), candidates };
}

function filled<Name extends string>(texts: Readonly<Record<Name, string>>): { [N in Name]?: string } {
	return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")) as { [N in Name]?: string };
}
