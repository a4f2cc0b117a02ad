/** What Redis answers of a call that asks for limits. Pure. */
import { usdOf } from "../usage/spend.ts";
import type { LimitStatus } from "./limiter.ts";
import type { RedisLimit } from "./redis-limit-keys.ts";

/** What Redis says of a call. */
export interface RedisDecision {
	readonly isTaken: boolean;
	/** On Redis's clock, ms. */
	readonly at: number;
	readonly refused: number;
	/** ms; -1: for ever. */
	readonly waitMs: number;
	/** Since when Redis has lost nothing, ms. */
	readonly since: number;
	readonly found: readonly { readonly limit: RedisLimit; readonly remaining: number; readonly resetMs: number }[];
}

/** An answer to TAKE; undefined where it is none. */
export function decisionIn(answer: unknown, asked: readonly RedisLimit[]): RedisDecision | undefined {
	if (!isNumbers(answer, 5 + asked.length * 3)) return undefined;
	const [isTaken, at, refused, waitMs, since] = answer as [number, number, number, number, number];
	const found = asked.map((limit, index) => {
		const [remaining, resetMs, amount] = answer.slice(5 + index * 3) as [number, number, number];
		return { limit: amountOf(limit, amount), remaining: amountFrom(limit, remaining), resetMs };
	});
	return { isTaken: isTaken === 1, at: at / 1000, refused, waitMs, since: since / 1000, found };
}

/** Clients are shown limits alone. */
export function isLimitStatus(found: { readonly limit: RedisLimit }): found is LimitStatus {
	return found.limit.unit !== "guesses";
}

/** The limit with what Redis took of it. */
function amountOf<T extends RedisLimit>(limit: T, amount: number): T {
	return (limit.unit === "tokens" || limit.unit === "spend") && amount !== limit.amount ? { ...limit, amount } : limit;
}

const amountFrom = ({ spending }: RedisLimit, counted: number): number => (spending ? usdOf(counted) : counted);

function isNumbers(answer: unknown, count: number): answer is number[] {
	return Array.isArray(answer) && answer.length === count && answer.every((each) => typeof each === "number");
}
