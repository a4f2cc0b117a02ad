/**
 * What routing, limits, the cache and timeouts read of a call, whatever wire its client speaks: a dialect fills it in, and nobody before
 * `providers/` has to look into the body.
 */
import type { EngineField } from "./engine-fields.ts";
import type { Operation } from "./operations.ts";
import type { ParsedBody } from "./parsed-body.ts";
import type { PromptSizes } from "./prompt-sizes.ts";
import type { ToolHistory } from "./tool-rounds.ts";

/** The time for which a vendor keeps a prompt that may have a price of its own, with or without escapes. */
const HOUR = /"(?:1|\\u0031)(?:h|\\u0068)"/;

/** Whether a request, JSON, may ask for that. */
export function mayCacheForHour(json: { includes(part: string): boolean }): boolean {
	return json.includes('"1h"') || (json.includes("\\u00") && HOUR.test(String(json)));
}

/** A mark at what a vendor's prompt cache is to keep, with or without its lifetime. */
const CACHE_MARK = '"cache_control"';

/** What a call asks of the prompt cache of whichever vendor it goes to. */
export interface PromptCacheRequest {
	/** It marks what is to be cached (`cache_control`). */
	readonly isMarked: boolean;
	/** See {@link CallFacts.cachesForHour}. */
	readonly isForHour: boolean;
	/** How long OpenAI is to keep it, as the client wrote it (`in_memory`, `30m`, `12h`, `24h`); undefined where it does not say. */
	readonly retention: string | undefined;
}

/**
 * What a request's JSON asks of a prompt cache.
 * @param json the whole request
 * @param fields its `prompt_cache_retention` and `prompt_cache_options`, which came later and count first
 */
export function promptCacheRequest(
	json: { includes(part: string): boolean },
	fields?: { readonly retention: unknown; readonly options: unknown },
): PromptCacheRequest {
	const retention = (fields?.options as { ttl?: unknown } | null | undefined)?.ttl ?? fields?.retention;
	return {
		isMarked: json.includes(CACHE_MARK),
		isForHour: mayCacheForHour(json),
		retention: typeof retention === "string" ? retention : undefined,
	};
}

/**
 * The facts of one call. Fields are read from the call's few settings at once; what takes a pass over its messages or its text is a
 * function, asked only where a limit, a rule or a choice needs it, and seldom more than once. None of them throws, but where it says so.
 */
export interface CallFacts {
	/** The name asked for, as the client wrote it: 1 to 512 characters. */
	readonly model: string;
	/** The end user whom the call names; undefined where it names none. */
	readonly user: string | undefined;
	/** The client wants the token counts at its stream's end. */
	readonly showsUsage: boolean;
	/** Sampling temperature; undefined where the client sets none, which counts as 1. */
	readonly temperature: number | undefined;
	/** Tokens that each choice may have, reasoning among them, at least 1; undefined where the client sets no limit. */
	readonly maxTokens: number | undefined;
	/** Answers that are made of the call, and paid for, at least 1: of each of its prompts as many as it asks for. */
	readonly choices: number;
	/** What the answer may be besides text. */
	readonly modalities: Modalities;
	/** The call does something besides being answered: the vendor keeps it, or makes audio that can be referred to later. */
	readonly hasEffects: boolean;
	/** Models that the call names besides `model`, for upstreams that go on with them where that one fails. */
	readonly fallbackModels: readonly string[];
	/** Whether the answer depends on more than the call: the web as it is now, tools that the upstream runs itself. */
	usesLiveData(): boolean;
	/** Whether this model thinks before it answers, by the call's own switches, else by the model's name: its first token may take minutes. */
	isReasoning(model: string): boolean;
	/** Whether the vendor is asked to keep the prompt for an hour, which may have a price of its own; true where that can't be ruled out. */
	cachesForHour(): boolean;
	/** What is asked of the vendor's prompt cache. Costs a pass over the request. */
	promptCache(): PromptCacheRequest;
	/** A cache at its vendor that the call names, as Google calls those that were made beforehand; absent, or undefined, where it names none. */
	namedCache?(): string | undefined;
	/** The sizes of all that the model reads, from which tokens are estimated. */
	promptSizes(): PromptSizes;
	/** What the prompt is and asks for, by which a target is chosen. */
	promptContent(): PromptContent;
	/**
	 * What the model reads in the words of the client, as JSON texts, the list of messages last; absent where `texts` of the prompt's content
	 * costs no more.
	 */
	history?(): readonly string[];
	/** The messages of an agent's call, in the words of its client; undefined where the call brings no tools. Absent of wires that have none. */
	toolHistory?(): ToolHistory | undefined;
	/** What is priced of a call that is passed on, as far as its request says it; absent of all others. */
	units?(): { readonly images?: number; readonly characters?: number };
	/**
	 * The first field by which an upstream may answer with another model than `model` names, as its client writes it (`extra_body.fallbacks`
	 * where it stands in another); undefined where there is none.
	 */
	routingField(): string | undefined;
	/** The first field by which the call steers an inference server itself, or that is too large a grammar for any caller; undefined where there is none. */
	engineField(): EngineField | undefined;
	/**
	 * The call's fields in OpenAI's words, as one text, UTF-8, that is the same for all requests that mean the same; good until the next call: `"name":value,` in the order of
	 * the names. Wires that share cached answers write the same. Throws RangeError where it is nested thousands of levels deep.
	 * @param without names that are left out
	 */
	canonical(without: ReadonlySet<string>): Buffer;
	/**
	 * Bytes that all that was made of the client's request takes in memory, its bytes and the body, made or not, included; roughly, and
	 * rather too many. Infinity where nobody can say.
	 * @param sent the client's
	 */
	memory(sent: Buffer): number;
}

/** Fields that change nothing in the answer: who asks, how it is sent, what the vendor's own cache does; and the model's name, which many have. */
export const IRRELEVANT_FIELDS: ReadonlySet<string> = new Set([
	// Whoever compares calls takes what it resolved to, or the name, in its place.
	"model",
	// A stream and a whole answer say the same.
	"stream",
	"stream_options",
	"user",
	"safety_identifier",
	"metadata",
	"prompt_cache_key",
	"prompt_cache_options",
	"prompt_cache_retention",
]);

/**
 * How tokens are chosen, how many of them, when, and what is made of them: client libraries and people vary them from one retry to the next.
 * What an engine computes besides (choices, log probabilities, biased tokens, a grammar, cache transfers) is none of them. How much is to be
 * thought some chat templates write into the prompt: a few tokens, of which no engine dies.
 */
const SAMPLING_FIELDS: readonly string[] = [
	"temperature",
	"top_p",
	"top_k",
	"min_p",
	"typical_p",
	"seed",
	"frequency_penalty",
	"presence_penalty",
	"repetition_penalty",
	"length_penalty",
	"max_tokens",
	"max_completion_tokens",
	"min_tokens",
	"ignore_eos",
	"stop",
	"stop_token_ids",
	"include_stop_str_in_output",
	"skip_special_tokens",
	"spaces_between_special_tokens",
	"return_token_ids",
	"return_tokens_as_token_ids",
	"reasoning_effort",
	"reasoning",
	"include_reasoning",
	"thinking",
	"thinking_token_budget",
	"verbosity",
	"parallel_tool_calls",
	"priority",
	"request_id",
	"cache_salt",
	"service_tier",
	"store",
];
const BESIDE_PROMPT: ReadonlySet<string> = new Set([...IRRELEVANT_FIELDS, ...SAMPLING_FIELDS]);

/**
 * The same for calls that have an engine compute the same, by whomever and however they are sent and whichever tokens are then chosen.
 * @param model what its engines call it, of a LoRA adapter the model that it changes: clients may have several names for it
 */
export function fingerprintOf(operation: Operation, facts: CallFacts, model: string): string {
	let fields: Buffer | string;
	try {
		fields = facts.canonical(BESIDE_PROMPT);
	} catch {
		// Nested too deep to be put in order.
		fields = facts.promptContent().texts.join("\n");
	}
	return new Bun.SHA256()
		.update(JSON.stringify([operation, model]))
		.update(fields)
		.digest("base64");
}

/** What an answer may be besides text. */
export interface Modalities {
	readonly image: boolean;
	readonly audio: boolean;
}

/** What a target has to take. */
export interface PromptContent {
	/** All that is prompt, as JSON texts in the order in which chat templates put them. */
	readonly texts: readonly string[];
	/** Number of pictures. */
	readonly images: number;
	/** Characters of `texts` that are pictures: base64, which is no words. */
	readonly imageCharacters: number;
	/** It brings tools. */
	readonly hasTools: boolean;
	/** Its answer is to be held to a JSON schema. */
	readonly hasSchema: boolean;
}

/**
 * Bytes that parts of a parsed text take in JavaScriptCore: measured, and rounded up. 4 KB of `[]` take 110 KB; 4 KB of `{"999":1}` take
 * 3.7 MB, since numbers for names are places in an array.
 */
const OBJECT = 80;
const PROPERTY = 160;
const ITEM = 8;
const STRING = 48;
const FIELD = 112;

/** Longest request of which more is kept than its bytes where it is remembered, bytes. */
export const LONGEST_PARSED = 4096;

/**
 * Bytes that a body takes with the client's bytes that it was made of, roughly and rather too many; Infinity where names are numbers. Of a
 * long one nothing is kept from now on.
 */
export function bodyMemory(body: ParsedBody, sent: Buffer): number {
	const { bytes, fields } = body;
	const texts = bytes === sent ? sent.length : bytes.length + sent.length;
	const isLong = sent.length > LONGEST_PARSED;
	if (isLong) body.keepNothing();
	const made = isLong ? 0 : 2 * bytes.length + memoryOf(body.value);
	return texts + fields.length * FIELD + made;
}

/** Bytes that a parsed value takes, roughly and rather too many; Infinity where names are numbers. */
export function memoryOf(value: unknown): number {
	if (typeof value === "string") return STRING + 2 * value.length;
	if (typeof value !== "object" || value === null) return 0;
	let size = OBJECT;
	if (Array.isArray(value)) {
		for (const item of value) size += ITEM + memoryOf(item);
		return size;
	}
	for (const [name, item] of Object.entries(value)) {
		if (/^\d/.test(name)) return Number.POSITIVE_INFINITY;
		size += PROPERTY + 2 * name.length + memoryOf(item);
	}
	return size;
}
