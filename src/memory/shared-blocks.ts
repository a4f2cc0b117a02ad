/**
 * Blocks of shared memory that are found by name, for counts of which there are as many as clients make. All of them, and what is in them,
 * change under one lock. What a thread that died left half done, the main thread puts right from the blocks themselves.
 */
import { BlockName, hashesOf } from "./block-name.ts";
import { RecoverableLock, SharingThreads } from "./recoverable-lock.ts";

/** A block: so many cells of 32 bits, or so many numbers of 64 on the same memory. */
export const BLOCK_CELLS = 72;
export const BLOCK_NUMBERS = BLOCK_CELLS / 2;
const BLOCK_BYTES = BLOCK_CELLS * 4;

/** What the first cell of a block says: `FREE`, `PART`, or the kind of a named one, which its owner chooses from 2 on. */
const FREE = 0;
const PART = 1;
const NAMED = 2;

/** Cells of every block. `NEXT`: in the list of free blocks, in the index, or behind a named block. */
const NEXT = 1;
/** Of a named block: four cells of its name, its first and its last part. What follows from cell 8 (number 4) on is its owner's. */
const NAME = 2;
export const FIRST_PART = 6;
export const LAST_PART = 7;
/** Of a part: its named block, and a cell of the owner's. What follows from number {@link PART_NUMBERS} on is the owner's. */
const OWNER = 2;
export const PART_CELL = 3;
export const PART_NUMBERS = 4;

/** Cells of the header, which is block 0. */
const LOCK = 0;
const END = 1;
const FREE_LIST = 2;
const HAND = 3;
const SEEDS = 4;
/** The first block for which there is no memory yet. */
const LIMIT = 20;
const THREAD_IDS = 24;
/** Numbers of the header that belong to owners of blocks: when idle ones were last dropped, what else they agree on, and all from the last on. */
export const SWEPT_AT = 8;
export const OWNERS_FLAG = 9;
export const HANDED_ON = 11;
export const OWNERS_NUMBERS = 18;

/** The most blocks that are looked at for one to drop. */
const MOST_LOOKED_AT = 4_096;
/** Blocks that there is memory for at first. Each thread's garbage collector counts it as live, and lets the more garbage lie. */
const FIRST_BLOCKS = 512;
/** More than anybody makes without letting others in: there is memory for as many, unless all blocks are in use. */
const SPARE_BLOCKS = 64;

/** The index has a cell for two blocks. */
const bucketsFor = (blocks: number): number => 2 ** Math.max(3, Math.ceil(Math.log2(blocks)) - 1);
const indexBlocks = (blocks: number): number => Math.ceil(bucketsFor(blocks) / BLOCK_CELLS);

/**
 * Makes memory for so many blocks, which grows as they are used. Names are hashed with seeds of its own, so that nobody can choose two that
 * meet.
 */
export function makeBlocks(blocks: number): SharedArrayBuffer {
	const first = 1 + indexBlocks(blocks);
	const limit = first + Math.min(blocks, FIRST_BLOCKS);
	const maxByteLength = (first + blocks) * BLOCK_BYTES;
	const memory = new SharedArrayBuffer(limit * BLOCK_BYTES, { maxByteLength });
	const cells = new Int32Array(memory, 0, BLOCK_CELLS);
	crypto.getRandomValues(cells.subarray(SEEDS, SEEDS + 4));
	cells[END] = first;
	cells[LIMIT] = limit;
	return memory;
}

/** One thread's view of the blocks. All but `nameOf` is for who has acquired it. */
export class SharedBlocks {
	/** Views of the same memory. Where it has grown they are others after `acquire`, and only then; those of before go on to show their part. */
	cells: Int32Array<SharedArrayBuffer>;
	numbers: Float64Array<SharedArrayBuffer>;
	/** Who shares them: their owner says what is done where a worker has ended. */
	readonly threads: SharingThreads;
	readonly #lock: RecoverableLock;
	#limit = 0;
	/** Called where no block is free. Whether it has made one free. */
	onFull: (() => boolean) | undefined;
	readonly #mask: number;
	readonly #first: number;
	readonly #most: number;
	/** This thread has made names by the seeds. */
	#hasNames = false;

	/**
	 * @param memory of {@link makeBlocks}, for the same number of blocks
	 * @param thread the number of this thread, below `MOST_THREADS`
	 */
	constructor(
		private readonly memory: SharedArrayBuffer,
		blocks: number,
		readonly thread: number,
	) {
		this.#mask = bucketsFor(blocks) - 1;
		this.#first = 1 + indexBlocks(blocks);
		this.#most = this.#first + blocks;
		this.cells = new Int32Array(memory, 0, BLOCK_CELLS);
		this.numbers = new Float64Array(memory, 0, BLOCK_NUMBERS);
		this.threads = new SharingThreads(this.cells, THREAD_IDS, thread);
		this.#lock = new RecoverableLock(this.cells, LOCK, this.threads);
		this.#view();
	}

	/** Keeps other threads away. Must be followed by `release` in a `finally`; nothing is awaited between. Not to be called twice. */
	acquire(): void {
		this.#lock.acquire();
		const limit = this.cells[LIMIT]!;
		if (limit - this.cells[END]! < SPARE_BLOCKS) this.#grow(limit);
		if (this.cells[LIMIT] !== this.#limit) this.#view();
	}

	/** Lets other threads in. */
	release(): void {
		this.#lock.release();
	}

	/** A name of blocks of one kind. */
	nameOf(kind: number, text: string): BlockName {
		this.#hasNames = true;
		return BlockName.in(hashesOf(this.seeds, kind, text), 0);
	}

	/** What names are hashed with. */
	get seeds(): readonly number[] {
		return [...this.cells.subarray(SEEDS, SEEDS + 4)];
	}

	/** Has names be hashed as in other memory. For the first thread, before it makes one. @throws where there are names already */
	takeSeeds(seeds: readonly number[]): void {
		if (this.#hasNames || this.cells[END] !== this.#first) throw new Error("names are hashed already");
		this.cells.set(seeds.slice(0, 4), SEEDS);
	}

	/** The name of a block. */
	nameAt(block: number): BlockName {
		return BlockName.in(this.cells, block * BLOCK_CELLS + NAME);
	}

	/** The block of that kind and name; 0 where there is none. */
	find(kind: number, name: BlockName): number {
		if (this.#is(name.block, kind, name)) return name.block;
		const { cells } = this;
		let block = cells[this.#bucket(name.first)]!;
		while (block !== 0 && !this.#is(block, kind, name)) block = cells[block * BLOCK_CELLS + NEXT]!;
		name.block = block;
		return block;
	}

	/** A block of that name, which has none yet; what is its owner's is zero. 0 where there is no room. */
	make(kind: number, name: BlockName): number {
		const block = this.#allocate();
		if (block === 0) return 0;
		const { cells } = this;
		const at = block * BLOCK_CELLS;
		cells[at + NAME] = name.first;
		cells[at + NAME + 1] = name.second;
		cells[at + NAME + 2] = name.third;
		cells[at + NAME + 3] = name.fourth;
		cells.fill(0, at + FIRST_PART, at + BLOCK_CELLS);
		cells[at] = kind;
		this.#link(block);
		name.block = block;
		return block;
	}

	/** Frees a named block and its parts. */
	remove(block: number): void {
		const { cells } = this;
		const at = block * BLOCK_CELLS;
		while (cells[at + FIRST_PART] !== 0) this.dropPart(block);
		let link = this.#bucket(cells[at + NAME]!);
		while (cells[link] !== block) link = cells[link]! * BLOCK_CELLS + NEXT;
		cells[link] = cells[at + NEXT]!;
		this.#free(block);
	}

	/** A further part behind those of a named block, with this in its cell. 0 where there is no room. */
	addPart(block: number, cell: number): number {
		const part = this.#allocate();
		if (part === 0) return 0;
		const { cells } = this;
		const at = part * BLOCK_CELLS;
		cells[at + OWNER] = block;
		cells[at + PART_CELL] = cell;
		cells[at + NEXT] = 0;
		cells[at] = PART;
		const last = cells[block * BLOCK_CELLS + LAST_PART]!;
		cells[last === 0 ? block * BLOCK_CELLS + FIRST_PART : last * BLOCK_CELLS + NEXT] = part;
		cells[block * BLOCK_CELLS + LAST_PART] = part;
		return part;
	}

	/** Frees the first part of a named block that has one. */
	dropPart(block: number): void {
		const { cells } = this;
		const at = block * BLOCK_CELLS;
		const part = cells[at + FIRST_PART]!;
		cells[at + FIRST_PART] = this.nextPart(part);
		if (cells[at + FIRST_PART] === 0) cells[at + LAST_PART] = 0;
		this.#free(part);
	}

	/** The part behind this one; 0 behind the last. */
	nextPart(part: number): number {
		return this.cells[part * BLOCK_CELLS + NEXT]!;
	}

	/** All named blocks: `each` gets a block and its kind. It may remove that one. */
	forEach(each: (block: number, kind: number) => void): void {
		const { cells } = this;
		for (let block = this.#first; block < cells[END]!; block++) {
			const kind = cells[block * BLOCK_CELLS]!;
			if (kind >= NAMED) each(block, kind);
		}
	}

	/**
	 * Of the next few named blocks, as they lie in memory, the one that is worth least: the one of which `ageOf` says most. 0 where it says
	 * nothing of any. Each call goes on where the one before has ended.
	 * @param few how many are compared
	 */
	oldest(few: number, ageOf: (block: number, kind: number) => number | undefined): number {
		const { cells } = this;
		const count = cells[END]! - this.#first;
		let [oldest, most] = [0, Number.NEGATIVE_INFINITY];
		for (let looked = 0, found = 0; looked < Math.min(count, MOST_LOOKED_AT) && found < few; looked++) {
			const block = this.#first + ((cells[HAND]!++ >>> 0) % count);
			const kind = cells[block * BLOCK_CELLS]!;
			const age = kind >= NAMED ? ageOf(block, kind) : undefined;
			if (age === undefined) continue;
			found++;
			if (age <= most) continue;
			oldest = block;
			most = age;
		}
		return oldest;
	}

	/**
	 * The main thread's: puts right what a thread that has died may have left half done, and has the owners of all named blocks do the same
	 * with what is in them.
	 */
	freed(thread: number, repair: (block: number, kind: number) => void): void {
		if (!this.#lock.takeFrom(thread)) this.#lock.acquire();
		try {
			this.#view();
			this.#rebuild();
			this.forEach(repair);
		} finally {
			this.#lock.release();
		}
	}

	/** Makes index, parts and free list anew from what each block says of itself. */
	#rebuild(): void {
		const { cells } = this;
		const end = cells[END]!;
		cells.fill(0, BLOCK_CELLS, BLOCK_CELLS + this.#mask + 1);
		cells[FREE_LIST] = 0;
		const isReached = new Uint8Array(end);
		this.forEach((block) => {
			this.#link(block);
			const at = block * BLOCK_CELLS;
			let last = 0;
			let part = cells[at + FIRST_PART]!;
			while (part !== 0 && this.#isPart(part, block) && isReached[part] === 0) {
				isReached[part] = 1;
				last = part;
				part = this.nextPart(part);
			}
			if (last === 0) cells[at + FIRST_PART] = 0;
			else cells[last * BLOCK_CELLS + NEXT] = 0;
			cells[at + LAST_PART] = last;
		});
		for (let block = end - 1; block >= this.#first; block--) {
			if (cells[block * BLOCK_CELLS]! < NAMED && isReached[block] === 0) this.#free(block);
		}
	}

	#isPart(block: number, owner: number): boolean {
		return this.cells[block * BLOCK_CELLS] === PART && this.cells[block * BLOCK_CELLS + OWNER] === owner;
	}

	#is(block: number, kind: number, name: BlockName): boolean {
		const { cells } = this;
		const at = block * BLOCK_CELLS;
		return (
			cells[at] === kind &&
			cells[at + NAME] === name.first &&
			cells[at + NAME + 1] === name.second &&
			cells[at + NAME + 2] === name.third &&
			cells[at + NAME + 3] === name.fourth &&
			block !== 0
		);
	}

	#bucket(hash: number): number {
		return BLOCK_CELLS + (hash & this.#mask);
	}

	#link(block: number): void {
		const { cells } = this;
		const bucket = this.#bucket(cells[block * BLOCK_CELLS + NAME]!);
		cells[block * BLOCK_CELLS + NEXT] = cells[bucket]!;
		cells[bucket] = block;
	}

	#allocate(): number {
		return this.#take() || (this.onFull?.() ? this.#take() : 0);
	}

	#take(): number {
		const { cells } = this;
		const free = cells[FREE_LIST]!;
		if (free !== 0) {
			cells[FREE_LIST] = cells[free * BLOCK_CELLS + NEXT]!;
			return free;
		}
		return cells[END]! < this.#limit ? cells[END]!++ : 0;
	}

	/** Doubles the memory, as far as it may grow, and the machine has some. */
	#grow(limit: number): void {
		const next = Math.min(this.#most, 2 * limit);
		if (next === limit) return;
		try {
			this.memory.grow(Math.max(this.memory.byteLength, next * BLOCK_BYTES));
			this.cells[LIMIT] = next;
		} catch {
			// What is there goes on to be used: the least recently used make room.
		}
	}

	#view(): void {
		const limit = this.cells[LIMIT]!;
		this.cells = new Int32Array(this.memory, 0, limit * BLOCK_CELLS);
		this.numbers = new Float64Array(this.memory, 0, limit * BLOCK_NUMBERS);
		this.#limit = limit;
	}

	#free(block: number): void {
		const { cells } = this;
		cells[block * BLOCK_CELLS] = FREE;
		cells[block * BLOCK_CELLS + NEXT] = cells[FREE_LIST]!;
		cells[FREE_LIST] = block;
	}
}
