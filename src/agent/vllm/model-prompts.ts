/** The prompts of one model's calls, at all of its replicas: which of them are tokenized, one after the other, and who hears of it. */

import { steadyTime } from "../../steady-time.ts";
import type { HeldPrefixes } from "./held-prefixes.ts";
import { HotPrefixes } from "./hot-prefixes.ts";
import { blockContents } from "./kv-blocks.ts";
import { PromptBlocks } from "./prompt-blocks.ts";
import type { ReadPrompt } from "./read-prompt.ts";
import { probeTokens, type VllmEndpoint } from "./vllm-probe.ts";

/** Prompts that wait to be tokenized, at most. Of more the oldest are left out: their blocks are guessed, as without events. */
const MOST_WAITING = 64;

/** How long the first events of a model are waited for, ms. */
const FIRST_EVENT_MS = 10_000;

interface WaitingPrompt {
	readonly read: ReadPrompt;
	readonly vllm: VllmEndpoint;
	/** Blocks at its beginning that an earlier prompt had, too. */
	readonly common: number;
}

/** One model's. */
export class ModelPrompts {
	readonly blocks = new PromptBlocks({
		needs: (character, content) => {
			for (const held of this.#replicas) held.needs(character, content);
		},
		forgotten: (character) => {
			for (const held of this.#replicas) held.forgotten(character);
		},
	});
	/** What its calls have in common; undefined where nobody computes that ahead: then no tokens are kept. */
	readonly hot: HotPrefixes | undefined;
	readonly #replicas = new Set<HeldPrefixes>();
	#waiting: WaitingPrompt[] = [];
	/** Grows with each change of the tokenizer. */
	#tokenizer = 0;
	#work: Promise<void> | undefined;
	/** Resolved when an engine has said how large its blocks are. */
	#sized = Promise.withResolvers<void>();
	/** Prompts that were tokenized. */
	tokenized = 0;

	/** @param keepsTokens of what calls have in common */
	constructor(keepsTokens: boolean) {
		this.hot = keepsTokens ? new HotPrefixes() : undefined;
	}

	/** A replica's engine is there from now on. */
	add(held: HeldPrefixes): void {
		this.#replicas.add(held);
		held.sized = () => this.#sized.resolve();
	}

	/** And not any more. */
	remove(held: HeldPrefixes): void {
		this.#replicas.delete(held);
	}

	/** An engine is given a prompt: it is tokenized there where that is worth it. */
	given(read: ReadPrompt, vllm: VllmEndpoint): void {
		this.hot?.see(read.prompt, steadyTime());
		const common = this.blocks.see(read.prompt);
		if (common === 0) return;
		if (this.#waiting.push({ read, vllm, common }) > MOST_WAITING) this.#waiting.shift();
		this.#work ??= this.#tokenize().finally(() => {
			this.#work = undefined;
		});
	}

	/** Its engines have other tokens from now on. */
	forgetTokens(): void {
		this.#tokenizer++;
		this.#waiting = [];
		this.hot?.clear();
	}

	/** Does something once all that was given so far is tokenized, or left out. */
	whenKnown(run: () => void): void {
		if (this.#work) void this.#work.then(run);
		else run();
	}

	/** One at a time: the engine's API server has its calls to tokenize, too. */
	async #tokenize(): Promise<void> {
		for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
			const { read, vllm, common } = next;
			const tokenizer = this.#tokenizer;
			// The one before it may have been the same.
			if (this.blocks.knows(read.prompt)) continue;
			const tokens = await probeTokens(vllm, read.tokenize);
			const blockSize = this.#blockSize() ?? (await this.#whenSized());
			if (!tokens || blockSize === undefined || tokenizer !== this.#tokenizer) continue;
			this.tokenized++;
			this.#learn(read, common, tokens, blockSize);
		}
	}

	#learn({ prompt }: ReadPrompt, common: number, tokens: readonly number[], blockSize: number): void {
		const contents = blockContents(tokens, blockSize, "");
		this.blocks.learn(prompt, contents, tokens.length, blockSize);
		if (!this.hot) return;
		const ends = new Map(contents.map((content, at) => [content, (at + 1) * blockSize]));
		const endOf = (character: number) => ends.get(this.blocks.contentOf(character) ?? NaN) ?? 0;
		// What this call alone has is not kept.
		const blocks = prompt.blocks.subarray(0, common);
		this.hot.learn({ blocks, tokens, ends: Array.from(blocks, endOf) }, steadyTime());
	}

	/** The first prompt may be tokenized before it is computed. */
	async #whenSized(): Promise<number | undefined> {
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = setTimeout(resolve, FIRST_EVENT_MS);
		await Promise.race([promise, this.#sized.promise]);
		clearTimeout(timer);
		this.#sized = Promise.withResolvers();
		return this.#blockSize();
	}

	/** Tokens a block: replicas of one model have one size. */
	#blockSize(): number | undefined {
		for (const { blockSize } of this.#replicas) if (blockSize) return blockSize;
		return undefined;
	}
}
