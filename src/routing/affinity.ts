/**
 * What a replica has in its prefix cache, found without a tokenizer: a prompt is cut into blocks of 256 characters, each block's hash covers
 * all before it, and each replica's blocks are remembered, most recently used ones first: what it probably still has. Where its agent
 * reports what its engine really has, that counts besides, and what is reported to be gone is forgotten.
 */
import type { HeldBlocks, HeldReport } from "./held-blocks.ts";

/** Characters a block. */
export const BLOCK = 256;
/** Most blocks of a prompt that are looked at: 524,288 characters. What comes behind them counts as they do. */
export const MOST_BLOCKS = 2_048;
/** Blocks remembered of a replica: 2.5 million characters. */
export const MOST_REMEMBERED_BLOCKS = 10_000;

/** A prompt as replicas' caches see it. */
export interface Prompt {
	/** Its length, characters. */
	readonly characters: number;
	/** Chained hashes of its whole blocks; none where nobody will ask. */
	readonly blocks: Int32Array;
}

/** A prompt of which no replica knows anything. */
export const NO_BLOCKS = new Int32Array(0);

/** Cuts the parts of a prompt, in the order in which a model reads them, into blocks. `seed` begins the chain: the model. */
export function promptOf(seed: string, parts: readonly string[]): Prompt {
	let characters = 0;
	for (const part of parts) characters += part.length;
	const text = parts.length === 1 ? parts[0]! : parts.join("");
	const blocks = new Int32Array(Math.min(MOST_BLOCKS, Math.floor(characters / BLOCK)));
	let hash = Bun.hash.xxHash32(seed);
	for (let at = 0; at < blocks.length; at++) {
		hash = Bun.hash.xxHash32(text.slice(at * BLOCK, (at + 1) * BLOCK), hash);
		blocks[at] = hash;
	}
	return { characters, blocks };
}

/** Where blocks are remembered: a bounded set that forgets those used longest ago. */
export interface BlockSet {
	/** Uses this one. */
	add(block: number): void;
	has(block: number): boolean;
	/** Forgets this one. */
	delete(block: number): void;
	/** All of them, the most recent last; some may come twice. */
	values(): Iterable<number>;
	clear(): void;
}

/** One replica's blocks. */
export class PrefixCache {
	/**
	 * @param blocks it was given
	 * @param held what its engine says it has; undefined where nobody reports that
	 */
	constructor(
		private readonly blocks: BlockSet = new LruSet(MOST_REMEMBERED_BLOCKS),
		public held: HeldBlocks | undefined = undefined,
	) {}

	/** It is given this prompt. Last block first: of a prompt that is half forgotten the beginning is kept. */
	add({ blocks }: Pick<Prompt, "blocks">): void {
		for (let at = blocks.length - 1; at >= 0; at--) this.blocks.add(blocks[at]!);
	}

	/** How many characters of a prompt it would have to compute, at least 1: there is always a last token. */
	uncached({ characters, blocks }: Prompt): number {
		if (blocks.length === 0 || !this.#has(blocks[0]!)) return Math.max(1, characters);
		// A block's hash covers what is before it, so what is known ends at one place: found in log2(2048) looks.
		let known = 1;
		let end = blocks.length;
		while (known < end) {
			const middle = (known + end + 1) >> 1;
			if (this.#has(blocks[middle - 1]!)) known = middle;
			else end = middle - 1;
		}
		const isAll = known === MOST_BLOCKS;
		return Math.max(1, isAll ? 0 : characters - known * BLOCK);
	}

	/** Its blocks, the most recent first. */
	recent(): Int32Array {
		return Int32Array.from(this.blocks.values()).reverse();
	}

	/** Its memory is empty: it was started anew. What its engine has is for its agent to say. */
	clear(): void {
		this.blocks.clear();
	}

	/** What its agent reports. */
	report(report: HeldReport): void {
		this.held?.take(report);
		for (const block of report.removed) this.blocks.delete(block);
	}

	#has(block: number): boolean {
		return this.blocks.has(block) || this.held?.has(block) === true;
	}
}

/**
 * A bounded set of 32-bit numbers that forgets those used longest ago. Two generations: what is used goes into the newer one; when that holds half of all, it becomes the older one and what the older one
 * held is forgotten. So it keeps at least the last `size / 2` that were used and at most `size`. An exact order would cost a
 * deletion at each use, four times as much.
 */
export class LruSet {
	#newer = new Set<number>();
	#older = new Set<number>();

	constructor(private readonly size: number) {}

	/** How many it holds; one in both generations counts twice. */
	get count(): number {
		return this.#newer.size + this.#older.size;
	}

	/** Uses this one. */
	add(value: number): void {
		this.#newer.add(value);
		if (this.#newer.size < this.size / 2) return;
		this.#older = this.#newer;
		this.#newer = new Set();
	}

	*values(): Iterable<number> {
		yield* this.#older;
		yield* this.#newer;
	}

	has(value: number): boolean {
		return this.#newer.has(value) || this.#older.has(value);
	}

	delete(value: number): void {
		this.#newer.delete(value);
		this.#older.delete(value);
	}

	clear(): void {
		this.#newer.clear();
		this.#older.clear();
	}
}
