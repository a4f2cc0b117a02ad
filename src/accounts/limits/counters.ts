/** What is counted of one limit in the memory of one thread: entries of a window, calls under way, what is reserved of a budget. */
import type { Limit, TakenAt } from "./limiter.ts";

/** The fewest entries that a window has room for. */
const SMALLEST = 16;
/** So many entries are exact to the last digit. Beyond that there is one for each such part of the window. */
const EXACT_ENTRIES = 4_096;
/** How soon it is worth another try where nobody knows when there will be room, ms. */
export const RETRY_MS = 1_000;

/** What is counted of one limit, for another process to go on with. Times on the clock of whoever counts, ms. */
export interface CountState {
	readonly running: number;
	/** Of calls at once and budgets. */
	readonly sum: number;
	/** The number of the oldest entry of a window, and all entries: those that calls under way hold are known by their numbers. */
	readonly first: number;
	readonly entries: readonly (readonly [at: number, amount: number])[];
	/** Of a session that threads count: its key, as their memory has it. */
	readonly owner?: number;
}

const NO_ENTRIES = { first: 0, entries: [] } as const;

/** What is counted of one limit. */
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
	/** What is in its window that was taken before a moment; nothing where it has none. */
	takenBefore(before: number): readonly TakenAt[];
}

/** Calls at once. */
export class ConcurrencyCounter implements Counter {
	sum = 0;
	get state(): CountState {
		return { running: this.sum, sum: this.sum, ...NO_ENTRIES };
	}
	set state({ sum }: CountState) {
		this.sum = sum;
	}
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
	takenBefore(): readonly TakenAt[] {
		return [];
	}
	get isEmpty(): boolean {
		return this.sum === 0;
	}
}

/** USD: sums of doubles drift by less, and no call is refused for so little. */
export const TOLERANCE_USD = 1e-9;

/** What calls under way may cost of one budget, USD. What was spent comes with the limit. */
export class BudgetCounter implements Counter {
	sum = 0;
	running = 0;
	get state(): CountState {
		return { running: this.running, sum: this.sum, ...NO_ENTRIES };
	}
	set state({ running, sum }: CountState) {
		this.running = running;
		this.sum = sum;
	}
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
		this.release(1, amount);
	}
	/** So many calls that took so much together are over. */
	release(calls: number, amount: number): void {
		this.running -= calls;
		// Sums of doubles drift: nothing under way is nothing.
		this.sum = this.running === 0 ? 0 : this.sum - amount;
	}
	waitFor(limit: Limit): number {
		return budgetWait(limit);
	}
	resetMs(): number {
		return 0;
	}
	takenBefore(): readonly TakenAt[] {
		return [];
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
export class WindowCounter implements Counter {
	sum = 0;
	running = 0;
	#times = new Float64Array(SMALLEST);
	#amounts = new Float64Array(SMALLEST);
	/** Numbers of the oldest entry and of the next one; entries are numbered through. */
	#first = 0;
	#next = 0;
	/** When the newest entry was made; calls may have been added to it since. */
	#begunAt = 0;

	/** @param windowMs its length */
	constructor(readonly windowMs: number) {}

	get isEmpty(): boolean {
		return this.running === 0 && (this.#first === this.#next || this.sum === 0);
	}

	get state(): CountState {
		const entries = this.takenBefore(Number.POSITIVE_INFINITY).map(({ at, amount }) => [at, amount] as const);
		return { running: this.running, sum: this.sum, first: this.#first, entries };
	}

	set state({ running, first, entries }: CountState) {
		this.running = 0;
		this.sum = 0;
		this.#first = first;
		this.#next = first;
		// Each by itself: calls under way know them by their numbers.
		for (const [at, amount] of entries) {
			this.sum += amount;
			this.#push(amount, at);
		}
		this.running = running;
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
		this.running++;
		this.sum += amount;
		if (this.#fitsNewest(now)) {
			// What the newest entry takes in leaves with this one: later than it would have, never sooner.
			const newest = (this.#next - 1) & (this.#times.length - 1);
			this.#times[newest] = now;
			this.#amounts[newest]! += amount;
			return this.#next - 1;
		}
		return this.#push(amount, now);
	}

	#push(amount: number, now: number): number {
		this.#begunAt = now;
		if (this.#next - this.#first === this.#times.length) this.#resize(this.#times.length * 2);
		const at = this.#next & (this.#times.length - 1);
		this.#times[at] = now;
		this.#amounts[at] = amount;
		return this.#next++;
	}

	/** Whether what is taken now is added to the newest entry: where that has come to nothing, and beyond {@link EXACT_ENTRIES}. */
	#fitsNewest(now: number): boolean {
		const count = this.#next - this.#first;
		if (count === 0) return false;
		if (this.#amounts[(this.#next - 1) & (this.#amounts.length - 1)] === 0) return true;
		return count >= EXACT_ENTRIES && now - this.#begunAt < this.windowMs / EXACT_ENTRIES;
	}

	change(entry: number, difference: number): void {
		if (entry < this.#first) return;
		this.sum += difference;
		this.#amounts[entry & (this.#amounts.length - 1)]! += difference;
	}

	leave(): void {
		this.running--;
	}

	/** So many calls are over. */
	release(calls: number): void {
		this.running -= calls;
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
		// What is left of entries that came to nothing holds nobody up.
		if (this.#first === this.#next || this.sum === 0) return 0;
		return this.#times[(this.#next - 1) & (this.#times.length - 1)]! + this.windowMs - now;
	}

	takenBefore(before: number): readonly TakenAt[] {
		const mask = this.#times.length - 1;
		const taken: TakenAt[] = [];
		for (let entry = this.#first; entry < this.#next; entry++) {
			const at = this.#times[entry & mask]!;
			if (at >= before) break;
			taken.push({ at, amount: this.#amounts[entry & mask]! });
		}
		return taken;
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

/** Where there is no room for a counter, nothing is counted: calls go on. */
export const UNCOUNTED: Counter = {
	sum: 0,
	running: 0,
	isEmpty: true,
	hasRoom: () => true,
	expire: () => {},
	add: () => -1,
	change: () => {},
	leave: () => {},
	waitFor: () => 0,
	resetMs: () => 0,
	takenBefore: () => [],
};
