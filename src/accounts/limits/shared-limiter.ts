/** Limits that all threads of the process count together, in memory that they share. */
import { BlockName } from "../../memory/block-name.ts";
import { HANDED_ON, makeBlocks, SharedBlocks, SWEPT_AT } from "../../memory/shared-blocks.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { SpendCells } from "../usage/spend-cells.ts";
import { UNCOUNTED } from "./counters.ts";
import type { CountName, HandableLimiter, HandedCounts, HeldLimits } from "./handed-counts.ts";
import type {
	AgreedLimit,
	Limit,
	LimitDecision,
	Limiter,
	LimitUnit,
	Reservation,
	TakenAt,
	WindowName,
} from "./limiter.ts";
import { OTHER_KIND, repairCounter, type SharedCounter, sharedCounter } from "./shared-counters.ts";
import { handedCounts } from "./shared-handing.ts";
import { dropCounter, dropSessions, sweepCounters } from "./shared-room.ts";
import { SharedTrouble } from "./shared-trouble.ts";
import { numberOf } from "./shared-window.ts";
import { CountingLimiter, HeldReservation, SlidingWindowLimiter, SWEEP_MS } from "./sliding-window.ts";

/** Names of one unit that a thread remembers the hash of: clients choose addresses. */
const MOST_NAMES = 10_000;
/** How often all counters are looked through for idle ones while there is no room for more, ms. */
const FULL_SWEEP_MS = 1_000;

/** Counters and spending of as many ids, and entries of windows in sixteens. */
const LIMIT_BLOCKS = 100_000;

/** Memory for limits and spending: 29 MB of addresses, of which pages are taken as they are used. */
export const makeLimits = (): SharedArrayBuffer => makeBlocks(LIMIT_BLOCKS);

/** What a thread needs for its view of {@link makeLimits}. */
export interface LimitsView {
	readonly memory: SharedArrayBuffer;
	/** The number of the thread. */
	readonly thread: number;
	/** How far the main thread's `performance.now()` is ahead of this thread's, ms. */
	readonly offset: number;
	/** As this thread reads it. */
	readonly ledger: Pick<LedgerStore, "spent" | "spenders">;
}

/** One thread's view of limits and spending. */
export interface SharedLimits {
	readonly limiter: SharedLimiter;
	readonly spend: SpendCells;
}

/** Makes a thread's view. */
export function sharedLimits({ memory, thread, offset, ledger }: LimitsView): SharedLimits {
	const blocks = new SharedBlocks(memory, LIMIT_BLOCKS, thread);
	const spend = new SpendCells(blocks, OTHER_KIND, ledger);
	return { spend, limiter: new SharedLimiter(blocks, offset, spend) };
}

/**
 * Decides as `SlidingWindowLimiter` does, under one lock for all limits, so that threads can't race. A window is exact up to some thousand
 * calls; of more those that came within some ms leave together, with the last of them. Where there is no room for more counters, those that
 * were not used for longest are dropped.
 */
export class SharedLimiter extends CountingLimiter implements HandableLimiter {
	/**
	 * At which time another process went on with all that is counted, as this thread's last `take`, `settle` or `cancel` found it: 1 for the
	 * first; 0 while none does. What was taken or ended by then is in what was handed on, and nothing else is.
	 */
	handedOn = 0;
	readonly trouble: SharedTrouble;
	/** How many times it was handed on: the main thread's. */
	#times = 0;
	readonly #counters: Readonly<Record<LimitUnit, Map<string, SharedCounter>>> = {
		requests: new Map(),
		tokens: new Map(),
		spend: new Map(),
		concurrency: new Map(),
		usd: new Map(),
	};
	#now = 0;
	#sweptFullAt = Number.NEGATIVE_INFINITY;
	/** Where there is no room: sessions took most of it when all was last looked through. */
	#areSessionsMost = false;

	/**
	 * @param blocks this thread's view of them; all that the limiter does there is bounded by their number
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 * @param spend what was spent of budgets, in the same blocks: read anew for each decision
	 */
	constructor(
		private readonly blocks: SharedBlocks,
		private readonly offset: number,
		private readonly spend?: SpendCells,
	) {
		super(`${blocks.thread}:`);
		this.trouble = new SharedTrouble(blocks, offset);
		blocks.onFull = () => this.#makeRoom();
		blocks.threads.onEnded = (thread) => this.freed(thread);
	}

	take(limits: readonly Limit[], now: number): LimitDecision {
		const { blocks } = this;
		const at = now + this.offset;
		blocks.acquire();
		try {
			this.#now = at;
			this.handedOn = blocks.numbers[HANDED_ON]!;
			this.trouble.look();
			if (at - blocks.numbers[SWEPT_AT]! > SWEEP_MS) this.#sweep(at);
			return this.decide(this.#withSpending(limits), at);
		} finally {
			blocks.release();
		}
	}

	settle(reservation: Reservation, tokens: number, now: number, spent?: number): void {
		this.#end(reservation, now, tokens, spent);
	}

	cancel(reservation: Reservation, now: number): void {
		this.#end(reservation, now, undefined);
	}

	takenBefore({ id, unit }: WindowName, before: number): readonly TakenAt[] {
		const { blocks, offset } = this;
		let taken: readonly TakenAt[] = [];
		blocks.acquire();
		try {
			const counter = this.#counterOf(unit, id);
			if (counter.find()) taken = counter.takenBefore(before + offset);
		} finally {
			blocks.release();
		}
		return taken.map(({ at, amount }) => ({ at: at - offset, amount }));
	}

	counted({ id, unit }: WindowName, now: number): number {
		const { blocks, offset } = this;
		blocks.acquire();
		try {
			const counter = this.#counterOf(unit, id);
			if (!counter.find()) return 0;
			counter.expire(now + offset);
			return counter.sum;
		} finally {
			blocks.release();
		}
	}

	countedBefore({ id, unit }: WindowName, before: number): number {
		const { blocks, offset } = this;
		blocks.acquire();
		try {
			const counter = this.#counterOf(unit, id);
			return counter.find() ? counter.sumBefore(before + offset) : 0;
		} finally {
			blocks.release();
		}
	}

	agreed(limit: AgreedLimit, since: number, now: number, own: number, wordAt = Number.NaN): number {
		const { blocks, offset } = this;
		blocks.acquire();
		try {
			const counter = this.#counterOf(limit.unit, limit.id);
			if (!counter.find()) return own;
			const given = { at: now + offset, own, wordAt: wordAt + offset };
			return counter.agreed(since + offset, given, limit.spending?.period);
		} finally {
			blocks.release();
		}
	}

	/** The main thread's. From here on each thread finds that it was done. */
	handOn(now: number): HandedCounts {
		const { blocks } = this;
		const at = now + this.offset;
		blocks.acquire();
		try {
			this.#now = at;
			this.#sweep(at);
			this.#times++;
			blocks.numbers[HANDED_ON] = this.#times;
			return { counts: handedCounts(blocks), seeds: blocks.seeds };
		} finally {
			blocks.release();
		}
	}

	takeBack(): void {
		this.blocks.acquire();
		this.blocks.numbers[HANDED_ON] = 0;
		this.blocks.release();
	}

	/** The main thread's, before there are others. What is under way is held by it. @throws where something has a name already, and hashes come */
	takeOver({ counts, seeds }: HandedCounts, ahead: number): void {
		const { blocks } = this;
		if (seeds) blocks.takeSeeds(seeds);
		for (const { unit, id, hash, windowMs, state } of counts) {
			const counter = sharedCounter(blocks, unit, hash === undefined ? id : BlockName.of(hash));
			blocks.acquire();
			try {
				this.#now = performance.now() + this.offset;
				if (!counter.locate({ windowMs })) continue;
				counter.expire(this.#now);
				counter.takeOver(state, ahead);
			} finally {
				blocks.release();
			}
		}
	}

	nameOf({ unit, id, hash }: CountName): string {
		return `${unit} ${hash ?? this.#counterOf(unit, id).hash}`;
	}

	reservationOf({ limits, entries }: HeldLimits): Reservation {
		const { blocks } = this;
		blocks.acquire();
		try {
			const counters = limits.map((limit) => this.counter(limit));
			const own = counters.map((counter, at) => ("entryAt" in counter ? counter.entryAt(entries[at]!) : -1));
			return new HeldReservation("", 0, limits, counters, own);
		} finally {
			blocks.release();
		}
	}

	heldBy(reservation: Reservation): HeldLimits {
		const { limits, entries } = reservation as HeldReservation;
		return { limits, entries: entries.map(numberOf) };
	}

	release({ unit, id, hash }: CountName, running: number, sum: number): void {
		const { blocks } = this;
		const counter = hash === undefined ? this.#counterOf(unit, id) : sharedCounter(blocks, unit, BlockName.of(hash));
		blocks.acquire();
		try {
			if (counter.find()) counter.release(running, sum);
		} finally {
			blocks.release();
		}
	}

	/** The main thread's: what a thread that has died held is given back; what it had taken of windows leaves with them. */
	freed(thread: number): void {
		const { blocks, spend } = this;
		this.trouble.freed(thread);
		blocks.freed(thread, (block, kind) => {
			repairCounter(blocks, block, kind, thread);
			spend?.repair(block, kind, thread);
		});
	}

	protected override counter(limit: Limit): SharedCounter | typeof UNCOUNTED {
		const counter = this.#counterOf(limit.unit, limit.id);
		return counter.locate(limit) ? counter : UNCOUNTED;
	}

	#counterOf(unit: LimitUnit, id: string): SharedCounter {
		const counters = this.#counters[unit];
		let counter = counters.get(id);
		if (!counter) {
			counter = sharedCounter(this.blocks, unit, id);
			if (counters.size >= MOST_NAMES) counters.clear();
			counters.set(id, counter);
		}
		return counter;
	}

	#end(reservation: Reservation, now: number, tokens: number | undefined, spent?: number): void {
		const { blocks } = this;
		blocks.acquire();
		try {
			this.#now = now + this.offset;
			this.handedOn = blocks.numbers[HANDED_ON]!;
			this.trouble.look();
			this.end(reservation, this.#now, tokens, spent);
		} finally {
			blocks.release();
		}
	}

	/** The limits with what is spent of their budgets by now: another thread may have settled a call since that was looked up. */
	#withSpending(limits: readonly Limit[]): readonly Limit[] {
		const { spend } = this;
		if (!spend || !limits.some(({ spending }) => spending)) return limits;
		return limits.map((limit) => {
			const { spending } = limit;
			if (!spending) return limit;
			const usd = spend.lockedSum(spending.key, spending.period);
			return usd === undefined || usd <= spending.usd ? limit : { ...limit, spending: { ...spending, usd } };
		});
	}

	#sweep(now: number): void {
		this.blocks.numbers[SWEPT_AT] = now;
		sweepCounters(this.blocks, now);
	}

	#makeRoom(): boolean {
		const now = this.#now;
		if (now - this.#sweptFullAt > FULL_SWEEP_MS) {
			this.#sweptFullAt = now;
			this.#sweep(now);
			this.#areSessionsMost = true;
		}
		// Clients choose how many sessions and addresses there are: neither pushes the other out of more than half.
		if (this.#areSessionsMost) {
			this.#areSessionsMost = dropSessions(this.blocks, now, false) > 0;
			if (this.#areSessionsMost) return true;
		}
		return dropCounter(this.blocks, now) || dropSessions(this.blocks, now, true) > 0;
	}
}

/** Whether another process can go on with what it counts. */
export const isHandable = (limiter: Limiter): limiter is SlidingWindowLimiter | SharedLimiter =>
	limiter instanceof SlidingWindowLimiter || limiter instanceof SharedLimiter;
