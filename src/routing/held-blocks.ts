/**
 * Blocks of prompts that a replica's engine says it has at this moment, as its agent reports them: a set of 32-bit numbers in an Int32Array,
 * which threads may share. One thread writes, others read without a lock: where they meet a block may be missed, which costs a guess.
 */

/** Most blocks of a replica: 4.2 million characters. What an agent reports beyond is left out. */
export const MOST_HELD_BLOCKS = 16_384;
/** Cells in front of the set: how many it holds, and how many cells are not empty. */
const HEAD_CELLS = 16;
const COUNT = 0;
const USED = 1;
/** A cell that was never used, and one whose block is gone. */
const EMPTY = 0;
const GONE = 1;
/** The smallest room: a power of 2, as each. Half of a room's cells are used at most. */
const LEAST_ROOM = 1_024;
/** Cells that `MOST_HELD_BLOCKS` take. */
export const HELD_CELLS = HEAD_CELLS + MOST_HELD_BLOCKS * 2;

/** What an agent reports of a replica: what has changed, or all there is. */
export interface HeldReport {
	/** What it had before does not count. */
	readonly isAll: boolean;
	readonly added: Int32Array;
	readonly removed: Int32Array;
}

/** One replica's. */
export class HeldBlocks {
	readonly #mask: number;

	/** @param cells all 0 at first: `HELD_CELLS` of them, or fewer: a power of 2 behind the head */
	constructor(private readonly cells: Int32Array) {
		this.#mask = cells.length - HEAD_CELLS - 1;
	}

	/** The same blocks with room for so many, in memory of its own. @param held undefined for none */
	static larger(held: HeldBlocks | undefined, count: number): HeldBlocks {
		const made = HeldBlocks.for(count);
		if (held) made.take({ isAll: true, added: Int32Array.from(held.values()), removed: new Int32Array(0) });
		return made;
	}

	/** One in memory of its own that has room for so many. */
	static for(count: number): HeldBlocks {
		let room = LEAST_ROOM;
		while (room < count * 2 && room < MOST_HELD_BLOCKS * 2) room *= 2;
		return new HeldBlocks(new Int32Array(HEAD_CELLS + room));
	}

	/** How many it holds. */
	get count(): number {
		return this.cells[COUNT]!;
	}

	/** How many it can hold. */
	get most(): number {
		return (this.#mask + 1) / 2;
	}

	has(block: number): boolean {
		const { cells } = this;
		const value = cellValue(block);
		for (let at = value & this.#mask; ; at = (at + 1) & this.#mask) {
			const found = cells[HEAD_CELLS + at]!;
			if (found === value) return true;
			if (found === EMPTY) return false;
		}
	}

	/** Takes what is reported; what it has no room for is left out. */
	take({ isAll, added, removed }: HeldReport): void {
		if (isAll) this.clear();
		for (const block of removed) this.#delete(block);
		for (const block of added) this.#add(block);
	}

	*values(): Iterable<number> {
		for (let at = HEAD_CELLS; at < this.cells.length; at++) {
			const value = this.cells[at]!;
			if (value !== EMPTY && value !== GONE) yield value;
		}
	}

	clear(): void {
		this.cells.fill(0);
	}

	#add(block: number): void {
		const { cells } = this;
		if (cells[COUNT]! >= this.most || this.has(block)) return;
		// Half of the cells are empty, so that each search ends soon.
		if (cells[USED]! >= this.most * 1.5) this.#rebuild();
		const value = cellValue(block);
		for (let at = value & this.#mask; ; at = (at + 1) & this.#mask) {
			const found = cells[HEAD_CELLS + at]!;
			if (found !== EMPTY && found !== GONE) continue;
			cells[HEAD_CELLS + at] = value;
			cells[COUNT]!++;
			if (found === EMPTY) cells[USED]!++;
			return;
		}
	}

	#delete(block: number): void {
		const { cells } = this;
		const value = cellValue(block);
		for (let at = value & this.#mask; ; at = (at + 1) & this.#mask) {
			const found = cells[HEAD_CELLS + at]!;
			if (found === EMPTY) return;
			if (found !== value) continue;
			cells[HEAD_CELLS + at] = GONE;
			cells[COUNT]!--;
			return;
		}
	}

	/** Without the cells of blocks that are gone. */
	#rebuild(): void {
		const values = [...this.values()];
		this.clear();
		for (const value of values) this.#add(value);
	}
}

/** A block as a cell has it. */
function cellValue(block: number): number {
	const value = block | 0;
	return value === EMPTY || value === GONE ? value + 2 : value;
}

/**
 * The sets of all targets, in memory that grows as they come. The main thread writes; any thread that gives a slot to another target makes
 * its cell 0, and the set is free then.
 */
export class HeldSlabs {
	readonly #ints: Int32Array<SharedArrayBuffer>;

	/**
	 * @param memory see {@link makeHeld}
	 * @param targets what is known of targets
	 * @param cellOf where in `targets` a target says which set it has, plus 1; by the number of its slot
	 */
	constructor(
		private readonly memory: SharedArrayBuffer,
		private readonly targets: Int32Array<SharedArrayBuffer>,
		private readonly cellOf: (number: number) => number,
	) {
		this.#ints = new Int32Array(memory);
	}

	/** A target's set. @param slab from 0 */
	blocks(slab: number): HeldBlocks {
		return new HeldBlocks(new Int32Array(this.memory, (slab * SLAB_CELLS + OWNER_CELLS) * 4, HELD_CELLS));
	}

	/** Gives a target a set, where it has none and there is one. By the main thread. @param number of its slot */
	give(number: number): HeldBlocks | undefined {
		const cell = this.cellOf(number);
		const own = this.targets[cell]! - 1;
		if (own >= 0) return this.blocks(own);
		const slab = this.#free();
		if (slab === undefined) return undefined;
		const blocks = this.blocks(slab);
		blocks.clear();
		this.#ints[slab * SLAB_CELLS] = number + 1;
		Atomics.store(this.targets, cell, slab + 1);
		return blocks;
	}

	#free(): number | undefined {
		const count = Math.floor(this.#ints.length / SLAB_CELLS);
		for (let slab = 0; slab < count; slab++) {
			const owner = this.#ints[slab * SLAB_CELLS]! - 1;
			if (owner < 0 || this.targets[this.cellOf(owner)] !== slab + 1) return slab;
		}
		if (count >= MOST_HELD_SLABS) return undefined;
		try {
			this.memory.grow(Math.min(MOST_HELD_SLABS, Math.max(FIRST_SLABS, count * 2)) * SLAB_CELLS * 4);
			return count;
		} catch {
			// The machine has no more: the target is known by what it was given.
			return undefined;
		}
	}
}

/** In front of a set: whose it is, the number of the slot plus 1. */
const OWNER_CELLS = 16;
const SLAB_CELLS = OWNER_CELLS + HELD_CELLS;
/** Targets that have a set, where threads share memory. Others are known by what they were given, as without reports. */
export const MOST_HELD_SLABS = 256;
const FIRST_SLABS = 4;

/** Memory for them: none until there is a report. */
export const makeHeld = (): SharedArrayBuffer =>
	new SharedArrayBuffer(0, { maxByteLength: MOST_HELD_SLABS * SLAB_CELLS * 4 });
