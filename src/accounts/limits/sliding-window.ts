/**
 * Limits counted in this process: an exact sliding window for requests and tokens, a plain count for what is under way, a sum for what
 * is reserved of budgets. 16 bytes a call in the window, and no more than 128 kB: of some thousand calls those that came at about one time are one entry.
 */
import { BudgetCounter, ConcurrencyCounter, type Counter, RETRY_MS, WindowCounter } from "./counters.ts";
import type { CountName, HandableLimiter, HandedCounts, HeldLimits } from "./handed-counts.ts";
import type {
	AgreedLimit,
	Limit,
	LimitDecision,
	LimitStatus,
	LimitUnit,
	Reservation,
	TakenAt,
	WindowName,
} from "./limiter.ts";
import { LocalTrouble } from "./redis-trouble.ts";
import { MOST_SESSION_COUNTS, SessionOrder } from "./session-order.ts";
import { countHash } from "./shared-handing.ts";

/** How often counters that count nothing any more are dropped, ms. */
export const SWEEP_MS = 60_000;

/** A reservation, with where it stands in each counter. */
export class HeldReservation implements Reservation {
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
export class SlidingWindowLimiter extends CountingLimiter implements HandableLimiter {
	readonly trouble = new LocalTrouble();
	readonly #counters: Readonly<Record<LimitUnit, Map<string, LocalCounter>>> = {
		requests: new Map(),
		tokens: new Map(),
		spend: new Map(),
		concurrency: new Map(),
		usd: new Map(),
	};
	readonly #sessions = new SessionOrder();
	/** By unit and hash: what a process of several threads has counted, and whether its id was asked for since. */
	readonly #hashed = new Map<string, { readonly counter: LocalCounter; isNamed: boolean }>();
	/** By which its ids are hashed. */
	#seeds: readonly number[] | undefined;
	#sweptAt = 0;

	handOn(now: number): HandedCounts {
		this.#sweep(now);
		const counts = Object.entries(this.#counters).flatMap(([unit, counters]) =>
			[...counters].map(([id, counter]) => handed({ unit: unit as LimitUnit, id }, counter)),
		);
		// Of what came by its hash, and nobody has asked for since.
		const unnamed = [...this.#hashed].flatMap(([name, { counter, isNamed }]) => {
			const [unit, hash] = name.split(" ") as [LimitUnit, string];
			return isNamed ? [] : [handed({ unit, id: "", hash }, counter)];
		});
		return { counts: [...counts, ...unnamed], seeds: this.#seeds };
	}

	takeBack(): void {}

	takeOver({ counts, seeds }: HandedCounts, ahead: number): void {
		this.#seeds = seeds;
		for (const { unit, id, hash, windowMs, state } of counts) {
			const counter = newCounter(unit, windowMs);
			counter.state = { ...state, entries: state.entries.map(([at, amount]) => [at + ahead, amount] as const) };
			if (hash !== undefined) this.#hashed.set(`${unit} ${hash}`, { counter, isNamed: false });
			else {
				this.#counters[unit].set(id, counter);
				if (unit === "spend") this.#sessions.used(id);
			}
		}
	}

	nameOf({ unit, id, hash }: CountName): string {
		if (hash !== undefined) return `${unit} ${hash}`;
		return `${unit} ${this.#seeds ? countHash(this.#seeds, unit, id) : id}`;
	}

	reservationOf({ limits, entries }: HeldLimits): Reservation {
		const counters = limits.map((limit) => this.counter(limit));
		return new HeldReservation("", 0, limits, counters, entries);
	}

	release({ unit, id, hash }: CountName, running: number, sum: number): void {
		const counter = hash === undefined ? this.#counters[unit].get(id) : this.#hashed.get(`${unit} ${hash}`)?.counter;
		if (counter instanceof ConcurrencyCounter) counter.leave(sum);
		else counter?.release(running, sum);
	}

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
		return this.#find(unit, id)?.takenBefore(before) ?? [];
	}

	counted({ id, unit }: WindowName, now: number): number {
		const counter = this.#find(unit, id);
		counter?.expire(now);
		return counter?.sum ?? 0;
	}

	countedBefore({ id, unit }: WindowName, before: number): number {
		return (
			this.#find(unit, id)
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
			const hashed = this.#hashedOf(unit, id);
			if (hashed) hashed.isNamed = true;
			counter = hashed?.counter ?? newCounter(unit, windowMs);
			counters.set(id, counter);
		}
		if (unit === "spend") this.#sessions.used(id);
		return counter;
	}

	/** The counter of an id, which may have come by its hash; undefined where there is none. */
	#find(unit: LimitUnit, id: string): LocalCounter | undefined {
		return this.#counters[unit].get(id) ?? this.#hashedOf(unit, id)?.counter;
	}

	#hashedOf(unit: LimitUnit, id: string) {
		return this.#hashed.size === 0 ? undefined : this.#hashed.get(this.nameOf({ unit, id }));
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
		for (const [name, { counter }] of this.#hashed) {
			counter.expire(now);
			if (counter.isEmpty) this.#hashed.delete(name);
		}
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

const handed = (name: CountName, counter: LocalCounter) => ({
	...name,
	windowMs: counter instanceof WindowCounter ? counter.windowMs : 0,
	state: counter.state,
});

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
