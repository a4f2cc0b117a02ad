/**
 * Limits on what callers take, wherever they are counted: in this process (`sliding-window.ts`), or in Redis for all replicas
 * (`redis-limiter.ts`).
 */
import type { Spending } from "../usage/spend.ts";
import type { RedisTrouble } from "./redis-trouble.ts";

/**
 * What a limit counts. `concurrency` is what is under way, `usd` what was spent and what is reserved for calls under way; the others
 * are what was taken inside the window: `spend` is of what calls cost, in whole billionths of a USD.
 */
export type LimitUnit = "requests" | "tokens" | "spend" | "concurrency" | "usd";

/** How long what a session has spent counts: the longest window that there is. */
export const SESSION_HOURS = 24;
/** Length of the longest window, ms. */
export const LONGEST_WINDOW_MS = SESSION_HOURS * 3_600_000;

/** One limit, and what a call would take of it. */
export interface Limit {
	/** Whose count it is: `key:team-a`, `model:fast`, `address:10.0.0.7`. Calls with the same id share the count. */
	readonly id: string;
	readonly unit: LimitUnit;
	/** The most inside any window (or at once). */
	readonly max: number;
	/** Length of the sliding window, ms. Of no meaning for `concurrency` and `usd`. */
	readonly windowMs: number;
	/** What this call takes: 1, its estimated tokens, or what it may cost, in USD (above 0), of `spend` in billionths of one. */
	readonly amount: number;
	/**
	 * Of `tokens` and `spend`: what of `amount` is certain. The rest is a guess: where it does not fit, and none of the count's calls is under way (in Redis:
	 * none of those with a guess), the call is admitted for what is certain. Absent: all of it is.
	 */
	readonly certain?: number | undefined;
	/**
	 * Of `usd`, and only there: what all replicas have spent in the current period, as far as this one knows. A call is
	 * admitted where `amount` fits beside what was spent and reserved, or where anything is left and nothing is reserved: so a budget is passed by one call at most, and none of it is out of reach.
	 */
	readonly spending?: Spending | undefined;
}

/** How a limit stands after the call was admitted or refused; makes the `x-ratelimit-*` headers. */
export interface LimitStatus {
	readonly limit: Limit;
	/** What is left, at least 0. */
	readonly remaining: number;
	/** Until all of it is there again, ms. 0 for `concurrency` and `usd`. */
	readonly resetMs: number;
}

/** What a call that was admitted has taken: given back to `settle` or `cancel`, once. */
export interface Reservation {
	/** With the amounts that were taken. */
	readonly limits: readonly Limit[];
	/** Unique among all replicas. */
	readonly id: string;
}

/** Whether a call may go on. One status a limit, in the order asked. */
export type LimitDecision =
	| { readonly isAllowed: true; readonly reservation: Reservation; readonly statuses: readonly LimitStatus[] }
	| {
			readonly isAllowed: false;
			/** The limit that frees up last of those in the way. */
			readonly refused: Limit;
			/** When the call would find room if nobody else came, ms; Infinity where it asks for more than the limit, or a budget is spent. */
			readonly retryAfterMs: number;
			readonly statuses: readonly LimitStatus[];
	  };

/**
 * Counts. All limits are checked before any is consumed; a refused call consumes none. Never rejects or throws: what can't
 * be counted where it should be is counted in this process alone.
 */
export interface Limiter {
	/** @param now `performance.now()`, ms; a limiter with a clock of its own does not look at it */
	take(limits: readonly Limit[], now: number): LimitDecision | Promise<LimitDecision>;
	/**
	 * The call is over: `tokens` it really took stand where the estimate stood (more or less), its concurrency and what was reserved of a
	 * budget are free. What it cost has been added to the spend store before.
	 * @param spent what it cost, in billionths of a USD, for limits of `spend`
	 */
	settle(reservation: Reservation, tokens: number, now: number, spent?: number): void;
	/** The call was refused for another reason, or never made: as if it had not been taken. */
	cancel(reservation: Reservation, now: number): void;
}

/** Which window. */
export type WindowName = Pick<Limit, "id" | "unit">;

/** Of which limit threads agree on something; of a budget in its period alone. */
export type AgreedLimit = Pick<Limit, "id" | "unit" | "spending">;

/** What was taken of a window: when, on the clock of whoever asks, ms; and how much. */
export interface TakenAt {
	readonly at: number;
	readonly amount: number;
}

/** Counts in this process. Decides at once. */
export interface LocalLimiter extends Limiter {
	/** What all threads that count together know of trouble with Redis. */
	readonly trouble: RedisTrouble;
	take(limits: readonly Limit[], now: number): LimitDecision;
	/** What is in a window that was taken before a moment, the oldest first: of all threads that count together. Nothing of a limit without one. */
	takenBefore(window: WindowName, before: number): readonly TakenAt[];
	/** What is counted of a limit by all threads that count together; 0 where nothing is. */
	counted(limit: WindowName, now: number): number;
	/** What of that a window had before a moment; 0 of a limit without one. */
	countedBefore(window: WindowName, before: number): number;
	/**
	 * One number for all threads that count together, of a limit that has just been taken: what another one has given since that moment, or this
	 * one, which counts for the others then.
	 * @param wordAt what `own` goes by is of that moment: of two that were given so, the one with the later word counts, and with the same word the
	 *   smaller one; the first where it is not given
	 */
	agreed(limit: AgreedLimit, since: number, now: number, own: number, wordAt?: number): number;
}
