/**
 * Limits counted in this process: an exact sliding window for requests and tokens, a plain count for what is under way, a sum for what
 * is reserved of budgets. 16 bytes a call in the window, and no more than 128 kB: of some thousand calls those that came at about one time are one entry.
 */
import {
	BudgetCounter,
	ConcurrencyCounter,
	type Counter,
	type CountState,
	RETRY_MS,
	WindowCounter,
} from "./counters.ts";
import type {
	AgreedLimit,
	Limit,
	LimitDecision,
	LimitStatus,
	LimitUnit,
	LocalLimiter,
	Reservation,
	TakenAt,
	WindowName,
} from "./limiter.ts";
import { MOST_SESSION_COUNTS, SessionOrder } from "./session-order.ts";

/** How often counters that count nothing any more are dropped, ms. */
export const SWEEP_MS = 60_000;

/** A reservation, with where it stands in each counter. */
class HeldReservation implements Reservation {
	isOpen = true;

	/** @param number among those of the router */
	constructor(
		private readonly router: string,
		private readonly number: number,
		readonly limits: readonly Limit[],
		/** Of each limit: none is dropped while a call that has taken of it is under way. */
		readonly counters: readonly Counter[],
		/** Of each limit: the number of its entry; -1 for `concurrency` and `usd`. */
		readonly entries: readonly number[],
	) {}

	get id(): string {
		return `${this.router}${this.number}`;
	}
}

/** What a call has taken of its limits: also one of another process whose counters these are now. */
export interface HeldLimits {
	/** With the amounts that were taken. */
	readonly limits: readonly Limit[];
	/** Of each limit: the number of its entry; -1 for `concurrency` and `usd`. */
	readonly entries: readonly number[];
}

/** What is counted of one limit, and of which. */
export interface HandedCount {
	readonly unit: LimitUnit;
	readonly id: string;
	/** Length of its window, ms; 0 where it has none. */
	readonly windowMs: number;
	readonly state: CountState;
}

/** What is decided, wherever the counters are. Everything happens at once, so calls can't race. */
export abstract class CountingLimiter {
	#taken = 0;

	/** @param router names reservations, where others have some, too */
	constructor(private readonly router = "") {}

	/** The counter of a limit. */
	protected abstract counter(limit: Limit): Counter;

	protected decide(limits: readonly Limit[], now: number): LimitDecision {
		const counters: Counter[] = [];
		/** As they are taken. */
		let taken: Limit[] | undefined;
		let refused: Limit | undefined;
		let retryAfterMs = 0;
		for (let at = 0; at < limits.length; at++) {
			const asked = limits[at]!;
			const counter = this.counter(asked);
			counters.push(counter);
			counter.expire(now);
			const limit = asked.certain === undefined ? asked : withoutGuess(asked, counter);
			if (limit !== asked) {
				taken ??= [...limits];
				taken[at] = limit;
			}
			if (counter.hasRoom(limit)) continue;
			const wait = waitFor(limit, counter, now);
			if (refused && wait <= retryAfterMs) continue;
			refused = limit;
			retryAfterMs = wait;
		}
		if (refused) return { isAllowed: false, refused, retryAfterMs, statuses: statuses(limits, counters, now) };
		const held = taken ?? limits;
		const entries: number[] = [];
		for (let at = 0; at < held.length; at++) entries.push(counters[at]!.add(held[at]!.amount, now));
		const reservation = new HeldReservation(this.router, ++this.#taken, held, counters, entries);
		return { isAllowed: true, reservation, statuses: statuses(held, counters, now) };
	}

	/** @param tokens used; undefined where nothing was @param spent billionths of a USD */
	protected end(reservation: Reservation, now: number, tokens: number | undefined, spent = 0): void {
		const held = reservation as HeldReservation;
		if (!held.isOpen) return;
		held.isOpen = false;
		for (let at = 0; at < held.limits.length; at++) {
			const limit = held.limits[at]!;
			const counter = held.counters[at]!;
			counter.expire(now);
			counter.leave(limit.amount);
			if (tokens === undefined) counter.change(held.entries[at]!, -limit.amount);
			else if (limit.unit === "tokens") counter.change(held.entries[at]!, tokens - limit.amount);
			else if (limit.unit === "spend") counter.change(held.entries[at]!, spent - limit.amount);
		}
	}
}

/** Counts in the memory of one thread. */
export class SlidingWindowLimiter extends CountingLimiter implements LocalLimiter {
	readonly #counters: Readonly<Record<LimitUnit, Map<string, LocalCounter>>> = {
		requests: new Map(),
		tokens: new Map(),
		spend: new Map(),
		concurrency: new Map(),
		usd: new Map(),
	};
	readonly #sessions = new SessionOrder();
	#sweptAt = 0;

	/** All that is counted, for the process that takes this one's place. */
	handOn(now: number): HandedCount[] {
		this.#sweep(now);
		return Object.entries(this.#counters).flatMap(([unit, counters]) =>
			[...counters].map(([id, counter]) => ({
				unit: unit as LimitUnit,
				id,
				windowMs: counter instanceof WindowCounter ? counter.windowMs : 0,
				state: counter.state,
			})),
		);
	}

	/** Goes on with what another process has counted. @param ahead how far this one's clock is ahead of that one's, ms */
	takeOver(counts: readonly HandedCount[], ahead: number): void {
		for (const { unit, id, windowMs, state } of counts) {
			const counter = newCounter(unit, windowMs);
			counter.state = { ...state, entries: state.entries.map(([at, amount]) => [at + ahead, amount] as const) };
			this.#counters[unit].set(id, counter);
			if (unit === "spend") this.#sessions.used(id);
		}
	}

	/** The reservation of a call that another process makes, which has taken this here: {@link takeOver}, or `take`. */
	reservationOf({ limits, entries }: HeldLimits): Reservation {
		const counters = limits.map((limit) => this.counter(limit));
		return new HeldReservation("", 0, limits, counters, entries);
	}

	/** Gives back what so many calls of another process hold of a limit; what they have taken of its window leaves with that. */
	release(limit: Limit, running: number, sum: number): void {
		const counter = this.counter(limit);
		if (counter instanceof ConcurrencyCounter) counter.leave(sum);
		else counter.release(running, sum);
	}

	/** What a reservation of this limiter's holds. */
	heldBy(reservation: Reservation): HeldLimits {
		return reservation as HeldReservation;
	}

	take(limits: readonly Limit[], now: number): LimitDecision {
		if (now - this.#sweptAt > SWEEP_MS) this.#sweep(now);
		return this.decide(limits, now);
	}

	settle(reservation: Reservation, tokens: number, now: number, spent?: number): void {
		this.end(reservation, now, tokens, spent);
	}

	cancel(reservation: Reservation, now: number): void {
		this.end(reservation, now, undefined);
	}

	takenBefore({ id, unit }: WindowName, before: number): readonly TakenAt[] {
		return this.#counters[unit].get(id)?.takenBefore(before) ?? [];
	}

	counted({ id, unit }: WindowName, now: number): number {
		const counter = this.#counters[unit].get(id);
		counter?.expire(now);
		return counter?.sum ?? 0;
	}

	countedBefore({ id, unit }: WindowName, before: number): number {
		return (
			this.#counters[unit]
				.get(id)
				?.takenBefore(before)
				.reduce((sum, { amount }) => sum + amount, 0) ?? 0
		);
	}

	/** There is one thread. */
	agreed(_limit: AgreedLimit, _since: number, _now: number, own: number): number {
		return own;
	}

	protected override counter({ id, unit, windowMs }: Limit): LocalCounter {
		const counters = this.#counters[unit];
		let counter = counters.get(id);
		if (!counter) {
			if (unit === "spend" && this.#sessions.size >= MOST_SESSION_COUNTS) this.#dropSession();
			counter = newCounter(unit, windowMs);
			counters.set(id, counter);
		}
		if (unit === "spend") this.#sessions.used(id);
		return counter;
	}

	#dropSession(): void {
		const { spend } = this.#counters;
		const id = this.#sessions.next((each) => spend.get(each)!.running > 0);
		if (id === undefined) return;
		spend.delete(id);
		this.#sessions.dropped(id);
	}

	#sweep(now: number): void {
		this.#sweptAt = now;
		for (const [unit, counters] of Object.entries(this.#counters)) {
			for (const [id, counter] of counters) {
				counter.expire(now);
				if (!counter.isEmpty) continue;
				counters.delete(id);
				if (unit === "spend") this.#sessions.dropped(id);
			}
		}
	}
}

type LocalCounter = ConcurrencyCounter | BudgetCounter | WindowCounter;

function newCounter(unit: LimitUnit, windowMs: number): LocalCounter {
	if (unit === "concurrency") return new ConcurrencyCounter();
	return unit === "usd" ? new BudgetCounter() : new WindowCounter(windowMs);
}

function statuses(limits: readonly Limit[], counters: readonly Counter[], now: number): LimitStatus[] {
	const made: LimitStatus[] = [];
	for (let at = 0; at < limits.length; at++) {
		const limit = limits[at]!;
		const counter = counters[at]!;
		const spent = limit.spending?.usd ?? 0;
		made.push({ limit, remaining: Math.max(0, limit.max - spent - counter.sum), resetMs: counter.resetMs(now) });
	}
	return made;
}

/** The limit as it is to be taken: without the guess where that does not fit, and no other call is under way. */
function withoutGuess(limit: Limit, counter: Counter): Limit {
	return counter.running > 0 || counter.hasRoom(limit) ? limit : { ...limit, amount: limit.certain! };
}

/**
 * When there will be room, ms. What is certain of a call is admitted as soon as no other is under way, which may be at any moment. What calls under
 * way may cost of `spend` is not spent: they may come to nothing.
 */
function waitFor(limit: Limit, counter: Counter, now: number): number {
	if (limit.unit === "spend" && counter.running > 0) return RETRY_MS;
	const wait = counter.waitFor(limit, now);
	const { certain } = limit;
	if (certain === undefined || certain === limit.amount) return wait;
	const alone = { ...limit, amount: certain };
	const waitAlone = counter.hasRoom(alone) ? 0 : counter.waitFor(alone, now);
	return Math.min(wait, Math.max(waitAlone, RETRY_MS));
}
