/** How limits are told to clients, in the words that OpenAI uses. Pure. */
import { RouterError } from "../errors.ts";
import type { Bound, Standing, Verdict } from "./limiter.ts";

/** `x-ratelimit-*` of requests and tokens: of several limits on one of them the one that is nearest. Undefined where there is none. */
export function limitHeaders(standings: readonly Standing[]): Record<string, string> | undefined {
	const headers: Record<string, string> = {};
	let isEmpty = true;
	for (const counts of ["requests", "tokens"] as const) {
		const nearest = nearestOf(standings, counts);
		if (!nearest) continue;
		isEmpty = false;
		headers[`x-ratelimit-limit-${counts}`] = String(nearest.bound.limit);
		headers[`x-ratelimit-remaining-${counts}`] = String(Math.floor(nearest.remaining));
		headers[`x-ratelimit-reset-${counts}`] = resetText(nearest.resetMs);
	}
	return isEmpty ? undefined : headers;
}

function nearestOf(standings: readonly Standing[], counts: Bound["counts"]): Standing | undefined {
	let nearest: Standing | undefined;
	for (const standing of standings) {
		if (standing.bound.counts !== counts) continue;
		if (!nearest || shareLeft(standing) < shareLeft(nearest)) nearest = standing;
	}
	return nearest;
}

const shareLeft = ({ bound, remaining }: Standing): number => remaining / bound.limit;

const WHAT = { requests: "requests a minute", tokens: "tokens a minute", concurrency: "calls at once" } as const;

/** The refusal. */
export function refusalOf({ refused, retryAfterMs, standings }: Extract<Verdict, { isAllowed: false }>): RouterError {
	const { counts, limit, amount, id } = refused;
	const whose = id.startsWith("key:") ? "this key" : id.startsWith("model:") ? "this model" : "your address";
	const isHopeless = retryAfterMs === Number.POSITIVE_INFINITY;
	const asked = counts === "tokens" ? ` The call may take ${amount}.` : "";
	const when = isHopeless
		? "It will never fit: send less, or ask for fewer."
		: `Try again in ${resetText(retryAfterMs)}.`;
	const message = `Rate limit reached: ${whose} may take ${limit} ${WHAT[counts]}.${asked} ${when}`;
	const ms = Math.max(1, Math.ceil(retryAfterMs));
	return new RouterError("rate_limit_exceeded", message, {
		headers: {
			...limitHeaders(standings),
			...(isHopeless
				? { "x-should-retry": "false" }
				: { "retry-after": String(Math.ceil(ms / 1000)), "retry-after-ms": String(ms) }),
		},
	});
}

/** `120ms`, `1.5s`, `1m0s`: as OpenAI writes it. */
export function resetText(ms: number): string {
	const whole = Math.max(0, Math.ceil(ms));
	if (whole < 1000) return `${whole}ms`;
	const seconds = whole / 1000;
	if (seconds < 60) return `${seconds}s`;
	return `${Math.floor(seconds / 60)}m${Math.round(seconds % 60)}s`;
}
