/** Whole answers for a client that speaks their upstream's wire itself: they go on as they came, and OpenAI's JSON is made where somebody asks for it. */
import type { Tokens } from "../openai/usage.ts";
import type { Answer, StoredThinking } from "./provider.ts";

/** What such an answer says of itself. */
export interface OwnFacts {
	/** See {@link Answer.ownSaysMore}. */
	readonly saysMore: boolean;
	readonly tokens: Tokens | undefined;
	/** USD, where its upstream says so. */
	readonly cost?: number | undefined;
	/** What it brings is stored. */
	readonly isStored?: boolean;
}

/** One of them. A class: an object with a getter of its own is one that no compiled code knows. */
export class OwnAnswer implements Answer {
	readonly ownSaysMore: boolean;
	readonly tokens: Tokens | undefined;
	readonly cost: number | undefined;
	readonly thinking: readonly StoredThinking[] | undefined;
	#made: Pick<Answer, "body" | "thinking"> | undefined;

	/**
	 * @param own its JSON
	 * @param translate makes OpenAI's form of it
	 */
	constructor(
		readonly own: string,
		{ saysMore, tokens, cost, isStored }: OwnFacts,
		private readonly translate: () => Pick<Answer, "body" | "thinking">,
	) {
		this.ownSaysMore = saysMore;
		this.tokens = tokens;
		this.cost = cost;
		this.thinking = isStored ? this.#translated.thinking : undefined;
	}

	get body(): string {
		return this.#translated.body;
	}

	get #translated(): Pick<Answer, "body" | "thinking"> {
		this.#made ??= this.translate();
		return this.#made;
	}
}
