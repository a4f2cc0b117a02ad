/** How limits stand by a router's share of them, while Redis can't be asked. Pure. */
import { TOLERANCE_USD } from "./counters.ts";
import type { LimitStatus } from "./limiter.ts";

/** How a limit stands by what this router may take of it by itself, with the call. */
export interface ShareStatus extends LimitStatus {
	/** Of a budget: none of this router's calls is under way that has reserved some of it. */
	readonly isFirst: boolean;
}

/**
 * Whether the call fits. Of a budget anything that is left will do for one call, as where Redis is there; of tokens what is certain: a guess that is no part of the share is let
 * in once.
 */
export function isInShare({ limit: { amount, certain = amount }, remaining, isFirst }: ShareStatus): boolean {
	return remaining >= (isFirst ? TOLERANCE_USD - amount : certain - amount - TOLERANCE_USD);
}

/** As clients are shown it. */
export const shownStatus = ({ limit, remaining, resetMs }: LimitStatus): LimitStatus => ({
	limit,
	remaining: Math.max(0, remaining),
	resetMs,
});
