/** The blocks that one engine has in its KV cache, as its events say: by what is in them, whatever its hashes are. */
import type { BlockHash, BlocksRemoved, BlocksStored, KvEvent } from "./kv-events.ts";

/** Blocks remembered of an engine: 2 million tokens in blocks of 16. What is stored beyond is not known to be there. */
const MOST_BLOCKS = 131_072;

/**
 * What a block has computed, and all before it: 53 bits of a hash of its tokens, of what its own hash covers besides, and of the block
 * in front of it. The same for the same prompt at every engine of a model.
 */
export type BlockContent = number;

/** In front of the first block. */
const BEGINNING: BlockContent = 0;

/** Told when a prefix becomes usable or is no more. A block counts while the engine has it and all before it. */
export interface HeldContents {
	held(content: BlockContent): void;
	lost(content: BlockContent): void;
	/** All of them are gone. */
	cleared(): void;
}

interface Block {
	readonly hash: BlockHash;
	readonly content: BlockContent;
	readonly parent: Block | undefined;
	/** How often it is stored: two calls that compute the same at once store it twice. 0: it is gone, and others stand behind it. */
	count: number;
	/** Blocks that are known to stand behind it. */
	children: number;
	isUsable: boolean;
}

/** One engine's blocks. */
export class KvBlocks {
	readonly #blocks = new Map<BlockHash, Block>();
	/** Usable ones. */
	readonly #contents = new Set<BlockContent>();
	/** Of groups of layers the one that is looked at: the first of full attention. */
	#group: number | undefined;

	constructor(private readonly listener: HeldContents) {}

	/** How many it knows. */
	get size(): number {
		return this.#blocks.size;
	}

	/** Whether the engine has this block and all before it. */
	has(content: BlockContent): boolean {
		return this.#contents.has(content);
	}

	/** Takes what has happened. */
	take(events: readonly KvEvent[]): void {
		for (const event of events) {
			if (event.kind === "cleared") this.clear();
			else if (!event.isOnGpu) continue;
			else if (event.kind === "removed") this.#removed(event);
			else if (event.isFullAttention) this.#stored(event);
		}
	}

	/** The engine has none any more, or nothing is known of it. */
	clear(): void {
		this.#blocks.clear();
		this.#contents.clear();
		this.#group = undefined;
		this.listener.cleared();
	}

	#stored({ hashes, parent, tokens, blockSize, extras, group }: BlocksStored): void {
		this.#group ??= group;
		if (group !== this.#group || blockSize === 0) return;
		let previous: Block | undefined;
		if (parent !== undefined) {
			previous = this.#blocks.get(parent);
			// What stands in front of it was stored before this agent came.
			if (!previous) return;
		}
		for (let at = 0; at < hashes.length; at++) {
			const own = tokens.slice(at * blockSize, (at + 1) * blockSize);
			if (own.length < blockSize) return;
			const known = this.#blocks.get(hashes[at]!);
			if (known) {
				if (++known.count === 1) this.#useAgain(known);
				previous = known;
				continue;
			}
			if (this.#blocks.size >= MOST_BLOCKS) return;
			const content = contentOf(previous?.content ?? BEGINNING, own, extras[at] ?? "");
			const hash = hashes[at]!;
			const block: Block = { hash, content, parent: previous, count: 1, children: 0, isUsable: false };
			if (previous) previous.children++;
			this.#blocks.set(hash, block);
			this.#use(block);
			previous = block;
		}
	}

	#removed({ hashes, group }: BlocksRemoved): void {
		if (group !== this.#group) return;
		for (const hash of hashes) {
			const block = this.#blocks.get(hash);
			if (!block || block.count === 0 || --block.count > 0) continue;
			this.#loose(block);
			// vLLM gives up the end of a prompt first, so that hardly any is left behind one that is gone.
			if (block.children > 0) this.#looseBehind();
			else this.#drop(block);
		}
	}

	/** Forgets one behind which none stands, and what was remembered for its sake. */
	#drop(last: Block): void {
		let block: Block | undefined = last;
		while (block && block.count === 0 && block.children === 0) {
			this.#blocks.delete(block.hash);
			if (block.parent) block.parent.children--;
			block = block.parent;
		}
	}

	/** It was gone, and what stood behind it was not. */
	#useAgain(block: Block): void {
		this.#use(block);
		if (block.children === 0) return;
		for (const each of this.#blocks.values()) if (each.count > 0 && !each.isUsable && each.parent) this.#use(each);
	}

	#use(block: Block): void {
		block.isUsable = block.parent === undefined || block.parent.isUsable;
		if (!block.isUsable || this.#contents.has(block.content)) return;
		this.#contents.add(block.content);
		this.listener.held(block.content);
	}

	#loose(block: Block): void {
		if (!block.isUsable) return;
		block.isUsable = false;
		if (this.#contents.delete(block.content)) this.listener.lost(block.content);
	}

	/** What stands behind a block that is not usable is not, either. A parent was stored before what stands behind it. */
	#looseBehind(): void {
		for (const block of this.#blocks.values()) if (block.parent?.isUsable === false) this.#loose(block);
	}
}

const bytes = new Uint32Array(8_192);
/** So that the upper bits come of another hash than the lower ones. */
const UPPER_SEED = 0x9e37_79b9;

/** A block's content. @param before of the block in front of it */
function contentOf(before: BlockContent, tokens: readonly number[], extra: string): BlockContent {
	const room = tokens.length <= bytes.length ? bytes.subarray(0, tokens.length) : new Uint32Array(tokens.length);
	for (let at = 0; at < tokens.length; at++) room[at] = tokens[at]!;
	const seed = extra === "" ? 0 : Bun.hash.xxHash32(extra);
	const low = before % 2 ** 32;
	const high = Math.floor(before / 2 ** 32);
	const lower = Bun.hash.xxHash32(room, (low ^ seed) >>> 0);
	const upper = Bun.hash.xxHash32(room, (high ^ seed ^ UPPER_SEED) >>> 0) & 0x1f_ffff;
	return upper * 2 ** 32 + lower;
}

/** The contents of a prompt's whole blocks. @param extra what each covers besides its tokens */
export function blockContents(tokens: readonly number[], blockSize: number, extra: string): BlockContent[] {
	const contents: BlockContent[] = [];
	let content = BEGINNING;
	for (let end = blockSize; end <= tokens.length; end += blockSize) {
		content = contentOf(content, tokens.slice(end - blockSize, end), extra);
		contents.push(content);
	}
	return contents;
}
