/**
 * Limits on what callers take, wherever they are counted: in this process (`window.ts`), or in Redis for all replicas
 * (`redis-limiter.ts`).
 */

/** What a limit counts. `concurrency` is what is under way; the others are what was taken inside the window. */
export type Counted = "requests" | "tokens" | "concurrency";

/** One limit, and what a call would take of it. */
export interface Bound {
	/** Whose count it is: `key:team-a`, `model:fast`, `address:10.0.0.7`. Calls with the same id share the count. */
	readonly id: string;
	readonly counts: Counted;
	/** The most inside any window (or at once). */
	readonly limit: number;
	/** Length of the sliding window, ms. Of no meaning for `concurrency`. */
	readonly windowMs: number;
	/** What this call takes: 1, or its estimated tokens. */
	readonly amount: number;
}

/** How a bound stands after the call was let in or refused; makes the `x-ratelimit-*` headers. */
export interface Standing {
	readonly bound: Bound;
	/** What is left, at least 0. */
	readonly remaining: number;
	/** Until all of it is there again, ms. 0 for `concurrency`. */
	readonly resetMs: number;
}

/** What a call that was let in has taken: given back to `settle` or `cancel`, once. */
export interface Reservation {
	readonly bounds: readonly Bound[];
	/** Unique among all replicas. */
	readonly id: string;
}

/** Whether a call may go on. One standing a bound, in the order asked. */
export type Verdict =
	| { readonly isAllowed: true; readonly reservation: Reservation; readonly standings: readonly Standing[] }
	| {
			readonly isAllowed: false;
			/** The bound that frees up last of those in the way. */
			readonly refused: Bound;
			/** When the call would find room if nobody else came, ms; Infinity where it asks for more than the limit. */
			readonly retryAfterMs: number;
			readonly standings: readonly Standing[];
	  };

/**
 * Counts. All bounds are checked before any is consumed; a refused call consumes none. Never rejects or throws: what can't
 * be counted where it should be is counted in this process alone.
 */
export interface Limiter {
	/** @param now `performance.now()`, ms; a limiter with a clock of its own does not look at it */
	take(bounds: readonly Bound[], now: number): Verdict | Promise<Verdict>;
	/** The call is over: `tokens` it really took stand where the estimate stood (more or less), its concurrency is free. */
	settle(reservation: Reservation, tokens: number, now: number): void;
	/** The call was refused for another reason, or never made: as if it had not been taken. */
	cancel(reservation: Reservation, now: number): void;
}
