/**
 * Counters of limits in memory that threads share, a block each: what `sliding-window.ts` counts in the memory of one. What calls under
 * way hold of a counter stands in one column a thread, so that it can be given back when the thread dies. All of it needs the lock.
 */
import type { BlockName } from "../../memory/block-name.ts";
import { BLOCK_CELLS, BLOCK_NUMBERS, type SharedBlocks } from "../../memory/shared-blocks.ts";
import { MOST_THREADS } from "../../memory/shared-lock.ts";
import { unitsOf, usdOf } from "../usage/spend.ts";
import { budgetFits, budgetWait, type Counter, type CountState, RETRY_MS } from "./counters.ts";
import type { Limit, LimitUnit, TakenAt } from "./limiter.ts";
import { ownerOf } from "./session-order.ts";
import { AGREES_MS } from "./shared-trouble.ts";
import {
	addEntry,
	changeEntry,
	entriesBefore,
	entryOf,
	expireEntries,
	hasEntries,
	repairEntries,
	SUM,
	sumBefore,
	takeEntries,
	timeUntilEmpty,
	timeUntilLeft,
	WINDOW_LENGTH,
	windowState,
} from "./shared-window.ts";

/** Kinds of blocks; further ones in the same memory follow. Counts of requests and of tokens differ by their names. */
export const KINDS: Readonly<Record<LimitUnit, number>> = { requests: 2, tokens: 3, concurrency: 4, usd: 5, spend: 6 };
export const LAST_KIND = KINDS.spend;
/** The first kind that is free for others. */
export const OTHER_KIND = LAST_KIND + 1;

/** Numbers of a counter's block, beside those of a window: when it was used last, and what each thread holds, from here on. */
export const USED_AT = 4;
const HELD = 15;
/** What threads agree on, when one gave it, and of a budget for which period; 24 is a window's. */
const AGREED = 25;
export const AGREED_AT = 26;
const AGREED_PERIOD = 27;
const AGREED_WORD_AT = 28;
/** Of a session's: which key it is of, hashed; 0 where nobody has said yet. */
export const SESSION_OWNER = 29;
/** Cells of it: calls under way, of all threads and of each. */
const RUNNING = 18;
const RUNNING_OF = 20;

/** What a thread gives for others to go by: when, and of which moment that is which it goes by; NaN where that says nothing. */
interface GivenNumber {
	readonly at: number;
	readonly own: number;
	readonly wordAt: number;
}

/** A counter as a thread sees it. */
export abstract class SharedCounter implements Counter {
	/** Its block while the lock is held, as {@link locate} found it. */
	protected block = 0;
	readonly #kind: number;
	readonly #name: BlockName;

	constructor(
		protected readonly blocks: SharedBlocks,
		unit: LimitUnit,
		name: string | BlockName,
	) {
		this.#kind = KINDS[unit];
		this.#name = typeof name === "string" ? blocks.nameOf(this.#kind, name) : name;
	}

	/** Which one it is, among all of its unit. */
	get hash(): string {
		return this.#name.text;
	}

	/** Finds its block. False where it has none: nothing was counted. */
	find(): boolean {
		this.block = this.blocks.find(this.#kind, this.#name);
		return this.block !== 0;
	}

	/** Finds or makes its block. False where there is no room for one. */
	locate({ windowMs }: Pick<Limit, "windowMs">): boolean {
		const { blocks } = this;
		let block = blocks.find(this.#kind, this.#name);
		if (block === 0) {
			block = blocks.make(this.#kind, this.#name);
			if (block !== 0) blocks.numbers[block * BLOCK_NUMBERS + WINDOW_LENGTH] = windowMs;
		}
		this.block = block;
		return block !== 0;
	}

	/**
	 * What a thread has given since that moment, unless this one has heard of the limit later; or `own`, which is given now. Of what was given
	 * shortly before the smaller one counts, and of two that go by the same word, as where neither has heard of the limit.
	 * @param period of a budget: what was given for another one counts for nothing
	 */
	agreed(since: number, { at: now, own, wordAt }: GivenNumber, period: string | undefined): number {
		const { numbers } = this.blocks;
		const at = this.block * BLOCK_NUMBERS;
		const tag = period === undefined ? 0 : Bun.hash.xxHash32(period);
		const agreedAt = numbers[at + AGREED_PERIOD] === tag ? numbers[at + AGREED_AT]! : 0;
		if (agreedAt > 0 && agreedAt >= since) {
			const known = numbers[at + AGREED_WORD_AT]!;
			if (wordAt > known) {
				numbers[at + AGREED] = own;
				numbers[at + AGREED_WORD_AT] = wordAt;
			} else if (wordAt === known) numbers[at + AGREED] = Math.min(own, numbers[at + AGREED]!);
			return numbers[at + AGREED]!;
		}
		if (agreedAt > 0 && agreedAt >= since - AGREES_MS) {
			numbers[at + AGREED] = Math.min(own, numbers[at + AGREED]!);
			return numbers[at + AGREED]!;
		}
		numbers[at + AGREED] = own;
		numbers[at + AGREED_AT] = now;
		numbers[at + AGREED_PERIOD] = tag;
		numbers[at + AGREED_WORD_AT] = wordAt;
		return own;
	}

	get running(): number {
		return this.blocks.cells[this.block * BLOCK_CELLS + RUNNING]!;
	}

	get isEmpty(): boolean {
		return isIdle(this.blocks, this.block);
	}

	expire(now: number): void {
		this.blocks.numbers[this.block * BLOCK_NUMBERS + USED_AT] = now;
	}

	change(_entry: number, _difference: number): void {}

	resetMs(_now: number): number {
		return 0;
	}

	takenBefore(_before: number): readonly TakenAt[] {
		return [];
	}

	/** All of {@link takenBefore}. */
	sumBefore(_before: number): number {
		return 0;
	}

	/** An entry that another process knows by this number; -1 where there is none. */
	entryAt(_number: number): number {
		return -1;
	}

	leave(amount: number): void {
		this.release(1, amount);
	}

	/** So many calls of this thread that took so much together are over. */
	release(calls: number, _amount: number): void {
		this.run(-calls);
	}

	/** What is counted, for another process. */
	get state(): CountState {
		return { running: this.running, sum: this.sum, first: 0, entries: [] };
	}

	/** Goes on with what another process has counted: this thread holds all that is under way. @param ahead how far this clock is ahead of its, ms */
	takeOver({ running, sum }: CountState, _ahead: number): void {
		this.release(-running, -sum);
	}

	abstract readonly sum: number;
	abstract hasRoom(limit: Limit): boolean;
	abstract add(amount: number, now: number): number;
	abstract waitFor(limit: Limit, now: number): number;

	/** Calls of this thread begin or end. */
	protected run(count: number): void {
		const { cells, thread } = this.blocks;
		const at = this.block * BLOCK_CELLS;
		cells[at + RUNNING_OF + thread]! += count;
		cells[at + RUNNING]! += count;
	}

	/** This thread holds so much more, or less. */
	protected hold(amount: number): void {
		const { numbers, thread } = this.blocks;
		const at = this.block * BLOCK_NUMBERS;
		numbers[at + HELD + thread]! += amount;
		numbers[at + SUM]! += amount;
	}
}

/** Calls at once. */
class SharedConcurrency extends SharedCounter {
	get sum(): number {
		return this.blocks.numbers[this.block * BLOCK_NUMBERS + SUM]!;
	}
	hasRoom({ amount, max }: Limit): boolean {
		return this.sum + amount <= max;
	}
	add(amount: number): number {
		this.run(1);
		this.hold(amount);
		return -1;
	}
	override release(calls: number, amount: number): void {
		this.run(-calls);
		this.hold(-amount);
	}
	waitFor(): number {
		return RETRY_MS;
	}
}

/** What calls under way may cost of one budget, in whole billionths of a USD. */
class SharedBudget extends SharedCounter {
	get sum(): number {
		return usdOf(this.blocks.numbers[this.block * BLOCK_NUMBERS + SUM]!);
	}
	hasRoom(limit: Limit): boolean {
		return budgetFits(limit, this.sum, this.running);
	}
	add(amount: number): number {
		this.run(1);
		this.hold(unitsOf(amount));
		return -1;
	}
	override release(calls: number, amount: number): void {
		this.run(-calls);
		this.hold(-unitsOf(amount));
	}
	waitFor(limit: Limit): number {
		return budgetWait(limit);
	}
}

/** The entries of a window, the oldest first. */
class SharedWindow extends SharedCounter {
	get sum(): number {
		return this.blocks.numbers[this.block * BLOCK_NUMBERS + SUM]!;
	}
	hasRoom({ amount, max }: Limit): boolean {
		return this.sum + amount <= max;
	}
	override expire(now: number): void {
		super.expire(now);
		expireEntries(this.blocks, this.block, now);
	}

	add(amount: number, now: number): number {
		this.run(1);
		return addEntry(this.blocks, this.block, amount, now);
	}
	override change(entry: number, difference: number): void {
		changeEntry(this.blocks, this.block, entry, difference);
	}
	waitFor({ amount, max }: Limit, now: number): number {
		if (amount > max) return Number.POSITIVE_INFINITY;
		return timeUntilLeft(this.blocks, this.block, this.sum + amount - max, now);
	}
	override resetMs(now: number): number {
		return this.sum === 0 ? 0 : timeUntilEmpty(this.blocks, this.block, now);
	}
	override takenBefore(before: number): readonly TakenAt[] {
		return entriesBefore(this.blocks, this.block, before);
	}
	override sumBefore(before: number): number {
		return sumBefore(this.blocks, this.block, before);
	}
	override entryAt(number: number): number {
		return entryOf(this.blocks, this.block, number);
	}
	override get state(): CountState {
		return { running: this.running, sum: this.sum, ...windowState(this.blocks, this.block) };
	}
	override takeOver(state: CountState, ahead: number): void {
		this.run(state.running);
		takeEntries(this.blocks, this.block, state, ahead);
	}
}

/** What a session has spent, of one key's sessions. */
class SharedSession extends SharedWindow {
	readonly #owner: number;

	/** @param name its id, or its hash where no more is known */
	constructor(blocks: SharedBlocks, name: string | BlockName) {
		super(blocks, "spend", name);
		// By a seed of this memory, as its name: nobody can choose two keys that meet.
		this.#owner = typeof name === "string" ? Bun.hash.xxHash32(ownerOf(name), blocks.seeds[0]! >>> 0) || 1 : 0;
	}

	override locate(limit: Pick<Limit, "windowMs">): boolean {
		const isThere = super.locate(limit);
		if (isThere && this.#owner !== 0) this.blocks.numbers[this.block * BLOCK_NUMBERS + SESSION_OWNER] = this.#owner;
		return isThere;
	}
	override get state(): CountState {
		return { ...super.state, owner: this.blocks.numbers[this.block * BLOCK_NUMBERS + SESSION_OWNER]! };
	}
	override takeOver(state: CountState, ahead: number): void {
		super.takeOver(state, ahead);
		if (this.#owner === 0) this.blocks.numbers[this.block * BLOCK_NUMBERS + SESSION_OWNER] = state.owner ?? 0;
	}
}

/** A counter of that unit and name. @param id or its hash, as the block has it */
export function sharedCounter(blocks: SharedBlocks, unit: LimitUnit, id: string | BlockName): SharedCounter {
	if (unit === "concurrency") return new SharedConcurrency(blocks, unit, id);
	if (unit === "spend") return new SharedSession(blocks, id);
	return unit === "usd" ? new SharedBudget(blocks, unit, id) : new SharedWindow(blocks, unit, id);
}

export const isSessionKind = (kind: number): boolean => kind === KINDS.spend;

/** Whether calls under way have taken of it. */
export const isHeld = ({ cells }: SharedBlocks, block: number): boolean => cells[block * BLOCK_CELLS + RUNNING]! > 0;

export const isWindowKind = (kind: number): boolean =>
	kind === KINDS.requests || kind === KINDS.tokens || kind === KINDS.spend;

/** Gives back what a thread that has died holds of a counter, and counts anew what it may have left half done. Other kinds stay as they are. */
export function repairCounter(blocks: SharedBlocks, block: number, kind: number, thread: number): void {
	if (kind > LAST_KIND) return;
	const { cells, numbers } = blocks;
	const [at, from] = [block * BLOCK_CELLS, block * BLOCK_NUMBERS];
	cells[at + RUNNING_OF + thread] = 0;
	numbers[from + HELD + thread] = 0;
	let [running, sum] = [0, 0];
	for (let each = 0; each < MOST_THREADS; each++) {
		running += cells[at + RUNNING_OF + each]!;
		sum += numbers[from + HELD + each]!;
	}
	cells[at + RUNNING] = running;
	if (isWindowKind(kind)) repairEntries(blocks, block);
	else numbers[from + SUM] = sum;
}

/** Whether it counts nothing any more, as far as it has expired. */
export function isIdle(blocks: SharedBlocks, block: number): boolean {
	return blocks.cells[block * BLOCK_CELLS + RUNNING] === 0 && !hasEntries(blocks, block);
}
