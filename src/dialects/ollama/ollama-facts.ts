/** What routing, limits and the cache read of a request of Ollama's: what its form in OpenAI's words says. */
import type { CallFacts, Modalities, PromptCacheRequest, PromptContent } from "../../openai/call-facts.ts";
import type { EngineField } from "../../openai/engine-fields.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import type { ToolHistory } from "../../openai/tool-rounds.ts";
import type { DialectCall } from "../dialect.ts";
import type { OllamaTranslation } from "./ollama-request.ts";

/** The facts of one request. */
export class OllamaFacts implements CallFacts {
	readonly model: string;
	readonly user: string | undefined;
	/** Each answer tells its tokens. */
	readonly showsUsage = true;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices: number;
	readonly modalities: Modalities;
	readonly hasEffects = false;
	readonly fallbackModels: readonly string[];

	/**
	 * @param asked the model's name as the client wrote it, which its answers repeat
	 * @param translation the request in OpenAI's words
	 * @param chat the facts of that
	 */
	constructor(
		readonly asked: string,
		readonly translation: OllamaTranslation,
		private readonly chat: CallFacts,
	) {
		const { model, user, temperature, maxTokens, choices, modalities, fallbackModels } = chat;
		this.model = model;
		this.user = user;
		this.temperature = temperature;
		this.maxTokens = maxTokens;
		this.choices = choices;
		this.modalities = modalities;
		this.fallbackModels = fallbackModels;
	}

	usesLiveData(): boolean {
		return this.chat.usesLiveData();
	}

	isReasoning(model: string): boolean {
		return !this.translation.isThoughtless && this.chat.isReasoning(model);
	}

	cachesForHour(): boolean {
		return this.chat.cachesForHour();
	}

	promptCache(): PromptCacheRequest {
		return this.chat.promptCache();
	}

	promptSizes(): PromptSizes {
		return this.chat.promptSizes();
	}

	promptContent(): PromptContent {
		return this.chat.promptContent();
	}

	toolHistory(): ToolHistory | undefined {
		return this.chat.toolHistory?.();
	}

	routingField(): string | undefined {
		return this.chat.routingField();
	}

	engineField(): EngineField | undefined {
		return this.chat.engineField();
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const chat = this.chat.canonical(without);
		const { isThoughtless, prefills } = this.translation;
		if (!isThoughtless && !prefills) return chat;
		// Upstreams are asked otherwise than for a chat of the same words.
		const more = JSON.stringify([isThoughtless === true, prefills === true]);
		return Buffer.concat([chat, Buffer.from(more)]);
	}

	memory(sent: Buffer): number {
		return this.chat.memory(sent);
	}
}

/** The model's name as the client of a call wrote it. */
export const askedModel = ({ facts }: Pick<DialectCall, "facts">): string =>
	facts instanceof OllamaFacts ? facts.asked : facts.model;

/** The whole name of a tool that was sent short. */
export const wholeToolName = ({ facts }: Pick<DialectCall, "facts">, sent: string): string =>
	(facts instanceof OllamaFacts ? facts.translation.toolNames?.get(sent) : undefined) ?? sent;

/** Where a message of the translated request stands in the client's; undefined where nobody knows. */
export const messagePath = ({ facts }: Pick<DialectCall, "facts">, index: number): string | undefined =>
	facts instanceof OllamaFacts ? facts.translation.messagePaths?.[index] : undefined;
