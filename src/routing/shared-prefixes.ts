/**
 * What replicas have in their prefix caches, in memory that threads share. Each target that is given prompts has one of so many slabs; where
 * all are given, the one whose target was used longest ago changes hands. Blocks are read and written without a lock: where threads meet, one
 * may be forgotten too early, which costs a guess and no more.
 */
import { RecoverableLock, type SharingThreads } from "../memory/recoverable-lock.ts";
import { type BlockSet, MOST_REMEMBERED_BLOCKS, PrefixCache } from "./affinity.ts";
import type { HeldBlocks } from "./held-blocks.ts";

/** A slab's head, 32-bit cells; two generations of blocks follow. */
const HEAD_CELLS = 16;
/** Times that the generations were exchanged, by 16; plus the number of the thread that is about to do so, and 1. */
const STATE = 0;
/** Blocks in each generation. */
const COUNTS = 1;
/** The slot of the target that has it, plus 1. */
const OWNER = 3;
const LAST_USE = 4;
/** Room of a generation, a power of 2: three fifths of it are used. */
const ROOM = 8_192;
const SLAB_CELLS = HEAD_CELLS + ROOM * 2;
/** Blocks beside each other that are looked at for a free one. */
const LONGEST_RUN = 64;
/** Targets whose prompts are remembered: half as many as one thread alone remembers. */
export const MOST_SLABS = 256;
/**
 * Slabs that there are from the start; then twice as many, each time that all are given. JavaScriptCore counts all of a SharedArrayBuffer as
 * memory of each thread's heap, used or not, and lets as much garbage more pile up there, and more, before it collects.
 */
const FIRST_SLABS = 8;
/** A cell whose block was forgotten. It counts until the generations are exchanged, so that searches go on behind it. */
const FORGOTTEN = -1;
/** Before all slabs: a lock. */
const POOL_CELLS = 16;

const bytesOf = (slabs: number) => (POOL_CELLS + slabs * SLAB_CELLS) * 4;

/** Memory for them, which grows. */
export const makePrefixes = (): SharedArrayBuffer =>
	new SharedArrayBuffer(bytesOf(FIRST_SLABS), { maxByteLength: bytesOf(MOST_SLABS) });

/**
 * One target's blocks, as `LruSet` has them: what is used goes into the newer generation; when that holds half of all, it becomes the older one,
 * and what the older one held is forgotten.
 */
export class PrefixBlocks implements BlockSet {
	/** @param at where its slab begins in `ints` */
	constructor(
		private readonly ints: Int32Array<SharedArrayBuffer>,
		private readonly at: number,
		private readonly thread: number,
	) {}

	add(block: number): void {
		const { ints, at } = this;
		const value = cellOf(block);
		const state = ints[at + STATE]!;
		const newer = (state >>> 4) & 1;
		const begin = at + HEAD_CELLS + newer * ROOM;
		for (let run = 0; run < LONGEST_RUN; run++) {
			const cell = begin + ((value + run) & (ROOM - 1));
			const found = ints[cell]!;
			if (found === value) return;
			if (found !== 0) continue;
			ints[cell] = value;
			const count = ints[at + COUNTS + newer]! + 1;
			ints[at + COUNTS + newer] = count;
			if (count >= MOST_REMEMBERED_BLOCKS / 2) this.#exchange(state);
			return;
		}
		this.#exchange(state);
	}

	has(block: number): boolean {
		const { ints, at } = this;
		const value = cellOf(block);
		for (let generation = 0; generation < 2; generation++) {
			const begin = at + HEAD_CELLS + generation * ROOM;
			for (let run = 0; run < LONGEST_RUN; run++) {
				const found = ints[begin + ((value + run) & (ROOM - 1))]!;
				if (found === value) return true;
				if (found === 0) break;
			}
		}
		return false;
	}

	delete(block: number): void {
		const { ints, at } = this;
		const value = cellOf(block);
		for (let generation = 0; generation < 2; generation++) {
			const begin = at + HEAD_CELLS + generation * ROOM;
			for (let run = 0; run < LONGEST_RUN; run++) {
				const cell = begin + ((value + run) & (ROOM - 1));
				if (ints[cell] === 0) break;
				if (ints[cell] === value) ints[cell] = FORGOTTEN;
			}
		}
	}

	/** Of each generation in the order of their hashes. */
	*values(): Iterable<number> {
		const newer = (this.ints[this.at + STATE]! >>> 4) & 1;
		for (const generation of [1 - newer, newer]) {
			const begin = this.at + HEAD_CELLS + generation * ROOM;
			for (let cell = begin; cell < begin + ROOM; cell++) {
				const value = this.ints[cell]!;
				if (value !== 0 && value !== FORGOTTEN) yield value;
			}
		}
	}

	clear(): void {
		const { ints, at } = this;
		ints.fill(0, at + COUNTS, at + COUNTS + 2);
		ints.fill(0, at + HEAD_CELLS, at + SLAB_CELLS);
	}

	/** The thread has died: what it was about to exchange is exchanged. */
	freed(thread: number): void {
		const state = Atomics.load(this.ints, this.at + STATE);
		if ((state & 15) === thread + 1) this.#emptyOlder(state);
	}

	/** Makes the newer generation the older one, unless another thread does so. */
	#exchange(state: number): void {
		if (state & 15) return;
		const claimed = state | (this.thread + 1);
		if (Atomics.compareExchange(this.ints, this.at + STATE, state, claimed) === state) this.#emptyOlder(claimed);
	}

	#emptyOlder(state: number): void {
		const { ints, at } = this;
		const older = 1 - ((state >>> 4) & 1);
		const begin = at + HEAD_CELLS + older * ROOM;
		ints.fill(0, begin, begin + ROOM);
		ints[at + COUNTS + older] = 0;
		Atomics.store(ints, at + STATE, ((state >>> 4) + 1) << 4);
	}
}

/** A block as a cell has it. */
function cellOf(block: number): number {
	const value = block | 0;
	return value === 0 || value === FORGOTTEN ? 1 : value;
}

/** The slabs, and which target has which. Nothing else is locked while their lock is held. */
export class PrefixSlabs {
	readonly #lock: RecoverableLock;

	/** Grows with the memory; the blocks of a slab have a view of their own, which takes less to read. */
	readonly #ints: Int32Array<SharedArrayBuffer>;

	/**
	 * @param memory see {@link makePrefixes}
	 * @param targets what is known of targets
	 * @param slabCellOf where in `targets` a target says which slab it has, plus 1; by the number of its slot
	 */
	constructor(
		private readonly memory: SharedArrayBuffer,
		private readonly targets: Int32Array<SharedArrayBuffer>,
		private readonly threads: SharingThreads,
		private readonly slabCellOf: (number: number) => number,
	) {
		this.#ints = new Int32Array(memory);
		this.#lock = new RecoverableLock(new Int32Array(memory, 0, POOL_CELLS), 0, threads);
	}

	/** What a slab's target is remembered to have. @param slab from 0 @param held what its engine says it has */
	cache(slab: number, held?: HeldBlocks): PrefixCache {
		return new PrefixCache(this.#blocks(slab), held);
	}

	/**
	 * A target is given a prompt: it gets a slab where it has none.
	 * @param number of its slot
	 * @param use grows with each use of any target
	 */
	use(number: number, use: number): void {
		const slab = this.targets[this.slabCellOf(number)]! - 1;
		if (slab >= 0) this.#ints[this.#at(slab) + LAST_USE] = use;
		else this.#give(number, use);
	}

	/** A target is forgotten: its slab is free. @param number of its slot */
	release(number: number): void {
		const { targets } = this;
		const ints = this.#ints;
		const cell = this.slabCellOf(number);
		if (targets[cell] === 0) return;
		this.#lock.acquire();
		try {
			const slab = targets[cell]! - 1;
			targets[cell] = 0;
			if (slab >= 0 && ints[this.#at(slab) + OWNER] === number + 1) ints[this.#at(slab) + OWNER] = 0;
		} finally {
			this.#lock.release();
		}
	}

	/**
	 * Slots of the targets that have slabs, the one that was given a prompt last first.
	 * @param use the last use of any target
	 */
	owners(use: number): number[] {
		const ints = this.#ints;
		const found: { readonly number: number; readonly age: number }[] = [];
		for (let slab = 0; slab < this.#count; slab++) {
			const at = this.#at(slab);
			const owner = ints[at + OWNER]!;
			if (owner !== 0) found.push({ number: owner - 1, age: (use - ints[at + LAST_USE]!) >>> 0 });
		}
		return found.sort((a, b) => a.age - b.age).map(({ number }) => number);
	}

	/** A thread has died: what it was about to change is whole again. */
	freed(thread: number): void {
		const ints = this.#ints;
		const isHalf = this.#lock.takeFrom(thread);
		for (let slab = 0; slab < this.#count; slab++) {
			this.#blocks(slab).freed(thread);
			if (!isHalf) continue;
			const owner = ints[this.#at(slab) + OWNER]! - 1;
			if (owner >= 0 && this.targets[this.slabCellOf(owner)] !== slab + 1) ints[this.#at(slab) + OWNER] = 0;
		}
		if (isHalf) this.#lock.release();
	}

	#give(number: number, use: number): void {
		const { targets } = this;
		const ints = this.#ints;
		const cell = this.slabCellOf(number);
		this.#lock.acquire();
		try {
			if (targets[cell] !== 0) return;
			const slab = this.#leastRecent(use);
			const at = this.#at(slab);
			const owner = ints[at + OWNER]! - 1;
			if (owner >= 0) targets[this.slabCellOf(owner)] = 0;
			// One that was never used is empty, and its memory is not there yet.
			if (ints[at + LAST_USE] !== 0) this.#blocks(slab).clear();
			ints[at + LAST_USE] = use || 1;
			ints[at + OWNER] = number + 1;
			Atomics.store(targets, cell, slab + 1);
		} finally {
			this.#lock.release();
		}
	}

	/** One that is free, a new one where there may be more and the machine has memory, or the one whose target was given its last prompt longest ago. */
	#leastRecent(use: number): number {
		let least = 0;
		let greatestAge = -1;
		const count = this.#count;
		for (let slab = 0; slab < count; slab++) {
			const at = this.#at(slab);
			if (this.#ints[at + OWNER] === 0) return slab;
			const age = (use - this.#ints[at + LAST_USE]!) >>> 0;
			if (age <= greatestAge) continue;
			least = slab;
			greatestAge = age;
		}
		if (count === MOST_SLABS) return least;
		try {
			this.memory.grow(bytesOf(Math.min(MOST_SLABS, 2 * count)));
			return count;
		} catch {
			// The machine has no more.
			return least;
		}
	}

	/** How many there are so far. */
	get #count(): number {
		return Math.floor((this.#ints.length - POOL_CELLS) / SLAB_CELLS);
	}

	#blocks(slab: number): PrefixBlocks {
		const view = new Int32Array(this.memory, this.#at(slab) * 4, SLAB_CELLS);
		return new PrefixBlocks(view, 0, this.threads.thread);
	}

	#at(slab: number): number {
		return POOL_CELLS + slab * SLAB_CELLS;
	}
}
