/** Limits that all replicas count together, in Redis. */
import type { SharedRedis } from "../../store/redis.ts";
import { PERIOD_TTL_MS, type Spending, type SpendStore, TOTAL_TTL_MS, unitsOf, usdOf } from "../usage/spend.ts";
import type { Limit, LimitDecision, Limiter, LimitStatus, Reservation } from "./limiter.ts";
import { LEASE_MS, RENEW, SETTLE, TAKE } from "./redis-script.ts";

/** How often leases of running calls are renewed, ms: two renewals may be lost. */
const RENEW_MS = LEASE_MS / 3;
/** How soon a change is sent again that Redis did not take while it was there, ms. */
const RETRY_CHANGES_MS = 1_000;
/** After so many times leases have lapsed by themselves: a change that Redis refuses would be sent for ever otherwise. */
const MOST_MISSES = LEASE_MS / RETRY_CHANGES_MS;
/** Changes that wait while Redis is away: more than any router has calls under way. */
const MOST_PENDING = 20_000;

const LETTERS = { requests: "r", tokens: "t", concurrency: "c", usd: "b", guesses: "g" } as const;
/** The lease of a call that has a guess among its tokens: Redis leaves a guess out only where no other call has one. */
interface GuessLease {
	readonly id: string;
	readonly unit: "guesses";
	readonly max: number;
	readonly windowMs: number;
	readonly amount: number;
	readonly certain?: undefined;
	readonly spending?: undefined;
}

/** What Redis is asked for. */
type RedisLimit = Limit | GuessLease;

/** What stands behind a reservation. */
interface RedisReservation {
	/** In this process. */
	readonly local: Reservation;
	/** Its name in Redis. */
	readonly id: string;
	readonly limits: readonly RedisLimit[];
	/** When, on Redis's clock, ms. Absent where it gave no answer: it may have taken it all the same, or may yet. */
	readonly at?: number;
}

/** Where Redis keeps what it counts of limits. */
const SPACE = "{limits}:";

/** The list of where a worker has leases: its router gives them back where it dies. @param worker names it among all that share the Redis */
export const leasesKey = (redis: Pick<SharedRedis, "key">, worker: string): string => redis.key(`${SPACE}of:${worker}`);
/** What is reserved of a key's budget, and the sum of that. @param key the key's id */
export const reservedKeys = (redis: Pick<SharedRedis, "key">, key: string): [held: string, sum: string] => [
	redis.key(`${SPACE}held:${key}`),
	redis.key(`${SPACE}sum:${key}`),
];

/** Whose spending Redis adds up. */
export interface Spender {
	readonly replica: string;
	/** USD. */
	readonly spent: SpendStore["spent"];
}

/** What differs. */
export interface RedisLimiterOptions {
	/** It is a worker's, and its router gives back what it held where it dies. */
	readonly isOneOfSeveral?: boolean;
	/** How often leases of running calls are renewed, ms. */
	readonly renewMs?: number;
}

/** What is to be changed in Redis, of a call that is over. */
interface ReservationChange {
	readonly id: string;
	readonly at: number;
	/** Added to what was taken of each; leases end. */
	readonly changes: readonly { readonly limit: RedisLimit; readonly delta: number }[];
	/** How often Redis did not take it while it was there. */
	readonly misses: number;
}

/**
 * Counts in this process first, which is what holds while Redis is away: what one process has admitted alone is part of what all
 * have, so what is too much for it needs no further question. A Redis that was flushed lets each replica use its limit
 * once more, and no more than that.
 */
export class RedisLimiter implements Limiter {
	readonly #renewMs: number;
	readonly #taken = new WeakMap<Reservation, RedisReservation>();
	/** Those that hold leases: of calls at once, or of a part of a budget. */
	readonly #running = new Set<RedisReservation>();
	/** Of calls that ended while Redis took nothing: their leases would keep others out for half a minute, their estimates for a whole one. */
	readonly #pending = new Set<ReservationChange>();
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#count = 0;

	/** The worker's list of where it has leases, as the last key of a script; none where the router has one worker. */
	readonly #list: readonly string[];

	/**
	 * @param router names this router, or its worker, among all that share the Redis; another one after a restart
	 * @param spender what this replica alone has spent, and its name, which is the same after a restart
	 */
	constructor(
		private readonly redis: SharedRedis,
		private readonly local: Limiter,
		private readonly router: string,
		private readonly spender: Spender,
		{ isOneOfSeveral = false, renewMs = RENEW_MS }: RedisLimiterOptions = {},
	) {
		this.#renewMs = renewMs;
		this.#list = isOneOfSeveral ? [leasesKey(redis, router)] : [];
		redis.onUp(() => this.#sendPending());
	}

	/** Renews leases until it is ended. */
	open(): () => void {
		const timer = setInterval(() => this.#renew(), this.#renewMs);
		timer.unref();
		return () => clearInterval(timer);
	}

	async take(limits: readonly Limit[], now: number): Promise<LimitDecision> {
		const local = await this.local.take(limits, now);
		if (!local.isAllowed || limits.length === 0) return local;
		const { reservation } = local;
		// As it was asked, and not as this process has taken it: a call of another process may be under way.
		const asked = withLeases(limits);
		const id = `${this.router}:${this.#count++}`;
		const args = asked.flatMap((limit) => this.#takeArguments(limit));
		const isAsked = this.redis.isUp;
		const keys = this.#keys(asked);
		keys.push(...this.#list);
		const answer = await this.redis.script(TAKE, keys, [id, ...this.#spender(asked), ...args]);
		if (!isNumbers(answer, 4 + asked.length * 3)) {
			if (isAsked) this.#begin(reservation, { local: reservation, id, limits: asked });
			return local;
		}
		const [isTaken, at, refused, waitMs] = answer as [number, number, number, number];
		const found = asked.map((limit, index) => {
			const [remaining, resetMs, amount] = answer.slice(4 + index * 3) as [number, number, number];
			return { limit: amountOf(limit, amount), remaining: amountFrom(limit, remaining), resetMs };
		});
		const statuses = found.filter(isLimitStatus);
		if (isTaken === 1) {
			const shared = { limits: statuses.map(({ limit }) => limit), id };
			this.#begin(shared, { local: reservation, id, limits: found.map(({ limit }) => limit), at });
			return { isAllowed: true, reservation: shared, statuses };
		}
		this.local.cancel(reservation, now);
		const retryAfterMs = waitMs === -1 ? Number.POSITIVE_INFINITY : waitMs;
		return { isAllowed: false, refused: asked[refused] as Limit, retryAfterMs, statuses };
	}

	settle(reservation: Reservation, tokens: number, now: number): void {
		const taken = this.#end(reservation);
		this.local.settle(taken?.local ?? reservation, tokens, now);
		this.#change(taken, ({ unit, amount }) => (unit === "tokens" ? tokens - amount : 0));
	}

	cancel(reservation: Reservation, now: number): void {
		const taken = this.#end(reservation);
		this.local.cancel(taken?.local ?? reservation, now);
		this.#change(taken, ({ amount }) => -amount);
	}

	#begin(reservation: Reservation, taken: RedisReservation): void {
		this.#taken.set(reservation, taken);
		if (taken.limits.some(isLease)) this.#running.add(taken);
	}

	/** What stood behind a reservation; undefined for one that Redis was not asked for: it is the local limiter's. */
	#end(reservation: Reservation): RedisReservation | undefined {
		const taken = this.#taken.get(reservation);
		this.#taken.delete(reservation);
		if (taken) this.#running.delete(taken);
		return taken;
	}

	#change(taken: RedisReservation | undefined, deltaOf: (limit: RedisLimit) => number): void {
		if (!taken) return;
		const { id, limits, at } = taken;
		const changes = limits
			.map((limit) => ({ limit, delta: limit.spending ? unitsOf(limit.amount) : Math.round(deltaOf(limit)) }))
			// Which step an unheard one would stand in nobody knows: it leaves with its window.
			.filter(({ limit, delta }) => isLease(limit) || (at !== undefined && delta !== 0));
		if (changes.length > 0) void this.#send({ id, at: at ?? 0, changes, misses: 0 });
	}

	async #send(change: ReservationChange): Promise<void> {
		const { id, at, changes } = change;
		const isSent = this.redis.isUp;
		const args = changes.flatMap(({ limit, delta }) => {
			const window = limit.spending ? this.#localSpending(limit.spending) : limit.windowMs;
			return [LETTERS[limit.unit], window, delta];
		});
		const limits = changes.map(({ limit }) => limit);
		const all = [id, at, ...this.#spender(limits), ...args];
		const answer = await this.redis.script(SETTLE, this.#keys(limits), all);
		if (answer !== undefined) return;
		// What was sent may be carried out yet: amounts must not be sent twice, leases may be ended twice.
		const left = isSent ? changes.filter(({ limit }) => isLease(limit)) : changes;
		const misses = change.misses + Number(isSent);
		if (left.length === 0 || misses > MOST_MISSES || this.#pending.size >= MOST_PENDING) return;
		this.#pending.add({ id, at, changes: left, misses });
		if (this.redis.isUp) this.#retryTimer ??= setTimeout(() => this.#sendPending(), RETRY_CHANGES_MS).unref();
	}

	#sendPending(): void {
		clearTimeout(this.#retryTimer);
		this.#retryTimer = undefined;
		if (!this.redis.isUp) return;
		const pending = [...this.#pending];
		this.#pending.clear();
		for (const change of pending) void this.#send(change);
	}

	#renew(): void {
		for (const { id, limits } of this.#running) {
			const keys: string[] = [];
			const members: string[] = [];
			for (const limit of limits) {
				if (limit.unit === "concurrency" || limit.unit === "guesses") {
					keys.push(this.#keyOf(limit));
					members.push(id);
				} else if (limit.spending) {
					keys.push(...reservedKeys(this.redis, limit.spending.key));
					members.push(`${id} ${unitsOf(limit.amount)}`, "");
				}
			}
			void this.redis.script(RENEW, [...keys, ...this.#list], members);
		}
	}

	/** The arguments of TAKE for a limit. */
	#takeArguments({ unit, max, windowMs, amount, certain, spending }: RedisLimit): (string | number)[] {
		if (!spending) return [LETTERS[unit], max, windowMs, amount, certain ?? -1];
		return [LETTERS[unit], unitsOf(max), unitsOf(spending.usd), unitsOf(amount), this.#localSpending(spending)];
	}

	#localSpending({ key, period }: Spending): number {
		return unitsOf(this.spender.spent(key, period));
	}

	/** The replica that spends, and how long its spending stays in Redis, ms. */
	#spender(limits: readonly RedisLimit[]): readonly [string, number] {
		const isTotal = limits.some(({ spending }) => spending?.period === "total");
		return [`of ${this.spender.replica}`, isTotal ? TOTAL_TTL_MS : PERIOD_TTL_MS];
	}

	/** All in one slot: a script may touch no other. */
	#keys(limits: readonly RedisLimit[]): string[] {
		const keys = limits.map((limit) => this.#keyOf(limit));
		for (const { spending } of limits) if (spending) keys.push(...reservedKeys(this.redis, spending.key));
		return keys;
	}

	/** The window, or the period, is part of the name, since what is counted there is of it alone. */
	#keyOf({ id, unit, windowMs, spending }: RedisLimit): string {
		return this.redis.key(
			`${SPACE}${LETTERS[unit]}:${spending ? `${spending.period}:${spending.key}` : `${windowMs}:${id}`}`,
		);
	}
}

/** It lasts as long as the call, and no longer than it is renewed. */
const isLease = ({ unit }: RedisLimit): boolean => unit === "concurrency" || unit === "usd" || unit === "guesses";

/** The limits, with a lease behind each that has a guess. */
function withLeases(limits: readonly Limit[]): readonly RedisLimit[] {
	return limits.flatMap((limit) => (limit.certain === undefined ? limit : [limit, guessLeaseOf(limit)]));
}

function guessLeaseOf({ id, windowMs }: Limit): GuessLease {
	return { id, unit: "guesses", max: Number.MAX_SAFE_INTEGER, windowMs, amount: 1 };
}

/** Clients are shown limits alone. */
function isLimitStatus(found: { readonly limit: RedisLimit }): found is LimitStatus {
	return found.limit.unit !== "guesses";
}

/** The limit with what Redis took of it. */
function amountOf<T extends RedisLimit>(limit: T, amount: number): T {
	return limit.unit === "tokens" && amount !== limit.amount ? { ...limit, amount } : limit;
}

const amountFrom = ({ spending }: RedisLimit, counted: number): number => (spending ? usdOf(counted) : counted);

function isNumbers(answer: unknown, count: number): answer is number[] {
	return Array.isArray(answer) && answer.length === count && answer.every((each) => typeof each === "number");
}
