/**
 * Limits counted in this process: an exact sliding window for requests and tokens, a plain count for what is under way, a sum for what
 * is reserved of budgets. 16 bytes a call in the window.
 */
import type { Limit, LimitDecision, Limiter, LimitStatus, LimitUnit, Reservation } from "./limiter.ts";

/** How often counters that count nothing any more are dropped, ms. */
export const SWEEP_MS = 60_000;
const SMALLEST = 16;

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

	/** @param tokens used; undefined where nothing was */
	protected end(reservation: Reservation, now: number, tokens: number | undefined): void {
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
		}
	}
}

/** Counts in the memory of one thread. */
export class SlidingWindowLimiter extends CountingLimiter implements Limiter {
	readonly #counters: Readonly<Record<LimitUnit, Map<string, Counter>>> = {
		requests: new Map(),
		tokens: new Map(),
		concurrency: new Map(),
		usd: new Map(),
	};
	#sweptAt = 0;

	take(limits: readonly Limit[], now: number): LimitDecision {
		if (now - this.#sweptAt > SWEEP_MS) this.#sweep(now);
		return this.decide(limits, now);
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		this.end(reservation, now, tokens);
	}

	cancel(reservation: Reservation, now: number): void {
		this.end(reservation, now, undefined);
	}

	protected override counter({ id, unit, windowMs }: Limit): Counter {
		const counters = this.#counters[unit];
		let counter = counters.get(id);
		if (!counter) {
			counter = newCounter(unit, windowMs);
			counters.set(id, counter);
		}
		return counter;
	}

	#sweep(now: number): void {
		this.#sweptAt = now;
		for (const counters of Object.values(this.#counters)) {
			for (const [id, counter] of counters) {
				counter.expire(now);
				if (counter.isEmpty) counters.delete(id);
			}
		}
	}
}

function newCounter(unit: LimitUnit, windowMs: number): Counter {
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

/** How soon it is worth another try where nobody knows when there will be room, ms. */
export const RETRY_MS = 1_000;

/** When there will be room, ms. What is certain of a call is admitted as soon as no other is under way, which may be at any moment. */
function waitFor(limit: Limit, counter: Counter, now: number): number {
	const wait = counter.waitFor(limit, now);
	const { certain } = limit;
	if (certain === undefined || certain === limit.amount) return wait;
	const alone = { ...limit, amount: certain };
	const waitAlone = counter.hasRoom(alone) ? 0 : counter.waitFor(alone, now);
	return Math.min(wait, Math.max(waitAlone, RETRY_MS));
}

export interface Counter {
	readonly sum: number;
	/** Calls that have taken of it and are under way. */
	readonly running: number;
	readonly isEmpty: boolean;
	hasRoom(limit: Limit): boolean;
	/** Forgets what has left the window. */
	expire(now: number): void;
	/** Returns the entry's number. */
	add(amount: number, now: number): number;
	/** Adds to the amount of an entry; one that has left the window is gone. */
	change(entry: number, difference: number): void;
	/** A call that took so much is over. */
	leave(amount: number): void;
	/** When there will be room, if nobody else comes, ms. */
	waitFor(limit: Limit, now: number): number;
	resetMs(now: number): number;
}

class ConcurrencyCounter implements Counter {
	sum = 0;
	get running(): number {
		return this.sum;
	}
	hasRoom({ amount, max }: Limit): boolean {
		return this.sum + amount <= max;
	}
	expire(): void {}
	add(amount: number): number {
		this.sum += amount;
		return -1;
	}
	change(): void {}
	leave(amount: number): void {
		this.sum -= amount;
	}
	waitFor(): number {
		return RETRY_MS;
	}
	resetMs(): number {
		return 0;
	}
	get isEmpty(): boolean {
		return this.sum === 0;
	}
}

/** USD: sums of doubles drift by less, and no call is refused for so little. */
const TOLERANCE_USD = 1e-9;

/** What calls under way may cost of one budget, USD. What was spent comes with the limit. */
class BudgetCounter implements Counter {
	sum = 0;
	running = 0;
	hasRoom(limit: Limit): boolean {
		return budgetFits(limit, this.sum, this.running);
	}
	expire(): void {}
	add(amount: number): number {
		this.running++;
		this.sum += amount;
		return -1;
	}
	change(): void {}
	leave(amount: number): void {
		this.running--;
		// Sums of doubles drift: nothing under way is nothing.
		this.sum = this.running === 0 ? 0 : this.sum - amount;
	}
	waitFor(limit: Limit): number {
		return budgetWait(limit);
	}
	resetMs(): number {
		return 0;
	}
	get isEmpty(): boolean {
		return this.running === 0;
	}
}

/** Whether a budget has room beside what is reserved, USD, by so many calls. */
export function budgetFits({ amount, max, spending }: Limit, reserved: number, running: number): boolean {
	const spent = spending?.usd ?? 0;
	return spent + reserved + amount <= max + TOLERANCE_USD || (running === 0 && spent < max);
}

/** What is reserved may be free at any moment; what is spent, never in this period. */
export function budgetWait({ max, spending }: Limit): number {
	return (spending?.usd ?? 0) >= max ? Number.POSITIVE_INFINITY : RETRY_MS;
}

/** The entries of a window, the oldest first, in a ring that grows by doubling and shrinks by halves. */
class WindowCounter implements Counter {
	sum = 0;
	running = 0;
	#times = new Float64Array(SMALLEST);
	#amounts = new Float64Array(SMALLEST);
	/** Numbers of the oldest entry and of the next one; entries are numbered through. */
	#first = 0;
	#next = 0;

	constructor(private readonly windowMs: number) {}

	get isEmpty(): boolean {
		return this.#first === this.#next && this.running === 0;
	}

	hasRoom({ amount, max }: Limit): boolean {
		return this.sum + amount <= max;
	}

	expire(now: number): void {
		const mask = this.#times.length - 1;
		while (this.#first < this.#next && this.#times[this.#first & mask]! + this.windowMs <= now) {
			this.sum -= this.#amounts[this.#first & mask]!;
			this.#first++;
		}
		const size = this.#next - this.#first;
		if (this.#times.length > SMALLEST && size < this.#times.length / 8) this.#resize(this.#times.length / 2);
	}

	add(amount: number, now: number): number {
		if (this.#next - this.#first === this.#times.length) this.#resize(this.#times.length * 2);
		const at = this.#next & (this.#times.length - 1);
		this.#times[at] = now;
		this.#amounts[at] = amount;
		this.sum += amount;
		this.running++;
		return this.#next++;
	}

	change(entry: number, difference: number): void {
		if (entry < this.#first) return;
		this.sum += difference;
		this.#amounts[entry & (this.#amounts.length - 1)]! += difference;
	}

	leave(): void {
		this.running--;
	}

	waitFor({ amount, max }: Limit, now: number): number {
		let excess = this.sum + amount - max;
		if (amount > max) return Number.POSITIVE_INFINITY;
		const mask = this.#times.length - 1;
		for (let entry = this.#first; entry < this.#next; entry++) {
			excess -= this.#amounts[entry & mask]!;
			if (excess <= 0) return this.#times[entry & mask]! + this.windowMs - now;
		}
		return this.windowMs;
	}

	resetMs(now: number): number {
		if (this.#first === this.#next) return 0;
		return this.#times[(this.#next - 1) & (this.#times.length - 1)]! + this.windowMs - now;
	}

	#resize(length: number): void {
		const times = new Float64Array(length);
		const amounts = new Float64Array(length);
		const mask = this.#times.length - 1;
		for (let entry = this.#first; entry < this.#next; entry++) {
			times[entry & (length - 1)] = this.#times[entry & mask]!;
			amounts[entry & (length - 1)] = this.#amounts[entry & mask]!;
		}
		this.#times = times;
		this.#amounts = amounts;
	}
}
