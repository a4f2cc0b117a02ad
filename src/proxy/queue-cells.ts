/**
 * A model's queue in memory that all threads share: who runs, who waits, in which order. All but `hasRoom` is for who has acquired the blocks.
 *
 * What is so stands in single cells, each written by one thread: how many calls of a thread run, that a call waits, that it may run. What
 * follows from them (order, sums) is kept beside them, and made anew where a thread has died, at whatever write.
 */
import { BlockName } from "../memory/block-name.ts";
import { BLOCK_CELLS, BLOCK_NUMBERS, type SharedBlocks } from "../memory/shared-blocks.ts";
import { MOST_THREADS } from "../memory/shared-lock.ts";
import { meanWith, type QueueSettings } from "./call-queue.ts";

/** Kinds of blocks: a queue, found by its name; a call that waits in one. */
export const QUEUE = 2;
const WAITER = 3;

/** Cells of a queue: its settings, of which the first is written last. 0: nobody has set them yet. */
const CONCURRENCY = 8;
const SIZE = 9;
/** How many wait, how many have got a place of which their thread has not heard yet, the first that waits, and the last. */
const WAITING = 10;
const ADMITTED = 11;
const FIRST = 12;
const LAST = 13;
/** 1 once a call has ended. */
const HAS_MEAN = 14;
/** How many calls of each thread run. */
const RUNNING = 16;
/** Numbers of a queue: how long calls run, ms; when the last call came that had to wait. */
const MEAN = 14;
const CAME = 15;

/** Cells of a waiter: its queue, written when all else is; its thread; whether it has got a place. */
const OF = 8;
const THREAD = 9;
const HAS_PLACE = 10;
/** Those beside it that wait in the same queue; 0: none. */
const BEFORE = 11;
const BEHIND = 12;
/** Number of a waiter. */
const RANK = 8;

/** A place in the order. */
export interface QueuePlace {
	/** How many are before it. */
	readonly ahead: number;
	/** The last of those; 0: none. */
	readonly before: number;
}

/** A call that has got a place, and whose thread has to hear of it. */
export interface QueueTurn {
	readonly thread: number;
	/** The block in which it waits. */
	readonly waiter: number;
}

const NOBODY: readonly QueueTurn[] = [];

/** The queue in one block. */
export class QueueCells {
	constructor(
		private readonly blocks: SharedBlocks,
		private readonly block: number,
	) {}

	get settings(): QueueSettings {
		return { concurrency: this.#get(CONCURRENCY), size: this.#get(SIZE) };
	}

	set settings({ concurrency, size }: QueueSettings) {
		this.#set(SIZE, size);
		this.#set(CONCURRENCY, concurrency);
	}

	get hasSettings(): boolean {
		return this.#get(CONCURRENCY) !== 0;
	}

	get waiting(): number {
		return this.#get(WAITING);
	}

	/**
	 * There is a place: nobody waits then, since whoever frees one gives it away. Also for who has not acquired the blocks: it was so, and may
	 * no longer be.
	 */
	get hasRoom(): boolean {
		let held = this.#get(ADMITTED);
		for (let thread = 0; thread < MOST_THREADS; thread++) held += this.blocks.cells[this.#running(thread)]!;
		return held < this.#get(CONCURRENCY);
	}

	/** How long calls run, ms; undefined where none has ended yet. */
	get meanMs(): number | undefined {
		return this.#get(HAS_MEAN) === 0 ? undefined : this.blocks.numbers[this.block * BLOCK_NUMBERS + MEAN];
	}

	/** A call of this thread runs. */
	begin(): void {
		this.blocks.cells[this.#running(this.blocks.thread)]! += 1;
	}

	/** A call of this thread has run for so long, ms. */
	end(ms: number): void {
		const { blocks } = this;
		const mean = meanWith(this.meanMs, ms);
		blocks.numbers[this.block * BLOCK_NUMBERS + MEAN] = mean;
		this.#set(HAS_MEAN, 1);
		blocks.cells[this.#running(blocks.thread)]! -= 1;
	}

	/**
	 * When a call came that has to wait, on the clock of all threads: never before the one that came last, however well its thread knows that
	 * clock.
	 */
	cameAt(now: number): number {
		const { numbers } = this.blocks;
		const at = this.block * BLOCK_NUMBERS + CAME;
		numbers[at] = Math.max(now, numbers[at]!);
		return numbers[at];
	}

	/** Where a call of this rank would wait: behind all that are not behind it. */
	placeOf(rank: number): QueuePlace {
		let ahead = this.waiting;
		let before = this.#get(LAST);
		// Most belong at the end.
		while (before !== 0 && this.#rank(before) > rank) {
			before = this.blocks.cells[before * BLOCK_CELLS + BEFORE]!;
			ahead--;
		}
		return { ahead, before };
	}

	/** Has a call of this thread wait at that place. Returns its block; 0 where there is no room for one. */
	join(rank: number, name: number, { before }: QueuePlace): number {
		const { blocks } = this;
		const waiter = blocks.make(WAITER, new BlockName(name, blocks.thread, 0, 0));
		if (waiter === 0) return 0;
		const at = waiter * BLOCK_CELLS;
		blocks.numbers[waiter * BLOCK_NUMBERS + RANK] = rank;
		blocks.cells[at + THREAD] = blocks.thread;
		blocks.cells[at + OF] = this.block;
		this.#link(waiter, before);
		return waiter;
	}

	/** Those that wait get places, as far as there is room. Returns them. */
	admit(): readonly QueueTurn[] {
		let admitted: QueueTurn[] | undefined;
		for (let waiter = this.#get(FIRST); waiter !== 0 && this.hasRoom; waiter = this.#get(FIRST)) {
			this.#unlink(waiter);
			this.blocks.cells[waiter * BLOCK_CELLS + HAS_PLACE] = 1;
			this.#set(ADMITTED, this.#get(ADMITTED) + 1);
			admitted ??= [];
			admitted.push({ thread: this.#threadOf(waiter), waiter });
		}
		return admitted ?? NOBODY;
	}

	/** Whether a call that waited has got a place. */
	hasPlace(waiter: number): boolean {
		return this.blocks.cells[waiter * BLOCK_CELLS + HAS_PLACE] === 1;
	}

	/** A call of this thread waits no longer: it runs, or is gone. A place that it has got is free then. */
	leave(waiter: number): void {
		if (this.hasPlace(waiter)) this.#set(ADMITTED, this.#get(ADMITTED) - 1);
		else this.#unlink(waiter);
		this.blocks.remove(waiter);
	}

	/**
	 * A thread has died, anywhere: gives back what its calls held, and makes anew what follows from the rest. Returns those that have got a
	 * place: whoever gave it to them may not have said so.
	 */
	repair(dead: number): readonly QueueTurn[] {
		const { blocks } = this;
		blocks.cells[this.#running(dead)] = 0;
		const waiters: number[] = [];
		blocks.forEach((block, kind) => {
			if (kind !== WAITER) return;
			const of = blocks.cells[block * BLOCK_CELLS + OF];
			if (of === this.block && this.#threadOf(block) !== dead) waiters.push(block);
			else if (of === this.block || of === 0) blocks.remove(block);
		});
		for (const cell of [WAITING, FIRST, LAST]) this.#set(cell, 0);
		const admitted = waiters.filter((waiter) => this.hasPlace(waiter));
		this.#set(ADMITTED, admitted.length);
		const waiting = waiters.filter((waiter) => !this.hasPlace(waiter));
		waiting.sort((one, other) => this.#rank(one) - this.#rank(other));
		for (const waiter of waiting) this.#link(waiter, this.#get(LAST));
		return [...admitted.map((waiter) => ({ thread: this.#threadOf(waiter), waiter })), ...this.admit()];
	}

	#threadOf(waiter: number): number {
		return this.blocks.cells[waiter * BLOCK_CELLS + THREAD]!;
	}

	#rank(waiter: number): number {
		return this.blocks.numbers[waiter * BLOCK_NUMBERS + RANK]!;
	}

	/** Puts it behind that one; 0: at the beginning. */
	#link(waiter: number, before: number): void {
		const { cells } = this.blocks;
		const behind = before === 0 ? this.#get(FIRST) : cells[before * BLOCK_CELLS + BEHIND]!;
		this.#chain(before, waiter);
		this.#chain(waiter, behind);
		this.#set(WAITING, this.waiting + 1);
	}

	#unlink(waiter: number): void {
		const { cells } = this.blocks;
		const at = waiter * BLOCK_CELLS;
		this.#chain(cells[at + BEFORE]!, cells[at + BEHIND]!);
		this.#set(WAITING, this.waiting - 1);
	}

	/** Has these two follow each other; 0 is the queue's beginning, and its end. */
	#chain(before: number, behind: number): void {
		const { cells } = this.blocks;
		if (before === 0) this.#set(FIRST, behind);
		else cells[before * BLOCK_CELLS + BEHIND] = behind;
		if (behind === 0) this.#set(LAST, before);
		else cells[behind * BLOCK_CELLS + BEFORE] = before;
	}

	#running(thread: number): number {
		return this.block * BLOCK_CELLS + RUNNING + thread;
	}

	#get(cell: number): number {
		return this.blocks.cells[this.block * BLOCK_CELLS + cell]!;
	}

	#set(cell: number, value: number): void {
		this.blocks.cells[this.block * BLOCK_CELLS + cell] = value;
	}
}
