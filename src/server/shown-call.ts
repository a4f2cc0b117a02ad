/** A past call as `GET /admin/calls/{id}` shows it. */
import type { CallDetails } from "../gate/ledger-rows.ts";
import type { LedgerAttempt, LedgerCall } from "../store/ledger.ts";

/** The call. */
export type ShownCall = ReturnType<typeof shownCall>;

/** Puts a call and its attempts together. */
export function shownCall(call: LedgerCall, attempts: readonly LedgerAttempt[]) {
	const {
		bill,
		decision,
		attempts: _,
		attempt_ms,
		target,
		route,
		tokens,
		...details
	} = JSON.parse(call.details) as CallDetails;
	const { id, at, key, team, user, model, provider, status, cost } = call;
	const sole = {
		...{ number: 1, provider, target: target ?? "", status, ms: attempt_ms ?? 0, agent: details.agent },
		// What was estimated the upstream did not count, and what was worked out by a price it did not say.
		tokens: bill?.isEstimated ? undefined : tokens,
		cost: bill?.source === "upstream" ? cost : undefined,
	};
	return {
		id,
		at: new Date(at).toISOString(),
		...filled({ key, team, user }),
		model,
		...details,
		status,
		provider,
		...(target === undefined ? {} : { target }),
		attempts: (attempt_ms === undefined ? attempts : [sole, ...attempts]).map(shownAttempt),
		...(tokens ? { tokens } : {}),
		...(cost === undefined ? {} : { cost_usd: cost }),
		...(bill ? { price: { source: bill.source, ...(bill.price ? { rates: bill.price } : {}) } } : {}),
		...(bill?.isEstimated ? { estimated: true } : {}),
		decision: decision ?? soleCandidate(details.requested ?? model, route, target),
	};
}

function shownAttempt({ number, provider, target, failure, status, ms, agent, tokens, cost }: LedgerAttempt) {
	return {
		number,
		provider,
		target,
		outcome: failure ?? "answered",
		...(status === undefined ? {} : { status }),
		ms,
		...(agent === undefined ? {} : { agent }),
		...(tokens ? { tokens } : {}),
		...(cost === undefined ? {} : { cost }),
	};
}

/** Where there was one target only nothing was weighed. */
function soleCandidate(model: string, route: string | undefined, target: string | undefined) {
	const candidates = target === undefined ? [] : [{ rank: 1, id: target, reason: "the only one" }];
	return { model, ...(route === undefined ? {} : { route }), candidates };
}

function filled<Name extends string>(texts: Readonly<Record<Name, string>>): { [N in Name]?: string } {
	return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")) as { [N in Name]?: string };
}
