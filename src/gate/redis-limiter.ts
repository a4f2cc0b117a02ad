/** Limits that all replicas count together, in Redis. */
import type { SharedRedis } from "../store/redis.ts";
import type { Bound, Limiter, Reservation, Standing, Verdict } from "./limiter.ts";
import { LEASE_MS, RENEW, SETTLE, TAKE } from "./limiter-script.ts";

/** How often places of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;

const LETTERS = { requests: "r", tokens: "t", concurrency: "c" } as const;

/** What stands behind a reservation. */
interface Taken {
	/** In this process. */
	readonly own: Reservation;
	/** In Redis: when, on its clock, ms. Absent where it was not asked or gave no answer. */
	readonly at?: number;
}

/**
 * Counts in this process first, which is what holds while Redis is away: what one process has let in alone is part of what all
 * have, so what is too much for it needs no further question. A Redis that was flushed lets each replica use its limit
 * once more, and no more than that.
 */
export class RedisLimiter implements Limiter {
	readonly #taken = new WeakMap<Reservation, Taken>();
	/** Those that hold a place at once. */
	readonly #running = new Set<Reservation>();
	#count = 0;

	/** @param router names this router among those that share the Redis */
	constructor(
		private readonly redis: SharedRedis,
		private readonly own: Limiter,
		private readonly router: string,
	) {}

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
		const answer = await this.redis.script(TAKE, this.#keys(bounds), [id, ...args]);
		if (!isNumbers(answer, 4 + bounds.length * 2)) return own;
		const [isTaken, at, refused, waitMs] = answer as [number, number, number, number];
		const standings = bounds.map((bound, index): Standing => {
			const [remaining, resetMs] = answer.slice(4 + index * 2) as [number, number];
			return { bound, remaining, resetMs };
		});
		if (isTaken === 1) {
			const reservation = { bounds, id };
			this.#taken.set(reservation, { own: own.reservation, at });
			if (bounds.some(isPlace)) this.#running.add(reservation);
			return { isAllowed: true, reservation, standings };
		}
		this.own.cancel(own.reservation, now);
		const retryAfterMs = waitMs === -1 ? Number.POSITIVE_INFINITY : waitMs;
		return { isAllowed: false, refused: bounds[refused]!, retryAfterMs, standings };
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		const { own, at } = this.#end(reservation);
		this.own.settle(own, tokens, now);
		this.#change(reservation, at, ({ counts, amount }) => (counts === "tokens" ? tokens - amount : 0));
	}

	cancel(reservation: Reservation, now: number): void {
		const { own, at } = this.#end(reservation);
		this.own.cancel(own, now);
		this.#change(reservation, at, ({ amount }) => -amount);
	}

	/** What stood behind a reservation: one that Redis has not heard of is the process's own. */
	#end(reservation: Reservation): Taken {
		const taken = this.#taken.get(reservation);
		this.#taken.delete(reservation);
		this.#running.delete(reservation);
		return taken ?? { own: reservation };
	}

	#change(reservation: Reservation, at: number | undefined, deltaOf: (bound: Bound) => number): void {
		const bounds = reservation.bounds.filter((bound) => isPlace(bound) || deltaOf(bound) !== 0);
		if (at === undefined || bounds.length === 0) return;
		const args = bounds.flatMap((bound) => [LETTERS[bound.counts], bound.windowMs, Math.round(deltaOf(bound))]);
		void this.redis.script(SETTLE, this.#keys(bounds), [reservation.id, at, ...args]);
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
