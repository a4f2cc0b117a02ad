/** OpenAI's own wire: chat completions, text completions and embeddings. The hub itself, so that nearly all passes as it is. */
import { RouterError } from "../errors.ts";
import { LazyCheck } from "../lazy-check.ts";
import { foldStream } from "../openai/answer-forms.ts";
import type { ParsedRequest } from "../openai/call.ts";
import {
	bodyMemory,
	type CallFacts,
	type Modalities,
	mayCacheForHour,
	type PromptCacheRequest,
	type PromptContent,
	promptCacheRequest,
} from "../openai/call-facts.ts";
import { canonicalBytes } from "../openai/canonical-bytes.ts";
import { type EngineField, engineFieldIn } from "../openai/engine-fields.ts";
import { canonical } from "../openai/json.ts";
import { routingFieldIn } from "../openai/model-routing.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { ParsedBody, promptsIn } from "../openai/parsed-body.ts";
import { type PromptSizes, promptSizes } from "../openai/prompt-sizes.ts";
import { isReasoning } from "../openai/reasoning.ts";
import type { RequestBody } from "../openai/request-fields.ts";
import { indexed, type RequestField, type RequestScan, requestScan } from "../openai/request-scan.ts";
import { chunksOf, DONE, KEEP_ALIVE, sseComment, sseData, textOf } from "../openai/sse.ts";
import { ARGUMENT_FIELDS, type ToolHistory } from "../openai/tool-rounds.ts";
import { withCost } from "../openai/usage-edits.ts";
import { describe, utf8Text } from "../openai/validation.ts";
import type { Dialect, StreamEnd, StreamWriter } from "./dialect.ts";
import { requestObject } from "./request-object.ts";

/** Keeps no state: one for all streams. */
const writer: StreamWriter = {
	keepAlive: `${KEEP_ALIVE}\n\n`,
	push: chunksOf,
	end: (end) => usageEvent(end) + streamSummary(end) + DONE,
	error: (error) => sseData(JSON.stringify(error.body)),
};

/** `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`. */
export const openAiChat: Dialect = {
	id: "openai-chat",
	contentType: "application/json",
	streamContentType: "text/event-stream; charset=utf-8",
	parse: parseRequest,
	answer: (answer, _, costUsd) => (costUsd === undefined ? answer : withCost(textOf(answer), costUsd)),
	stream: () => writer,
	fold: ({ operation }, stream) => foldStream(operation, stream),
	error: (error, headers) => error.response(headers),
};

function usageEvent({ usageChunk, tellsCost, cost }: StreamEnd): string {
	if (usageChunk === undefined) return "";
	return sseData(tellsCost && cost !== undefined ? withCost(usageChunk, cost) : usageChunk);
}

/** What the end of a stream knows of its call, as a comment, which clients skip. */
export const streamSummary = (end: StreamEnd): string => sseComment(`router ${JSON.stringify(streamFacts(end))}`);

/** The same as an object. */
export function streamFacts(end: StreamEnd): object {
	const { provider, model, agent, replica, attempts, cache, droppedFields: dropped, tokens, isEstimated, cost } = end;
	const estimated = isEstimated || undefined;
	return { provider, model, agent, replica, attempts, cache, dropped, usage: tokens, estimated, cost_usd: cost };
}

const rows = Object.entries(OPERATIONS).filter(([, { passed }]) => !passed);
const SCANS = Object.fromEntries(rows.map(([operation, { request }]) => [operation, requestScan(request)])) as Record<
	Operation,
	RequestScan
>;
const CHECKS = Object.fromEntries(
	rows.map(([operation, { request }]) => [operation, new LazyCheck(request)]),
) as Record<Operation, LazyCheck>;

/**
 * Reads a request. Throws `invalid_json`, `duplicate_key` (two parsers could disagree about which one counts)
 * `body_too_large` (more fields than a parse should see), or `invalid_value` with the path of the first field at fault; messages never quote the body.
 */
export function parseRequest(operation: Operation, body: Buffer | string): ParsedRequest {
	const bytes = typeof body === "string" ? Buffer.from(body) : body;
	const fields = SCANS[operation](bytes);
	return requestOf(
		operation,
		fields ? new ParsedBody(bytes, fields, undefined, indexed.isAscii) : checkedBody(operation, bytes),
	);
}

/** The same of a body that no scan has found good: what is wrong with it is said here. */
function checkedBody(operation: Operation, bytes: Buffer): ParsedBody {
	const raw = utf8Text(bytes);
	const { value, fields } = requestObject(raw, {
		noJson: (cause) => `The body is no valid JSON: ${reasonOf(cause)}.`,
	});
	const check = CHECKS[operation];
	if (!check.Check(value)) {
		const error = check.Errors(value).First();
		const { param, message } = error ? describe(error) : { param: undefined, message: "A field has a wrong type." };
		throw new RouterError("invalid_value", message, { param });
	}
	return ParsedBody.of(raw, fields, value as RequestBody);
}

/** The request that a checked body makes. */
export function requestOf(operation: Operation, body: ParsedBody): ParsedRequest {
	const facts = new RequestFacts(operation, body);
	return { facts, stream: facts.stream && OPERATIONS[operation].canStream, body: () => body };
}

/** The parser's reason without what it quotes: that is the client's text. */
function reasonOf(error: unknown): string {
	const message = error instanceof SyntaxError ? error.message : "it is nested too deeply";
	return message.replace(/^JSON Parse error: /, "").replace(/\s*(["'`]).{2,}\1/s, "");
}

const TEXT_ONLY: Modalities = { image: false, audio: false };
const NO_MODELS: readonly string[] = [];
const NO_FIELDS: readonly RequestField[] = [];
const IMAGE = /^image_url$/;
const NO_IMAGES = { count: 0, characters: 0 };
/** Lists in lists of further models that are looked into. */
const MOST_NESTED = 3;

/** The facts of a request in OpenAI's words. */
class RequestFacts implements CallFacts {
	readonly model: string = "";
	readonly user: string | undefined;
	readonly showsUsage: boolean = false;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices: number;
	readonly modalities: Modalities = TEXT_ONLY;
	readonly hasEffects: boolean = false;
	readonly fallbackModels: readonly string[] = NO_MODELS;
	/** The request's own `stream`. */
	readonly stream: boolean = false;
	/** A field says that the answer depends on the web as it is now. */
	private readonly isLive: boolean = false;
	/** Fields that tools may stand in. */
	private readonly toolFields: readonly RequestField[] = NO_FIELDS;

	/** @param body checked against the operation's schema */
	constructor(
		private readonly operation: Operation,
		private readonly body: ParsedBody,
	) {
		let [maxTokens, maxCompletion, choices, best]: (number | undefined)[] = [];
		for (const field of body.fields) {
			switch (field.key) {
				case "model":
					this.model = body.valueOf(field) as string;
					break;
				case "stream":
					this.stream = body.valueOf(field) === true;
					break;
				case "user":
					this.user = (body.valueOf(field) as string | null) ?? undefined;
					break;
				case "stream_options":
					this.showsUsage = (body.valueOf(field) as RequestBody["stream_options"])?.include_usage === true;
					break;
				case "temperature":
					this.temperature = (body.valueOf(field) as number | null) ?? undefined;
					break;
				case "max_tokens":
					maxTokens = whole(body.valueOf(field));
					break;
				case "max_completion_tokens":
					maxCompletion = whole(body.valueOf(field));
					break;
				case "n":
					choices = whole(body.valueOf(field));
					break;
				case "best_of":
					best = whole(body.valueOf(field));
					break;
				case "modalities":
					this.modalities = modalitiesOf(body.valueOf(field));
					break;
				case "store":
					this.hasEffects ||= body.valueOf(field) === true;
					break;
				case "audio":
					this.hasEffects ||= body.valueOf(field) != null;
					break;
				case "web_search_options":
				case "search_parameters":
				case "plugins":
					this.isLive ||= body.valueOf(field) != null;
					break;
				case "tools":
				case "gemini":
					this.toolFields = [...this.toolFields, field];
					break;
				case "models":
				case "fallbacks":
					this.fallbackModels = namesIn([body.at("models"), body.at("fallbacks")]);
			}
		}
		this.maxTokens = maxCompletion ?? maxTokens;
		this.choices = Math.max(choices ?? 1, best ?? 1) * (operation === "completions" ? promptsIn(body) : 1);
	}

	get #hasTools(): boolean {
		return this.body.itemsOf("tools") > 0 || this.body.itemsOf("functions") > 0;
	}

	usesLiveData(): boolean {
		const { body, isLive, toolFields } = this;
		return isLive || toolFields.some((field) => usesServerTools(body.valueOf(field), field.key));
	}

	isReasoning(model: string): boolean {
		const { body } = this;
		const [reasoning_effort, reasoning] = [body.at("reasoning_effort"), body.at("reasoning")];
		const [thinking, chat_template_kwargs] = [body.at("thinking"), body.at("chat_template_kwargs")];
		return isReasoning({ reasoning_effort, reasoning, thinking, chat_template_kwargs }, model);
	}

	cachesForHour(): boolean {
		return mayCacheForHour(this.body.bytes);
	}

	promptCache(): PromptCacheRequest {
		const { body } = this;
		return promptCacheRequest(body.bytes, {
			retention: body.at("prompt_cache_retention"),
			options: body.at("prompt_cache_options"),
		});
	}

	namedCache(): string | undefined {
		const { cachedContent } = (this.body.at("gemini") ?? {}) as { cachedContent?: unknown };
		return typeof cachedContent === "string" ? cachedContent : undefined;
	}

	promptSizes(): PromptSizes {
		return promptSizes(this.operation, this.body);
	}

	promptContent(): PromptContent {
		const { body } = this;
		const { promptField, promptFields } = OPERATIONS[this.operation];
		const texts = promptFields.flatMap((name) => {
			const field = body.field(name);
			return field ? [body.textOf(field)] : [];
		});
		const messages = promptField === "messages" ? body.field(promptField) : undefined;
		// A picture is an object in a list in a message in the list.
		const mayHaveImages = messages && messages.levels > 2 && body.mayHaveType(messages, IMAGE);
		const images = mayHaveImages ? imagesIn(body.valueOf(messages)) : NO_IMAGES;
		const format = body.field("response_format");
		return {
			texts,
			images: images.count,
			imageCharacters: images.characters,
			hasTools: this.#hasTools,
			hasSchema: format !== undefined && JSON.parse(body.textOf(format))?.type === "json_schema",
		};
	}

	toolHistory(): ToolHistory | undefined {
		const { body } = this;
		const messages = this.#hasTools ? body.field("messages") : undefined;
		if (!messages) return undefined;
		return { list: body.bytes.subarray(messages.start, messages.end), argumentFields: ARGUMENT_FIELDS.chat };
	}

	routingField(): string | undefined {
		return routingFieldIn(this.body);
	}

	engineField(): EngineField | undefined {
		return engineFieldIn(this.body);
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const { body } = this;
		const written = canonicalBytes(body, without);
		if (written) return written;
		const kept = body.fields.filter(({ key }) => !without.has(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
		let text = "";
		for (const field of kept) text += `${JSON.stringify(field.key)}:${canonical(body.textOf(field))},`;
		return Buffer.from(text);
	}

	memory(sent: Buffer): number {
		return bodyMemory(this.body, sent);
	}
}

/** What is asked for besides text; null asks for nothing. */
function modalitiesOf(value: unknown): Modalities {
	if (!Array.isArray(value)) return TEXT_ONLY;
	return { image: value.includes("image"), audio: value.includes("audio") };
}

/** The names in fields that hold them, or objects that have a `model`. */
function namesIn(fields: readonly unknown[]): readonly string[] {
	return fields
		.flat(MOST_NESTED)
		.flatMap((each) => (typeof each === "string" ? each : ((each as { model?: unknown } | null)?.model ?? [])))
		.filter((each) => typeof each === "string");
}

/** Tools that the upstream runs itself (web search, code): only `function` and `custom` ones are the client's. */
function usesServerTools(value: unknown, field: string): boolean {
	const tools = field === "gemini" ? (value as { tools?: unknown } | null)?.tools : value;
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

const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
