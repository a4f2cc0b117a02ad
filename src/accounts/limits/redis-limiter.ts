/** Limits that all replicas count together, in Redis. */
import type { SharedRedis } from "../../store/redis.ts";
import { PERIOD_KEPT_MS, type SpendStore, TOTAL_KEPT_MS, unitsOf, usdOf } from "../usage/spend.ts";
import type { Limit, LimitDecision, Limiter, LimitStatus, Reservation, Spending } from "./limiter.ts";
import { LEASE_MS, RENEW, SETTLE, TAKE } from "./redis-script.ts";

/** How often places of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;
/** How soon Redis is told again what it did not take while it was there, ms. */
const TELL_AGAIN_MS = 1_000;
/** After so many times places have lapsed by themselves: a Redis that refuses each change would else be told for ever. */
const MOST_MISSES = LEASE_MS / TELL_AGAIN_MS;
/** Kept to be told: what was under way when Redis went away. More than any router has under way at once. */
const MOST_UNTOLD = 20_000;

const LETTERS = { requests: "r", tokens: "t", concurrency: "c", usd: "b", guesses: "g" } as const;
/** A place of a call that has a guess among its tokens: Redis leaves a guess out only where none of the count's is taken. */
interface GuessPlace {
	readonly id: string;
	readonly counts: "guesses";
	readonly limit: number;
	readonly windowMs: number;
	readonly amount: number;
	readonly certain?: undefined;
	readonly spending?: undefined;
}

/** What Redis is asked for. */
type Asked = Limit | GuessPlace;

/** What stands behind a reservation. */
interface Taken {
	/** In this process. */
	readonly own: Reservation;
	/** In Redis. */
	readonly id: string;
	readonly bounds: readonly Asked[];
	/** When, on Redis's clock, ms. Absent where it gave no answer: it may have taken it all the same, or may yet. */
	readonly at?: number;
}

/** Whose spending is told. */
export interface Spender {
	readonly replica: string;
	/** USD. */
	readonly spent: SpendStore["spent"];
}

/** What Redis is to be told of a call that is over. */
interface Change {
	readonly id: string;
	readonly at: number;
	/** Added to what was taken of each; of places nothing is left. */
	readonly changes: readonly { readonly bound: Asked; readonly delta: number }[];
	/** How often Redis did not take it while it was there. */
	readonly misses: number;
}

/**
 * Counts in this process first, which is what holds while Redis is away: what one process has let in alone is part of what all
 * have, so what is too much for it needs no further question. A Redis that was flushed lets each replica use its limit
 * once more, and no more than that.
 */
export class RedisLimiter implements Limiter {
	readonly #taken = new WeakMap<Reservation, Taken>();
	/** Those that hold a place at once, or a part of a budget. */
	readonly #running = new Set<Taken>();
	/** Calls that ended while Redis took nothing: their places would keep others out for half a minute, and their estimates for a whole one. */
	readonly #untold = new Set<Change>();
	#telling: ReturnType<typeof setTimeout> | undefined;
	#count = 0;

	/**
	 * @param router names this router among those that share the Redis
	 * @param spender what this replica alone has spent, and its name, which is the same after a restart
	 * @param renewMs how often places of running calls are renewed
	 */
	constructor(
		private readonly redis: SharedRedis,
		private readonly own: Limiter,
		private readonly router: string,
		private readonly spender: Spender,
		private readonly renewMs = RENEW_MS,
	) {
		redis.onUp(() => this.#tellAgain());
	}

	/** Renews places until it is ended. */
	open(): () => void {
		const timer = setInterval(() => this.#renew(), this.renewMs);
		timer.unref();
		return () => clearInterval(timer);
	}

	async take(bounds: readonly Limit[], now: number): Promise<LimitDecision> {
		const own = await this.own.take(bounds, now);
		if (!own.isAllowed || bounds.length === 0) return own;
		const { reservation } = own;
		// As it was asked, and not as this process has taken it: another one's call may be under way.
		const asked = withPlaces(bounds);
		const id = `${this.router}:${this.#count++}`;
		const args = asked.flatMap((bound) => this.#asked(bound));
		const isAsked = this.redis.isUp;
		const answer = await this.redis.script(TAKE, this.#keys(asked), [id, ...this.#spender(asked), ...args]);
		if (!isNumbers(answer, 4 + asked.length * 3)) {
			if (isAsked) this.#begin(reservation, { own: reservation, id, bounds: asked });
			return own;
		}
		const [isTaken, at, refused, waitMs] = answer as [number, number, number, number];
		const found = asked.map((bound, index) => {
			const [remaining, resetMs, amount] = answer.slice(4 + index * 3) as [number, number, number];
			return { bound: amountOf(bound, amount), remaining: amountFrom(bound, remaining), resetMs };
		});
		const standings = found.filter(isStanding);
		if (isTaken === 1) {
			const shared = { bounds: standings.map(({ bound }) => bound), id };
			this.#begin(shared, { own: reservation, id, bounds: found.map(({ bound }) => bound), at });
			return { isAllowed: true, reservation: shared, standings };
		}
		this.own.cancel(reservation, now);
		const retryAfterMs = waitMs === -1 ? Number.POSITIVE_INFINITY : waitMs;
		return { isAllowed: false, refused: asked[refused] as Limit, retryAfterMs, standings };
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		const taken = this.#end(reservation);
		this.own.settle(taken?.own ?? reservation, tokens, now);
		this.#change(taken, ({ counts, amount }) => (counts === "tokens" ? tokens - amount : 0));
	}

	cancel(reservation: Reservation, now: number): void {
		const taken = this.#end(reservation);
		this.own.cancel(taken?.own ?? reservation, now);
		this.#change(taken, ({ amount }) => -amount);
	}

	#begin(reservation: Reservation, taken: Taken): void {
		this.#taken.set(reservation, taken);
		if (taken.bounds.some(isHeld)) this.#running.add(taken);
	}

	/** What stood behind a reservation; undefined for one that Redis was not asked for: it is the process's own. */
	#end(reservation: Reservation): Taken | undefined {
		const taken = this.#taken.get(reservation);
		this.#taken.delete(reservation);
		if (taken) this.#running.delete(taken);
		return taken;
	}

	#change(taken: Taken | undefined, deltaOf: (bound: Asked) => number): void {
		if (!taken) return;
		const { id, bounds, at } = taken;
		const changes = bounds
			.map((bound) => ({ bound, delta: bound.spending ? unitsOf(bound.amount) : Math.round(deltaOf(bound)) }))
			// Which step an unheard one would stand in nobody knows: it leaves with its window.
			.filter(({ bound, delta }) => isHeld(bound) || (at !== undefined && delta !== 0));
		if (changes.length > 0) void this.#tell({ id, at: at ?? 0, changes, misses: 0 });
	}

	async #tell(change: Change): Promise<void> {
		const { id, at, changes } = change;
		const isSent = this.redis.isUp;
		const args = changes.flatMap(({ bound, delta }) => {
			const window = bound.spending ? this.#ownSpending(bound.spending) : bound.windowMs;
			return [LETTERS[bound.counts], window, delta];
		});
		const bounds = changes.map(({ bound }) => bound);
		const all = [id, at, ...this.#spender(bounds), ...args];
		const answer = await this.redis.script(SETTLE, this.#keys(bounds), all);
		if (answer !== undefined) return;
		// What was sent may be carried out yet: amounts must not be told twice, what is held may be given back twice.
		const left = isSent ? changes.filter(({ bound }) => isHeld(bound)) : changes;
		const misses = change.misses + Number(isSent);
		if (left.length === 0 || misses > MOST_MISSES || this.#untold.size >= MOST_UNTOLD) return;
		this.#untold.add({ id, at, changes: left, misses });
		if (this.redis.isUp) this.#telling ??= setTimeout(() => this.#tellAgain(), TELL_AGAIN_MS).unref();
	}

	#tellAgain(): void {
		clearTimeout(this.#telling);
		this.#telling = undefined;
		if (!this.redis.isUp) return;
		const untold = [...this.#untold];
		this.#untold.clear();
		for (const change of untold) void this.#tell(change);
	}

	#renew(): void {
		for (const { id, bounds } of this.#running) {
			const keys: string[] = [];
			const members: string[] = [];
			for (const bound of bounds) {
				if (bound.counts === "concurrency" || bound.counts === "guesses") {
					keys.push(this.#keyOf(bound));
					members.push(id);
				} else if (bound.spending) {
					keys.push(...this.#heldKeys(bound.spending));
					members.push(`${id} ${unitsOf(bound.amount)}`, "");
				}
			}
			void this.redis.script(RENEW, keys, members);
		}
	}

	/** What TAKE is told of a bound. */
	#asked({ counts, limit, windowMs, amount, certain, spending }: Asked): (string | number)[] {
		if (!spending) return [LETTERS[counts], limit, windowMs, amount, certain ?? -1];
		return [LETTERS[counts], unitsOf(limit), unitsOf(spending.usd), unitsOf(amount), this.#ownSpending(spending)];
	}

	#ownSpending({ key, period }: Spending): number {
		return unitsOf(this.spender.spent(key, period));
	}

	/** Who spends, and how long that is kept. */
	#spender(bounds: readonly Asked[]): readonly [string, number] {
		const isTotal = bounds.some(({ spending }) => spending?.period === "total");
		return [`of ${this.spender.replica}`, isTotal ? TOTAL_KEPT_MS : PERIOD_KEPT_MS];
	}

	/** All in one slot: a script may touch no other. */
	#keys(bounds: readonly Asked[]): string[] {
		const keys = bounds.map((bound) => this.#keyOf(bound));
		for (const { spending } of bounds) if (spending) keys.push(...this.#heldKeys(spending));
		return keys;
	}

	/** The window, or the period, is part of the name, since what is kept there is of it alone. */
	#keyOf({ id, counts, windowMs, spending }: Asked): string {
		return this.redis.key(
			`{limits}:${LETTERS[counts]}:${spending ? `${spending.period}:${spending.key}` : `${windowMs}:${id}`}`,
		);
	}

	/** What is reserved of a key's budget does not end with its period. */
	#heldKeys({ key }: Spending): [string, string] {
		return [this.redis.key(`{limits}:held:${key}`), this.redis.key(`{limits}:sum:${key}`)];
	}
}

/** It lasts as long as the call, and no longer than it is renewed. */
const isHeld = ({ counts }: Asked): boolean => counts === "concurrency" || counts === "usd" || counts === "guesses";

/** The bounds, with a place behind each that has a guess. */
function withPlaces(bounds: readonly Limit[]): readonly Asked[] {
	return bounds.flatMap((bound) => (bound.certain === undefined ? bound : [bound, placeBeside(bound)]));
}

function placeBeside({ id, windowMs }: Limit): GuessPlace {
	return { id, counts: "guesses", limit: Number.MAX_SAFE_INTEGER, windowMs, amount: 1 };
}

/** Of what is told of each that was asked for: clients hear of bounds alone. */
function isStanding(found: { readonly bound: Asked }): found is LimitStatus {
	return found.bound.counts !== "guesses";
}

/** The bound with what Redis took of it. */
function amountOf<T extends Asked>(bound: T, amount: number): T {
	return bound.counts === "tokens" && amount !== bound.amount ? { ...bound, amount } : bound;
}

const amountFrom = ({ spending }: Asked, counted: number): number => (spending ? usdOf(counted) : counted);

function isNumbers(answer: unknown, count: number): answer is number[] {
	return Array.isArray(answer) && answer.length === count && answer.every((each) => typeof each === "number");
}
