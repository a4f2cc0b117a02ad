/** Limits that all replicas count together, in Redis. */
import type { RedisAnswer, SharedRedis } from "../../store/redis.ts";
import { HUNG_MS } from "../../store/redis-state.ts";
import { unitsOf, usdOf } from "../usage/spend.ts";
import { RETRY_MS } from "./counters.ts";
import { goesOn, type HeardLimit, HeardLimits, hear, withOthers } from "./heard-limits.ts";
import type { Limit, LimitDecision, Limiter, LimitStatus, LocalLimiter, Reservation } from "./limiter.ts";
import { isWindow, LETTERS, leasesKey, limitKeys, type RedisLimit, sinceKey, withLeases } from "./redis-limit-keys.ts";
import { type LimitDelta, RedisReservation, RedisReservations, type Spender } from "./redis-reservations.ts";
import { LOOK, TAKE } from "./redis-script.ts";
import { LEASE_MS } from "./redis-script-parts.ts";
import { UntoldCounts } from "./untold-counts.ts";

/** How often leases of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;
/** How often it is looked whether Redis has lost what it counted, ms: by calls it is seen at once. */
const LOOK_MS = 1_000;
/** How long routers take to put back what Redis has lost, ms: each looks within a second, some have to connect first. */
const PUT_BACK_MS = 3_000;

/** What differs. */
export interface RedisLimiterOptions {
	/** It is a worker's, and its router gives back what it held where it dies. */
	readonly isOneOfSeveral?: boolean;
	/** The process, of which several limiters may be; by default `router`. */
	readonly process?: string;
	/** How often leases of running calls are renewed, ms. */
	readonly renewMs?: number;
}

/** A call that is let in by what this process has counted. */
interface AskedCall {
	/** Redis was asked, and has not said that it counted nothing; otherwise it is told of what the call takes of windows. */
	isAsked: boolean;
	readonly local: Extract<LimitDecision, { isAllowed: true }>;
	readonly taken: RedisReservation;
	/** Of each limit: its name at Redis, and what was heard of it. */
	readonly keys: readonly string[];
	readonly heard: readonly HeardLimit[];
	/** When, `performance.now()`. */
	readonly now: number;
}

/** What Redis says of a call. */
interface RedisDecision {
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

/**
 * Counts in this process first: what one process has admitted alone is part of what all have, so what is too much for it needs no further
 * question. Then Redis is asked, and its answer waited for up to the deadline; near a limit for as long as it answers at all. What was let in
 * without an answer Redis is told when it can be, and what it has lost (a flush) each router puts back. Until then what was heard of others stands.
 */
export class RedisLimiter implements Limiter {
	readonly #renewMs: number;
	/** Those that were let in and are not over. */
	readonly #calls = new WeakMap<Reservation, AskedCall>();
	readonly #heard = new HeardLimits();
	readonly #reservations: RedisReservations;
	readonly #untold: UntoldCounts;
	#since: number | undefined;
	/** How far Redis's clock is ahead of `performance.now()`, by the last answer, ms. */
	#offset = 0;
	/** Redis has lost what it counted, at least once. */
	#hasLost = false;
	#count = 0;
	/** The worker's list of where it has leases; none where the router has one worker. */
	readonly #list: readonly string[];

	/**
	 * @param router names this router, or its worker, among all that share the Redis; another one after a restart
	 * @param spender what this replica alone has spent, and its name, which is the same after a restart
	 */
	constructor(
		private readonly redis: Pick<SharedRedis, "key" | "ask" | "isUp" | "isAlive" | "onAlive">,
		private readonly local: LocalLimiter,
		private readonly router: string,
		spender: Spender,
		{ isOneOfSeveral = false, process = router, renewMs = RENEW_MS }: RedisLimiterOptions = {},
	) {
		this.#renewMs = renewMs;
		this.#list = isOneOfSeveral ? [leasesKey(redis, router)] : [];
		this.#reservations = new RedisReservations(redis, spender, this.#list);
		this.#untold = new UntoldCounts(redis, local, this.#heard, process);
		redis.onAlive(() => {
			this.#reservations.sendPending();
			void this.#look();
		});
	}

	/** Renews leases, and looks after what Redis has lost, until it is ended. */
	open(): () => void {
		const timers = [
			setInterval(() => this.#reservations.renew(false), this.#renewMs),
			setInterval(() => void this.#look(), LOOK_MS),
		];
		for (const timer of timers) timer.unref();
		return () => {
			for (const timer of timers) clearInterval(timer);
		};
	}

	async take(limits: readonly Limit[], now: number): Promise<LimitDecision> {
		const local = this.local.take(limits, now);
		if (!local.isAllowed || limits.length === 0) return local;
		// As it was asked, and not as this process has taken it: a call of another process may be under way.
		const asked = withLeases(limits);
		const names = limitKeys(this.redis, asked);
		const keys = names.filter((_, index) => index < asked.length && asked[index]!.unit !== "guesses");
		const heard = limits.map((limit, index) => this.#heard.of(keys[index]!, limit));
		const taken = new RedisReservation(local.reservation, `${this.router}:${this.#count++}`, asked);
		names.push(...this.#list, sinceKey(this.redis));
		const args = asked.flatMap((limit) => this.#takeArguments(limit));
		const sent = this.redis.ask(TAKE, names, [taken.id, ...this.#reservations.spenderOf(asked), ...args]);
		const call = { isAsked: sent !== undefined, local, taken, keys, heard, now };
		let answer: unknown;
		if (sent) {
			this.#awaits(call, 1);
			void sent.whole.then(() => this.#awaits(call, -1));
			if (this.redis.isUp) answer = await sent.soon;
			if (answer === undefined && !sent.isRefused && !goesUnanswered(call)) answer = await within(sent.whole, HUNG_MS);
		}
		const decision = decisionIn(answer, asked);
		if (decision) return this.#decided(call, decision);
		call.isAsked = sent !== undefined && !sent.isRefused;
		return this.#withoutAnswer(call, call.isAsked ? sent : undefined);
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		const call = this.#calls.get(reservation);
		this.local.settle(call?.local.reservation ?? reservation, tokens, now);
		this.#end(reservation, call, ({ unit, amount }) => (unit === "tokens" ? tokens - amount : 0));
	}

	cancel(reservation: Reservation, now: number): void {
		const call = this.#calls.get(reservation);
		this.local.cancel(call?.local.reservation ?? reservation, now);
		this.#end(reservation, call, ({ amount }) => -amount);
	}

	#end(reservation: Reservation, call: AskedCall | undefined, deltaOf: LimitDelta): void {
		if (!call) return;
		this.#calls.delete(reservation);
		if (call.isAsked) this.#reservations.end(call.taken, deltaOf);
		else this.#note(call, deltaOf);
	}

	#decided(call: AskedCall, decision: RedisDecision): LimitDecision {
		const { local, taken, now } = call;
		const isYoung = this.#hear(call, decision);
		const statuses = decision.found.filter(isLimitStatus);
		if (!decision.isTaken) {
			this.local.cancel(local.reservation, now);
			const retryAfterMs = decision.waitMs === -1 ? Number.POSITIVE_INFINITY : decision.waitMs;
			return { isAllowed: false, refused: taken.limits[decision.refused] as Limit, retryAfterMs, statuses };
		}
		this.#takes(taken, decision);
		const refusal = isYoung ? refusedByOthers(call) : undefined;
		if (refusal) {
			this.local.cancel(local.reservation, now);
			this.#reservations.end(taken, ({ amount }) => -amount);
			return refusal;
		}
		const reservation = { limits: statuses.map(({ limit }) => limit), id: taken.id };
		this.#begin(reservation, call);
		return { isAllowed: true, reservation, statuses };
	}

	/** @param sent what Redis may answer yet; undefined where it could not be asked, or has counted nothing */
	#withoutAnswer(call: AskedCall, sent: RedisAnswer | undefined): LimitDecision {
		const { local, taken, heard, now } = call;
		const { reservation } = local;
		const refusal = refusedByOthers(call);
		if (sent) this.#await(call, sent, refusal === undefined);
		if (refusal) {
			this.local.cancel(reservation, now);
			this.#reservations.end(taken, ({ amount }) => -amount);
			return refusal;
		}
		this.#begin(reservation, call);
		if (!sent) this.#note(call, ({ amount }) => amount);
		return {
			isAllowed: true,
			reservation,
			statuses: local.statuses.map((status, at) => withOthers(heard[at]!, status, now)),
		};
	}

	/** A call goes on, or is refused, before Redis has answered. */
	#await(call: AskedCall, sent: RedisAnswer, isLetIn: boolean): void {
		const { taken } = call;
		taken.isAwaited = true;
		const asked = taken.limits;
		void sent.whole.then((answer) => {
			const decision = decisionIn(answer, asked);
			if (decision) this.#hear(call, decision);
			if (decision?.isTaken) this.#takes(taken, decision);
			else if (isLetIn && (decision || sent.isRefused)) this.#noteUncounted(call);
			this.#reservations.answered(taken);
			if (decision && !decision.isTaken) this.#untold.tell(this.#offset);
		});
	}

	/** What a call takes has no answer yet, or has one now. */
	#awaits({ local, heard }: AskedCall, sign: 1 | -1): void {
		for (const [at, { limit }] of local.statuses.entries()) heard[at]!.unanswered += sign * limit.amount;
	}

	/** Redis has not counted a call that went on: it is told as though it had not been asked. */
	#noteUncounted(call: AskedCall): void {
		call.isAsked = false;
		const delta = this.#reservations.forget(call.taken);
		this.#note(call, ({ amount }) => amount);
		// By what this process has taken, which may be less than Redis was asked for.
		if (delta) this.#note(call, delta);
	}

	#takes(taken: RedisReservation, { at, found }: RedisDecision): void {
		taken.at = at;
		taken.limits = found.map(({ limit }) => limit);
	}

	#begin(reservation: Reservation, call: AskedCall): void {
		this.#calls.set(reservation, call);
		if (call.isAsked) this.#reservations.begin(call.taken);
	}

	/** Redis is to be told of what was taken of windows. */
	#note({ local, keys, now }: AskedCall, amountOf: LimitDelta): void {
		for (const [at, { limit }] of local.statuses.entries()) {
			const amount = amountOf(limit);
			if (isWindow(limit) && amount !== 0) this.#untold.note(keys[at]!, limit, now, amount);
		}
	}

	/** Takes what Redis says of limits. Whether it has lost what it counted, and others may not have put theirs back yet. */
	#hear({ local, heard, now }: AskedCall, { isTaken, at, since, found }: RedisDecision): boolean {
		const isYoung = this.#hearSince(at, since, now);
		for (const [index, { remaining }] of found.filter(isLimitStatus).entries()) {
			const own = local.statuses[index]!;
			// What was not taken there is no part of what is left there.
			hear(heard[index]!, own.remaining + (isTaken ? 0 : own.limit.amount), remaining, now, isYoung);
		}
		return isYoung;
	}

	/** @param at Redis's clock, ms @param sentAt when it was asked, `performance.now()` */
	#hearSince(at: number, since: number, sentAt: number): boolean {
		const isOther = since !== this.#since;
		const isLost = isOther && this.#since !== undefined;
		this.#since = since;
		this.#offset = at - sentAt;
		if (isLost) {
			this.#hasLost = true;
			// What was sent before that call has come there before, and was lost.
			this.#untold.putBack(sentAt - (at - since), this.#offset);
			this.#reservations.renew(true);
		}
		return this.#hasLost && at - since < PUT_BACK_MS;
	}

	/** Looks whether Redis has lost what it counted, and tells it what it was not told. */
	async #look(): Promise<void> {
		if (!this.redis.isAlive) return;
		const sentAt = performance.now();
		const answer = await this.redis.ask(LOOK, [sinceKey(this.redis)], [])?.whole;
		if (!isNumbers(answer, 2)) return;
		const [at, since] = answer as [number, number];
		this.#hearSince(at / 1000, since / 1000, sentAt);
		this.#untold.tell(this.#offset);
	}

	/** The arguments of TAKE for a limit. */
	#takeArguments({ unit, max, windowMs, amount, certain, spending }: RedisLimit): (string | number)[] {
		if (!spending) return [LETTERS[unit], max, windowMs, amount, certain ?? -1];
		const own = this.#reservations.ownSpending(spending);
		return [LETTERS[unit], unitsOf(max), unitsOf(spending.usd), unitsOf(amount), own];
	}
}

/** Whether a call is far enough from its limits, by what is known, to go on before Redis has answered. */
function goesUnanswered({ local, heard, now }: AskedCall): boolean {
	return local.statuses.every((status, at) => {
		return goesOn(heard[at]!, withOthers(heard[at]!, status, now).remaining);
	});
}

/** The refusal of a call that finds no room in a window beside what others have taken; undefined where it does. */
function refusedByOthers({ local, heard, now }: AskedCall): LimitDecision | undefined {
	const statuses = local.statuses.map((status, at) => withOthers(heard[at]!, status, now));
	const over = statuses.findIndex(({ limit, remaining }) => isWindow(limit) && remaining < 0);
	if (over === -1) return undefined;
	const shown = statuses.map((status) => ({ ...status, remaining: Math.max(0, status.remaining) }));
	// When others will have taken less, or Redis says how much it is, nobody knows.
	return { isAllowed: false, refused: statuses[over]!.limit, retryAfterMs: RETRY_MS, statuses: shown };
}

/** What a promise that does not reject comes to; undefined where that takes longer. */
async function within(promise: Promise<unknown>, ms: number): Promise<unknown> {
	const { promise: late, resolve } = Promise.withResolvers<undefined>();
	const timer = setTimeout(resolve, ms, undefined);
	const value = await Promise.race([promise, late]);
	clearTimeout(timer);
	return value;
}

/** An answer to TAKE; undefined where it is none. */
function decisionIn(answer: unknown, asked: readonly RedisLimit[]): RedisDecision | undefined {
	if (!isNumbers(answer, 5 + asked.length * 3)) return undefined;
	const [isTaken, at, refused, waitMs, since] = answer as [number, number, number, number, number];
	const found = asked.map((limit, index) => {
		const [remaining, resetMs, amount] = answer.slice(5 + index * 3) as [number, number, number];
		return { limit: amountOf(limit, amount), remaining: amountFrom(limit, remaining), resetMs };
	});
	return { isTaken: isTaken === 1, at: at / 1000, refused, waitMs, since: since / 1000, found };
}

/** Clients are shown limits alone. */
function isLimitStatus(found: { readonly limit: RedisLimit }): found is LimitStatus {
	return found.limit.unit !== "guesses";
}

/** The limit with what Redis took of it. */
function amountOf<T extends RedisLimit>(limit: T, amount: number): T {
	return limit.unit === "tokens" && amount !== limit.amount ? { ...limit, amount } : limit;
}

const amountFrom = ({ spending }: RedisLimit, counted: number): number => (spending ? usdOf(counted) : counted);

function isNumbers(answer: unknown, count: number): answer is number[] {
	return Array.isArray(answer) && answer.length === count && answer.every((each) => typeof each === "number");
}
