/**
 * What a router has heard from Redis of limits. Of what other routers have taken the last that was heard stands for a window, with what they take
 * at the pace that was seen, and lapses over the next, where Redis has not answered yet, or has lost what it counted. Where it can't be asked, and until
 * all has been put back, this router has its share (`fair-share.ts`) of what was left. Pure: no clock, no socket.
 */
import { fairShare, mostOwn, mostOwnAfter, type SharingRouters } from "./fair-share.ts";
import type { Limit, LimitStatus } from "./limiter.ts";
import { isWindow } from "./redis-limit-keys.ts";
import { LEASE_MS } from "./redis-script-parts.ts";

/** Limits that are remembered, those that were asked for last: clients choose addresses. */
const MOST_HEARD = 20_000;
/** A call goes on before Redis has answered where all calls that have no answer take no more than such a part of what is left, and of this router's share of it. */
const UNANSWERED_PART = 1 / 16;
const UNANSWERED_SHARE = 1 / 4;
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
	/** What others had taken, and when that was heard, ms; at first never. */
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
	/** What others had taken at the last word, unless Redis had lost what it counted. Of a budget that is what was spent and reserved. */
	othersTaken: number;
	/** What this router may have taken in all by that word, while Redis is silent: made when it is first needed. */
	most: number | undefined;
	/** Since when Redis was silent then, ms. */
	silentSince: number;
	/** When this thread had last heard anything then, ms. */
	heardBefore: number;
}

/** How this router stands to the others, while Redis can't be asked. */
export interface RedisSilence {
	readonly sharing: SharingRouters;
	/** Since when, ms. */
	readonly since: number;
	/** When this router last heard of all limits of which others had taken anything, ms. */
	readonly toldAt: number;
	/** When its thread last heard anything, ms: what another one has worked out since holds for it, too. */
	readonly heardAt: number;
	/** How many threads ask at once: each has as many calls without an answer as this one, so far as it knows. */
	readonly askingThreads: number;
}

/** Where all threads of the router count together, see `LocalLimiter`. */
export interface RouterCount {
	/** Has all go by one number, of those that were given after that moment. */
	agreed(limit: Limit, heardAt: number, own: number, wordAt: number | undefined): number;
	/** What of a window all had taken before that moment. */
	before(limit: Limit, moment: number): number;
	/** Since when all hear nothing of one outage, where this one has since that moment, and had last heard something then. */
	silentSince(own: number, heardAt: number): number;
}

const NOTHING_LEFT = { left: 0, leftMarked: 0, leftBefore: 0, markedAt: 0 };
const NO_OTHERS = { othersMarked: 0, othersMarkedAt: Number.NaN, othersBefore: 0, othersBeforeAt: 0 };
const NOTHING_TAKEN = { othersTaken: 0, most: undefined, silentSince: 0, heardBefore: 0 };

/** The limits of one limiter at Redis. */
export class HeardLimits {
	/** By their names at Redis. */
	readonly #limits = new Map<string, HeardLimit>();

	/** A limit by its name at Redis. Of a budget that was forgotten this router would take a share once more: who asks for it keeps it. */
	of(key: string, limit: Limit): HeardLimit {
		let heard = this.#limits.get(key);
		if (heard) {
			if (this.#limits.size < MOST_HEARD / 2) return heard;
			this.#limits.delete(key);
		} else {
			const none = {
				others: 0,
				at: Number.NEGATIVE_INFINITY,
				unanswered: 0,
				...NOTHING_LEFT,
				...NO_OTHERS,
				...NOTHING_TAKEN,
			};
			heard = { limit, isHeard: false, ...none };
			if (this.#limits.size >= MOST_HEARD) this.#limits.delete(this.#limits.keys().next().value!);
		}
		this.#limits.set(key, heard);
		return heard;
	}

	/** Whether something was heard of it at that moment or since, ms. */
	isKnown(key: string, since: number): boolean {
		return (this.#limits.get(key)?.at ?? Number.NEGATIVE_INFINITY) >= since;
	}

	/** Those that have a window, by their names at Redis. */
	*windows(): Iterable<[key: string, limit: Limit]> {
		for (const [key, { limit }] of this.#limits) if (isWindow(limit)) yield [key, limit];
	}
}

/** What Redis has answered of a limit. */
export interface Answered {
	/** What is left by what this router has counted alone. */
	readonly own: number;
	/** What is left of all. */
	readonly all: number;
	/** The limit. */
	readonly max: number;
	/** What this router has taken itself. */
	readonly used: number;
}

/** Takes it. @param isYoung Redis has lost what it counted, and others may not have put theirs back yet */
export function hear(heard: HeardLimit, { own, all, max, used }: Answered, now: number, isYoung: boolean): void {
	const others = Math.max(0, own - all);
	hearOthers(heard, isYoung ? Math.max(others, othersOf(heard, now)) : others, now);
	if (!isYoung) hearTaken(heard, max - all - used);
	heard.left = all;
	if (!heard.isHeard) Object.assign(heard, { leftMarked: all, leftBefore: all, markedAt: now });
	else if (now - heard.markedAt > MARK_MS) {
		heard.leftBefore = heard.leftMarked;
		heard.leftMarked = all;
		heard.markedAt = now;
	}
	heard.isHeard = true;
}

/** Takes what Redis says, without being asked for more of it, of a window or of calls at once. @param total what all have taken @param used what this router has */
export function hearTotal(heard: HeardLimit, total: number, used: number, now: number): void {
	hearOthers(heard, Math.max(0, total - used), now);
	hearTaken(heard, total - used);
}

function hearTaken(heard: HeardLimit, others: number): void {
	heard.othersTaken = Math.max(0, others);
	heard.most = undefined;
}

function hearOthers(heard: HeardLimit, others: number, now: number): void {
	heard.others = others;
	heard.at = now;
	if (Number.isNaN(heard.othersMarkedAt)) {
		heard.othersBefore = others;
		heard.othersBeforeAt = now;
	} else if (now - heard.othersMarkedAt > PACE_MS) {
		heard.othersBefore = heard.othersMarked;
		heard.othersBeforeAt = heard.othersMarkedAt;
	} else return;
	heard.othersMarked = others;
	heard.othersMarkedAt = now;
}

/**
 * What others have taken, as far as this router knows. They go on taking as fast as they did lately, for as long as that was seen; and as much as
 * leaves the window they take anew: each router would let it in otherwise. Who is alone for longer has the whole limit in the end.
 */
export function othersOf(heard: HeardLimit, now: number): number {
	const { limit, others, at } = heard;
	const lasts = isWindow(limit) ? limit.windowMs : LEASE_MS;
	const taken = others + paceOf(heard) * Math.min(now - at, seenMs(heard));
	return taken * Math.min(1, Math.max(0, 2 - (now - at) / lasts));
}

const seenMs = ({ at, othersBeforeAt }: HeardLimit): number => Math.max(LEAST_PACE_MS, at - othersBeforeAt);

/** How fast others take of a window, a ms. */
function paceOf(heard: HeardLimit): number {
	if (!isWindow(heard.limit)) return 0;
	return Math.max(0, heard.others - heard.othersBefore) / seenMs(heard);
}

/** A call that Redis has not counted, and what this router has counted of one of its limits. */
export interface Unasked {
	readonly limit: Limit;
	/** What this router has taken, without the call. */
	readonly used: number;
	/** Of a budget: what others have spent, USD. */
	readonly spentByOthers: number;
	/** ms. */
	readonly now: number;
}

/** What this router may have taken of a limit in all, while Redis is silent. */
export function mostAlone(heard: HeardLimit, unasked: Unasked, silence: RedisSilence, count: RouterCount): number {
	const { sharing, toldAt, heardAt } = silence;
	const { limit, spentByOthers, now } = unasked;
	const isDivisible = limit.unit === "usd";
	if (heard.most === undefined) {
		const since = count.silentSince(silence.since, heardAt);
		const own = ownAt(heard, unasked, { ...silence, since }, count);
		const others = Math.max(spentByOthers, othersAt(heard, limit.amount, since, toldAt));
		heard.most = mostOwn(limit.max, { own, others, isDivisible }, sharing);
		heard.silentSince = since;
		heard.heardBefore = heardAt;
	}
	// Another thread may have heard of this limit later.
	const most = count.agreed(limit, heard.heardBefore, heard.most, isWindow(limit) ? heard.at : undefined);
	const lastsMs = isDivisible ? Number.POSITIVE_INFINITY : isWindow(limit) ? limit.windowMs : LEASE_MS;
	const lasted = { silentMs: now - heard.silentSince, lastsMs };
	return mostOwnAfter(most, fairShare(limit.max, sharing, isDivisible), sharing, lasted);
}

/**
 * What this router had taken when Redis fell silent. What it has asked for since is no part of that, but of its share. In a window stands when each call
 * of it came; of other limits each thread that asks is taken to have as many without an answer as this one.
 */
function ownAt(
	heard: HeardLimit,
	{ limit, used }: Unasked,
	{ since, askingThreads }: RedisSilence,
	count: RouterCount,
) {
	const unanswered = (threads: number) => Math.max(0, heard.unanswered * threads - limit.amount);
	if (!isWindow(limit)) return Math.max(0, used - unanswered(askingThreads));
	return Math.max(0, Math.min(count.before(limit, since), used - unanswered(1)));
}

/**
 * What others had taken when Redis fell silent. What changed since this router was last asked for the limit it was told, up to its last look. By their pace
 * they have taken so much since, and one standard deviation more, as of calls that come at random: what is let in too few is there when Redis is back.
 * @param amount of a call
 */
function othersAt(heard: HeardLimit, amount: number, since: number, toldAt: number): number {
	const { limit, othersTaken, at } = heard;
	if (isWindow(limit) && since - at >= limit.windowMs) return 0;
	const unheardMs = Math.min(Math.max(0, since - Math.max(at, toldAt)), seenMs(heard));
	const taken = paceOf(heard) * unheardMs;
	return othersTaken + Math.ceil(taken + Math.sqrt(taken * amount));
}

/** How a limit stands by what this router has counted, and what it has heard of others. @param status by what it has counted */
export function withOthers(heard: HeardLimit, status: LimitStatus, now: number): LimitStatus {
	const others = othersOf(heard, now);
	const whole = status.limit.unit === "usd" ? others : Math.round(others);
	return whole === 0 ? status : { ...status, remaining: status.remaining - whole };
}

/** Whether a call may go on before Redis has answered. @param left by what is known, without what it takes itself */
export function goesOn(heard: HeardLimit, left: number, { routers }: SharingRouters): boolean {
	const taken = Math.max(0, heard.leftBefore - heard.left);
	const part = Math.min(UNANSWERED_PART, UNANSWERED_SHARE / routers);
	return heard.isHeard && heard.unanswered <= left * part && left >= taken * LASTS_TIMES;
}
