/**
 * How many tokens a call's prompt has, roughly, before anyone has counted them. Reserved of token limits and budgets until the
 * upstream's own count is there, and what `input` limits are held against. On the 59 recorded calls, most of them a sentence or two,
 * half are off by 155 tokens or less and 95 % by 678 (`bun test/bench/estimate.ts`): what vendors put before a prompt unasked (Claude
 * with tools: 350 tokens), and pictures.
 */
import type { Call } from "../../openai/call.ts";
import type { Field } from "../../openai/json.ts";
import { type MediaCount, mediaIn } from "./media-estimate.ts";

/** The part of a call that is read. */
export type Estimated = Pick<Call, "operation" | "raw" | "body" | "fields">;

/** Tokens of a prompt. */
export interface PromptEstimate {
	/** All of them; at least 1. */
	readonly tokens: number;
	/** Those of pictures and of sound, which may have prices of their own: parts of `tokens`. */
	readonly image: number;
	readonly audio: number;
}

/** Characters a token, of plain text in Latin letters and of JSON schemas. */
const TEXT = 4;
const SCHEMA = 5;
/** Further tokens a byte beyond the first of a character: Chinese has about one token a character of three bytes. */
const EXTRA_BYTE = 0.35;
/** What `{"role":"user","content":""},` takes of the text, characters, and what it stands for, tokens. */
const FRAME = 22;
const FRAME_TOKENS = 4;
/** What tools bring with them besides their schemas. */
const TOOLS_TOKENS = 100;

/**
 * Fields that no model reads. Every other one counts, also one that this router does not know: upstreams put `system`, `documents`,
 * `suffix` and the like into the prompt, and a limit must not be passed by a field's name.
 */
const NO_PROMPT = new Set(
	(
		"model stream stream_options user temperature top_p top_k min_p n best_of seed stop stop_token_ids frequency_penalty " +
		"presence_penalty repetition_penalty logit_bias logprobs top_logprobs max_tokens max_completion_tokens metadata audio " +
		"function_call tool_choice modalities moderation parallel_tool_calls prompt_cache_key prompt_cache_options " +
		"prompt_cache_retention cache_control reasoning_effort reasoning thinking safety_identifier service_tier store verbosity " +
		"web_search_options encoding_format dimensions echo models route provider plugins fallbacks venice_parameters anthropic " +
		"gemini usage session_id"
	).split(" "),
);

/** Tokens of the prompt. 1 µs for short ones; counting bytes costs 0.05 µs a kilobyte. */
export function estimatedPrompt({ operation, raw, body, fields }: Estimated): PromptEstimate {
	const media = { image: 0, audio: 0, other: 0, characters: 0 };
	let tokens = 0;
	for (const field of fields) tokens += tokensOf(field, operation, raw, body, media);
	tokens += media.image + media.audio + media.other - media.characters / TEXT;
	return { tokens: Math.max(1, Math.ceil(tokens)), image: media.image, audio: media.audio };
}

/** The same, all in all. */
export function estimatedTokens(call: Estimated): number {
	return estimatedPrompt(call).tokens;
}

/** Of one field of the body. Adds the media in it, whose characters are in the sum all the same. */
function tokensOf(
	{ key, start, end }: Field,
	operation: string,
	raw: string,
	body: Estimated["body"],
	media: MediaCount,
): number {
	if (NO_PROMPT.has(key)) return 0;
	const length = end - start;
	switch (key) {
		case "messages": {
			const messages = body["messages"];
			if (!Array.isArray(messages)) break;
			for (const message of messages) mediaIn((message as { content?: unknown } | null)?.content, media);
			return ofText(raw.slice(start, end)) - (messages.length * FRAME) / TEXT + messages.length * FRAME_TOKENS;
		}
		case "tools":
		case "functions":
			return length / SCHEMA + (length > 2 ? TOOLS_TOKENS : 0);
		case "response_format":
			return length / TEXT;
		case "prompt":
		case "input":
			if (operation !== "chat") return ofPrompts(body[key], raw.slice(start, end), media);
	}
	// Numbers and words such as true are settings.
	return isSaid(raw.charCodeAt(start)) ? ofText(raw.slice(start, end)) : 0;
}

const QUOTE = 34;
const OPEN_BRACE = 123;
const OPEN_BRACKET = 91;
const isSaid = (first: number): boolean => first === QUOTE || first === OPEN_BRACE || first === OPEN_BRACKET;

/** Of one prompt or several, which may be tokens already. */
function ofPrompts(value: unknown, text: string, media: MediaCount): number {
	if (!Array.isArray(value) || value.every((each) => typeof each === "string")) return ofText(text);
	let tokens = 0;
	for (const each of value) {
		if (typeof each === "number") tokens++;
		else if (Array.isArray(each)) tokens += each.length;
		else if (each !== null) {
			mediaIn([each], media);
			tokens += ofText(JSON.stringify(each));
		}
	}
	return tokens;
}

/** Tokens of an answer of so many characters. */
export function answerTokens(characters: number): number {
	return Math.ceil(characters / TEXT);
}

function ofText(text: string): number {
	return text.length / TEXT + (Buffer.byteLength(text) - text.length) * EXTRA_BYTE;
}
