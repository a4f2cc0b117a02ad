/**
 * The beginnings that a model's calls had in common of late, as tokens: what a new replica computes ahead (../models/warm-ups.ts). Tokens are
 * kept of the prompts that the engine was asked for anyway (./model-prompts.ts), in memory alone.
 */

/** After so long without a call, ms, a call counts half. */
const HALF_LIFE_MS = 600_000;
/** Tokens kept of a model: 1 MB. */
const MOST_TOKENS = 262_144;
/** Of one prompt, from its beginning on. */
const MOST_OF_ONE = 65_536;
/** What fewer calls than that have in common is not worth computing ahead. A call of minutes ago is a little less than one. */
const LEAST_CALLS = 1.5;
/** What has fewer is forgotten: that is half an hour after a single call. */
const COLD_CALLS = 0.1;
/** How often it is looked for that, ms. */
const EXPIRE_EVERY_MS = 60_000;

/** A prompt as it is made of tokens. */
export interface TokenizedPrompt {
	/** Blocks of characters, as `promptOf` (routing/affinity.ts) makes them. */
	readonly blocks: Int32Array;
	readonly tokens: readonly number[];
	/** For each block of characters: how many of the tokens it and all before it need, 0 where that is not known. Never less than for the one before. */
	readonly ends: readonly number[];
}

/** A beginning that is worth computing. */
export interface HotPrefix {
	readonly tokens: Uint32Array;
	/** Calls that began so, those of long ago counted less. */
	readonly calls: number;
}

/** Calls that had a block, as of a time. */
interface Heat {
	readonly calls: number;
	readonly at: number;
}

interface KeptPrompt {
	readonly blocks: Int32Array;
	readonly tokens: Uint32Array;
	readonly ends: readonly number[];
}

/** One model's. Times are of one clock, ms. */
export class HotPrefixes {
	/** Of blocks of characters of the prompts that are kept. */
	readonly #heat = new Map<number, Heat>();
	#prompts: KeptPrompt[] = [];
	#tokens = 0;
	#expiredAt = Number.NEGATIVE_INFINITY;

	/** Tokens that it keeps. */
	get size(): number {
		return this.#tokens;
	}

	/** A call has this prompt. */
	see({ blocks }: Pick<TokenizedPrompt, "blocks">, now: number): void {
		for (const block of blocks) {
			const heat = this.#heat.get(block);
			// A block's hash covers all before it: what follows is not known, either.
			if (!heat) return;
			this.#heat.set(block, { calls: callsAt(heat, now) + 1, at: now });
		}
	}

	/** Keeps a prompt that a call just had, or as much of it as its blocks say. */
	learn({ blocks, tokens, ends }: TokenizedPrompt, now: number): void {
		this.expire(now);
		let count = 0;
		while (count < ends.length && ends[count]! > 0 && ends[count]! <= MOST_OF_ONE) count++;
		if (count === 0 || this.#heat.has(blocks[count - 1]!)) return;
		const own = new Set(blocks.subarray(0, count));
		// One that it begins with is a part of it.
		this.#drop(new Set(this.#prompts.filter((kept) => own.has(kept.blocks.at(-1)!))));
		for (const block of own) if (!this.#heat.has(block)) this.#heat.set(block, { calls: 1, at: now });
		this.#keep({
			blocks: blocks.slice(0, count),
			tokens: Uint32Array.from(tokens.slice(0, ends[count - 1]!)),
			ends: ends.slice(0, count),
		});
		this.#trim(now);
	}

	/** Forgets what was not called for in a long time. Costs nothing but once a minute. */
	expire(now: number): void {
		if (now - this.#expiredAt < EXPIRE_EVERY_MS) return;
		this.#expiredAt = now;
		const cold = this.#prompts.filter(({ blocks }) => this.#isCold(blocks.at(-1)!, now));
		if (cold.length === 0) return;
		this.#drop(new Set(cold));
		const warm = new Set(this.#prompts.flatMap(({ blocks }) => [...blocks]));
		for (const { blocks, tokens, ends } of cold) {
			const count = blocks.findIndex((block) => this.#isCold(block, now));
			// What is the beginning of another is kept there.
			if (count === 0 || warm.has(blocks[count - 1]!)) continue;
			this.#keep({
				blocks: blocks.slice(0, count),
				tokens: tokens.slice(0, ends[count - 1]!),
				ends: ends.slice(0, count),
			});
			for (const block of blocks.subarray(0, count)) warm.add(block);
		}
		this.#forgetHeat();
	}

	/** Its engines have other tokens from now on. */
	clear(): void {
		this.#heat.clear();
		this.#prompts = [];
		this.#tokens = 0;
	}

	/**
	 * What most calls had in common, most of them first, none of them the beginning of another.
	 * @param room tokens of all of them, what they share counted once
	 */
	hottest(room: number, now: number): HotPrefix[] {
		const chosen = this.#choose(room, now);
		const cuts = this.#prompts.map((kept) => ({ kept, count: leading(kept.blocks, chosen) }));
		const inner = new Set(cuts.flatMap(({ kept, count }) => [...kept.blocks.subarray(0, Math.max(0, count - 1))]));
		const found = new Map<number, HotPrefix>();
		for (const { kept, count } of cuts) {
			const last = kept.blocks[count - 1];
			if (last === undefined || inner.has(last)) continue;
			found.set(last, { tokens: kept.tokens.subarray(0, kept.ends[count - 1]!), calls: chosen.get(last)! });
		}
		return [...found.values()].sort((a, b) => b.calls - a.calls);
	}

	/**
	 * Blocks of characters by their calls, as many as there is room for. What has a block has all before it, so that calls never grow along a
	 * prompt: the first blocks by calls are whole beginnings, and no other choice of that size saves more.
	 */
	#choose(room: number, now: number): Map<number, number> {
		const blocks = new Map<number, { readonly calls: number; readonly depth: number; readonly tokens: number }>();
		for (const { blocks: own, ends } of this.#prompts) {
			own.forEach((block, depth) => {
				const calls = callsAt(this.#heat.get(block)!, now);
				if (calls >= LEAST_CALLS) blocks.set(block, { calls, depth, tokens: ends[depth]! - (ends[depth - 1] ?? 0) });
			});
		}
		const chosen = new Map<number, number>();
		let left = room;
		for (const [block, { calls, tokens }] of [...blocks].sort(
			([, a], [, b]) => b.calls - a.calls || a.depth - b.depth,
		)) {
			left -= tokens;
			if (left < 0) break;
			chosen.set(block, calls);
		}
		return chosen;
	}

	#trim(now: number): void {
		if (this.#tokens <= MOST_TOKENS) return;
		const worth = ({ blocks, ends }: KeptPrompt) =>
			blocks.reduce(
				(sum, block, at) => sum + callsAt(this.#heat.get(block)!, now) * (ends[at]! - (ends[at - 1] ?? 0)),
				0,
			) / ends.at(-1)!;
		const all = this.#prompts.map((kept) => ({ kept, worth: worth(kept) })).sort((a, b) => a.worth - b.worth);
		const dropped = new Set<KeptPrompt>();
		let left = this.#tokens;
		for (const { kept } of all) {
			if (left <= MOST_TOKENS) break;
			dropped.add(kept);
			left -= kept.tokens.length;
		}
		this.#drop(dropped);
		this.#forgetHeat();
	}

	#isCold(block: number, now: number): boolean {
		return callsAt(this.#heat.get(block)!, now) < COLD_CALLS;
	}

	#keep(prompt: KeptPrompt): void {
		this.#prompts.push(prompt);
		this.#tokens += prompt.tokens.length;
	}

	#drop(dropped: ReadonlySet<KeptPrompt>): void {
		this.#prompts = this.#prompts.filter((each) => !dropped.has(each));
		for (const { tokens } of dropped) this.#tokens -= tokens.length;
	}

	/** Of blocks that no prompt has any more. */
	#forgetHeat(): void {
		const left = new Set(this.#prompts.flatMap(({ blocks }) => [...blocks]));
		for (const block of this.#heat.keys()) if (!left.has(block)) this.#heat.delete(block);
	}
}

const callsAt = ({ calls, at }: Heat, now: number): number => calls * 2 ** (-(now - at) / HALF_LIFE_MS);

/** How many of the first blocks are chosen. */
function leading(blocks: Int32Array, chosen: ReadonlyMap<number, number>): number {
	const end = blocks.findIndex((block) => !chosen.has(block));
	return end < 0 ? blocks.length : end;
}
