/**
 * Which of an engine's blocks each block of a prompt's characters needs. Routers know a prompt by its characters, engines by its tokens; an
 * engine is asked for the tokens of prompts whose beginnings come again (`/tokenize`), and what it said is kept by prefix. The same for all
 * replicas of a model. ./design.md says why.
 */
import { BLOCK, LruSet, type Prompt } from "../../routing/affinity.ts";
import type { BlockContent } from "./kv-blocks.ts";

/** Blocks of characters remembered of a model: 16 million characters. */
const MOST_REMEMBERED = 65_536;
/** Fewer blocks than that are not worth a prompt's tokens. */
const LEAST_NEW = 4;

/** Told when it is known, or known otherwise, or forgotten, which block of tokens a block of characters needs. */
export interface PromptBlockListener {
	/** @param before what it needed so far */
	needs(character: number, content: BlockContent, before: BlockContent | undefined): void;
	forgotten(character: number, content: BlockContent): void;
}

/** What is remembered of a model's prompts. Blocks of characters are those of `promptOf`, hashes of all up to their ends. */
export class PromptBlocks {
	/** What each block of characters needs, those used longest ago first. */
	readonly #contents = new Map<number, BlockContent>();
	/** Of prompts that came, tokenized or not. */
	readonly #seen = new LruSet(MOST_REMEMBERED);
	/** By what they need. */
	readonly #characters = new Map<BlockContent, number[]>();

	constructor(private readonly listener: PromptBlockListener) {}

	/** How many blocks of characters it knows. */
	get size(): number {
		return this.#contents.size;
	}

	/** Blocks of characters that need this block last: they can be used once it and all before it are there. */
	charactersOf(content: BlockContent): readonly number[] {
		return this.#characters.get(content) ?? [];
	}

	/** What a block of characters needs; undefined: it is not known. */
	contentOf(character: number): BlockContent | undefined {
		return this.#contents.get(character);
	}

	/**
	 * Sees a prompt. Where its tokens are worth asking for, how many of its blocks an earlier one had, too; else 0. They are worth it where it
	 * begins as an earlier one did, for at least as long again as is known of that. So of a conversation, which grows with each turn, the turns
	 * in which it has doubled are tokenized.
	 */
	see({ blocks }: Pick<Prompt, "blocks">): number {
		let known = 0;
		while (known < blocks.length && this.#contents.has(blocks[known]!)) known++;
		let seen = known;
		while (seen < blocks.length && this.#seen.has(blocks[seen]!)) seen++;
		// The last first: of a prompt that is half forgotten the beginning is kept.
		for (let at = blocks.length - 1; at >= 0; at--) {
			this.#seen.add(blocks[at]!);
			const content = this.#contents.get(blocks[at]!);
			if (content === undefined) continue;
			this.#contents.delete(blocks[at]!);
			this.#contents.set(blocks[at]!, content);
		}
		return seen - known >= Math.max(LEAST_NEW, known) ? seen : 0;
	}

	/** Whether that much of a prompt is known by now. */
	knows({ blocks }: Pick<Prompt, "blocks">): boolean {
		return blocks.length === 0 || this.#contents.has(blocks.at(-1)!);
	}

	/**
	 * Takes in how a prompt is made of tokens.
	 * @param contents of its whole blocks of tokens
	 * @param tokens how many it has @param blockSize how many a block
	 */
	learn({ blocks, characters }: Prompt, contents: readonly BlockContent[], tokens: number, blockSize: number): void {
		if (contents.length === 0) return;
		const anchor = this.#anchor(blocks, contents);
		const [fromCharacter, fromToken] = [anchor.blocks * BLOCK, anchor.contents * blockSize];
		const perCharacter = (tokens - fromToken) / Math.max(1, characters - fromCharacter);
		// The last first: of a prompt that is half forgotten the beginning is kept.
		for (let at = blocks.length - 1; at >= 0; at--) {
			const end = (at + 1) * BLOCK;
			const upTo =
				end <= fromCharacter ? (fromToken * end) / fromCharacter : fromToken + (end - fromCharacter) * perCharacter;
			const needed = Math.min(contents.length, Math.max(1, Math.ceil(upTo / blockSize)));
			this.#set(blocks[at]!, contents[needed - 1]!);
		}
		this.#forget();
	}

	/**
	 * Where characters and tokens are known to meet: what the prompt has in common with others ends at one place in both. Behind it, as
	 * before it, tokens are taken to be equally long, which is right to some blocks.
	 */
	#anchor(blocks: Int32Array, contents: readonly BlockContent[]): { blocks: number; contents: number } {
		let known = 0;
		while (known < blocks.length && this.#contents.has(blocks[known]!)) known++;
		let common = 0;
		contents.forEach((content, at) => {
			if (this.#characters.has(content)) common = at + 1;
		});
		return known === 0 || common === 0 ? { blocks: 0, contents: 0 } : { blocks: known, contents: common };
	}

	#set(character: number, content: BlockContent): void {
		const before = this.#contents.get(character);
		this.#contents.delete(character);
		this.#contents.set(character, content);
		if (before === content) return;
		if (before !== undefined) this.#unlink(character, before);
		const others = this.#characters.get(content);
		if (others) others.push(character);
		else this.#characters.set(content, [character]);
		this.listener.needs(character, content, before);
	}

	#forget(): void {
		for (const [character, content] of this.#contents) {
			if (this.#contents.size <= MOST_REMEMBERED) return;
			this.#contents.delete(character);
			this.#unlink(character, content);
			this.listener.forgotten(character, content);
		}
	}

	#unlink(character: number, content: BlockContent): void {
		const left = this.#characters.get(content)!.filter((each) => each !== character);
		if (left.length > 0) this.#characters.set(content, left);
		else this.#characters.delete(content);
	}
}
