/** Budgets of retries and hedges that all threads of the process spend together, in memory that they share. */
import { BLOCK_CELLS, makeBlocks, SharedBlocks } from "../memory/shared-blocks.ts";
import { locked, MOST_THREADS } from "../memory/shared-lock.ts";
import { HEDGE_PARTS, HedgeBudget, MOST_HEDGE_PARTS } from "./hedge-budget.ts";
import type { CallBudgets, HedgeCount, RetryCount } from "./proxy-state.ts";
import { hasRetryLeft, RETRY_WINDOW_S } from "./retry.ts";

/** Kinds of blocks in memory that is for these budgets alone. */
const RETRIES = 2;
const HEDGES = 3;

/** For the threads' counts, and for budgets of as many names as configurations have. */
const BUDGET_BLOCKS = 1_024;

/** Cells of a thread's block of retries: the second that is being filled, then the calls and the retries of each second. */
const SECOND = 8;
const CALLS = 9;
const RETRIED = CALLS + RETRY_WINDOW_S;
/** Cell of a block of hedges: the parts that are saved up, plus 1; 0 is one that nobody has set. */
const SAVED = 8;

/** Memory for the budgets: some 400 KB of addresses. */
export const makeBudgets = (): SharedArrayBuffer => makeBlocks(BUDGET_BLOCKS);

/** One thread's view of the budgets. */
export class SharedBudgets implements CallBudgets {
	readonly retries: SharedRetryBudget;
	readonly #blocks: SharedBlocks;

	/**
	 * @param memory of {@link makeBudgets}; the main thread's view comes first
	 * @param thread the number of this thread
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 */
	constructor(memory: SharedArrayBuffer, thread: number, offset: number) {
		this.#blocks = new SharedBlocks(memory, BUDGET_BLOCKS, thread);
		this.#blocks.threads.onEnded = (ended) => this.freed(ended);
		this.retries = new SharedRetryBudget(this.#blocks, offset);
	}

	/** Where there is no room for one more name, the thread has a budget of its own for it. */
	hedges(name: string, isFull: boolean): HedgeCount {
		const block = madeBlock(this.#blocks, HEDGES, name);
		if (block === 0) return new HedgeBudget(isFull);
		const at = block * BLOCK_CELLS + SAVED;
		Atomics.compareExchange(this.#blocks.cells, at, 0, (isFull ? MOST_HEDGE_PARTS : 0) + 1);
		return new SharedHedgeBudget(this.#blocks.cells, at);
	}

	/** The main thread's: a thread has died. What its calls have spent is spent. */
	freed(thread: number): void {
		this.#blocks.freed(thread, () => {});
	}
}

/** The budget of retries of all threads. Each counts in a block of its own, in which no other writes: a call takes no lock. */
class SharedRetryBudget implements RetryCount {
	readonly #cells: Int32Array<SharedArrayBuffer>;
	/** The first cell of each thread's block, and of this one's. */
	readonly #all: readonly number[];
	readonly #own: number;

	constructor(
		private readonly blocks: SharedBlocks,
		private readonly offset: number,
	) {
		this.#cells = blocks.cells;
		// The first view makes them all, so that none is without one.
		const threads = Array.from({ length: MOST_THREADS }, (_, thread) => thread);
		this.#all = threads.map((thread) => madeBlock(blocks, RETRIES, String(thread)) * BLOCK_CELLS);
		this.#own = this.#all[blocks.thread]!;
	}

	/** A call came. */
	call(now: number): void {
		this.#cells[this.#own + CALLS + this.#slot(now)]! += 1;
	}

	/** Whether there is room for a retry. */
	has(now: number): boolean {
		return locked(this.blocks, () => this.#hasRoom(now));
	}

	/** A retry is made, if there is room: other threads may have made theirs since `has`. */
	spend(now: number): boolean {
		return locked(this.blocks, () => {
			const hasRoom = this.#hasRoom(now);
			if (hasRoom) this.#cells[this.#own + RETRIED + this.#slot(now)]! += 1;
			return hasRoom;
		});
	}

	#hasRoom(now: number): boolean {
		const cells = this.#cells;
		const second = this.#secondOf(now);
		let [calls, retries, retriesNow] = [0, 0, 0];
		for (const block of this.#all) {
			const last = cells[block + SECOND]!;
			// Seconds in which the thread counted: those that it has not come to are as if they were empty.
			for (let each = Math.max(0, Math.max(last, second) - RETRY_WINDOW_S + 1); each <= last; each++) {
				const slot = slotOf(each);
				calls += cells[block + CALLS + slot]!;
				retries += cells[block + RETRIED + slot]!;
				if (each === second) retriesNow += cells[block + RETRIED + slot]!;
			}
		}
		return hasRetryLeft(retriesNow, retries, calls);
	}

	/** The slot of this thread for that moment. */
	#slot(now: number): number {
		const cells = this.#cells;
		const own = this.#own;
		const second = this.#secondOf(now);
		const last = cells[own + SECOND]!;
		if (second <= last) return slotOf(last);
		for (let each = Math.max(second - RETRY_WINDOW_S, last) + 1; each <= second; each++) {
			cells[own + CALLS + slotOf(each)] = 0;
			cells[own + RETRIED + slotOf(each)] = 0;
		}
		cells[own + SECOND] = second;
		return slotOf(second);
	}

	#secondOf(now: number): number {
		return Math.floor((now + this.offset) / 1000);
	}
}

const slotOf = (second: number): number => second % RETRY_WINDOW_S;

/** The budget of hedges of one name, of all threads. */
class SharedHedgeBudget implements HedgeCount {
	constructor(
		private readonly cells: Int32Array<SharedArrayBuffer>,
		private readonly at: number,
	) {}

	/** A call came. */
	call(): void {
		this.#change((parts) => Math.min(parts + 1, MOST_HEDGE_PARTS));
	}

	/** Takes one, if there is one. */
	take(): boolean {
		return this.#change((parts) => (parts < HEDGE_PARTS ? undefined : parts - HEDGE_PARTS));
	}

	/** One that was taken is not sent. */
	giveBack(): void {
		this.#change((parts) => Math.min(parts + HEDGE_PARTS, MOST_HEDGE_PARTS));
	}

	/** Whether it was changed: not where `next` says nothing. */
	#change(next: (parts: number) => number | undefined): boolean {
		const { cells, at } = this;
		for (let saved = Atomics.load(cells, at); ; ) {
			const parts = next(saved - 1);
			if (parts === undefined) return false;
			const found = Atomics.compareExchange(cells, at, saved, parts + 1);
			if (found === saved) return true;
			saved = found;
		}
	}
}

function madeBlock(blocks: SharedBlocks, kind: number, text: string): number {
	const name = blocks.nameOf(kind, text);
	blocks.acquire();
	try {
		return blocks.find(kind, name) || blocks.make(kind, name);
	} finally {
		blocks.release();
	}
}
