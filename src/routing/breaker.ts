/**
 * The circuit breaker of one target: a pure state machine. ./design.md has its table, and why each number is what it is.
 * Times are ms on any clock that never goes back.
 */
import { FAILURES, type FailureKind } from "../providers/failure.ts";

/** Failures in a row that open it. */
export const CONSECUTIVE = 5;
/** Or: this many attempts within the window, more than half of them failed. */
export const LEAST_ATTEMPTS = 20;
/** How long that looks back. */
export const WINDOW_MS = 30_000;
/** First pause before a probe. */
export const FIRST_PAUSE_MS = 1_000;
/** From the beginning of one probe to that of the next, at least: each may cost a call its time. */
export const LEAST_GAP_MS = 5_000;
/** The longest pause; each failed probe doubles it up to that. With a call a second a target is found back within it. */
export const LONGEST_PAUSE_MS = 10_000;
/** A probe that has not ended by then no longer keeps the next one waiting: it may hang where the target has come back since. */
export const PROBE_MS = 10_000;
/** How long a target that has just come back takes to get its whole share again. */
export const RAMP_MS = 30_000;
/** Its share at first. */
export const FIRST_SHARE = 0.1;

/** Slots of the window: `counts` has two numbers for each. */
export const WINDOW_SLOTS = 6;
const SLOT_MS = WINDOW_MS / WINDOW_SLOTS;

/** One breaker. Immutable. */
export interface Breaker {
	readonly state: "closed" | "open" | "probing";
	/** Failures since the last success. */
	readonly consecutive: number;
	/** The slot of the window that is being filled, counted from the clock's zero. */
	readonly slot: number;
	/** The window: per slot, newest first, how many were good and how many bad. */
	readonly counts: readonly number[];
	/** How long it paused when it last opened; 0 where it has not, or has been well for a whole ramp. */
	readonly pauseMs: number;
	/** `open`: from when a probe may go. `probing`: from when another may. */
	readonly probeAt: number;
	/** When the last probe began; -Infinity where none did since it was last closed. */
	readonly probedAt: number;
	/** When it last closed after having been open; -Infinity where it never was. */
	readonly closedAt: number;
}

/**
 * What happened. `begun`: an attempt begins. `good`: the target has answered, whatever it said. `bad`: it failed in a way that
 * speaks against its health. `dead`: its engine died, and nothing is served there until it has started again. `void`: the attempt says
 * nothing (its client left).
 */
export type BreakerEvent = "begun" | "good" | "bad" | "dead" | "void";

/** Transport, 5xx and timeouts speak against a target; whatever else it answers shows that it is there. */
export function breakerEventOf(failure: FailureKind | undefined): BreakerEvent {
	if (failure === undefined) return "good";
	if (failure === "cancelled" || failure === "internal") return "void";
	if (failure === "engine_died") return "dead";
	return FAILURES[failure].countsForBreaker ? "bad" : "good";
}

const NO_COUNTS: readonly number[] = new Array<number>(WINDOW_SLOTS * 2).fill(0);

/** A target nothing is known of. */
export const CLOSED: Breaker = {
	state: "closed",
	consecutive: 0,
	slot: 0,
	counts: NO_COUNTS,
	pauseMs: 0,
	probeAt: 0,
	probedAt: Number.NEGATIVE_INFINITY,
	closedAt: Number.NEGATIVE_INFINITY,
};

/** The same breaker on a clock that is so much ahead of the one it was kept by, ms. */
export function onOtherClock(breaker: Breaker, ahead: number): Breaker {
	const { slot, probeAt, probedAt, closedAt } = breaker;
	return {
		...breaker,
		slot: slot + Math.round(ahead / SLOT_MS),
		probeAt: probeAt + ahead,
		probedAt: probedAt + ahead,
		closedAt: closedAt + ahead,
	};
}

/** Whether a call may be sent there now as any other (`yes`), as the one that finds out (`probe`), or not at all. */
export function admits({ state, probeAt }: Breaker, now: number): "yes" | "probe" | "no" {
	if (state === "closed") return "yes";
	return now >= probeAt ? "probe" : "no";
}

/** The share of its calls that a target may get now, 0 to 1: all, or after an outage first a tenth, then more. */
export function shareOf({ state, closedAt }: Breaker, now: number): number {
	if (state !== "closed") return 0;
	const share = (now - closedAt) / RAMP_MS;
	return share >= 1 ? 1 : Math.max(FIRST_SHARE, share);
}

/**
 * The breaker after an event. `isProbe`: of an attempt whose beginning made it `probing`; there may be several, begun one after the
 * other. What other attempts come to while it is not closed changes nothing: they began before.
 */
export function breakerAfter(breaker: Breaker, event: BreakerEvent, now: number, isProbe = false): Breaker {
	if (event === "dead") return dead(breaker, now, isProbe);
	if (breaker.state === "closed") return event === "good" || event === "bad" ? counted(breaker, event, now) : breaker;
	if (event === "begun") {
		return now >= breaker.probeAt ? { ...breaker, state: "probing", probedAt: now, probeAt: now + PROBE_MS } : breaker;
	}
	if (!isProbe) return breaker;
	if (event === "good") return { ...CLOSED, pauseMs: breaker.pauseMs, closedAt: now };
	if (breaker.state === "open") return breaker;
	// From its beginning, not its end: a probe that hangs for long must not keep the next one waiting, too.
	const pauseMs = event === "bad" ? longer(breaker) : LEAST_GAP_MS;
	return {
		...breaker,
		state: "open",
		pauseMs: event === "bad" ? pauseMs : breaker.pauseMs,
		probeAt: Math.max(now, breaker.probedAt + pauseMs),
	};
}

function counted(breaker: Breaker, event: "good" | "bad", now: number): Breaker {
	const slot = Math.floor(now / SLOT_MS);
	const counts = movedBy(breaker.counts, slot - breaker.slot);
	counts[event === "good" ? 0 : 1]! += 1;
	const consecutive = event === "good" ? 0 : breaker.consecutive + 1;
	const next: Breaker = { ...breaker, consecutive, slot, counts };
	return event === "bad" && (consecutive >= CONSECUTIVE || isMostlyBad(counts)) ? open(next, now) : next;
}

/** The window, with as many empty slots before it as have passed. */
function movedBy(counts: readonly number[], slots: number): number[] {
	if (slots <= 0) return counts.slice();
	if (slots >= WINDOW_SLOTS) return NO_COUNTS.slice();
	return [...NO_COUNTS.slice(0, slots * 2), ...counts.slice(0, (WINDOW_SLOTS - slots) * 2)];
}

function isMostlyBad(counts: readonly number[]): boolean {
	let good = 0;
	let bad = 0;
	for (let at = 0; at < counts.length; at += 2) {
		good += counts[at]!;
		bad += counts[at + 1]!;
	}
	return good + bad >= LEAST_ATTEMPTS && bad > good;
}

/** Opens it: for twice as long as before where that was not long ago. The window starts anew, so that it closes for good. */
function open(breaker: Breaker, now: number): Breaker {
	const isRelapse = now - breaker.closedAt < RAMP_MS;
	const pauseMs = isRelapse ? longer(breaker) : FIRST_PAUSE_MS;
	return { ...CLOSED, state: "open", pauseMs, probeAt: now + pauseMs };
}

/** Nobody need fail there any more to find out. What reports the same death again changes nothing. */
function dead(breaker: Breaker, now: number, isProbe: boolean): Breaker {
	if (breaker.state !== "closed" && !isProbe) return breaker;
	const pauseMs = isProbe || now - breaker.closedAt < RAMP_MS ? longer(breaker) : LEAST_GAP_MS;
	return { ...CLOSED, state: "open", pauseMs, probeAt: now + pauseMs };
}

/** The pause after one more failure. */
function longer({ pauseMs }: Breaker): number {
	return Math.min(Math.max(pauseMs * 2, LEAST_GAP_MS), LONGEST_PAUSE_MS);
}
