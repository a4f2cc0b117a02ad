/**
 * The entries of a sliding window in memory that threads share, the oldest first: sixteen a part of the counter's block. All of it needs the
 * lock.
 */
import {
	BLOCK_CELLS,
	BLOCK_NUMBERS,
	FIRST_PART,
	LAST_PART,
	PART_CELL,
	PART_NUMBERS,
	type SharedBlocks,
} from "../../memory/shared-blocks.ts";
import type { CountState } from "./counters.ts";
import type { TakenAt } from "./limiter.ts";

/** Numbers of a counter's block: the window's length, ms; the sum of all amounts in it; when the newest entry was made, and last added to. */
export const WINDOW_LENGTH = 5;
export const SUM = 6;
const BEGUN_AT = 24;
const LAST_AT = 7;
/** Cells of it: the numbers of the oldest entry and of the next one, which go round. */
const OLDEST = 16;
const NEXT = 17;

/** Entries of a part: when, and how much. Their numbers begin at a multiple of this, which the part's cell says. */
const ENTRIES = 16;
/** So many entries are exact to the last digit. Beyond that there is one for each such part of the window. */
const EXACT_ENTRIES = 4_096;
/** An entry, as reservations remember it: its part above, its number below. */
const ENTRY_NUMBERS = 2 ** 32;

/** Whether anything is in the window, as far as it has expired. */
export function hasEntries({ cells }: SharedBlocks, block: number): boolean {
	return cells[block * BLOCK_CELLS + OLDEST] !== cells[block * BLOCK_CELLS + NEXT];
}

/** Adds an entry, or adds to the newest one. Returns which; -1 where there is no room for any. */
export function addEntry(blocks: SharedBlocks, block: number, amount: number, now: number): number {
	const { cells, numbers } = blocks;
	const [at, from] = [block * BLOCK_CELLS, block * BLOCK_NUMBERS];
	const number = cells[at + NEXT]!;
	const count = (number - cells[at + OLDEST]!) | 0;
	// Another thread's clock may have been read a little later, and entries leave in order.
	const time = count > 0 ? Math.max(now, numbers[from + LAST_AT]!) : now;
	const last = cells[at + LAST_PART]!;
	const lastCount = last === 0 ? ENTRIES : (number - cells[last * BLOCK_CELLS + PART_CELL]!) | 0;
	const isExact =
		count < EXACT_ENTRIES || time - numbers[from + BEGUN_AT]! >= numbers[from + WINDOW_LENGTH]! / EXACT_ENTRIES;
	let part = 0;
	if (isExact || count === 0 || lastCount === 0) part = lastCount < ENTRIES ? last : blocks.addPart(block, number);
	const isNew = part !== 0;
	if (!isNew) {
		// The newest entry takes it in, which then leaves with this one: later than it would have, never sooner.
		if (count === 0) return -1;
		part = last;
	}
	const entry = isNew ? number : (number - 1) | 0;
	const place = placeOf(part, entry);
	numbers[place] = time;
	numbers[place + 1] = isNew ? amount : numbers[place + 1]! + amount;
	numbers[from + LAST_AT] = time;
	if (isNew) {
		numbers[from + BEGUN_AT] = time;
		cells[at + NEXT] = (number + 1) | 0;
	}
	numbers[from + SUM]! += amount;
	return part * ENTRY_NUMBERS + (entry >>> 0);
}

/** The number of the oldest entry of a window, and all of them. */
export function windowState(blocks: SharedBlocks, block: number) {
	const entries = entriesBefore(blocks, block, Number.POSITIVE_INFINITY);
	const first = blocks.cells[block * BLOCK_CELLS + OLDEST]! >>> 0;
	return { first, entries: entries.map(({ at, amount }) => [at, amount] as const) };
}

/**
 * Has a window without entries have those of another process, by their numbers. Before the first it gets some that come to nothing, since a part begins
 * with a multiple of its length. @param ahead how far this clock is ahead of that of the entries, ms
 */
export function takeEntries(blocks: SharedBlocks, block: number, { first, entries }: CountState, ahead: number): void {
	const at = block * BLOCK_CELLS;
	const begin = first & -ENTRIES;
	blocks.cells[at + OLDEST] = begin;
	blocks.cells[at + NEXT] = begin;
	const oldest = (entries[0]?.[0] ?? 0) + ahead;
	for (let number = begin; number !== (first | 0); number = (number + 1) | 0) pushEntry(blocks, block, 0, oldest);
	for (const [time, amount] of entries) {
		// Memory grows for whoever acquires it.
		blocks.release();
		blocks.acquire();
		pushEntry(blocks, block, amount, time + ahead);
	}
}

/** Adds an entry of its own, later than all others. Where there is no room for it the newest one takes it in, if there is one. */
function pushEntry(blocks: SharedBlocks, block: number, amount: number, time: number): void {
	const { cells, numbers } = blocks;
	const [at, from] = [block * BLOCK_CELLS, block * BLOCK_NUMBERS];
	const number = cells[at + NEXT]!;
	const last = cells[at + LAST_PART]!;
	const isFull = last === 0 || ((number - cells[last * BLOCK_CELLS + PART_CELL]!) | 0) >= ENTRIES;
	const part = isFull ? blocks.addPart(block, number) : last;
	if (part === 0 && last === 0) return;
	const place = part === 0 ? placeOf(last, (number - 1) | 0) : placeOf(part, number);
	numbers[place] = time;
	numbers[place + 1] = part === 0 ? numbers[place + 1]! + amount : amount;
	numbers[from + LAST_AT] = time;
	numbers[from + BEGUN_AT] = time;
	if (part !== 0) cells[at + NEXT] = (number + 1) | 0;
	numbers[from + SUM]! += amount;
}

/** An entry by its number alone, as reservations remember it; -1 where it has left the window. */
export function entryOf(blocks: SharedBlocks, block: number, number: number): number {
	const { cells } = blocks;
	const at = block * BLOCK_CELLS;
	if (number < 0 || ((number - cells[at + OLDEST]!) | 0) < 0 || ((number - cells[at + NEXT]!) | 0) >= 0) return -1;
	let part = cells[at + FIRST_PART]!;
	while (part !== 0 && ((number - cells[part * BLOCK_CELLS + PART_CELL]!) | 0) >= ENTRIES) part = blocks.nextPart(part);
	return part === 0 ? -1 : part * ENTRY_NUMBERS + (number >>> 0);
}

/** The number of an entry, as other processes know it; -1 for none. */
export const numberOf = (entry: number): number => (entry < 0 ? -1 : entry % ENTRY_NUMBERS);

/** Adds to the amount of an entry that has not left the window. */
export function changeEntry({ cells, numbers }: SharedBlocks, block: number, entry: number, difference: number): void {
	if (entry < 0) return;
	const part = Math.floor(entry / ENTRY_NUMBERS);
	const number = (entry - part * ENTRY_NUMBERS) | 0;
	if (((number - cells[block * BLOCK_CELLS + OLDEST]!) | 0) < 0) return;
	numbers[placeOf(part, number) + 1]! += difference;
	numbers[block * BLOCK_NUMBERS + SUM]! += difference;
}

/** When so much of what is in the window will have left it, ms. */
export function timeUntilLeft(blocks: SharedBlocks, block: number, amount: number, now: number): number {
	const { numbers } = blocks;
	const window = numbers[block * BLOCK_NUMBERS + WINDOW_LENGTH]!;
	let left = amount;
	const place = findEntry(blocks, block, (at) => {
		left -= numbers[at + 1]!;
		return left <= 0;
	});
	return place === undefined ? window : numbers[place]! + window - now;
}

/** When all that is in the window will have left it, ms. */
export function timeUntilEmpty(blocks: SharedBlocks, block: number, now: number): number {
	if (!hasEntries(blocks, block)) return 0;
	const from = block * BLOCK_NUMBERS;
	return blocks.numbers[from + LAST_AT]! + blocks.numbers[from + WINDOW_LENGTH]! - now;
}

/** What is in a window that was taken before a moment, the oldest first. */
export function entriesBefore(blocks: SharedBlocks, block: number, before: number): TakenAt[] {
	const { numbers } = blocks;
	const taken: TakenAt[] = [];
	findEntry(blocks, block, (place) => {
		const at = numbers[place]!;
		if (at >= before) return true;
		taken.push({ at, amount: numbers[place + 1]! });
		return false;
	});
	return taken;
}

/** All of that. */
export function sumBefore(blocks: SharedBlocks, block: number, before: number): number {
	const { numbers } = blocks;
	let sum = 0;
	findEntry(blocks, block, (place) => {
		if (numbers[place]! >= before) return true;
		sum += numbers[place + 1]!;
		return false;
	});
	return sum;
}

/** Forgets what has left a window. */
export function expireEntries(blocks: SharedBlocks, block: number, now: number): void {
	const { cells, numbers } = blocks;
	const [at, from] = [block * BLOCK_CELLS, block * BLOCK_NUMBERS];
	const next = cells[at + NEXT]!;
	const window = numbers[from + WINDOW_LENGTH]!;
	for (let oldest = cells[at + OLDEST]!; oldest !== next; ) {
		const place = placeOf(cells[at + FIRST_PART]!, oldest);
		if (numbers[place]! + window > now) return;
		numbers[from + SUM]! -= numbers[place + 1]!;
		oldest = (oldest + 1) | 0;
		cells[at + OLDEST] = oldest;
		if ((oldest & (ENTRIES - 1)) === 0) blocks.dropPart(block);
	}
}

/** Makes a window whole that a thread that died may have left half changed: its entries are those for which it has parts. */
export function repairEntries(blocks: SharedBlocks, block: number): void {
	keepEntries(blocks, block);
	const { numbers } = blocks;
	const from = block * BLOCK_NUMBERS;
	let sum = 0;
	findEntry(blocks, block, (place) => {
		sum += numbers[place + 1]!;
		numbers[from + LAST_AT] = numbers[place]!;
		return false;
	});
	numbers[from + SUM] = sum;
}

/** Has a window no entry without a part, and no part of which all entries have left. */
function keepEntries(blocks: SharedBlocks, block: number): void {
	const { cells } = blocks;
	const at = block * BLOCK_CELLS;
	const [first, last] = [cells[at + FIRST_PART]!, cells[at + LAST_PART]!];
	if (first === 0) {
		cells[at + NEXT] = (cells[at + NEXT]! + ENTRIES - 1) & -ENTRIES;
		cells[at + OLDEST] = cells[at + NEXT]!;
		return;
	}
	const begin = cells[first * BLOCK_CELLS + PART_CELL]!;
	const end = (cells[last * BLOCK_CELLS + PART_CELL]! + ENTRIES) | 0;
	if (((cells[at + OLDEST]! - begin) | 0) < 0) cells[at + OLDEST] = begin;
	if (((cells[at + NEXT]! - end) | 0) > 0) cells[at + NEXT] = end;
	if (((cells[at + NEXT]! - cells[at + OLDEST]!) | 0) < 0) cells[at + OLDEST] = cells[at + NEXT]!;
	for (let part = first; part !== 0; part = cells[at + FIRST_PART]!) {
		if (((cells[at + OLDEST]! - cells[part * BLOCK_CELLS + PART_CELL]!) | 0) < ENTRIES) break;
		blocks.dropPart(block);
	}
}

/** The place of the first entry of a window, the oldest first, of which this holds. */
function findEntry(blocks: SharedBlocks, block: number, holds: (place: number) => boolean): number | undefined {
	const { cells } = blocks;
	const at = block * BLOCK_CELLS;
	const next = cells[at + NEXT]!;
	let part = cells[at + FIRST_PART]!;
	for (let entry = cells[at + OLDEST]!; entry !== next; ) {
		const place = placeOf(part, entry);
		if (holds(place)) return place;
		entry = (entry + 1) | 0;
		if ((entry & (ENTRIES - 1)) === 0) part = blocks.nextPart(part);
	}
	return undefined;
}

/** Where an entry stands: its time, and behind that its amount. */
const placeOf = (part: number, entry: number): number =>
	part * BLOCK_NUMBERS + PART_NUMBERS + (entry & (ENTRIES - 1)) * 2;
