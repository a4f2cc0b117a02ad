/** Tokens of vendors that count in other words, as OpenAI's `usage` (spec v2.3.0 and the client's types, 7.57). */

/** What a vendor counted. `input` includes all that was read from and written to caches, `output` all thinking. */
export interface Counts {
	readonly input: number;
	readonly output: number;
	readonly cached?: number | undefined;
	readonly cacheWrite?: number | undefined;
	/** The part of `cacheWrite` that is kept for an hour. */
	readonly cacheWriteLong?: number | undefined;
	readonly reasoning?: number | undefined;
	readonly inputImage?: number | undefined;
	readonly inputAudio?: number | undefined;
	readonly outputImage?: number | undefined;
	readonly outputAudio?: number | undefined;
}

/** The `usage` object; the total is always the sum. */
export function chatUsage(counts: Counts) {
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

/** A count that an upstream sent: senseless ones are 0. */
export function countOf(value: unknown): number {
	return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;
}
