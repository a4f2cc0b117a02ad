/** Limits that all replicas count together, in Redis. */
import type { RedisAnswer, SharedRedis } from "../../store/redis.ts";
import { HUNG_MS } from "../../store/redis-state.ts";
import { unitsOf, usdOf } from "../usage/spend.ts";
import { RETRY_MS, TOLERANCE_USD } from "./counters.ts";
import {
	goesOn,
	type HeardLimit,
	HeardLimits,
	hear,
	hearTotal,
	mostAlone,
	type RouterCount,
	withOthers,
} from "./heard-limits.ts";
import type { Limit, LimitDecision, Limiter, LimitStatus, LocalLimiter, Reservation } from "./limiter.ts";
import { decisionIn, isLimitStatus, type RedisDecision } from "./redis-decision.ts";
import {
	changedKey,
	isWindow,
	LETTERS,
	leasesKey,
	limitKeys,
	type RedisLimit,
	sinceKey,
	withLeases,
} from "./redis-limit-keys.ts";
import { type LimitDelta, RedisReservation, RedisReservations, type Spender } from "./redis-reservations.ts";
import { TAKE } from "./redis-script.ts";
import { LEASE_MS } from "./redis-script-parts.ts";
import { RedisWatch } from "./redis-watch.ts";
import { isInShare, type ShareStatus, shownStatus } from "./share-status.ts";
import { UntoldCounts } from "./untold-counts.ts";

/** How often leases of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;

/** What differs. */
export interface RedisLimiterOptions {
	/** It is a worker's, and its router gives back what it held where it dies. */
	readonly isOneOfSeveral?: boolean;
	/** The process, of which several limiters may be; by default `router`. */
	readonly process?: string;
	/** How often leases of running calls are renewed, ms. */
	readonly renewMs?: number;
	/** How often it is looked after Redis, ms. */
	readonly lookMs?: number;
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

/**
 * Counts in this process first: what one process has admitted alone is part of what all have, so what is too much for it needs no further
 * question. Then Redis is asked, and its answer waited for up to the deadline; near a limit for as long as it answers at all. What was let in
 * without an answer Redis is told when it can be, and what it has lost (a flush) each router puts back. Until then each has its share of what was left.
 */
export class RedisLimiter implements Limiter {
	readonly #renewMs: number;
	/** Those that were let in and are not over. */
	readonly #calls = new WeakMap<Reservation, AskedCall>();
	readonly #heard = new HeardLimits();
	readonly #reservations: RedisReservations;
	readonly #untold: UntoldCounts;
	readonly #watch: RedisWatch;
	#count = 0;
	readonly #router: RouterCount = {
		agreed: (limit, heardAt, own, wordAt) => this.local.agreed(limit, heardAt, performance.now(), own, wordAt),
		before: (limit, moment) => this.local.countedBefore(limit, moment),
	};
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
		{ isOneOfSeveral = false, process = router, renewMs = RENEW_MS, lookMs }: RedisLimiterOptions = {},
	) {
		this.#renewMs = renewMs;
		this.#list = isOneOfSeveral ? [leasesKey(redis, router)] : [];
		this.#reservations = new RedisReservations(redis, spender, this.#list);
		this.#untold = new UntoldCounts(redis, local, this.#heard, process);
		const watcher = {
			lost: (before: number, offset: number) => {
				this.#untold.putBack(before, offset);
				this.#reservations.renew(true);
			},
			looked: (offset: number) => this.#untold.tell(offset),
			wants: (key: string, sentAt: number) => !this.#heard.isKnown(key, sentAt),
			total: (key: string, limit: Limit, total: number, sentAt: number) =>
				hearTotal(this.#heard.of(key, limit), total, local.counted(limit, sentAt), sentAt),
		};
		this.#watch = new RedisWatch(redis, process, watcher, lookMs);
		redis.onAlive(() => {
			this.#reservations.sendPending();
			this.#watch.alive();
		});
	}

	/** Renews leases, and looks after what Redis has lost, until it is ended. */
	open(): () => void {
		const timer = setInterval(() => this.#reservations.renew(false), this.#renewMs);
		timer.unref();
		const close = this.#watch.open();
		return () => {
			clearInterval(timer);
			close();
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
		names.push(...this.#list, sinceKey(this.redis), changedKey(this.redis));
		const args = asked.flatMap((limit) => this.#takeArguments(limit));
		const sent = this.redis.ask(TAKE, names, [taken.id, ...this.#reservations.spenderOf(asked), ...args]);
		const call = { isAsked: sent !== undefined, local, taken, keys, heard, now };
		let answer: unknown;
		if (sent) {
			this.#awaits(call, 1);
			void sent.whole.then((whole) => {
				// Of calls that a lost connection leaves without one, the first to be decided is to know of all.
				if (whole === undefined) setImmediate(() => this.#awaits(call, -1));
				else this.#awaits(call, -1);
			});
			if (this.redis.isUp) {
				answer = await sent.soon;
				if (answer === undefined) this.#watch.silent(now);
			}
			if (answer === undefined && !sent.isRefused && !this.#goesUnanswered(call))
				answer = await within(sent.whole, HUNG_MS);
		}
		const decision = decisionIn(answer, asked);
		if (decision) return this.#decided(call, decision);
		this.#watch.silent(now);
		call.isAsked = sent !== undefined && !sent.isRefused;
		return this.#withoutAnswer(call, call.isAsked ? sent : undefined);
	}

	settle(reservation: Reservation, tokens: number, now: number, spent = 0): void {
		const call = this.#calls.get(reservation);
		this.local.settle(call?.local.reservation ?? reservation, tokens, now, spent);
		const used = { tokens, spend: spent } as const;
		this.#end(reservation, call, ({ unit, amount }) =>
			unit === "tokens" || unit === "spend" ? used[unit] - amount : 0,
		);
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
		const lacks = this.#hear(call, decision);
		const statuses = decision.found.filter(isLimitStatus);
		if (!decision.isTaken) {
			this.local.cancel(local.reservation, now);
			const retryAfterMs = decision.waitMs === -1 ? Number.POSITIVE_INFINITY : decision.waitMs;
			return { isAllowed: false, refused: taken.limits[decision.refused] as Limit, retryAfterMs, statuses };
		}
		this.#takes(taken, decision);
		const refusal = lacks ? this.#refusedAlone(call) : undefined;
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
		const { local, taken, now } = call;
		const { reservation } = local;
		const refusal = this.#refusedAlone(call);
		if (sent) this.#await(call, sent, refusal === undefined);
		if (refusal) {
			this.local.cancel(reservation, now);
			this.#reservations.end(taken, ({ amount }) => -amount);
			return refusal;
		}
		this.#begin(reservation, call);
		if (!sent) {
			this.#watch.lacks(performance.now());
			this.#note(call, ({ amount }) => amount);
		}
		return { isAllowed: true, reservation, statuses: this.#statusesAlone(call).map(shownStatus) };
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
			if (sent.isRefused) this.#watch.lacks(performance.now());
			this.#reservations.answered(taken);
			if (decision && !decision.isTaken) this.#untold.tell(this.#watch.offset);
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

	/** Takes what Redis says of limits. Whether it may lack what others have taken. */
	#hear({ local, heard, now }: AskedCall, { isTaken, at, since, found }: RedisDecision): boolean {
		const lacks = this.#watch.answered(at, since, now);
		let index = 0;
		for (const { limit, remaining: all } of found) {
			if (limit.unit === "guesses") continue;
			const status = local.statuses[index]!;
			// What was not taken there is no part of what is left there.
			const refused = isTaken ? 0 : status.limit.amount;
			const used = this.#usedOf(status) - refused;
			hear(heard[index++]!, { own: status.remaining + refused, all, max: limit.max, used }, now, lacks);
		}
		return lacks;
	}

	/** What this router has taken of a limit, the call included; of a budget what it has spent, and what it has reserved. */
	#usedOf({ limit: { max, spending }, remaining }: LimitStatus): number {
		if (!spending) return max - remaining;
		return max - spending.usd - remaining + usdOf(this.#reservations.ownSpending(spending));
	}

	/** Whether a call is far enough from its limits, by what is known, to go on before Redis has answered. */
	#goesUnanswered(call: AskedCall): boolean {
		const { local, heard, now } = call;
		const { sharing } = this.#watch;
		const isFar = local.statuses.every((status, at) => {
			return goesOn(heard[at]!, withOthers(heard[at]!, status, now).remaining, sharing);
		});
		return isFar && this.#statusesAlone(call).every(isInShare);
	}

	/** The refusal of a call that does not fit in what this router may take by itself; undefined where it does. */
	#refusedAlone(call: AskedCall): LimitDecision | undefined {
		const statuses = this.#statusesAlone(call);
		const over = statuses.find((status) => !isInShare(status));
		if (!over) return undefined;
		// When there is more nobody knows.
		return { isAllowed: false, refused: over.limit, retryAfterMs: RETRY_MS, statuses: statuses.map(shownStatus) };
	}

	/** How limits stand by what this router may take of them by itself: below 0 where that is too much. */
	#statusesAlone({ local, heard, now }: AskedCall): ShareStatus[] {
		// A worker knows that there are others, and not how many: with more than two this is too few rather than too many.
		const silence = { ...this.#watch.silence(now), askingThreads: this.#list.length + 1 };
		return local.statuses.map((status, at) => {
			const { limit } = status;
			const { spending, amount } = limit;
			const used = this.#usedOf(status);
			const own = spending ? usdOf(this.#reservations.ownSpending(spending)) : 0;
			const spentByOthers = spending ? spending.usd - own : 0;
			const most = mostAlone(heard[at]!, { limit, used: used - amount, spentByOthers, now }, silence, this.#router);
			const isFirst = spending !== undefined && used - own - amount <= TOLERANCE_USD;
			return { ...status, remaining: Math.min(status.remaining, most - used), isFirst };
		});
	}

	/** The arguments of TAKE for a limit. */
	#takeArguments({ unit, max, windowMs, amount, certain, spending }: RedisLimit): (string | number)[] {
		if (!spending) return [LETTERS[unit], max, windowMs, amount, certain ?? -1];
		const own = this.#reservations.ownSpending(spending);
		return [LETTERS[unit], unitsOf(max), unitsOf(spending.usd), unitsOf(amount), own];
	}
}

/** What a promise that does not reject comes to; undefined where that takes longer. */
async function within(promise: Promise<unknown>, ms: number): Promise<unknown> {
	const { promise: late, resolve } = Promise.withResolvers<undefined>();
	const timer = setTimeout(resolve, ms, undefined);
	const value = await Promise.race([promise, late]);
	clearTimeout(timer);
	return value;
}
