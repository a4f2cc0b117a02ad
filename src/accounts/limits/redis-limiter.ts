/** Limits that all replicas count together, in Redis. */
import type { RedisAnswer, SharedRedis } from "../../store/redis.ts";
import { HUNG_MS } from "../../store/redis-state.ts";
import { unitsOf } from "../usage/spend.ts";
import { HeardLimits, hear, hearTotal } from "./heard-limits.ts";
import type { Limit, LimitDecision, Limiter, LocalLimiter, Reservation } from "./limiter.ts";
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
import { type LimitedCall, RedisShares } from "./redis-shares.ts";
import { RedisWatch } from "./redis-watch.ts";
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
interface AskedCall extends LimitedCall {
	/** Redis was asked, and has not said that it counted nothing; otherwise it is told of what the call takes of windows. */
	isAsked: boolean;
	readonly taken: RedisReservation;
	/** Of each limit: its name at Redis. */
	readonly keys: readonly string[];
	/** How many times Redis had lost what it counted when this process counted the call: with the next loss it is among what is put back. */
	losses: number;
	/** The same when it was counted no more; Infinity while it is. */
	endedAt: number;
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
	readonly #shares: RedisShares;
	#count = 0;
	/** When Redis began anew, as this thread has heard, on Redis's clock, ms. */
	#lostSince = Number.NaN;
	#tellsSoon = false;
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
			lost: (since: number, offset: number) => {
				this.#lostSince = since;
				this.#untold.putBack(local.trouble.lost(since, performance.now()), offset);
				this.#reservations.renew(true);
			},
			silent: (since: number | undefined) => local.trouble.silent(since),
			looked: (offset: number) => this.#untold.tell(offset),
			wants: (key: string, sentAt: number) => !this.#heard.isKnown(key, sentAt),
			total: (key: string, limit: Limit, total: number, sentAt: number) =>
				hearTotal(this.#heard.of(key, limit), total, local.counted(limit, sentAt), sentAt),
		};
		this.#watch = new RedisWatch(redis, process, watcher, lookMs);
		// A worker knows that there are others, and not how many: with more than two this is too few rather than too many.
		this.#shares = new RedisShares(local, this.#watch, this.#reservations, isOneOfSeveral ? 2 : 1);
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
		const { losses } = this.local.trouble;
		const call = {
			isAsked: sent !== undefined,
			local,
			taken,
			keys,
			heard,
			now,
			losses,
			endedAt: Number.POSITIVE_INFINITY,
		};
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
			if (answer === undefined && !sent.isRefused && !this.#shares.goesUnanswered(call))
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
		if (call) this.#cancel(call, now);
		else this.local.cancel(reservation, now);
		this.#end(reservation, call, ({ amount }) => -amount);
	}

	#end(reservation: Reservation, call: AskedCall | undefined, deltaOf: LimitDelta): void {
		if (!call) return;
		this.#calls.delete(reservation);
		if (call.isAsked) this.#reservations.end(call.taken, deltaOf);
		else this.#note(call, deltaOf);
	}

	#decided(call: AskedCall, decision: RedisDecision): LimitDecision {
		const { taken, now } = call;
		const lacks = this.#hear(call, decision);
		const statuses = decision.found.filter(isLimitStatus);
		if (!decision.isTaken) {
			this.#cancel(call, now);
			// Redis did not count it; another thread may have put it back.
			this.#countedTwice(call);
			const retryAfterMs = decision.waitMs === -1 ? Number.POSITIVE_INFINITY : decision.waitMs;
			return { isAllowed: false, refused: taken.limits[decision.refused] as Limit, retryAfterMs, statuses };
		}
		this.#takes(taken, decision);
		const refusal = lacks ? this.#shares.refusal(call) : undefined;
		if (refusal) {
			this.#cancel(call, now);
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
		const refusal = this.#shares.refusal(call);
		if (sent) this.#await(call, sent, refusal === undefined);
		if (refusal) {
			this.#cancel(call, now);
			this.#reservations.end(taken, ({ amount }) => -amount);
			return refusal;
		}
		this.#begin(reservation, call);
		if (!sent) {
			this.#watch.lacks(performance.now());
			this.#note(call, ({ amount }) => amount);
		}
		return { isAllowed: true, reservation, statuses: this.#shares.shown(call) };
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
			else if (decision || sent.isRefused) this.#countedTwice(call);
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
		if (!this.#isPutBack(call)) this.#note(call, ({ amount }) => amount);
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

	/** It takes nothing any more. */
	#cancel(call: AskedCall, now: number): void {
		this.local.cancel(call.local.reservation, now);
		call.endedAt = Math.min(call.endedAt, this.local.trouble.losses);
	}

	/** Whether the call is among what was put back at the last loss: it had been counted here before, and was when that was heard of. */
	#isPutBack({ losses, endedAt }: AskedCall): boolean {
		const all = this.local.trouble.losses;
		return losses < all && endedAt >= all;
	}

	/** Takes from Redis what was put back of a call that it has counted itself, after the loss, or that takes nothing. */
	#countedTwice(call: AskedCall): void {
		if (!this.#isPutBack(call)) return;
		call.losses = this.local.trouble.losses;
		this.#note(call, ({ amount }) => -amount);
		if (this.#tellsSoon) return;
		this.#tellsSoon = true;
		// With those of all answers that came at once.
		setImmediate(() => {
			this.#tellsSoon = false;
			this.#untold.tell(this.#watch.offset);
		});
	}

	/** Takes what Redis says of limits. Whether it may lack what others have taken. */
	#hear(call: AskedCall, { isTaken, at, since, found }: RedisDecision): boolean {
		const { local, heard, now } = call;
		const lacks = this.#watch.answered(at, since, now);
		if (since === this.#lostSince) this.#countedTwice(call);
		let index = 0;
		for (const { limit, remaining: all } of found) {
			if (limit.unit === "guesses") continue;
			const status = local.statuses[index]!;
			// What was not taken there is no part of what is left there.
			const refused = isTaken ? 0 : status.limit.amount;
			const used = this.#shares.usedOf(status) - refused;
			hear(heard[index++]!, { own: status.remaining + refused, all, max: limit.max, used }, now, lacks);
		}
		return lacks;
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
