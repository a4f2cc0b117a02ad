/**
 * What a router has heard from Redis of limits. Of what other routers have taken the last that was heard stands for a window, with what they take
 * at the pace that was seen, and lapses over the next, where Redis can't be asked, has not answered yet, or has lost what it counted. Pure: no clock, no socket.
 */
import type { Limit, LimitStatus } from "./limiter.ts";
import { isWindow } from "./redis-limit-keys.ts";
import { LEASE_MS } from "./redis-script-parts.ts";

/** Limits that are remembered: clients choose addresses. */
const MOST_HEARD = 20_000;
/** A call goes on before Redis has answered where all calls that have no answer take no more than such a part of what is left. */
const UNANSWERED_PART = 1 / 16;
/** And where so many times what all have taken in the last second or two is left. */
const LASTS_TIMES = 2;
const MARK_MS = 1_000;
/** Over so long, or twice as long, it is looked how fast others take, ms: they are taken to go on so for as long, and for no longer. */
const PACE_MS = 5_000;
const LEAST_PACE_MS = 1_000;

/** One limit. */
export interface HeardLimit {
	/** Without what a call takes. */
	readonly limit: Limit;
	/** Whether Redis has answered. */
	isHeard: boolean;
	/** What others had taken, and when that was heard, ms. */
	others: number;
	at: number;
	/** The same when the last five seconds began, and when the five before did. */
	othersMarked: number;
	othersMarkedAt: number;
	othersBefore: number;
	othersBeforeAt: number;
	/** What is left of all, as Redis says. */
	left: number;
	/** What was left when the last second began, and when the one before did. */
	leftMarked: number;
	leftBefore: number;
	markedAt: number;
	/** What calls take that Redis has not answered yet. */
	unanswered: number;
}

const NOTHING_LEFT = { left: 0, leftMarked: 0, leftBefore: 0, markedAt: 0 };
const NO_OTHERS = { othersMarked: 0, othersMarkedAt: 0, othersBefore: 0, othersBeforeAt: 0 };

/** The limits of one limiter at Redis. */
export class HeardLimits {
	/** By their names at Redis. */
	readonly #limits = new Map<string, HeardLimit>();

	/** A limit by its name at Redis. */
	of(key: string, limit: Limit): HeardLimit {
		let heard = this.#limits.get(key);
		if (!heard) {
			heard = { limit, isHeard: false, others: 0, at: 0, unanswered: 0, ...NOTHING_LEFT, ...NO_OTHERS };
			if (this.#limits.size >= MOST_HEARD) this.#limits.delete(this.#limits.keys().next().value!);
			this.#limits.set(key, heard);
		}
		return heard;
	}

	/** Those that have a window, by their names at Redis. */
	*windows(): Iterable<[key: string, limit: Limit]> {
		for (const [key, { limit }] of this.#limits) if (isWindow(limit)) yield [key, limit];
	}
}

/**
 * Takes what Redis has answered. @param own what is left by what this router has counted alone @param all what is left of all
 * @param isYoung Redis has lost what it counted, and others may not have put theirs back yet
 */
export function hear(heard: HeardLimit, own: number, all: number, now: number, isYoung: boolean): void {
	const others = Math.max(0, own - all);
	heard.others = isYoung ? Math.max(others, othersOf(heard, now)) : others;
	heard.at = now;
	if (!heard.isHeard) {
		Object.assign(heard, { othersMarked: others, othersMarkedAt: now, othersBefore: others, othersBeforeAt: now });
	} else if (now - heard.othersMarkedAt > PACE_MS) {
		heard.othersBefore = heard.othersMarked;
		heard.othersBeforeAt = heard.othersMarkedAt;
		heard.othersMarked = heard.others;
		heard.othersMarkedAt = now;
	}
	heard.left = all;
	if (!heard.isHeard) Object.assign(heard, { leftMarked: all, leftBefore: all, markedAt: now });
	else if (now - heard.markedAt > MARK_MS) {
		heard.leftBefore = heard.leftMarked;
		heard.leftMarked = all;
		heard.markedAt = now;
	}
	heard.isHeard = true;
}

/**
 * What others have taken, as far as this router knows. They go on taking as fast as they did lately, for as long as that was seen; and as much as
 * leaves the window they take anew: each router would let it in otherwise. Who is alone for longer has the whole limit in the end.
 */
export function othersOf(heard: HeardLimit, now: number): number {
	const { limit, others, at, othersBefore, othersBeforeAt } = heard;
	const lasts = isWindow(limit) ? limit.windowMs : LEASE_MS;
	const seenMs = Math.max(LEAST_PACE_MS, at - othersBeforeAt);
	const pace = isWindow(limit) ? Math.max(0, others - othersBefore) / seenMs : 0;
	const taken = others + pace * Math.min(now - at, seenMs);
	return taken * Math.min(1, Math.max(0, 2 - (now - at) / lasts));
}

/** How a limit stands by what this router has counted, and what it has heard of others. @param status by what it has counted */
export function withOthers(heard: HeardLimit, status: LimitStatus, now: number): LimitStatus {
	const others = othersOf(heard, now);
	const whole = status.limit.unit === "usd" ? others : Math.round(others);
	return whole === 0 ? status : { ...status, remaining: status.remaining - whole };
}

/** Whether a call may go on before Redis has answered. @param left by what is known, without what it takes itself */
export function goesOn(heard: HeardLimit, left: number): boolean {
	const taken = Math.max(0, heard.leftBefore - heard.left);
	return heard.isHeard && heard.unanswered <= left * UNANSWERED_PART && left >= taken * LASTS_TIMES;
}
