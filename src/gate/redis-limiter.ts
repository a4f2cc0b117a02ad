/** Limits that all replicas count together, in Redis. */
import type { SharedRedis } from "../store/redis.ts";
import type { Bound, Limiter, Reservation, Standing, Verdict } from "./limiter.ts";
import { LEASE_MS, RENEW, SETTLE, TAKE } from "./limiter-script.ts";

/** How often places of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;
/** How soon Redis is told again what it did not take while it was there, ms. */
const TELL_AGAIN_MS = 1_000;
/** After so many times places have lapsed by themselves: a Redis that refuses each change would else be told for ever. */
const MOST_MISSES = LEASE_MS / TELL_AGAIN_MS;
/** Kept to be told: what was under way when Redis went away. More than any router has under way at once. */
const MOST_UNTOLD = 20_000;

const LETTERS = { requests: "r", tokens: "t", concurrency: "c" } as const;

/** What stands behind a reservation. */
interface Taken {
	/** In this process. */
	readonly own: Reservation;
	/** In Redis. */
	readonly id: string;
	readonly bounds: readonly Bound[];
	/** When, on Redis's clock, ms. Absent where it gave no answer: it may have taken it all the same, or may yet. */
	readonly at?: number;
}

/** What Redis is to be told of a call that is over. */
interface Change {
	readonly id: string;
	readonly at: number;
	/** Added to what was taken of each; of places nothing is left. */
	readonly changes: readonly { readonly bound: Bound; readonly delta: number }[];
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
	/** Those that hold a place at once. */
	readonly #running = new Set<Taken>();
	/** Calls that ended while Redis took nothing: their places would keep others out for half a minute, and their estimates for a whole one. */
	readonly #untold = new Set<Change>();
	#telling: ReturnType<typeof setTimeout> | undefined;
	#count = 0;

	/** @param router names this router among those that share the Redis */
	constructor(
		private readonly redis: SharedRedis,
		private readonly own: Limiter,
		private readonly router: string,
	) {
		redis.onUp(() => this.#tellAgain());
	}

	/** Renews places until it is ended. */
	open(): () => void {
		const timer = setInterval(() => this.#renew(), RENEW_MS);
		timer.unref();
		return () => clearInterval(timer);
	}

	async take(bounds: readonly Bound[], now: number): Promise<Verdict> {
		const own = await this.own.take(bounds, now);
		if (!own.isAllowed || bounds.length === 0) return own;
		const id = `${this.router}:${this.#count++}`;
		const args = bounds.flatMap(({ counts, limit, windowMs, amount }) => [LETTERS[counts], limit, windowMs, amount]);
		const isAsked = this.redis.isUp;
		const answer = await this.redis.script(TAKE, this.#keys(bounds), [id, ...args]);
		if (!isNumbers(answer, 4 + bounds.length * 2)) {
			if (isAsked) this.#begin(own.reservation, { own: own.reservation, id, bounds });
			return own;
		}
		const [isTaken, at, refused, waitMs] = answer as [number, number, number, number];
		const standings = bounds.map((bound, index): Standing => {
			const [remaining, resetMs] = answer.slice(4 + index * 2) as [number, number];
			return { bound, remaining, resetMs };
		});
		if (isTaken === 1) {
			const reservation = { bounds, id };
			this.#begin(reservation, { own: own.reservation, id, bounds, at });
			return { isAllowed: true, reservation, standings };
		}
		this.own.cancel(own.reservation, now);
		const retryAfterMs = waitMs === -1 ? Number.POSITIVE_INFINITY : waitMs;
		return { isAllowed: false, refused: bounds[refused]!, retryAfterMs, standings };
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
		if (taken.bounds.some(isPlace)) this.#running.add(taken);
	}

	/** What stood behind a reservation; undefined for one that Redis was not asked for: it is the process's own. */
	#end(reservation: Reservation): Taken | undefined {
		const taken = this.#taken.get(reservation);
		this.#taken.delete(reservation);
		if (taken) this.#running.delete(taken);
		return taken;
	}

	#change(taken: Taken | undefined, deltaOf: (bound: Bound) => number): void {
		if (!taken) return;
		const { id, bounds, at } = taken;
		const changes = bounds
			.map((bound) => ({ bound, delta: Math.round(deltaOf(bound)) }))
			// Which step an unheard one would stand in nobody knows: it leaves with its window.
			.filter(({ bound, delta }) => isPlace(bound) || (at !== undefined && delta !== 0));
		if (changes.length > 0) void this.#tell({ id, at: at ?? 0, changes, misses: 0 });
	}

	async #tell(change: Change): Promise<void> {
		const { id, at, changes } = change;
		const isSent = this.redis.isUp;
		const args = changes.flatMap(({ bound, delta }) => [LETTERS[bound.counts], bound.windowMs, delta]);
		const answer = await this.redis.script(SETTLE, this.#keys(changes.map(({ bound }) => bound)), [id, at, ...args]);
		if (answer !== undefined) return;
		// What was sent may be carried out yet: amounts must not be told twice, places may be.
		const left = isSent ? changes.filter(({ bound }) => isPlace(bound)) : changes;
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
		for (const { id, bounds } of this.#running) void this.redis.script(RENEW, this.#keys(bounds.filter(isPlace)), [id]);
	}

	/** All in one slot: a script may touch no other. The window is part of the name, since its steps are. */
	#keys(bounds: readonly Bound[]): string[] {
		return bounds.map(({ id, counts, windowMs }) => this.redis.key(`{limits}:${LETTERS[counts]}:${windowMs}:${id}`));
	}
}

const isPlace = ({ counts }: Bound): boolean => counts === "concurrency";

function isNumbers(answer: unknown, count: number): answer is number[] {
	return Array.isArray(answer) && answer.length === count && answer.every((each) => typeof each === "number");
}
