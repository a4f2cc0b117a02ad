/** What keys have spent on this replica, in memory that its threads share: counted there, on top of what its ledger says of the time before. */
import type { BlockName } from "../../memory/block-name.ts";
import { BLOCK_CELLS, BLOCK_NUMBERS, OWNERS_FLAG, type SharedBlocks } from "../../memory/shared-blocks.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { LocalSpend } from "./local-spend.ts";
import {
	type PublishedSpend,
	periodsOf,
	type Spending,
	type SpendStore,
	unitsOf,
	usdOf,
	type WrittenSpend,
} from "./spend.ts";

/** Of a key's block: in total, two months, two days. Of each a cell that names the period, and one that says how far it is. */
const PERIODS = 5;
const TAG = 16;
const STATE = 17;
/** The first is being read from the ledger by the thread of that number, less 1. */
const UNREAD = 0;
const READ = -1;
/**
 * Of each period four numbers, billionths of a USD: what other processes of the same ledger have spent, and this one before; this process
 * since; of that, in the ledger; and what other replicas have.
 */
const BEFORE = 14;
const OWN = 15;
const WRITTEN = 16;
const OTHERS = 17;
const STEP = 4;

/** Names of keys and periods that a thread remembers. */
const MOST_NAMES = 10_000;
/** How long a thread sleeps at a time while another one reads the ledger, ms. */
const SLEEP_MS = 10;

/** Of a key's spending, where it stands in the block. */
interface PeriodCells {
	readonly state: number;
	/** The first of its four numbers. */
	readonly sums: number;
}

/**
 * The sums. One thread asks the ledger for a key and period, before the first call that counts there has been written to it; others wait for
 * it. The last two days and months stay: threads may see midnight at slightly different times.
 */
export class SpendCells implements SpendStore {
	readonly #names = new Map<string, BlockName>();
	readonly #tags = new Map<string, number>();
	/** Of keys for which there is no block. */
	readonly #alone: LocalSpend;

	/**
	 * @param blocks this thread's view of them
	 * @param kind of the blocks: no other owner's
	 * @param ledger as this thread reads it
	 */
	constructor(
		private readonly blocks: SharedBlocks,
		private readonly kind: number,
		private readonly ledger: Pick<LedgerStore, "spent" | "spenders">,
		private readonly wall: () => number = Date.now,
	) {
		this.#alone = new LocalSpend(ledger, wall);
	}

	/** The ledger could not be read, by one thread at least: what was spent before is missing until `refresh`. */
	get isUnsure(): boolean {
		return this.blocks.numbers[OWNERS_FLAG] === 1;
	}

	spent(key: string, period: string): number {
		return this.#read(key, period, (cells) => this.#sum(cells));
	}

	/** The part of it that is this replica's. */
	own(key: string, period: string): number {
		return this.#read(key, period, (cells) => this.#ownSum(cells));
	}

	add(key: string, period: string, usd: number): void {
		// One sum that is none would lift the budget for good.
		if (!(usd >= 0 && usd < Number.POSITIVE_INFINITY)) return;
		const cells = this.#open(key, period);
		if (!cells) {
			this.#alone.add(key, period, usd);
			return;
		}
		this.blocks.numbers[cells.sums + OWN - BEFORE]! += unitsOf(usd);
		this.blocks.release();
	}

	/** What is spent as far as it is read, for who holds the lock; undefined where it is not. */
	lockedSum(key: string, period: string): number | undefined {
		const block = this.blocks.find(this.kind, this.#name(key));
		const cells = block === 0 ? undefined : this.#known(block, this.#tag(period));
		return cells && this.blocks.cells[cells.state] === READ ? this.#sum(cells) : undefined;
	}

	/** What other replicas have spent. Of a period before those that are kept it is of no meaning. */
	setOthers(key: string, period: string, usd: number): void {
		const { blocks, kind } = this;
		const name = this.#name(key);
		const tag = this.#tag(period);
		blocks.acquire();
		try {
			const block = blocks.find(kind, name) || blocks.make(kind, name);
			if (block === 0) return;
			const cells = this.#known(block, tag) ?? (this.#isLater(block, tag) ? this.#begin(block, tag) : undefined);
			if (cells) blocks.numbers[cells.sums + OTHERS - BEFORE] = unitsOf(usd);
		} finally {
			blocks.release();
		}
	}

	/** For the exchange with other replicas, which is the main thread's. */
	get published(): PublishedSpend {
		return {
			add: (key, period, usd) => this.add(key, period, usd),
			spent: (key, period) => this.own(key, period),
			all: () => this.all(),
			others: (key, period, usd) => this.setOthers(key, period, usd),
		};
	}

	/** All that may still matter of this replica's: of each key the current day, the current month, and in total. */
	*all(): Iterable<Spending> {
		const { day, month, total } = periodsOf(this.wall());
		for (const key of new Set([...this.ledger.spenders(), ...this.#names.keys()])) {
			for (const period of [total, month, day]) yield { key, period, usd: this.own(key, period) };
		}
	}

	/** The main thread's: of what was added so much is in the ledger now. */
	wrote(rows: readonly WrittenSpend[]): void {
		const { blocks } = this;
		for (const { day, keyId, cost } of rows) {
			if (keyId === "" || !(cost > 0)) continue;
			const name = this.#name(keyId);
			blocks.acquire();
			try {
				const block = blocks.find(this.kind, name);
				if (block === 0) continue;
				for (const period of [day, day.slice(0, 7), "total"]) {
					const cells = this.#known(block, this.#tag(period));
					if (cells && blocks.cells[cells.state] === READ)
						blocks.numbers[cells.sums + WRITTEN - BEFORE]! += unitsOf(cost);
				}
			} finally {
				blocks.release();
			}
		}
	}

	/**
	 * The main thread's: asks the ledger again, since another process has written to it, or it could not be read. Nothing is being written
	 * meanwhile, and of all that is in it `wrote` has been told.
	 */
	refresh(): void {
		const { blocks, ledger } = this;
		// A ledger that can't be read knows of no spenders, either.
		blocks.numbers[OWNERS_FLAG] = ledger.spent("", "") === undefined ? 1 : 0;
		for (const key of ledger.spenders()) {
			const name = this.#name(key);
			for (let at = 0; at < PERIODS; at++) {
				const tag = this.#tagAt(name, at);
				if (tag === undefined) continue;
				const usd = ledger.spent(key, tag === 0 ? "" : daysOf(tag));
				if (usd === undefined) blocks.numbers[OWNERS_FLAG] = 1;
				else this.#setBefore(name, tag, usd);
			}
		}
	}

	/** For the main thread, which holds the lock: what a thread that has died was about to read is read by another. */
	repair(block: number, kind: number, thread: number): void {
		if (kind !== this.kind) return;
		const { cells } = this.blocks;
		for (let at = 0; at < PERIODS; at++) {
			const state = block * BLOCK_CELLS + STATE + 2 * at;
			if (cells[state] === thread + 1) Atomics.store(cells, state, UNREAD);
		}
	}

	#read(key: string, period: string, sum: (cells: PeriodCells) => number): number {
		const cells = this.#open(key, period);
		if (!cells) return this.#alone.spent(key, period);
		const usd = sum(cells);
		this.blocks.release();
		return usd;
	}

	/** The cells of a key and period, once they are read. The lock is held then. Undefined, without the lock, where there is no room. */
	#open(key: string, period: string): PeriodCells | undefined {
		const { blocks, kind } = this;
		const name = this.#name(key);
		const tag = this.#tag(period);
		for (let ms = SLEEP_MS; ; ms += SLEEP_MS) {
			blocks.acquire();
			const { cells, thread } = blocks;
			const block = blocks.find(kind, name) || blocks.make(kind, name);
			if (block === 0) {
				blocks.release();
				return undefined;
			}
			const found = this.#known(block, tag) ?? this.#begin(block, tag);
			const state = cells[found.state]!;
			if (state === READ) return found;
			if (state === UNREAD) cells[found.state] = thread + 1;
			blocks.release();
			if (state === UNREAD) this.#ask(key, period, found.state);
			else if (Atomics.wait(cells, found.state, state, SLEEP_MS) === "timed-out") blocks.threads.recover(state - 1, ms);
		}
	}

	/** Asks the ledger for what nobody has asked for yet. */
	#ask(key: string, period: string, state: number): void {
		const { blocks } = this;
		let usd: number | undefined;
		try {
			usd = this.ledger.spent(key, period === "total" ? "" : period);
		} finally {
			blocks.acquire();
			const { cells, numbers, thread } = blocks;
			// Where another period has taken its cells, they are not this one's any more.
			const found = this.#known(Math.floor(state / BLOCK_CELLS), this.#tag(period));
			if (found && cells[found.state] === thread + 1) {
				if (usd === undefined) numbers[OWNERS_FLAG] = 1;
				numbers.fill(0, found.sums, found.sums + OTHERS - BEFORE);
				numbers[found.sums] = unitsOf(usd ?? 0);
				cells[found.state] = READ;
				Atomics.notify(cells, found.state);
			}
			blocks.release();
		}
	}

	/** Of a key's block the cells of a period, where it has some. */
	#known(block: number, tag: number): PeriodCells | undefined {
		const { cells } = this.blocks;
		const [first, last] = rangeOf(tag);
		for (let at = first; at <= last; at++)
			if (cells[block * BLOCK_CELLS + TAG + 2 * at] === tag) return cellsAt(block, at);
		return undefined;
	}

	/** Gives a period the cells of the earlier one of its like. */
	#begin(block: number, tag: number): PeriodCells {
		const { cells } = this.blocks;
		const [first, last] = rangeOf(tag);
		const tags = block * BLOCK_CELLS + TAG;
		const at = cells[tags + 2 * first]! <= cells[tags + 2 * last]! ? first : last;
		const begun = cellsAt(block, at);
		cells[begun.state] = UNREAD;
		this.blocks.numbers[begun.sums + OTHERS - BEFORE] = 0;
		cells[tags + 2 * at] = tag;
		return begun;
	}

	/** Whether a period is later than one of its like that has cells. */
	#isLater(block: number, tag: number): boolean {
		const { cells } = this.blocks;
		const [first, last] = rangeOf(tag);
		const tags = block * BLOCK_CELLS + TAG;
		return tag > Math.min(cells[tags + 2 * first]!, cells[tags + 2 * last]!);
	}

	#sum(cells: PeriodCells): number {
		return this.#ownSum(cells) + usdOf(this.blocks.numbers[cells.sums + OTHERS - BEFORE]!);
	}

	#ownSum({ sums }: PeriodCells): number {
		const { numbers } = this.blocks;
		return usdOf(numbers[sums]! + numbers[sums + OWN - BEFORE]!);
	}

	/** The period that stands there, where it has been read. */
	#tagAt(name: BlockName, at: number): number | undefined {
		const { blocks } = this;
		blocks.acquire();
		try {
			const { cells } = blocks;
			const block = blocks.find(this.kind, name);
			const tag = block * BLOCK_CELLS + TAG + 2 * at;
			return block !== 0 && cells[tag + STATE - TAG] === READ ? cells[tag] : undefined;
		} finally {
			blocks.release();
		}
	}

	/** What the ledger says, less what of it this process has counted since. */
	#setBefore(name: BlockName, tag: number, usd: number): void {
		const { blocks } = this;
		blocks.acquire();
		try {
			const { numbers } = blocks;
			const found = this.#known(blocks.find(this.kind, name), tag);
			if (found) numbers[found.sums] = unitsOf(usd) - numbers[found.sums + WRITTEN - BEFORE]!;
		} finally {
			blocks.release();
		}
	}

	#name(key: string): BlockName {
		let name = this.#names.get(key);
		if (!name) {
			name = this.blocks.nameOf(this.kind, key);
			if (this.#names.size >= MOST_NAMES) this.#names.clear();
			this.#names.set(key, name);
		}
		return name;
	}

	/** A period as a number: 20260131, 202601, 0 for all time. */
	#tag(period: string): number {
		let tag = this.#tags.get(period);
		if (tag === undefined) {
			tag = period === "total" ? 0 : Number(period.replaceAll("-", ""));
			if (this.#tags.size >= MOST_NAMES) this.#tags.clear();
			this.#tags.set(period, tag);
		}
		return tag;
	}
}

/** Days of the ledger, as it names them: `2026-01-31`, or all of `2026-01`. */
function daysOf(tag: number): string {
	const [year, month, day] = [String(tag).slice(0, 4), String(tag).slice(4, 6), String(tag).slice(6)];
	return day === "" ? `${year}-${month}` : `${year}-${month}-${day}`;
}

/** Which periods of a block may be this one: its first and last. */
function rangeOf(tag: number): readonly [number, number] {
	if (tag === 0) return [0, 0];
	return tag < 1_000_000 ? [1, 2] : [3, 4];
}

const cellsAt = (block: number, at: number): PeriodCells => ({
	state: block * BLOCK_CELLS + STATE + 2 * at,
	sums: block * BLOCK_NUMBERS + BEFORE + STEP * at,
});
