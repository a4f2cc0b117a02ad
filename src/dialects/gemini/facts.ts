/** What routing, limits, rules and the cache read of a request of Google's, and what its answer is written by. */
import type { CallFacts, Modalities, PromptCacheRequest, PromptContent } from "../../openai/call-facts.ts";
import { type EngineField, LARGEST_SCHEMA } from "../../openai/engine-fields.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import { ARGUMENT_FIELDS, type ToolHistory } from "../../openai/tool-rounds.ts";

/** Bytes of a character, a UTF-16 unit, in UTF-8. */
const MOST_BYTES = 3;

/** What the answer depends on. */
export interface AnswerShape {
	/** What the model thinks is to be said, too. */
	readonly showsThoughts: boolean;
	/** Whole names of functions, by those that were sent. */
	readonly names: ReadonlyMap<string, string> | undefined;
}

/** The request put into OpenAI's words: its facts, its body. */
export interface ChatForm {
	readonly facts: CallFacts;
	readonly body: ParsedBody;
	/** What it has no form for. */
	readonly leftOut: readonly string[];
}

/** What a request says by a few of its fields. */
export type AskedSettings = Pick<
	CallFacts,
	"model" | "temperature" | "maxTokens" | "choices" | "modalities" | "isReasoning"
> & {
	/** See {@link CallFacts.namedCache}. */
	readonly cachedContent: string | undefined;
	/** Google's own tools are asked for, which see the web as it is now. */
	readonly isLive: boolean;
	readonly hasTools: boolean;
};

/** How more is found out, each when it is asked for. */
export interface FactSources {
	/** Its form in OpenAI's words. */
	form(): ChatForm;
	sizes(): PromptSizes;
	/** See {@link CallFacts.history}; undefined where its form has to say it. */
	history(): readonly string[] | undefined;
	/** JSON of its contents; undefined where that is none of its client's own. */
	contents(): Buffer | undefined;
	/** What Google gets beyond what the chat request says, as a text; "" where that is nothing. */
	beyond(form: ChatForm): string;
}

const NO_MODELS: readonly string[] = [];

/** The facts. What takes a pass over its contents is asked of its form in OpenAI's words, which is made for that. */
export class GeminiFacts implements CallFacts {
	readonly model: string;
	readonly user = undefined;
	/** Each answer tells its tokens. */
	readonly showsUsage = true;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices: number;
	readonly modalities: Modalities;
	readonly hasEffects = false;
	readonly fallbackModels = NO_MODELS;

	constructor(
		private readonly settings: AskedSettings,
		private readonly sources: FactSources,
		readonly shape: AnswerShape,
	) {
		const { model, temperature, maxTokens, choices, modalities } = settings;
		this.model = model;
		this.temperature = temperature;
		this.maxTokens = maxTokens;
		this.choices = choices;
		this.modalities = modalities;
	}

	usesLiveData(): boolean {
		return this.settings.isLive;
	}

	isReasoning(model: string): boolean {
		return this.settings.isReasoning(model);
	}

	cachesForHour(): boolean {
		return false;
	}

	/** Google's implicit caches take no instructions. */
	promptCache(): PromptCacheRequest {
		return { isMarked: false, isForHour: false, retention: undefined };
	}

	namedCache(): string | undefined {
		return this.settings.cachedContent;
	}

	promptSizes(): PromptSizes {
		return this.sources.sizes();
	}

	promptContent(): PromptContent {
		return this.sources.form().facts.promptContent();
	}

	history(): readonly string[] {
		return this.sources.history() ?? this.promptContent().texts;
	}

	toolHistory(): ToolHistory | undefined {
		const list = this.settings.hasTools ? this.sources.contents() : undefined;
		return list && { list, argumentFields: ARGUMENT_FIELDS.gemini };
	}

	routingField(): string | undefined {
		return undefined;
	}

	/** A schema is all that it can have of them. */
	engineField(): EngineField | undefined {
		const { parts } = this.sources.sizes();
		const isLarge = parts.some(({ kind, characters }) => kind === "schema" && characters * MOST_BYTES > LARGEST_SCHEMA);
		return isLarge ? this.sources.form().facts.engineField() : undefined;
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const made = this.sources.form();
		const chat = made.facts.canonical(without);
		const more = this.sources.beyond(made);
		return more === "" ? chat : Buffer.concat([chat, Buffer.from(more)]);
	}

	memory(sent: Buffer): number {
		// Two forms of it may be made, and its own parse.
		return 3 * this.sources.form().facts.memory(sent) + 8 * sent.length;
	}
}
