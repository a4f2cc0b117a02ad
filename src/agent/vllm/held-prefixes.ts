/** Which blocks of characters a replica's engine has computed at this moment, and what of that its router has not heard yet. */
import type { Prompt } from "../../routing/affinity.ts";
import { type BlockContent, KvBlocks } from "./kv-blocks.ts";
import type { KvEventSink } from "./kv-event-source.ts";
import type { KvEvent } from "./kv-events.ts";
import type { PromptBlocks } from "./prompt-blocks.ts";

/** Most blocks that a router is told of a replica: 4.2 million characters. */
export const MOST_HELD = 16_384;

/** What has changed since a version, or, without one, all there is. */
export interface HeldChanges {
	readonly since: number | undefined;
	readonly version: number;
	readonly added: Int32Array;
	readonly removed: Int32Array;
}

/** One replica's, from the start of its engine on. */
export class HeldPrefixes implements KvEventSink {
	readonly blocks: KvBlocks;
	readonly #held = new Set<number>();
	/** Since the version that the router has: whether it is held now. Empty where it is told all. */
	#changed = new Map<number, boolean>();
	#version = 0;
	/** The version that the router has; undefined: it is told all. */
	#heard: number | undefined;
	/** Tokens a block, once the engine has stored one. */
	blockSize: number | undefined;
	/** Called when that is known. */
	sized: (() => void) | undefined;

	/**
	 * @param prompts of its model
	 * @param changed called when there is something to tell
	 */
	constructor(
		readonly prompts: PromptBlocks,
		private readonly changed: () => void,
	) {
		this.blocks = new KvBlocks({
			held: (content) => this.#each(content, true),
			lost: (content) => this.#each(content, false),
			cleared: () => this.#clear(),
		});
	}

	restarted(): void {
		this.blockSize = undefined;
		this.blocks.clear();
	}

	events(events: readonly KvEvent[]): void {
		for (const event of events) {
			if (event.kind !== "stored" || !event.isFullAttention || !event.isOnGpu || this.blockSize) continue;
			this.blockSize = event.blockSize;
			this.sized?.();
		}
		this.blocks.take(events);
	}

	/** A block of characters needs another block of tokens than it did. */
	needs(character: number, content: BlockContent): void {
		this.#set(character, this.blocks.has(content));
	}

	/** Nobody knows any more what a block of characters needs. */
	forgotten(character: number): void {
		this.#set(character, false);
	}

	/**
	 * A call of this prompt is over: the router, which takes it for granted that its blocks are here, is told which are not.
	 */
	settled({ blocks }: Pick<Prompt, "blocks">): void {
		// Where not even its beginning is here, its tokens may be others than were thought.
		if (blocks.length === 0 || !this.#held.has(blocks[0]!)) return;
		let isNews = false;
		for (const character of blocks) {
			if (this.#held.has(character) || this.prompts.contentOf(character) === undefined) continue;
			this.#note(character, false);
			isNews = true;
		}
		if (isNews) this.changed();
	}

	/** Whether the router has yet to hear something. */
	get hasNews(): boolean {
		return this.#heard === undefined || this.#changed.size > 0;
	}

	/** What the router is told next; counts as heard until `unheard`. @param most so many blocks at most: others are news still */
	take(most: number = MOST_HELD): HeldChanges {
		const since = this.#heard;
		const added: number[] = [];
		const removed: number[] = [];
		if (since === undefined) this.#changed = new Map(Array.from(this.#held, (character) => [character, true]));
		for (const [character, isHeld] of this.#changed) {
			if (added.length + removed.length >= most) break;
			(isHeld ? added : removed).push(character);
			this.#changed.delete(character);
		}
		this.#heard = ++this.#version;
		return { since, version: this.#version, added: Int32Array.from(added), removed: Int32Array.from(removed) };
	}

	/** The router did not hear the last, or has lost what it had: it is told all. */
	unheard(): void {
		this.#heard = undefined;
		this.#changed.clear();
	}

	/** Nothing where the router is told all anyway, which it is, too, where more has changed than there can be. */
	#note(character: number, isHeld: boolean): void {
		if (this.#heard === undefined) return;
		this.#changed.set(character, isHeld);
		if (this.#changed.size > MOST_HELD) this.unheard();
	}

	#each(content: BlockContent, isHeld: boolean): void {
		for (const character of this.prompts.charactersOf(content)) this.#set(character, isHeld);
	}

	#set(character: number, isHeld: boolean): void {
		if (this.#held.has(character) === isHeld) return;
		if (isHeld && this.#held.size >= MOST_HELD) return;
		if (isHeld) this.#held.add(character);
		else this.#held.delete(character);
		this.#note(character, isHeld);
		this.changed();
	}

	#clear(): void {
		if (this.#held.size === 0) return;
		this.#held.clear();
		this.unheard();
		this.changed();
	}
}
