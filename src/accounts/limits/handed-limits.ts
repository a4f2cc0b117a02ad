/**
 * Limits of a process whose place another one takes. The new one counts: it goes on with what the old one had counted, and the old one asks it
 * for the calls that still come to it, and tells it of those that end.
 *
 * The old one counts its own on: if the new one goes away again it goes on with that, as if nothing had been.
 */
import type { CountName, HandableLimiter, HandedCounts, HeldLimits } from "./handed-counts.ts";
import type { Limit, LimitDecision, Limiter, LimitStatus, Reservation } from "./limiter.ts";

/** All counts. `now` is the time of the clock that they were counted by, ms. */
export interface HandedLimits extends HandedCounts {
	readonly now: number;
}

/** The new process's decision, as JSON. Statuses and amounts are those of the limits that were asked, in their order. */
export interface ToldDecision {
	readonly statuses: readonly { readonly remaining: number; readonly resetMs: number }[];
	/** Of a call that is admitted. */
	readonly held?: { readonly amounts: readonly number[]; readonly entries: readonly number[] };
	/** Of one that is refused: which limit, and when there will be room, ms; null for never. */
	readonly refused?: { readonly limit: number; readonly retryAfterMs: number | null };
}

/** The end of a call. */
export interface ToldEnd extends HeldLimits {
	/** That it used; absent where it was never made. */
	readonly tokens?: number;
	/** What it cost, billionths of a USD, for limits of `spend`. */
	readonly spent?: number | undefined;
}

/** How long the process that counts may take for a decision, ms. */
const ANSWER_MS = 1_500;

/** The process that counts, as the one before sees it. */
export interface LimitsOwner {
	/** Resolves with undefined where it is gone, or decides nothing. */
	take(limits: readonly Limit[]): Promise<ToldDecision | undefined>;
	end(end: ToldEnd): void;
}

/** The limiter of the process whose place is taken, or of one of its threads. */
export class HandedLimiter implements Limiter {
	/** What calls hold at the owner that have begun since, and since which time. */
	readonly #held = new WeakMap<Reservation, HeldLimits & { readonly since: number }>();
	/** Calls that it has not decided, of that time: it is told nothing of their ends. */
	readonly #undecided = new WeakMap<Reservation, number>();
	#owner: LimitsOwner | undefined;

	/**
	 * @param own counts until then, and beside the owner
	 * @param answerMs how long a call waits for the owner's decision, ms; this process's own holds then
	 * @param handedOn of a thread: which time the counts of all threads were handed on, as `own` has just found it; 0: the owner does not count
	 */
	constructor(
		readonly own: HandableLimiter,
		owner: LimitsOwner,
		private readonly answerMs: number = ANSWER_MS,
		private readonly handedOn: () => number = () => 1,
	) {
		this.#owner = owner;
	}

	/** The owner is gone: this process counts again. */
	giveBack(): void {
		this.#owner = undefined;
		this.own.takeBack();
	}

	take(limits: readonly Limit[], now: number): LimitDecision | Promise<LimitDecision> {
		const own = this.own.take(limits, now);
		if (!own.isAllowed || !this.#owner) return own;
		const since = this.handedOn();
		return since > 0 ? this.#ask(this.#owner, limits, now, own, since) : own;
	}

	settle(reservation: Reservation, tokens: number, now: number, spent?: number): void {
		this.own.settle(reservation, tokens, now, spent);
		this.#tellEnd(reservation, { tokens, spent });
	}

	cancel(reservation: Reservation, now: number): void {
		this.own.cancel(reservation, now);
		this.#tellEnd(reservation, {});
	}

	/** Behind its end here. */
	#tellEnd(reservation: Reservation, end: Pick<ToldEnd, "tokens" | "spent">): void {
		const since = this.handedOn();
		if (since === 0 || this.#undecided.get(reservation) === since) return;
		this.#owner?.end({ ...this.#heldBy(reservation, since), ...end });
	}

	async #ask(
		owner: LimitsOwner,
		limits: readonly Limit[],
		now: number,
		own: Extract<LimitDecision, { isAllowed: true }>,
		since: number,
	): Promise<LimitDecision> {
		const told = await this.#decision(owner, limits);
		if (!told) {
			this.#undecided.set(own.reservation, since);
			return own;
		}
		const statuses = told.statuses.map((status, at): LimitStatus => ({ limit: limits[at]!, ...status }));
		const { held, refused } = told;
		if (held) {
			this.#held.set(own.reservation, { ...heldOf(limits, held), since });
			return { ...own, statuses };
		}
		this.own.cancel(own.reservation, now);
		const retryAfterMs = refused!.retryAfterMs ?? Number.POSITIVE_INFINITY;
		return { isAllowed: false, refused: limits[refused!.limit]!, retryAfterMs, statuses };
	}

	/** Undefined where the owner decides nothing, or not in time: what it takes later is given back there. */
	async #decision(owner: LimitsOwner, limits: readonly Limit[]): Promise<ToldDecision | undefined> {
		const { promise, resolve } = Promise.withResolvers<undefined>();
		let isLate = false;
		const timer = setTimeout(() => {
			isLate = true;
			resolve(undefined);
		}, this.answerMs);
		const answer = owner.take(limits).then((told) => {
			if (isLate && told?.held) this.#owner?.end(heldOf(limits, told.held));
			return told;
		});
		return await Promise.race([answer, promise]).finally(() => clearTimeout(timer));
	}

	/** One that began before holds at the owner what it held here, by the same numbers. */
	#heldBy(reservation: Reservation, since: number): HeldLimits {
		const held = this.#held.get(reservation);
		const { limits, entries } = held?.since === since ? held : this.own.heldBy(reservation);
		return { limits, entries };
	}
}

/** What a call holds at the owner. */
function heldOf(limits: readonly Limit[], { amounts, entries }: NonNullable<ToldDecision["held"]>): HeldLimits {
	return { limits: limits.map((limit, at) => ({ ...limit, amount: amounts[at]! })), entries };
}

/** What calls of a process hold of one limit. */
interface Holding {
	readonly count: CountName;
	running: number;
	sum: number;
}

/** What the process that counts does for the one before. */
export class PredecessorLimits {
	/** By unit and id: what calls of the one before hold. */
	readonly #holdings = new Map<string, Holding>();
	#next: LimitsOwner | undefined;

	/** @param counts what the one before had counted: all that was under way is its own */
	constructor(
		private readonly limiter: HandableLimiter,
		{ now, ...handed }: HandedLimits,
		private readonly time: () => number = () => performance.now(),
	) {
		limiter.takeOver(handed, time() - now);
		for (const { unit, id, hash, state } of handed.counts) {
			if (state.running === 0) continue;
			const count = { unit, id, hash };
			this.#holdings.set(limiter.nameOf(count), { count, running: state.running, sum: state.sum });
		}
	}

	/** A third process counts from now on, with all that is counted here: it hears of ends, too. Undefined: it has gone. */
	forward(next: LimitsOwner | undefined): void {
		this.#next = next;
	}

	/** A call comes to the one before. Undefined where a third process counts: the few that still come there are decided there. */
	take(limits: readonly Limit[]): ToldDecision | undefined {
		if (this.#next) return undefined;
		const decision = this.limiter.take(limits, this.time());
		const statuses = decision.statuses.map(({ remaining, resetMs }) => ({ remaining, resetMs }));
		if (!decision.isAllowed) {
			const { refused, retryAfterMs } = decision;
			const at = limits.findIndex(({ id, unit }) => id === refused.id && unit === refused.unit);
			return {
				statuses,
				refused: { limit: at, retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : null },
			};
		}
		const { limits: taken, entries } = this.limiter.heldBy(decision.reservation);
		for (const limit of taken) this.#hold(limit, 1);
		return { statuses, held: { amounts: taken.map(({ amount }) => amount), entries } };
	}

	/** A call of the one before is over. */
	end(told: ToldEnd): void {
		const { limits, entries, tokens, spent } = told;
		// By the same numbers: all that is under way here was handed on.
		this.#next?.end(told);
		const reservation = this.limiter.reservationOf({ limits, entries });
		if (tokens === undefined) this.limiter.cancel(reservation, this.time());
		else this.limiter.settle(reservation, tokens, this.time(), spent);
		for (const limit of limits) this.#hold(limit, -1);
	}

	/** The one before has ended: what its calls held is free. */
	ended(): void {
		for (const { count, running, sum } of this.#holdings.values()) this.limiter.release(count, running, sum);
		this.#holdings.clear();
	}

	#hold(limit: Limit, calls: number): void {
		const { unit, id } = limit;
		const key = this.limiter.nameOf({ unit, id });
		const holding = this.#holdings.get(key) ?? { count: { unit, id }, running: 0, sum: 0 };
		holding.running += calls;
		holding.sum += calls * limit.amount;
		if (holding.running > 0) this.#holdings.set(key, holding);
		else this.#holdings.delete(key);
	}
}
