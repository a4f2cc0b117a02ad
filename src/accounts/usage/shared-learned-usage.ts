/** What calls come to, learned by all threads of the process together, in memory that they share: see `learned-usage.ts`. */
import type { BlockName } from "../../memory/block-name.ts";
import {
	BLOCK_CELLS,
	BLOCK_NUMBERS,
	FIRST_PART,
	makeBlocks,
	OWNERS_FLAG,
	PART_NUMBERS,
	SharedBlocks,
} from "../../memory/shared-blocks.ts";
import {
	type CallOutcome,
	isRefreshedAt,
	LEARNED_FROM,
	type LearnedFigures,
	type LearnedView,
	NEWEST,
	percentileOf,
} from "./learned-usage.ts";

/** The kind of blocks in memory that is for figures alone: one for each pair of model and key, and for each model. */
const FIGURES = 2;
/** Each has four parts once something is learned: some 6,000 pairs. */
const FIGURE_BLOCKS = 30_000;
/** Numbers of a block: when it was last used, ms; then of answers, and of surpluses, how many there were and what they come to. */
const USED_AT = 4;
const ANSWERS = 5;
const SURPLUSES = 7;
const COUNT = 0;
const VALUE = 1;
/** Values of a part. A series has two parts, the answers' first. */
const PART_VALUES = BLOCK_NUMBERS - PART_NUMBERS;
const SERIES_PARTS = NEWEST / PART_VALUES;
const PARTS = 2 * SERIES_PARTS;
/** Blocks that are compared where one has to go. */
const FEW = 16;
/** Names that a thread remembers the hash of: clients choose those of models. */
const MOST_NAMES = 5_000;

/** Memory for them: 9 MB of addresses, of which pages are taken as names come. */
export const makeLearned = (): SharedArrayBuffer => makeBlocks(FIGURE_BLOCKS);

/** One thread's view. */
export class SharedLearnedUsage implements LearnedView {
	readonly #blocks: SharedBlocks;
	/** By model, then by key. */
	readonly #names = new Map<string, Map<string, SharedFigures>>();
	#count = 0;

	/**
	 * @param memory of {@link makeLearned}
	 * @param thread the number of this thread
	 * @param time ms, on the clock of all threads
	 */
	constructor(
		memory: SharedArrayBuffer,
		thread: number,
		private readonly time: () => number,
	) {
		this.#blocks = new SharedBlocks(memory, FIGURE_BLOCKS, thread);
		this.#blocks.threads.onEnded = (ended) => this.freed(ended);
		this.#blocks.onFull = () => this.#dropOldest();
	}

	get isAsked(): boolean {
		return this.#blocks.numbers[OWNERS_FLAG] === 1;
	}

	of(key: string, model: string): LearnedFigures {
		this.#blocks.numbers[OWNERS_FLAG] = 1;
		let ofModel = this.#names.get(model);
		let figures = ofModel?.get(key);
		if (figures) return figures;
		if (this.#count >= MOST_NAMES) {
			this.#names.clear();
			this.#count = 0;
			ofModel = undefined;
		}
		if (!ofModel) {
			ofModel = new Map();
			this.#names.set(model, ofModel);
		}
		const blocks = this.#blocks;
		const names = { ofKey: nameOf(blocks, [model, key]), ofAllKeys: nameOf(blocks, [model]) };
		figures = new SharedFigures(blocks, names, this.time);
		ofModel.set(key, figures);
		this.#count++;
		return figures;
	}

	/**
	 * The main thread's: a thread has died. A value that it was writing may be missing, or be an older one; what it was making is gone, and made anew
	 * by the next who learns of it.
	 */
	freed(thread: number): void {
		const blocks = this.#blocks;
		blocks.freed(thread, (block) => {
			if (!isWhole(blocks, block)) blocks.remove(block);
		});
	}

	#dropOldest(): boolean {
		const blocks = this.#blocks;
		const oldest = blocks.oldest(FEW, (block) => -blocks.numbers[block * BLOCK_NUMBERS + USED_AT]!);
		if (oldest !== 0) blocks.remove(oldest);
		return oldest !== 0;
	}
}

/** Whether the thread that made a block came to the end of that. */
function isWhole(blocks: SharedBlocks, block: number): boolean {
	let parts = 0;
	for (let part = blocks.cells[block * BLOCK_CELLS + FIRST_PART]!; part !== 0; part = blocks.nextPart(part)) parts++;
	return parts === PARTS && blocks.numbers[block * BLOCK_NUMBERS + USED_AT] !== Number.POSITIVE_INFINITY;
}

const nameOf = (blocks: SharedBlocks, names: readonly string[]): BlockName =>
	blocks.nameOf(FIGURES, JSON.stringify(names));

/** What is learned of one key's calls by one model. */
class SharedFigures implements LearnedFigures {
	constructor(
		private readonly blocks: SharedBlocks,
		private readonly names: { readonly ofKey: BlockName; readonly ofAllKeys: BlockName },
		private readonly time: () => number,
	) {}

	get answerTokens(): number | undefined {
		return this.#value(ANSWERS);
	}

	get surplus(): number {
		return this.#value(SURPLUSES) ?? 0;
	}

	learn({ answer, surplus }: CallOutcome): void {
		const { blocks, names } = this;
		blocks.acquire();
		try {
			for (const name of [names.ofKey, names.ofAllKeys]) {
				if (answer !== undefined) this.#add(name, ANSWERS, answer);
				if (surplus !== undefined) this.#add(name, SURPLUSES, surplus);
			}
		} finally {
			blocks.release();
		}
	}

	#value(series: number): number | undefined {
		const { blocks, names } = this;
		blocks.acquire();
		try {
			for (const name of [names.ofKey, names.ofAllKeys]) {
				const block = blocks.find(FIGURES, name);
				const at = block * BLOCK_NUMBERS + series;
				if (block !== 0 && blocks.numbers[at + COUNT]! >= LEARNED_FROM) return blocks.numbers[at + VALUE]!;
			}
			return undefined;
		} finally {
			blocks.release();
		}
	}

	/** Where there is no room it is not learned. */
	#add(name: BlockName, series: number, value: number): void {
		if (!Number.isFinite(value)) return;
		const { blocks } = this;
		const block = blocks.find(FIGURES, name) || this.#make(name);
		if (block === 0) return;
		const { numbers } = blocks;
		const begin = block * BLOCK_NUMBERS;
		numbers[begin + USED_AT] = this.time();
		const at = begin + series;
		const count = numbers[at + COUNT]!;
		const slot = count % NEWEST;
		const part = this.#part(block, series, Math.floor(slot / PART_VALUES));
		if (part === 0) return;
		numbers[part * BLOCK_NUMBERS + PART_NUMBERS + (slot % PART_VALUES)] = value;
		if (isRefreshedAt(count + 1)) numbers[at + VALUE] = percentileOf(this.#newest(block, series, count + 1));
		// Last: from then on what they come to may be known.
		numbers[at + COUNT] = count + 1;
	}

	#make(name: BlockName): number {
		const { blocks } = this;
		const block = blocks.make(FIGURES, name);
		if (block === 0) return 0;
		// Until it is whole: it makes no room for its own parts.
		blocks.numbers[block * BLOCK_NUMBERS + USED_AT] = Number.POSITIVE_INFINITY;
		for (let part = 0; part < PARTS; part++) {
			if (blocks.addPart(block, part) !== 0) continue;
			blocks.remove(block);
			return 0;
		}
		return block;
	}

	/** Of a series of so many values those that are kept. */
	#newest(block: number, series: number, count: number): Float64Array {
		const kept = Math.min(count, NEWEST);
		const newest = new Float64Array(kept);
		for (let from = 0; from < kept; from += PART_VALUES) {
			const begin = this.#part(block, series, from / PART_VALUES) * BLOCK_NUMBERS + PART_NUMBERS;
			newest.set(this.blocks.numbers.subarray(begin, begin + Math.min(PART_VALUES, kept - from)), from);
		}
		return newest;
	}

	/** A part of a series, from 0; 0 where it is not there. */
	#part(block: number, series: number, nth: number): number {
		const { blocks } = this;
		let part = blocks.cells[block * BLOCK_CELLS + FIRST_PART]!;
		for (let left = (series === ANSWERS ? 0 : SERIES_PARTS) + nth; left > 0 && part !== 0; left--) {
			part = blocks.nextPart(part);
		}
		return part;
	}
}
