/** What routing, limits, rules and the cache read of a request in this wire. */
import type { ParsedRequest } from "../../openai/call.ts";
import {
	bodyMemory,
	type CallFacts,
	type Modalities,
	mayCacheForHour,
	memoryOf,
	type PromptCacheRequest,
	type PromptContent,
	promptCacheRequest,
} from "../../openai/call-facts.ts";
import { type EngineField, engineFieldIn } from "../../openai/engine-fields.ts";
import { routingFieldIn } from "../../openai/model-routing.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptPart, PromptSizes } from "../../openai/prompt-sizes.ts";
import { isReasoning } from "../../openai/reasoning.ts";
import { ARGUMENT_FIELDS, type ToolHistory } from "../../openai/tool-rounds.ts";
import type { DialectCall } from "../dialect.ts";
import type { PlainInput } from "./input-scan.ts";
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
		const { reasoning, thinking, chat_template_kwargs } = this.request.body;
		return isReasoning({ reasoning_effort: reasoning?.effort || undefined, thinking, chat_template_kwargs }, model);
	}

	cachesForHour(): boolean {
		return mayCacheForHour(this.request.sent.bytes);
	}

	promptCache(): PromptCacheRequest {
		const { sent } = this.request;
		return promptCacheRequest(sent.bytes, {
			retention: sent.at("prompt_cache_retention"),
			options: sent.at("prompt_cache_options"),
		});
	}

	promptSizes(): PromptSizes {
		const { plain, hasChatFields } = this.request;
		return plain && !hasChatFields ? sizesOf(this.request, plain) : this.chat().facts.promptSizes();
	}

	promptContent(): PromptContent {
		return this.chat().facts.promptContent();
	}

	/** With what came before in its conversation, and what its items refer to, where that is kept here. */
	toolHistory(): ToolHistory | undefined {
		const { body, sent, earlier } = this.request;
		if (!body.tools?.length) return undefined;
		if (!earlier?.conversation && !earlier?.items?.size) {
			const field = sent.field("input");
			return field && { list: sent.bytes.subarray(field.start, field.end), argumentFields: ARGUMENT_FIELDS.responses };
		}
		const { input } = this.request;
		const items: readonly { readonly id?: unknown }[] = Array.isArray(input) ? input : [];
		const whole = items.map((item) => (typeof item.id === "string" && earlier.items?.get(item.id)) || item);
		const list = Buffer.from(JSON.stringify([...(earlier.conversation ?? []), ...whole]));
		return { list, argumentFields: ARGUMENT_FIELDS.responses };
	}

	/** Of the request as it came: so it may go on. */
	routingField(): string | undefined {
		return routingFieldIn(this.request.sent);
	}

	/** Of the request as it came, and of what the chat has of it: every such field has the same name there, but for the form of the answer. */
	engineField(): EngineField | undefined {
		return engineFieldIn(this.request.sent);
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const chat = this.chat().facts.canonical(without);
		const { claudeChat } = this.request;
		// The system's words are marked there in turns of the user's, as a user may write them; Claude is asked otherwise.
		return claudeChat ? Buffer.concat([chat, Buffer.from(JSON.stringify(claudeChat()["messages"]))]) : chat;
	}

	memory(sent: Buffer): number {
		// The request as it came, and what was made of it.
		const { body, input, earlier } = this.request;
		const made = memoryOf(body) + memoryOf(input) + memoryOf(earlier?.conversation);
		return bodyMemory(this.chat().body(), sent) + 2 * made;
	}
}

/** The sizes of a request, next to those of the chat that it becomes: nothing is made of its input for them. */
function sizesOf({ sent, body }: ResponsesRequest, { messages, size, spans, media }: PlainInput): PromptSizes {
	const parts: PromptPart[] = [];
	const instructions = body.instructions ? sent.field("instructions") : undefined;
	if (instructions) {
		const { start, end } = instructions;
		parts.push(messagesPart(sent, AROUND_INSTRUCTIONS + end - start, [start, end], 1));
	}
	parts.push(messagesPart(sent, size, spans, messages));
	if (body.tools) parts.push(settingsPart("tools", sent.lengthOf(sent.field("tools")!)));
	if (body.text?.format?.type === "json_schema") parts.push(settingsPart("schema", sent.lengthOf(sent.field("text")!)));
	return { parts, media };
}

/** Bytes of `{"role":"system","content":},`. */
const AROUND_INSTRUCTIONS = 29;

/** @param spans where all that is not ASCII among these bytes stands */
function messagesPart(sent: ParsedBody, bytes: number, spans: readonly number[], count: number): PromptPart {
	let characters = bytes;
	for (let at = 0; at < spans.length; at += 2) {
		const [start, end] = [spans[at]!, spans[at + 1]!];
		characters -= end - start - sent.lengthOf({ start, end });
	}
	return { kind: "messages", characters, bytes, count };
}

const settingsPart = (kind: "tools" | "schema", characters: number): PromptPart => ({
	...{ kind, characters, bytes: characters },
	count: 0,
});

/** The request of a call in this wire. */
export function requestIn({ facts }: Pick<DialectCall, "facts">): ResponsesRequest {
	if (facts instanceof ResponsesFacts) return facts.request;
	throw new TypeError("a call of another wire");
}
