/** What routing, limits, rules and the cache read of a request of Google's, and what its answer is written by. */
import type { ParsedRequest } from "../../openai/call.ts";
import { bodyMemory, type CallFacts, type Modalities, type PromptContent } from "../../openai/call-facts.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import type { GeminiMethod } from "./asked-method.ts";

/** What the answer depends on. */
export interface AnswerShape {
	readonly method: GeminiMethod;
	/** What the model thinks is to be said, too. */
	readonly showsThoughts: boolean;
	/** Whole names of functions, by those that were sent. */
	readonly names: ReadonlyMap<string, string> | undefined;
	/** Google's own tools are asked for, which see the web as it is now. */
	readonly isLive: boolean;
	/** What Google gets beyond what the chat request says, as a text; "" where that is nothing. */
	readonly beyond: string;
}

/** The facts. What the chat request says of itself holds for this one, too. */
export class GeminiFacts implements CallFacts {
	readonly model: string;
	readonly user: string | undefined;
	/** Each answer tells its tokens. */
	readonly showsUsage = true;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices: number;
	readonly modalities: Modalities;
	readonly hasEffects = false;
	readonly fallbackModels: readonly string[] = [];

	/** @param chat what the same request is in OpenAI's words */
	constructor(
		private readonly chat: ParsedRequest,
		readonly shape: AnswerShape,
	) {
		const { model, user, temperature, maxTokens, choices, modalities } = chat.facts;
		this.model = model;
		this.user = user;
		this.temperature = temperature;
		this.maxTokens = maxTokens;
		this.choices = choices;
		this.modalities = modalities;
	}

	usesLiveData(): boolean {
		return this.shape.isLive || this.chat.facts.usesLiveData();
	}

	isReasoning(model: string): boolean {
		return this.chat.facts.isReasoning(model);
	}

	cachesForHour(): boolean {
		return false;
	}

	promptSizes(): PromptSizes {
		return this.chat.facts.promptSizes();
	}

	promptContent(): PromptContent {
		return this.chat.facts.promptContent();
	}

	routingField(): string | undefined {
		return undefined;
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const chat = this.chat.facts.canonical(without);
		const { beyond } = this.shape;
		return beyond === "" ? chat : Buffer.concat([chat, Buffer.from(beyond)]);
	}

	memory(sent: Buffer): number {
		// Another form of it may be made, and its own parse.
		return 2 * bodyMemory(this.chat.body(), sent) + 8 * sent.length;
	}
}
