/** What calls have taken of limits at Redis: their leases are renewed while they run, and changed when they are over is what they took. */
import type { SharedRedis } from "../../store/redis.ts";
import { PERIOD_TTL_MS, type Spending, type SpendStore, TOTAL_TTL_MS, unitsOf } from "../usage/spend.ts";
import type { Reservation } from "./limiter.ts";
import {
	changedKey,
	isLease,
	LETTERS,
	limitKey,
	limitKeys,
	type RedisLimit,
	reservedKeys,
} from "./redis-limit-keys.ts";
import { RENEW, SETTLE } from "./redis-script.ts";
import { LEASE_MS } from "./redis-script-parts.ts";

/** How soon a change is sent again that Redis did not take while it was there, ms. */
const RETRY_CHANGES_MS = 1_000;
/** After so many times leases have lapsed by themselves: a change that Redis refuses would be sent for ever otherwise. */
const MOST_MISSES = LEASE_MS / RETRY_CHANGES_MS;
/** Changes that wait while Redis is away: more than any router has calls under way. */
const MOST_PENDING = 20_000;

/** Whose spending Redis adds up. */
export interface Spender {
	readonly replica: string;
	/** USD. */
	readonly spent: SpendStore["spent"];
}

/** What a call adds to what it took of a limit when it is over. */
export type LimitDelta = (limit: RedisLimit) => number;

/** What stands behind a reservation. */
export class RedisReservation {
	/** When, on Redis's clock, ms. Absent while it has not answered: it may have taken it all the same, or may yet. */
	at: number | undefined;
	/** An answer may come: what is to be changed waits for it. */
	isAwaited = false;
	/** What the call adds, where it was over before the answer. */
	delta: LimitDelta | undefined;

	/**
	 * @param local in this process
	 * @param id its name in Redis
	 * @param limits as they were asked, and, once Redis has answered, as they were taken
	 */
	constructor(
		readonly local: Reservation,
		readonly id: string,
		public limits: readonly RedisLimit[],
	) {}
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

/** Those of one limiter at Redis. */
export class RedisReservations {
	/** Those that hold leases: of calls at once, or of a part of a budget. */
	readonly #running = new Set<RedisReservation>();
	/** Of calls that ended while Redis took nothing: their leases would keep others out for half a minute, their estimates for a whole one. */
	readonly #pending = new Set<ReservationChange>();
	#retryTimer: ReturnType<typeof setTimeout> | undefined;

	/** @param list the worker's list of where it has leases, as the last key of a script; none where the router has one worker */
	constructor(
		private readonly redis: Pick<SharedRedis, "key" | "ask" | "isAlive">,
		private readonly spender: Spender,
		private readonly list: readonly string[],
	) {}

	/** A call runs. */
	begin(taken: RedisReservation): void {
		if (taken.limits.some(isLease)) this.#running.add(taken);
	}

	/** It is over. */
	end(taken: RedisReservation, delta: LimitDelta): void {
		this.#running.delete(taken);
		if (taken.isAwaited) taken.delta = delta;
		else this.#change(taken, delta);
	}

	/** Redis has counted nothing of a call that it was asked for: nothing is to be changed there. What the call adds, where it is over. */
	forget(taken: RedisReservation): LimitDelta | undefined {
		this.#running.delete(taken);
		const { delta } = taken;
		taken.delta = undefined;
		return delta;
	}

	/** Redis has answered, or never will. */
	answered(taken: RedisReservation): void {
		taken.isAwaited = false;
		if (taken.delta) this.#change(taken, taken.delta);
	}

	/** Redis takes commands again. */
	sendPending(): void {
		clearTimeout(this.#retryTimer);
		this.#retryTimer = undefined;
		if (!this.redis.isAlive) return;
		const pending = [...this.#pending];
		this.#pending.clear();
		for (const change of pending) void this.#send(change);
	}

	/** Has leases last for longer. @param isLost Redis has lost them: they are put back */
	renew(isLost: boolean): void {
		if (!this.redis.isAlive) return;
		for (const { id, limits } of this.#running) {
			const keys: string[] = [];
			const members: string[] = [];
			for (const limit of limits) {
				if (limit.unit === "concurrency" || limit.unit === "guesses") {
					keys.push(limitKey(this.redis, limit));
					members.push(id);
				} else if (limit.spending) {
					keys.push(...reservedKeys(this.redis, limit.spending.key));
					members.push(`${id} ${unitsOf(limit.amount)}`, "");
				}
			}
			this.redis.ask(RENEW, [...keys, ...this.list], [isLost ? 1 : 0, ...members]);
		}
	}

	/** The replica that spends, and how long its spending stays in Redis, ms: as scripts are told it. */
	spenderOf(limits: readonly RedisLimit[]): readonly [string, number] {
		const isTotal = limits.some(({ spending }) => spending?.period === "total");
		return [`of ${this.spender.replica}`, isTotal ? TOTAL_TTL_MS : PERIOD_TTL_MS];
	}

	/** What this replica has spent, in billionths of a USD. */
	ownSpending({ key, period }: Spending): number {
		return unitsOf(this.spender.spent(key, period));
	}

	#change({ id, limits, at }: RedisReservation, deltaOf: LimitDelta): void {
		const changes = limits
			.map((limit) => ({ limit, delta: limit.spending ? unitsOf(limit.amount) : Math.round(deltaOf(limit)) }))
			// Which step an unheard one would stand in nobody knows: it leaves with its window.
			.filter(({ limit, delta }) => isLease(limit) || (at !== undefined && delta !== 0));
		if (changes.length > 0) void this.#send({ id, at: at ?? 0, changes, misses: 0 });
	}

	async #send(change: ReservationChange): Promise<void> {
		const { id, at, changes } = change;
		const args = changes.flatMap(({ limit, delta }) => {
			const window = limit.spending ? this.ownSpending(limit.spending) : limit.windowMs;
			return [LETTERS[limit.unit], window, delta];
		});
		const limits = changes.map(({ limit }) => limit);
		const all = [id, at, ...this.spenderOf(limits), ...args];
		const sent = this.redis.ask(SETTLE, [...limitKeys(this.redis, limits), changedKey(this.redis)], all);
		if (sent && (await sent.whole) !== undefined) return;
		// What was sent may be carried out yet, unless Redis refused it: amounts must not be sent twice, leases may be ended twice.
		const left = sent && !sent.isRefused ? changes.filter(({ limit }) => isLease(limit)) : changes;
		const misses = change.misses + Number(sent !== undefined);
		if (left.length === 0 || misses > MOST_MISSES || this.#pending.size >= MOST_PENDING) return;
		this.#pending.add({ id, at, changes: left, misses });
		if (this.redis.isAlive) this.#retryTimer ??= setTimeout(() => this.sendPending(), RETRY_CHANGES_MS).unref();
	}
}
