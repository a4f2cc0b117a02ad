/**
 * What a router has counted of windows and Redis has not: of calls that were let in while it could not be asked, or that it has lost, since it
 * was flushed or began anew. It is told when it can be, and once more where it said that it has counted nothing of that.
 */
import type { SharedRedis } from "../../store/redis.ts";
import type { HeardLimits } from "./heard-limits.ts";
import type { Limit, LocalLimiter, TakenAt } from "./limiter.ts";
import { changedKey, sinceKey } from "./redis-limit-keys.ts";
import { COUNT } from "./redis-script.ts";
import { STEPS } from "./redis-script-parts.ts";

/** Windows that wait to be told of. */
const MOST_WINDOWS = 20_000;
/** Steps that one script adds to. */
const PAGE_STEPS = 2_000;
/** What was taken within such a part of a window is one entry. */
const ENTRIES = 4_096;
/** Entries of a window of which none is looked at whether it has left. */
const FEW_ENTRIES = 64;

/** What was taken of a window, and when. */
interface UntoldWindow {
	readonly windowMs: number;
	entries: { readonly at: number; amount: number }[];
	/** With so many entries it is looked which have left the window. */
	most: number;
}

/** A window that waits, and its name at Redis. */
type NamedWindow = readonly [key: string, window: UntoldWindow];

/** A window's name at Redis, and how much was taken when, on Redis's clock, ms. */
type WindowCounts = readonly [key: string, windowMs: number, counts: readonly [at: number, amount: number][]];

/** Those of one limiter at Redis. */
export class UntoldCounts {
	readonly #untold = new Map<string, UntoldWindow>();
	/** What Redis has lost and has refused to take back. */
	#lost: WindowCounts[] = [];
	/** What is older, `performance.now()`, is among what was put back last. */
	#putBackBefore = Number.NEGATIVE_INFINITY;

	/** @param process names this router among all that share the Redis: what Redis has lost each puts back once, whichever thread does */
	constructor(
		private readonly redis: Pick<SharedRedis, "key" | "ask" | "isAlive">,
		private readonly local: Pick<LocalLimiter, "takenBefore">,
		private readonly heard: HeardLimits,
		private readonly process: string,
	) {}

	/** Redis is to be told of this. @param at when it was taken, `performance.now()` @param amount may be less than 0 */
	note(key: string, limit: Pick<Limit, "windowMs">, at: number, amount: number): void {
		let window = this.#untold.get(key);
		if (!window) {
			if (this.#untold.size >= MOST_WINDOWS) return;
			window = { windowMs: limit.windowMs, entries: [], most: FEW_ENTRIES };
			this.#untold.set(key, window);
		}
		addTo(window, at, amount);
	}

	/** Tells Redis, where it answers. @param offset how far its clock is ahead of `performance.now()`, ms */
	tell(offset: number): void {
		if (!this.redis.isAlive) return;
		this.#sendLost();
		if (this.#untold.size === 0) return;
		const untold = [...this.#untold];
		this.#untold.clear();
		const counts = untold.map(([key, { windowMs, entries }]) => countsOf(key, windowMs, entries, offset));
		const before = this.#putBackBefore;
		this.#send("", counts, (from, to) => {
			// What was put back since is as all was counted by then.
			const left = before === this.#putBackBefore ? Number.NEGATIVE_INFINITY : this.#putBackBefore;
			for (const window of untold.slice(from, to)) this.#waitAgain(window, left);
		});
	}

	/** Redis has lost what was counted before a moment: it is put back. @param before `performance.now()` @param offset as for `tell` */
	putBack(before: number, offset: number): void {
		// What Redis was not told yet of the time before is among it.
		for (const window of this.#untold.values()) window.entries = window.entries.filter(({ at }) => at >= before);
		this.#putBackBefore = before;
		this.#lost = [];
		for (const [key, limit] of this.heard.windows()) {
			const taken = this.local.takenBefore(limit, before);
			if (taken.length > 0) this.#lost.push(countsOf(key, limit.windowMs, taken, offset));
		}
		this.#sendLost();
	}

	#sendLost(): void {
		const lost = this.#lost;
		const before = this.#putBackBefore;
		this.#lost = [];
		this.#send(`of:${this.process}`, lost, (from, to) => {
			// Unless all was lost once more since.
			if (before === this.#putBackBefore) this.#lost.push(...lost.slice(from, to));
		});
	}

	/** It was refused: it waits, before what has come since. @param from what was taken before this moment does not, `performance.now()` */
	#waitAgain([key, { windowMs, entries, most }]: NamedWindow, from: number): void {
		const window = { windowMs, entries: entries.filter(({ at }) => at >= from), most };
		const since = this.#untold.get(key);
		if (!since && this.#untold.size >= MOST_WINDOWS) return;
		this.#untold.set(key, window);
		for (const { at, amount } of since?.entries ?? []) addTo(window, at, amount);
	}

	/**
	 * @param marker who puts back what was lost, or ""
	 * @param refused called for a page of which Redis has counted nothing: the windows from the first of these numbers up to the second
	 */
	#send(marker: string, windows: readonly WindowCounts[], refused: (from: number, to: number) => void): void {
		for (let at = 0; at < windows.length; ) {
			const from = at;
			const keys: string[] = [];
			const args: (string | number)[] = [marker];
			for (let steps = 0; at < windows.length && steps < PAGE_STEPS; at++) {
				const [key, windowMs, counts] = windows[at]!;
				keys.push(key);
				args.push(windowMs, counts.length, ...counts.flat());
				steps += counts.length;
			}
			const to = at;
			keys.push(sinceKey(this.redis), changedKey(this.redis));
			const sent = this.redis.ask(COUNT, keys, args);
			// What was sent may have been carried out, though nobody hears of it: it is not sent twice, unless Redis says that it was not.
			if (sent) void sent.whole.then(() => sent.isRefused && refused(from, to));
			else refused(from, to);
		}
	}
}

/** Adds what was taken after all else that is there. */
function addTo(window: UntoldWindow, at: number, amount: number): void {
	const { entries, windowMs } = window;
	const last = entries.at(-1);
	if (last && Math.abs(at - last.at) < windowMs / ENTRIES) last.amount += amount;
	else entries.push({ at, amount });
	if (entries.length < window.most) return;
	window.entries = entries.filter((entry) => entry.at > at - windowMs);
	window.most = Math.max(FEW_ENTRIES, 2 * window.entries.length);
}

/** In the steps in which Redis counts. */
function countsOf(key: string, windowMs: number, taken: readonly TakenAt[], offset: number): WindowCounts {
	const stepMs = windowMs / STEPS;
	const steps = new Map<number, number>();
	for (const { at, amount } of taken) {
		const step = Math.floor((at + offset) / stepMs);
		steps.set(step, (steps.get(step) ?? 0) + amount);
	}
	return [key, windowMs, [...steps].map(([step, amount]) => [(step + 0.5) * stepMs, Math.round(amount)])];
}
