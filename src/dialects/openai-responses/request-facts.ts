/** What routing, limits, rules and the cache read of a request in this wire. */
import type { ParsedRequest } from "../../openai/call.ts";
import { bodyMemory, type CallFacts, type Modalities, memoryOf, type PromptContent } from "../../openai/call-facts.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import type { DialectCall } from "../dialect.ts";
import type { ResponsesRequest } from "./request.ts";

const NO_MODELS: readonly string[] = [];
const TEXT_ONLY: Modalities = { image: false, audio: false };

/** The facts of a request, and the request itself for whoever writes its answer. What takes a pass over the prompt the chat says. */
export class ResponsesFacts implements CallFacts {
	readonly model: string;
	readonly user: string | undefined;
	/** Every answer ends with its counts. */
	readonly showsUsage = true;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices = 1;
	readonly modalities = TEXT_ONLY;
	/** Servers of others are called where the upstream runs such tools. */
	readonly hasEffects: boolean;
	readonly fallbackModels: readonly string[];

	/** @param chat what the same request is as a chat */
	constructor(
		readonly request: ResponsesRequest,
		private readonly chat: () => ParsedRequest,
	) {
		const { body } = request;
		this.hasEffects = request.tools.leftOut.has("tools.mcp");
		this.model = body.model;
		this.user = body.user ?? body.safety_identifier ?? undefined;
		this.temperature = body.temperature ?? undefined;
		this.maxTokens = body.max_output_tokens ?? undefined;
		this.fallbackModels = request.hasChatFields ? chat().facts.fallbackModels : NO_MODELS;
	}

	usesLiveData(): boolean {
		return this.chat().facts.usesLiveData();
	}

	isReasoning(model: string): boolean {
		return this.chat().facts.isReasoning(model);
	}

	cachesForHour(): boolean {
		return this.chat().facts.cachesForHour();
	}

	promptSizes(): PromptSizes {
		return this.chat().facts.promptSizes();
	}

	promptContent(): PromptContent {
		return this.chat().facts.promptContent();
	}

	routingField(): string | undefined {
		return this.chat().facts.routingField();
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const chat = this.chat().facts.canonical(without);
		const { claudeChat } = this.request;
		// The system's words are marked there in turns of the user's, as a user may write them; Claude is asked otherwise.
		return claudeChat ? Buffer.concat([chat, Buffer.from(JSON.stringify(claudeChat()["messages"]))]) : chat;
	}

	memory(sent: Buffer): number {
		// The request as it came, and what was made of it.
		const { body, earlier } = this.request;
		return bodyMemory(this.chat().body(), sent) + 2 * (memoryOf(body) + memoryOf(earlier?.conversation));
	}
}

/** The request of a call in this wire. */
export function requestIn({ facts }: Pick<DialectCall, "facts">): ResponsesRequest {
	if (facts instanceof ResponsesFacts) return facts.request;
	throw new TypeError("a call of another wire");
}
