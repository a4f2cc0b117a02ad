/**
 * How many tokens a call may take, before anyone has counted them. The estimate of its prompt and the limit of its answer are reserved of
 * token limits and budgets until the upstream's own count is there; `input` limits are held against the former. The estimate misses what
 * vendors put before a prompt unasked (Claude with tools: 350 tokens), and is rough for pictures; `bun test/bench/estimate.ts` measures
 * it. Pure.
 */

import type { Call } from "../../openai/call.ts";
import { OPERATIONS } from "../../openai/operations.ts";
import type { MediaPart, PromptPart } from "../../openai/prompt-sizes.ts";

/** The part of a call that is read. */
export type Estimated = Pick<Call, "operation" | "facts">;

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

/** Tokens of the prompt. */
export function estimatedPrompt({ facts }: Estimated): PromptEstimate {
	const { parts, media } = facts.promptSizes();
	let tokens = 0;
	for (const part of parts) tokens += tokensOf(part);
	const found = { image: 0, audio: 0, other: 0 };
	let characters = 0;
	for (const each of media) {
		found[each.kind === "video" || each.kind === "file" ? "other" : each.kind] += mediaTokens(each);
		// They are no words.
		characters += each.characters;
	}
	tokens += found.image + found.audio + found.other - characters / TEXT;
	return { tokens: Math.max(1, Math.ceil(tokens)), image: found.image, audio: found.audio };
}

/** The same, all in all. */
export function estimatedTokens(call: Estimated): number {
	return estimatedPrompt(call).tokens;
}

function tokensOf({ kind, characters, bytes, count }: PromptPart): number {
	switch (kind) {
		case "messages":
			return ofText(characters, bytes) - (count * FRAME) / TEXT + count * FRAME_TOKENS;
		case "tools":
			// `[]` is none.
			return characters / SCHEMA + (characters > 2 ? TOOLS_TOKENS : 0);
		case "schema":
			return characters / TEXT;
		default:
			return count + ofText(characters, bytes);
	}
}

/** Tokens of an answer of so many characters. */
export function answerTokens(characters: number): number {
	return Math.ceil(characters / TEXT);
}

function ofText(characters: number, bytes: number): number {
	return characters / TEXT + (bytes - characters) * EXTRA_BYTE;
}

/** A picture: from 85 (OpenAI, low detail) to 1,600 (Claude, large). Also what a file has at least, whatever it is. */
const PICTURE_TOKENS = 500;
const LOW_DETAIL_TOKENS = 85;
/** Bytes a token. Text is counted as text; of a PDF a page has some 50 KB and 1,000 tokens; of sound a second has 32 tokens at most. */
const TEXT_BYTES = 4;
const FILE_BYTES = 50;
const WAV_BYTES = 1_500;
const SOUND_BYTES = 500;
/** Bytes that a character of base64 stands for. */
const BASE64 = 0.75;

/** Of what is no text, by its kind and its size. */
function mediaTokens({ kind, characters, isLowDetail, isWav, isText }: MediaPart): number {
	if (kind === "image") return isLowDetail ? LOW_DETAIL_TOKENS : PICTURE_TOKENS;
	const bytes = characters * BASE64;
	if (kind === "file") return Math.max(PICTURE_TOKENS, bytes / (isText ? TEXT_BYTES : FILE_BYTES));
	return Math.max(PICTURE_TOKENS, bytes / (kind === "audio" && isWav ? WAV_BYTES : SOUND_BYTES));
}

/**
 * Tokens that each choice may have at most, reasoning among them; undefined where the client sets no limit. 0 is none: many servers
 * read `max_completion_tokens or max_tokens`, to which 0 is as good as absent. Embeddings have no answer to count: 0.
 */
export function answerLimit({ operation, facts }: Estimated): number | undefined {
	return OPERATIONS[operation].generates ? facts.maxTokens : 0;
}
