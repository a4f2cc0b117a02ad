/** OpenAI's own wire: chat completions, text completions and embeddings. The hub itself, so that nearly all passes as it is. */

import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { RouterError } from "../errors.ts";
import { foldStream } from "../openai/answer-forms.ts";
import { type ParsedRequest, tooLarge } from "../openai/call.ts";
import { bodyMemory, type CallFacts, type Modalities, type PromptContent } from "../openai/call-facts.ts";
import { canonical, fieldNamed, JsonTooLarge, type ParsedText, parseWithFields } from "../openai/json.ts";
import { routingFieldIn } from "../openai/model-routing.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { type PromptSizes, promptSizes } from "../openai/prompt-sizes.ts";
import { isReasoning } from "../openai/reasoning.ts";
import type { ParsedBody, RequestBody } from "../openai/request-fields.ts";
import { DONE, KEEP_ALIVE, sseComment, sseData, textOf } from "../openai/sse.ts";
import { withCost } from "../openai/usage-edits.ts";
import { describe } from "../openai/validation.ts";
import type { Dialect, StreamEnd, StreamWriter } from "./dialect.ts";

/** Keeps no state: one for all streams. */
const writer: StreamWriter = {
	keepAlive: `${KEEP_ALIVE}\n\n`,
	push: (piece) => piece,
	end: (end) => usageEvent(end) + summary(end) + DONE,
	error: (error) => sseData(JSON.stringify(error.body)),
};

/** `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`. */
export const openAiChat: Dialect = {
	id: "openai-chat",
	contentType: "application/json",
	streamContentType: "text/event-stream; charset=utf-8",
	parse: parseRequest,
	answer: (answer, costUsd) => (costUsd === undefined ? answer : withCost(textOf(answer), costUsd)),
	stream: () => writer,
	fold: foldStream,
	error: (error, headers) => error.response(headers),
};

function usageEvent({ usageChunk, tellsCost, cost }: StreamEnd): string {
	if (usageChunk === undefined) return "";
	return sseData(tellsCost && cost !== undefined ? withCost(usageChunk, cost) : usageChunk);
}

/** As a comment, which clients skip. */
function summary(end: StreamEnd): string {
	const { provider, model, agent, replica, attempts, cache, droppedFields: dropped, tokens, isEstimated, cost } = end;
	const estimated = isEstimated || undefined;
	const facts = { provider, model, agent, replica, attempts, cache, dropped, usage: tokens, estimated, cost_usd: cost };
	return sseComment(`router ${JSON.stringify(facts)}`);
}

const CHECKS = Object.fromEntries(
	Object.entries(OPERATIONS).map(([operation, { request }]) => [operation, TypeCompiler.Compile(request)]),
) as Record<Operation, TypeCheck<TSchema>>;

/**
 * Reads a request's text. Throws `invalid_json`, `duplicate_key` (two parsers could disagree about which one counts)
 * `body_too_large` (more fields than a parse should see), or `invalid_value` with the path of the first field at fault; messages never quote the body.
 */
export function parseRequest(operation: Operation, raw: string): ParsedRequest {
	let parsed: ParsedText;
	try {
		parsed = parseWithFields(raw);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", `The body is no valid JSON: ${reasonOf(cause)}.`);
	}
	const { value, fields, repeated } = parsed;
	if (typeof value !== "object" || value === null || Array.isArray(value)) {
		throw new RouterError("invalid_value", 'The body must be a JSON object, such as {"model": …}.');
	}
	if (repeated !== undefined) {
		throw new RouterError("duplicate_key", `The field "${repeated.slice(0, 64)}" stands twice; send it once.`, {
			param: repeated.slice(0, 64),
		});
	}
	const check = CHECKS[operation];
	if (!check.Check(value)) {
		const error = check.Errors(value).First();
		const { param, message } = error ? describe(error) : { param: undefined, message: "A field has a wrong type." };
		throw new RouterError("invalid_value", message, { param });
	}
	return requestOf(operation, { raw, fields, value: value as RequestBody });
}

/** The request that a checked body makes. */
export function requestOf(operation: Operation, body: ParsedBody): ParsedRequest {
	return {
		facts: new RequestFacts(operation, body),
		stream: body.value.stream === true && OPERATIONS[operation].canStream,
		body: () => body,
	};
}

/** The parser's reason without what it quotes: that is the client's text. */
function reasonOf(error: unknown): string {
	const message = error instanceof SyntaxError ? error.message : "it is nested too deeply";
	return message.replace(/^JSON Parse error: /, "").replace(/\s*(["'`]).{2,}\1/s, "");
}

const TEXT_ONLY: Modalities = { image: false, audio: false };
const NO_MODELS: readonly string[] = [];
/** Fields with which the answer depends on the web as it is now. */
const LIVE = ["web_search_options", "search_parameters", "plugins"];
/** Lists in lists of further models that are looked into. */
const MOST_NESTED = 3;

/** The facts of a request in OpenAI's words. */
class RequestFacts implements CallFacts {
	readonly model: string;
	readonly user: string | undefined;
	readonly showsUsage: boolean;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices: number;
	readonly modalities: Modalities;
	readonly hasEffects: boolean;
	readonly fallbackModels: readonly string[];

	/** @param body checked against the operation's schema */
	constructor(
		private readonly operation: Operation,
		private readonly body: ParsedBody,
	) {
		const { value } = body;
		const { modalities, models, fallbacks } = value;
		this.model = value.model;
		this.user = value.user ?? undefined;
		this.showsUsage = value.stream_options?.include_usage === true;
		this.temperature = (value["temperature"] as number | null | undefined) ?? undefined;
		this.maxTokens = whole(value["max_completion_tokens"]) ?? whole(value["max_tokens"]);
		this.choices = choicesIn(operation, value);
		this.modalities = Array.isArray(modalities)
			? { image: modalities.includes("image"), audio: modalities.includes("audio") }
			: TEXT_ONLY;
		this.hasEffects = value["store"] === true || value["audio"] != null;
		this.fallbackModels = models === undefined && fallbacks === undefined ? NO_MODELS : namesIn([models, fallbacks]);
	}

	usesLiveData(): boolean {
		const { value } = this.body;
		if (LIVE.some((field) => value[field] != null) || usesServerTools(value["tools"])) return true;
		return usesServerTools((value["gemini"] as { tools?: unknown } | null | undefined)?.tools);
	}

	isReasoning(model: string): boolean {
		return isReasoning(this.body.value, model);
	}

	cachesForHour(): boolean {
		return this.body.raw.includes('"1h"');
	}

	promptSizes(): PromptSizes {
		return promptSizes(this.operation, this.body);
	}

	promptContent(): PromptContent {
		const { raw, fields, value } = this.body;
		const { promptField, promptFields } = OPERATIONS[this.operation];
		const texts = promptFields.flatMap((name) => {
			const field = fieldNamed(fields, name);
			return field ? [raw.slice(field.start, field.end)] : [];
		});
		const images = promptField === "messages" ? imagesIn(value["messages"]) : { count: 0, characters: 0 };
		const format = value["response_format"] as { type?: unknown } | null | undefined;
		return {
			texts,
			images: images.count,
			imageCharacters: images.characters,
			hasTools: isFilled(value["tools"]) || isFilled(value["functions"]),
			hasSchema: format?.type === "json_schema",
		};
	}

	routingField(): string | undefined {
		return routingFieldIn(this.body.fields, this.body.value);
	}

	canonical(without: ReadonlySet<string>): string {
		const { raw, fields } = this.body;
		const kept = fields.filter(({ key }) => !without.has(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
		let text = "";
		for (const { key, start } of kept) text += `${JSON.stringify(key)}:${canonical(raw, start)},`;
		return text;
	}

	memory(text: string): number {
		return bodyMemory(this.body, text);
	}
}

/** `n`, or `best_of` where that is more, for each of its prompts. */
function choicesIn(operation: Operation, value: RequestBody): number {
	const each = Math.max(whole(value["n"]) ?? 1, whole(value["best_of"]) ?? 1);
	const prompts = operation === "completions" ? value["prompt"] : undefined;
	// An array of numbers is one prompt, given as tokens.
	const isSeveral = Array.isArray(prompts) && prompts.length > 0 && typeof prompts[0] !== "number";
	return each * (isSeveral ? prompts.length : 1);
}

/** The names in fields that hold them, or objects that have a `model`. */
function namesIn(fields: readonly unknown[]): readonly string[] {
	return fields
		.flat(MOST_NESTED)
		.flatMap((each) => (typeof each === "string" ? each : ((each as { model?: unknown } | null)?.model ?? [])))
		.filter((each) => typeof each === "string");
}

/** Tools that the upstream runs itself (web search, code): only `function` and `custom` ones are the client's. */
function usesServerTools(tools: unknown): boolean {
	return Array.isArray(tools) && tools.some((tool) => !["function", "custom"].includes(tool?.type));
}

/** Pictures, and the characters of those that are in the text itself. */
function imagesIn(messages: unknown): { count: number; characters: number } {
	const found = { count: 0, characters: 0 };
	for (const message of messages as { content?: unknown }[]) {
		if (!Array.isArray(message.content)) continue;
		for (const part of message.content as { type?: unknown; image_url?: { url?: unknown } }[]) {
			if (part.type !== "image_url") continue;
			found.count++;
			const url = part.image_url?.url;
			if (typeof url === "string" && url.startsWith("data:")) found.characters += url.length;
		}
	}
	return found;
}

const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0;
const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
