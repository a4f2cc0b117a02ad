/** Token counts, as OpenAI's `usage` object gives them. */
import { type Edit, fieldNamed, fieldsOf } from "./json.ts";

/** The parts of `usage` the router reads (CompletionUsage, spec v2.3.0; cost fields as recorded from each vendor). */
export interface Usage {
	prompt_tokens?: number;
	completion_tokens?: number;
	total_tokens?: number;
	prompt_tokens_details?: {
		cached_tokens?: number | null;
		/** OpenRouter; the router's own translators, too. Of those that are written, `cache_write_1h_tokens` for an hour (Anthropic). */
		cache_write_tokens?: number | null;
		cache_write_1h_tokens?: number | null;
		audio_tokens?: number | null;
		image_tokens?: number | null;
	} | null;
	completion_tokens_details?: {
		reasoning_tokens?: number | null;
		audio_tokens?: number | null;
		image_tokens?: number | null;
	} | null;
	/** USD (OpenRouter). */
	cost?: number | null;
	/** 1e-10 USD (xAI). */
	cost_in_usd_ticks?: number | null;
}

/** Tokens the way the router counts them: `input` includes `cached`, `output` includes `reasoning`. */
export interface Tokens {
	input: number;
	output: number;
	cached?: number | undefined;
	reasoning?: number | undefined;
	/** Further kinds that have prices of their own: parts of `input` and `output`. */
	cacheWrite?: number | undefined;
	/** The part of `cacheWrite` that is kept for an hour. */
	cacheWriteLong?: number | undefined;
	inputImage?: number | undefined;
	inputAudio?: number | undefined;
	outputImage?: number | undefined;
	outputAudio?: number | undefined;
}

const count = (value: unknown): number =>
	typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;

/** Tokens of a `usage` object, already in OpenAI's sense. Missing or senseless numbers count as 0. */
export function tokensOf(usage: Usage): Tokens {
	const tokens: Tokens = { input: count(usage.prompt_tokens), output: count(usage.completion_tokens) };
	const { prompt_tokens_details: read, completion_tokens_details: written } = usage;
	if (read) {
		if (read.cached_tokens) tokens.cached = count(read.cached_tokens);
		if (read.cache_write_tokens) tokens.cacheWrite = count(read.cache_write_tokens);
		if (read.cache_write_1h_tokens) tokens.cacheWriteLong = count(read.cache_write_1h_tokens);
		if (read.image_tokens) tokens.inputImage = count(read.image_tokens);
		if (read.audio_tokens) tokens.inputAudio = count(read.audio_tokens);
	}
	if (written) {
		if (written.reasoning_tokens) tokens.reasoning = count(written.reasoning_tokens);
		if (written.image_tokens) tokens.outputImage = count(written.image_tokens);
		if (written.audio_tokens) tokens.outputAudio = count(written.audio_tokens);
	}
	return tokens;
}

/** USD, where the upstream says what the call cost. xAI counts in ticks of 1e-10 USD. */
export function costOf(usage: Usage): number | undefined {
	if (typeof usage.cost === "number") return usage.cost;
	return typeof usage.cost_in_usd_ticks === "number" ? usage.cost_in_usd_ticks / 1e10 : undefined;
}

/**
 * `completion_tokens` as OpenAI means it, reasoning included. xAI leaves reasoning out of it (recorded: prompt 213,
 * completion 2, reasoning 198, total 413); the total tells, so a vendor that mends its count is not counted twice.
 */
function completionWithReasoning(usage: Usage): number | undefined {
	const reasoning = count(usage.completion_tokens_details?.reasoning_tokens);
	const output = count(usage.completion_tokens);
	const isLeftOut = reasoning > 0 && count(usage.prompt_tokens) + output + reasoning === usage.total_tokens;
	return isLeftOut ? output + reasoning : undefined;
}

/** The edit that puts reasoning into `usage.completion_tokens` where the upstream left it out. */
export function usageEdit(text: string, usage: Usage): { edit: Edit; tokens: number } | undefined {
	const tokens = completionWithReasoning(usage);
	const whole = tokens === undefined ? undefined : fieldNamed(fieldsOf(text), "usage");
	const field = whole && fieldNamed(fieldsOf(text, whole.start), "completion_tokens");
	if (!field || tokens === undefined) return undefined;
	return { edit: { start: field.start, end: field.end, insert: String(tokens) }, tokens };
}
