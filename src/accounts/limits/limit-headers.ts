/** What clients are told of limits, in headers and errors, in the words that OpenAI uses. Pure. */
import { RouterError } from "../../errors.ts";
import { decimal } from "../../openai/usage-edits.ts";
import type { Budget } from "../auth/key-store.ts";
import type { CallReserve } from "../usage/call-cost.ts";
import { usdOf } from "../usage/spend.ts";
import { RETRY_MS } from "./counters.ts";
import { type LimitDecision, type LimitStatus, SESSION_HOURS } from "./limiter.ts";

/** The names of the headers: to make them for each call takes longer than all that they say. */
const NAMES = {
	requests: {
		limit: "x-ratelimit-limit-requests",
		remaining: "x-ratelimit-remaining-requests",
		reset: "x-ratelimit-reset-requests",
	},
	tokens: {
		limit: "x-ratelimit-limit-tokens",
		remaining: "x-ratelimit-remaining-tokens",
		reset: "x-ratelimit-reset-tokens",
	},
} as const;

/** What a call's session may spend, and what of that was left before the call, USD. */
const SESSION_BUDGET = "x-router-session-budget-usd";
const SESSION_REMAINING = "x-router-session-remaining-usd";

/**
 * `x-ratelimit-*` of requests and tokens: of several limits on one of them the one that is nearest; and how a session's budget stood before the
 * call. Undefined where there is none.
 */
export function limitHeaders(statuses: readonly LimitStatus[], isTaken = true): Record<string, string> | undefined {
	let requests: LimitStatus | undefined;
	let tokens: LimitStatus | undefined;
	let session: LimitStatus | undefined;
	for (const status of statuses) {
		const { unit } = status.limit;
		if (unit === "requests") requests = nearer(requests, status);
		else if (unit === "tokens") tokens = nearer(tokens, status);
		else if (unit === "spend") session = status;
	}
	if (!requests && !tokens && !session) return undefined;
	const headers: Record<string, string> = {};
	if (session) {
		const { limit, remaining } = session;
		headers[SESSION_BUDGET] = decimal(usdOf(limit.max));
		headers[SESSION_REMAINING] = decimal(usdOf(Math.min(limit.max, remaining + (isTaken ? limit.amount : 0))));
	}
	if (requests) addHeaders(headers, NAMES.requests, requests);
	if (tokens) addHeaders(headers, NAMES.tokens, tokens);
	return headers;
}

function nearer(one: LimitStatus | undefined, other: LimitStatus): LimitStatus {
	return one && shareLeft(one) <= shareLeft(other) ? one : other;
}

const shareLeft = ({ limit, remaining }: LimitStatus): number => remaining / limit.max;

function addHeaders(
	headers: Record<string, string>,
	names: (typeof NAMES)[keyof typeof NAMES],
	{ limit, remaining, resetMs }: LimitStatus,
): void {
	headers[names.limit] = String(limit.max);
	headers[names.remaining] = String(Math.floor(remaining));
	headers[names.reset] = resetText(resetMs);
}

const UNITS = {
	requests: "requests a minute",
	tokens: "tokens a minute",
	concurrency: "calls at once",
	spend: "billionths of a USD",
	usd: "USD",
} as const;

/** The refusal. */
export function limitRefusal({
	refused,
	retryAfterMs,
	statuses,
}: Extract<LimitDecision, { isAllowed: false }>): RouterError {
	const { unit, max, amount, id } = refused;
	const whose = id.startsWith("key:") ? "this key" : id.startsWith("model:") ? "this model" : "your address";
	const isImpossible = retryAfterMs === Number.POSITIVE_INFINITY;
	const asked = unit === "tokens" ? ` The call may take ${amount}.` : "";
	const when = isImpossible
		? "It will never fit: send less, or ask for fewer."
		: `Try again in ${resetText(retryAfterMs)}.`;
	const message = `Rate limit reached: ${whose} may take ${max} ${UNITS[unit]}.${asked} ${when}`;
	const ms = Math.max(1, Math.ceil(retryAfterMs));
	return new RouterError("rate_limit_exceeded", message, {
		headers: {
			...limitHeaders(statuses, false),
			...(isImpossible
				? { "x-should-retry": "false" }
				: { "retry-after": String(Math.ceil(ms / 1000)), "retry-after-ms": String(ms) }),
		},
	});
}

const RENEWS = {
	day: " It begins anew at midnight (UTC).",
	month: " It begins anew on the 1st (UTC).",
	total: "",
} as const;

/** The refusal of a key whose budget is spent. @param name the key's */
export function spentRefusal(name: string, { usd, per }: Budget): RouterError {
	const message = `The key "${name}" has spent its budget of ${usd} USD ${periodText(per)}.${RENEWS[per]}`;
	return new RouterError("insufficient_quota", message, { headers: { "x-should-retry": "false" } });
}

/** A call whose reserve does not fit in what is left of its key's budget. */
export interface ReservedBudget {
	/** The key's. */
	readonly name: string;
	readonly budget: Budget;
	/** USD that are neither spent nor reserved. */
	readonly left: number;
	/** What this call needs of them. */
	readonly reserve: CallReserve;
	readonly retryAfterMs: number;
}

/** Its refusal: what was reserved, and how to make that less. Calls under way hold the rest, so that it is worth another try. */
export function reservedRefusal({ name, budget, left, reserve, retryAfterMs }: ReservedBudget): RouterError {
	const { prompt, answer, isAnswerLimited, usd } = reserve;
	const asked = isAnswerLimited ? `up to ${answer} tokens (max_tokens)` : `${answer} tokens (it sets no max_tokens)`;
	const less = isAnswerLimited ? "Send a smaller max_tokens" : "Send a max_tokens, which is reserved instead";
	const message =
		`Calls under way hold the rest of the budget of the key "${name}", ${budget.usd} USD ${periodText(budget.per)}: ${usdText(left)} USD are ` +
		`free, and ${usdText(usd)} USD are reserved for this call, for a prompt of about ${prompt} tokens and an answer of ${asked}. ` +
		`${less}, or try again when they are over.`;
	return new RouterError("insufficient_quota", message, {
		headers: {
			"retry-after": String(Math.ceil(retryAfterMs / 1000)),
			"retry-after-ms": String(Math.ceil(retryAfterMs)),
		},
	});
}

/** The refusal of a call whose session has spent its budget, or whose calls under way hold the rest of it. */
export function sessionRefusal(
	{ refused, retryAfterMs, statuses }: Extract<LimitDecision, { isAllowed: false }>,
	reserve: CallReserve,
): RouterError {
	const status = statuses.find(({ limit }) => limit.unit === "spend");
	const left = usdOf(Math.min(refused.max, status?.remaining ?? 0));
	const isHeld = retryAfterMs <= RETRY_MS;
	const budget = `its budget of ${usdText(usdOf(refused.max))} USD within ${SESSION_HOURS} hours`;
	const message = isHeld
		? `Calls under way of this session hold the rest of ${budget}: ${usdText(left)} USD are free, and ${usdText(reserve.usd)} USD are reserved for this call. Try again when they are over, or send a smaller max_tokens.`
		: `This session has spent ${budget}. Begin another session, or have the key's \`session_usd\` raised; what it spent counts no more after ${SESSION_HOURS} hours.`;
	return new RouterError("insufficient_quota", message, {
		headers: {
			...limitHeaders(statuses, false),
			...(isHeld
				? { "retry-after": String(Math.ceil(retryAfterMs / 1000)), "retry-after-ms": String(Math.ceil(retryAfterMs)) }
				: { "x-should-retry": "false" }),
		},
	});
}

const periodText = (per: Budget["per"]): string => (per === "total" ? "in all" : `a ${per}`);

/** Three digits: what is reserved is no exact figure. */
const usdText = (usd: number): string => decimal(Number(usd.toPrecision(3)));

/** `120ms`, `1.5s`, `1m0s`: as OpenAI writes it. */
export function resetText(ms: number): string {
	const whole = Math.max(0, Math.ceil(ms));
	if (whole < 1000) return `${whole}ms`;
	const seconds = whole / 1000;
	if (seconds < 60) return `${seconds}s`;
	return `${Math.floor(seconds / 60)}m${Math.round(seconds % 60)}s`;
}
