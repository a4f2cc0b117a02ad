/**
 * Limits counted in this process: an exact sliding window for requests and tokens, a plain count for what is under way, a sum for what
 * is reserved of budgets. 16 bytes a call in the window.
 */
import type { Limit, LimitDecision, Limiter, LimitStatus, LimitUnit, Reservation } from "./limiter.ts";

/** How often counters that count nothing any more are let go, ms. */
const SWEEP_MS = 60_000;
const SMALLEST = 16;

/** A reservation, with where it stands in each counter. */
class Held implements Reservation {
	isOpen = true;

	constructor(
		readonly id: string,
		readonly bounds: readonly Limit[],
		/** Of each bound: none is let go while a call that has taken of it is under way. */
		readonly counters: readonly Counter[],
		/** Of each bound: the number of its entry; -1 for `concurrency` and `usd`. */
		readonly entries: readonly number[],
	) {}
}

/** The limiter. Everything happens at once, so calls can't race. */
export class WindowLimiter implements Limiter {
	readonly #counters: Readonly<Record<LimitUnit, Map<string, Counter>>> = {
		requests: new Map(),
		tokens: new Map(),
		concurrency: new Map(),
		usd: new Map(),
	};
	#taken = 0;
	#sweptAt = 0;

	take(bounds: readonly Limit[], now: number): LimitDecision {
		if (now - this.#sweptAt > SWEEP_MS) this.#sweep(now);
		const counters: Counter[] = [];
		const taken: Limit[] = [];
		let refused: Limit | undefined;
		let retryAfterMs = 0;
		for (const asked of bounds) {
			const counter = this.#counter(asked);
			counters.push(counter);
			counter.expire(now);
			const bound = asked.certain === undefined ? asked : guessed(asked, counter);
			taken.push(bound);
			if (counter.hasRoom(bound)) continue;
			const wait = waitFor(bound, counter, now);
			if (refused && wait <= retryAfterMs) continue;
			refused = bound;
			retryAfterMs = wait;
		}
		if (refused) return { isAllowed: false, refused, retryAfterMs, standings: standings(bounds, counters, now) };
		const entries = taken.map((bound, at) => counters[at]!.add(bound.amount, now));
		const reservation = new Held(String(++this.#taken), taken, counters, entries);
		return { isAllowed: true, reservation, standings: standings(taken, counters, now) };
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		this.#end(reservation, now, tokens);
	}

	cancel(reservation: Reservation, now: number): void {
		this.#end(reservation, now, undefined);
	}

	/** @param tokens used; undefined where nothing was */
	#end(reservation: Reservation, now: number, tokens: number | undefined): void {
		const held = reservation as Held;
		if (!held.isOpen) return;
		held.isOpen = false;
		for (let at = 0; at < held.bounds.length; at++) {
			const bound = held.bounds[at]!;
			const counter = held.counters[at]!;
			counter.expire(now);
			counter.leave(bound.amount);
			if (tokens === undefined) counter.change(held.entries[at]!, 0);
			else if (bound.counts === "tokens") counter.change(held.entries[at]!, tokens);
		}
	}

	#counter({ id, counts, windowMs }: Limit): Counter {
		const counters = this.#counters[counts];
		let counter = counters.get(id);
		if (!counter) {
			counter = counts === "concurrency" ? new UnderWay() : counts === "usd" ? new Reserved() : new Window(windowMs);
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

function standings(bounds: readonly Limit[], counters: readonly Counter[], now: number): LimitStatus[] {
	return bounds.map((bound, at) => {
		const counter = counters[at]!;
		const spent = bound.spending?.usd ?? 0;
		return { bound, remaining: Math.max(0, bound.limit - spent - counter.sum), resetMs: counter.resetMs(now) };
	});
}

/** The bound as it is to be taken: without the guess where that does not fit, and no other call is under way. */
function guessed(bound: Limit, counter: Counter): Limit {
	return counter.running > 0 || counter.hasRoom(bound) ? bound : { ...bound, amount: bound.certain! };
}

/** How soon it is worth another try where nobody knows when there will be room, ms. */
const ASK_AGAIN_MS = 1_000;

/** When there will be room. What is certain of a call is let in as soon as no other is under way, which may be at any moment. */
function waitFor(bound: Limit, counter: Counter, now: number): number {
	const wait = counter.waitFor(bound, now);
	const { certain } = bound;
	if (certain === undefined || certain === bound.amount) return wait;
	const alone = { ...bound, amount: certain };
	const waitAlone = counter.hasRoom(alone) ? 0 : counter.waitFor(alone, now);
	return Math.min(wait, Math.max(waitAlone, ASK_AGAIN_MS));
}

interface Counter {
	readonly sum: number;
	/** Calls that have taken of it and are under way. */
	readonly running: number;
	readonly isEmpty: boolean;
	hasRoom(bound: Limit): boolean;
	/** Forgets what has left the window. */
	expire(now: number): void;
	/** Returns the entry's number. */
	add(amount: number, now: number): number;
	/** Puts another amount in an entry's place; one that has left the window is gone. */
	change(entry: number, amount: number): void;
	/** A call that took so much is over. */
	leave(amount: number): void;
	/** When there will be room, if nobody else comes, ms. */
	waitFor(bound: Limit, now: number): number;
	resetMs(now: number): number;
}

class UnderWay implements Counter {
	sum = 0;
	get running(): number {
		return this.sum;
	}
	hasRoom({ amount, limit }: Limit): boolean {
		return this.sum + amount <= limit;
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
		return ASK_AGAIN_MS;
	}
	resetMs(): number {
		return 0;
	}
	get isEmpty(): boolean {
		return this.sum === 0;
	}
}

/** USD: sums of doubles drift by less, and no call is refused for so little. */
const GRAIN = 1e-9;

/** What calls under way may cost of one budget, USD. What was spent comes with the bound. */
class Reserved implements Counter {
	sum = 0;
	running = 0;
	hasRoom({ amount, limit, spending }: Limit): boolean {
		const spent = spending?.usd ?? 0;
		return spent + this.sum + amount <= limit + GRAIN || (this.running === 0 && spent < limit);
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
	/** What is reserved may be free at any moment; what is spent, never in this period. */
	waitFor({ limit, spending }: Limit): number {
		return (spending?.usd ?? 0) >= limit ? Number.POSITIVE_INFINITY : ASK_AGAIN_MS;
	}
	resetMs(): number {
		return 0;
	}
	get isEmpty(): boolean {
		return this.running === 0;
	}
}

/** The entries of a window, the oldest first, in a ring that grows by doubling and shrinks by halves. */
class Window implements Counter {
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

	hasRoom({ amount, limit }: Limit): boolean {
		return this.sum + amount <= limit;
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

	change(entry: number, amount: number): void {
		if (entry < this.#first) return;
		const at = entry & (this.#times.length - 1);
		this.sum += amount - this.#amounts[at]!;
		this.#amounts[at] = amount;
	}

	leave(): void {
		this.running--;
	}

	waitFor({ amount, limit }: Limit, now: number): number {
		let excess = this.sum + amount - limit;
		if (amount > limit) return Number.POSITIVE_INFINITY;
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
