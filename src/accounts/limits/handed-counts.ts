/** What is counted of limits, as one process hands it to the one that takes its place. */
import type { CountState } from "./counters.ts";
import type { Limit, LimitUnit, LocalLimiter, Reservation } from "./limiter.ts";

/** What a call has taken of its limits: also one of another process whose counters these are now. */
export interface HeldLimits {
	/** With the amounts that were taken. */
	readonly limits: readonly Limit[];
	/** Of each limit: the number of its entry; -1 for `concurrency` and `usd`. */
	readonly entries: readonly number[];
}

/** Which count. */
export interface CountName {
	readonly unit: LimitUnit;
	/** "" where it is known by its hash alone. */
	readonly id: string;
	/** Of a process of several threads: the hash of its id, by the seeds that come with it. */
	readonly hash?: string | undefined;
}

/** What is counted of one limit, and of which. */
export interface HandedCount extends CountName {
	/** Length of its window, ms; 0 where it has none. */
	readonly windowMs: number;
	readonly state: CountState;
}

/** All of them. */
export interface HandedCounts {
	readonly counts: readonly HandedCount[];
	/** By which ids were hashed, where they were. */
	readonly seeds?: readonly number[] | undefined;
}

/** Counts in this process, so that another one can go on with it. */
export interface HandableLimiter extends LocalLimiter {
	/** All that is counted. Numbers of entries are those of `heldBy`. */
	handOn(now: number): HandedCounts;
	/** The other process has gone: what comes from here on is not told to it. */
	takeBack(): void;
	/** Goes on with what another process has counted. Before anything is counted here. @param ahead how far this one's clock is ahead of that one's, ms */
	takeOver(counts: HandedCounts, ahead: number): void;
	/** One text for a count, whether it came by its id or by its hash. */
	nameOf(count: CountName): string;
	/** The reservation of a call that another process makes, which has taken this here: `takeOver`, or `take`. */
	reservationOf(held: HeldLimits): Reservation;
	/** What a reservation of this limiter's holds. */
	heldBy(reservation: Reservation): HeldLimits;
	/** Gives back what so many calls of another process hold of a count; what they have taken of its window leaves with that. */
	release(count: CountName, running: number, sum: number): void;
}
