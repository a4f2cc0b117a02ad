/** What a call may take that Redis has not counted, or not yet: by what this router has counted, what it has heard of others, and its share of what was left. */
import { usdOf } from "../usage/spend.ts";
import { RETRY_MS, TOLERANCE_USD } from "./counters.ts";
import { goesOn, type HeardLimit, mostAlone, type RouterCount, withOthers } from "./heard-limits.ts";
import type { LimitDecision, LimitStatus, LocalLimiter } from "./limiter.ts";
import type { RedisReservations } from "./redis-reservations.ts";
import type { RedisWatch } from "./redis-watch.ts";
import { isInShare, type ShareStatus, shownStatus } from "./share-status.ts";

/** A call, as this router has counted it. */
export interface LimitedCall {
	readonly local: Extract<LimitDecision, { isAllowed: true }>;
	/** Of each limit what was heard of it. */
	readonly heard: readonly HeardLimit[];
	/** When, `performance.now()`. */
	readonly now: number;
}

/** Those of one limiter. */
export class RedisShares {
	readonly #router: RouterCount;

	/** @param threads how many are taken to ask at once: each knows what its own calls have no answer for */
	constructor(
		local: LocalLimiter,
		private readonly watch: Pick<RedisWatch, "sharing" | "silence">,
		private readonly reservations: Pick<RedisReservations, "ownSpending">,
		private readonly threads: number,
	) {
		this.#router = {
			agreed: (limit, heardAt, own, wordAt) => local.agreed(limit, heardAt, performance.now(), own, wordAt),
			before: (limit, moment) => local.countedBefore(limit, moment),
			silentSince: (own, heardAt) => local.trouble.silentSince(own, heardAt),
		};
	}

	/** What this router has taken of a limit, the call included; of a budget what it has spent, and what it has reserved. */
	usedOf({ limit: { max, spending }, remaining }: LimitStatus): number {
		if (!spending) return max - remaining;
		return max - spending.usd - remaining + usdOf(this.reservations.ownSpending(spending));
	}

	/** Whether a call is far enough from its limits, by what is known, to go on before Redis has answered. */
	goesUnanswered(call: LimitedCall): boolean {
		const { local, heard, now } = call;
		const { sharing } = this.watch;
		const isFar = local.statuses.every((status, at) => {
			return goesOn(heard[at]!, withOthers(heard[at]!, status, now).remaining, sharing);
		});
		return isFar && this.#statuses(call).every(isInShare);
	}

	/** The refusal of a call that does not fit in what this router may take by itself; undefined where it does. */
	refusal(call: LimitedCall): LimitDecision | undefined {
		const statuses = this.#statuses(call);
		const over = statuses.find((status) => !isInShare(status));
		if (!over) return undefined;
		// When there is more nobody knows.
		return { isAllowed: false, refused: over.limit, retryAfterMs: RETRY_MS, statuses: statuses.map(shownStatus) };
	}

	/** How limits stand by what this router may take of them by itself, as clients are shown it. */
	shown(call: LimitedCall): LimitStatus[] {
		return this.#statuses(call).map(shownStatus);
	}

	/** The same: below 0 where that is too much. */
	#statuses({ local, heard, now }: LimitedCall): ShareStatus[] {
		const silence = { ...this.watch.silence(now), askingThreads: this.threads };
		return local.statuses.map((status, at) => {
			const { limit } = status;
			const { spending, amount } = limit;
			const used = this.usedOf(status);
			const own = spending ? usdOf(this.reservations.ownSpending(spending)) : 0;
			const spentByOthers = spending ? spending.usd - own : 0;
			const most = mostAlone(heard[at]!, { limit, used: used - amount, spentByOthers, now }, silence, this.#router);
			const isFirst = spending !== undefined && used - own - amount <= TOLERANCE_USD;
			return { ...status, remaining: Math.min(status.remaining, most - used), isFirst };
		});
	}
}
