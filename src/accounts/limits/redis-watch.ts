/**
 * What a limiter knows of Redis itself: whether it answers, whether it has lost what it counted or may lack what routers let in without it, which
 * routers share it, and what others have taken of limits that this one was not asked for.
 */
import type { SharedRedis } from "../../store/redis.ts";
import { ALONE, type SharingRouters, sharingRouters } from "./fair-share.ts";
import type { RedisSilence } from "./heard-limits.ts";
import type { Limit } from "./limiter.ts";
import { changedKey, countedLimit, LETTERS, routersKey, sinceKey } from "./redis-limit-keys.ts";
import { LEAVE, LOOK, TOTALS } from "./redis-look.ts";

/** How often it is looked, ms: by calls it is seen at once that Redis has lost what it counted, and no more. */
const LOOK_MS = 1_000;
/** How long routers take to tell what Redis has not counted, or has lost, ms: each looks within a second, some have to connect first. */
const PUT_BACK_MS = 3_000;
/** Limits that one look asks for, and of which the totals are asked for at once. */
const MOST_CHANGED = 500;

/** What it reports. Called synchronously; must not throw. */
export interface RedisWatcher {
	/** Redis has lost what it counted. @param since when it began anew, on its clock, ms @param offset how far that is ahead of `performance.now()`, ms */
	lost(since: number, offset: number): void;
	/** It is silent, or lacks what was counted, since that moment, `performance.now()`; undefined: no longer. */
	silent(since: number | undefined): void;
	/** It answers, and can be told. */
	looked(offset: number): void;
	/** Whether it is of use to hear what all have taken of a limit. @param sentAt when that is asked, `performance.now()` */
	wants(key: string, sentAt: number): boolean;
	/** What all have taken of a limit. */
	total(key: string, limit: Limit, total: number, sentAt: number): void;
}

/** One limiter's. */
export class RedisWatch {
	#sharing: SharingRouters = ALONE;
	/** The names that the look before has found: a router that is missing once may have been kept from looking itself. */
	#namesBefore: readonly string[] = [];
	#since: number | undefined;
	/** How far Redis's clock is ahead of `performance.now()`, by the last answer, ms. */
	#offset = 0;
	/** Redis has lost what it counted, at least once. */
	#hasLost = false;
	#wasAlive = false;
	/** Until then Redis may lack what others have let in without it, `performance.now()`. */
	#lacksUntil = Number.NEGATIVE_INFINITY;
	/** Since when Redis is silent, or lacks what was counted, `performance.now()`. */
	#silentSince: number | undefined;
	#toldAt = Number.NEGATIVE_INFINITY;
	/** When Redis last answered, and lacked nothing then, `performance.now()`. */
	#heardAt = Number.NEGATIVE_INFINITY;
	/** What changed before is known, on Redis's clock, ms. */
	#changedFrom = 0;
	#isLooking = false;

	/** @param process names this router among all that share the Redis, whichever of its threads asks */
	constructor(
		private readonly redis: Pick<SharedRedis, "key" | "ask" | "isAlive">,
		private readonly process: string,
		private readonly watcher: RedisWatcher,
		private readonly lookMs = LOOK_MS,
	) {}

	/** The routers that share the Redis. */
	get sharing(): SharingRouters {
		return this.#sharing;
	}

	/** How far Redis's clock is ahead of `performance.now()`, ms. */
	get offset(): number {
		return this.#offset;
	}

	/** Looks, until it is ended. */
	open(): () => void {
		const timer = setInterval(() => void this.look(), this.lookMs);
		timer.unref();
		return () => {
			clearInterval(timer);
			// Another thread of this router says at its next look that it is still there.
			if (this.redis.isAlive) this.redis.ask(LEAVE, [routersKey(this.redis)], [this.process]);
		};
	}

	/** Redis answers again, or for the first time. */
	alive(): void {
		if (this.#wasAlive) this.lacks(performance.now());
		this.#wasAlive = true;
		void this.look();
	}

	/** Redis has not answered a call of that moment. */
	silent(now: number): void {
		if (this.#silentSince !== undefined) return;
		this.#silentSince = now;
		this.watcher.silent(now);
	}

	/** A call of that moment was let in that Redis has not counted: others have let in some, too. */
	lacks(now: number): void {
		this.#lacksUntil = now + PUT_BACK_MS;
	}

	/** What a call that Redis has not counted goes by. @param now `performance.now()` */
	silence(now: number): Omit<RedisSilence, "askingThreads"> {
		return { sharing: this.#sharing, since: this.#silentSince ?? now, toldAt: this.#toldAt, heardAt: this.#heardAt };
	}

	/**
	 * Redis has answered. Whether it may lack what others have taken.
	 *
	 * @param at Redis's clock, ms @param since by that, since when it has lost nothing @param sentAt when it was asked, `performance.now()`
	 */
	answered(at: number, since: number, sentAt: number): boolean {
		const isLost = since !== this.#since && this.#since !== undefined;
		this.#since = since;
		this.#offset = at - sentAt;
		if (isLost) {
			this.#hasLost = true;
			this.silent(sentAt);
			this.watcher.lost(since, this.#offset);
		}
		const isYoung = sentAt < this.#lacksUntil || (this.#hasLost && at - since < PUT_BACK_MS);
		if (!isYoung) {
			if (this.#silentSince !== undefined) this.watcher.silent(undefined);
			this.#silentSince = undefined;
			this.#heardAt = performance.now();
		}
		return isYoung;
	}

	/** Looks whether Redis has lost what it counted, says that this router is there, and hears of what others have taken. */
	async look(): Promise<void> {
		if (!this.redis.isAlive || this.#isLooking) return;
		this.#isLooking = true;
		try {
			await this.#lookNow();
		} finally {
			this.#isLooking = false;
		}
	}

	async #lookNow(): Promise<void> {
		const { redis } = this;
		const sentAt = performance.now();
		const most = this.#sharing.routers > 1 ? MOST_CHANGED : 0;
		const keys = [sinceKey(redis), routersKey(redis), changedKey(redis)];
		const sent = redis.ask(LOOK, keys, [this.process, this.#changedFrom, most]);
		void sent?.soon.then((soon) => soon === undefined && this.silent(sentAt));
		const answer = lookIn(await sent?.whole);
		if (answer) await this.#looked(answer, sentAt, most);
		else {
			this.silent(sentAt);
			this.lacks(performance.now());
		}
	}

	async #looked({ at, since, names, changed }: Looked, sentAt: number, most: number): Promise<void> {
		const isYoung = this.answered(at, since, sentAt);
		// A Redis that has lost all, or was silent, has yet to hear of the others.
		if (!isYoung || names.length >= this.#sharing.routers) {
			this.#sharing = sharingRouters([...new Set([...names, ...this.#namesBefore])], this.process);
			this.#namesBefore = names;
		}
		this.watcher.looked(this.#offset);
		if (isYoung || most === 0) return;
		const isTold = await this.#hearTotals(changed, sentAt);
		if (!isTold) return;
		if (changed.length < most) this.#toldAt = sentAt;
		const last = changed.at(-1)?.at ?? 0;
		// Those of the same millisecond once more: another one may have come after. Where that is all that was heard it was all of it.
		if (changed.length < most) this.#changedFrom = Math.floor(at);
		else this.#changedFrom = last === this.#changedFrom && last < Math.floor(at) ? last + 1 : last;
	}

	/** Whether all of it was heard. */
	async #hearTotals(changed: readonly ChangedLimit[], sentAt: number): Promise<boolean> {
		const limits = new Map<string, Limit>();
		for (const { key } of changed) {
			if (!this.watcher.wants(key, sentAt)) continue;
			const limit = countedLimit(this.redis, key);
			if (limit) limits.set(key, limit);
		}
		const all = [...limits];
		for (let from = 0; from < all.length; from += MOST_CHANGED) {
			const some = all.slice(from, from + MOST_CHANGED);
			const keys = some.map(([key]) => key);
			const args = some.flatMap(([, { unit, windowMs }]) => [LETTERS[unit], windowMs]);
			const askedAt = performance.now();
			const totals = await this.redis.ask(TOTALS, keys, args)?.whole;
			if (!Array.isArray(totals) || totals.length !== some.length) return false;
			for (const [index, [key, limit]] of some.entries()) {
				const total: unknown = totals[index];
				if (typeof total === "number") this.watcher.total(key, limit, total, askedAt);
			}
		}
		return true;
	}
}

/** A limit of which somebody has taken something, and when, on Redis's clock, ms. */
interface ChangedLimit {
	readonly key: string;
	readonly at: number;
}

/** What a look has found. Times on Redis's clock, ms. */
interface Looked {
	readonly at: number;
	readonly since: number;
	readonly names: readonly string[];
	/** The earliest first. */
	readonly changed: readonly ChangedLimit[];
}

/** An answer to LOOK; undefined where it is none. */
function lookIn(answer: unknown): Looked | undefined {
	if (!Array.isArray(answer) || answer.length !== 4) return undefined;
	const [at, since, names, flat] = answer as [number, number, string[], string[]];
	const changed: ChangedLimit[] = [];
	for (let index = 0; index < flat.length; index += 2) changed.push({ key: flat[index]!, at: Number(flat[index + 1]) });
	return { at: at / 1000, since: since / 1000, names, changed };
}
