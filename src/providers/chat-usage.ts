/** Tokens of vendors that count in other words, as OpenAI's `usage` (spec v2.3.0 and the client's types, 7.57). */
import type { Tokens } from "../openai/usage.ts";

/** The `usage` object; the total is always the sum. */
export function chatUsage(counts: Tokens) {
	return {
		prompt_tokens: counts.input,
		completion_tokens: counts.output,
		total_tokens: counts.input + counts.output,
		prompt_tokens_details: {
			cached_tokens: counts.cached ?? 0,
			...(counts.cacheWrite ? { cache_write_tokens: counts.cacheWrite } : {}),
			...(counts.cacheWriteLong ? { cache_write_1h_tokens: counts.cacheWriteLong } : {}),
			...(counts.inputImage ? { image_tokens: counts.inputImage } : {}),
			...(counts.inputAudio ? { audio_tokens: counts.inputAudio } : {}),
		},
		completion_tokens_details: {
			reasoning_tokens: counts.reasoning ?? 0,
			...(counts.outputImage ? { image_tokens: counts.outputImage } : {}),
			...(counts.outputAudio ? { audio_tokens: counts.outputAudio } : {}),
		},
	};
}

/** A `usage` object. */
export type ChatUsage = ReturnType<typeof chatUsage>;
