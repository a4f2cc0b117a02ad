/**
 * How many tokens a call may take, before anyone has counted them. The estimate of its prompt and the limit of its answer are reserved of
 * token limits and budgets until the upstream's own count is there; `input` limits are held against the former. The estimate misses what
 * vendors put before a prompt unasked (Claude with tools: 350 tokens), and is rough for pictures; `bun test/bench/estimate.ts` measures
 * it. Pure.
 */

import type { Call } from "../../openai/call.ts";
import type { Field } from "../../openai/json.ts";
import { OPERATIONS } from "../../openai/operations.ts";
import { VENDORS, WIRE_FIELDS } from "../../vendors.ts";

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
const NO_PROMPT = new Set([
	...WIRE_FIELDS,
	...Object.values(VENDORS).flatMap(({ defaults }) => Object.values(defaults ?? {}).flatMap(Object.keys)),
	...(
		"model stream stream_options user temperature top_p top_k min_p n best_of seed stop stop_token_ids frequency_penalty " +
		"presence_penalty repetition_penalty logit_bias logprobs top_logprobs max_tokens max_completion_tokens metadata audio " +
		"function_call tool_choice modalities moderation parallel_tool_calls prompt_cache_key prompt_cache_options " +
		"prompt_cache_retention cache_control reasoning_effort reasoning thinking safety_identifier service_tier store verbosity " +
		"web_search_options encoding_format dimensions echo models route provider plugins fallbacks usage session_id"
	).split(" "),
]);

/** Tokens of the prompt. Nothing is parsed or decoded: the texts' lengths and bytes say it. */
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

/** What is no text in a prompt, estimated by its kind and its size: nothing is decoded. */
interface MediaCount {
	/** Tokens. */
	image: number;
	audio: number;
	/** Files and films. */
	other: number;
	/** Of the text around: base64, which is no words. */
	characters: number;
}

/** A picture: from 85 (OpenAI, low detail) to 1,600 (Claude, large). Also what a file has at least, whatever it is. */
const PICTURE_TOKENS = 500;
const LOW_DETAIL_TOKENS = 85;
/** Bytes a token. Text is counted as text; of a PDF a page has some 50 KB and 1,000 tokens; of sound a second has 32 tokens at most. */
const TEXT_BYTES = 4;
const FILE_BYTES = 50;
const WAV_BYTES = 1_500;
const SOUND_BYTES = 500;
/** Kinds of part that are no text; of one that nobody knows all counts as text. */
const MEDIA = /image|audio|video|file|document/;
/** Bytes that a character of base64 stands for. */
const BASE64 = 0.75;

/** Adds what is no text in a message's content, or in an input of embeddings. */
function mediaIn(content: unknown, found: MediaCount): void {
	if (!Array.isArray(content)) return;
	for (const part of content as Part[]) {
		if (typeof part !== "object" || part === null) continue;
		const { type } = part;
		if (typeof type !== "string" || !MEDIA.test(type)) continue;
		const inner = part[type];
		const data = dataOf(inner) ?? dataOf(part);
		const isInside = data !== undefined && !/^https?:/i.test(data);
		if (isInside) found.characters += data.length;
		const bytes = isInside ? data.length * BASE64 : 0;
		const said = typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : part;
		if (type.includes("image")) {
			found.image += said["detail"] === "low" ? LOW_DETAIL_TOKENS : PICTURE_TOKENS;
		} else if (type.includes("audio")) {
			const isWav = said["format"] === "wav" || data?.startsWith("data:audio/wav") === true;
			found.audio += Math.max(PICTURE_TOKENS, bytes / (isWav ? WAV_BYTES : SOUND_BYTES));
		} else if (type.includes("video")) {
			found.other += Math.max(PICTURE_TOKENS, bytes / SOUND_BYTES);
		} else {
			const isText = data !== undefined && /^data:(?:text\/|application\/(?:json|xml))/i.test(data);
			found.other += Math.max(PICTURE_TOKENS, bytes / (isText ? TEXT_BYTES : FILE_BYTES));
		}
	}
}

type Part = Record<string, unknown>;

/** Where parts of all kinds keep what they hold, or its address. */
const PLACES = ["url", "data", "file_data"];

/** The text that holds it, or leads to it. */
function dataOf(value: unknown): string | undefined {
	if (typeof value === "string") return value;
	if (typeof value !== "object" || value === null) return undefined;
	for (const place of PLACES) {
		const data = (value as Record<string, unknown>)[place];
		if (typeof data === "string") return data;
	}
	return undefined;
}

/** The part of a call that says how long its answer may be. */
export type AnswerRequest = Pick<Estimated, "operation" | "body">;

/**
 * Tokens that each choice may have at most, reasoning among them; undefined where the client sets no limit. 0 is none: many servers
 * read `max_completion_tokens or max_tokens`, to which 0 is as good as absent. Embeddings have no answer to count: 0.
 */
export function answerLimit({ operation, body }: AnswerRequest): number | undefined {
	if (!OPERATIONS[operation].generates) return 0;
	return whole(body["max_completion_tokens"]) ?? whole(body["max_tokens"]);
}

/** Answers that are made of a call, and paid for: `n`, or `best_of` where that is more, for each of its prompts. */
export function choicesOf({ operation, body }: AnswerRequest): number {
	const each = Math.max(whole(body["n"]) ?? 1, whole(body["best_of"]) ?? 1);
	const prompts = operation === "completions" ? body["prompt"] : undefined;
	// An array of numbers is one prompt, given as tokens.
	const isSeveral = Array.isArray(prompts) && prompts.length > 0 && typeof prompts[0] !== "number";
	return each * (isSeveral ? prompts.length : 1);
}

const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;

/** What an answer may be besides text. */
export interface Modalities {
	readonly image: boolean;
	readonly audio: boolean;
}

const TEXT_ONLY: Modalities = { image: false, audio: false };

/** What the client asks for besides text. */
export function modalitiesOf({ body }: AnswerRequest): Modalities {
	const asked = body["modalities"];
	if (!Array.isArray(asked)) return TEXT_ONLY;
	return { image: asked.includes("image"), audio: asked.includes("audio") };
}
