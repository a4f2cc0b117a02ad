/** Token counts in Anthropic's words. */
import { type Tokens, tokensOf } from "../../openai/usage.ts";

/** A `usage` object. */
export interface MessagesUsage {
	/** Those that no cache was read or written for. */
	readonly input_tokens: number;
	readonly cache_creation_input_tokens: number;
	readonly cache_read_input_tokens: number;
	readonly output_tokens: number;
	readonly cache_creation?: object;
	readonly output_tokens_details?: object;
	/** The router's own mark: these counts are a guess. */
	readonly estimated?: true;
}

/** Nothing counted. */
export const NO_COUNTS: MessagesUsage = {
	input_tokens: 0,
	cache_creation_input_tokens: 0,
	cache_read_input_tokens: 0,
	output_tokens: 0,
};

/** The counts, of which `input` has all that was read. */
export function messagesUsage(tokens: Tokens | undefined, isEstimated = false): MessagesUsage {
	if (!tokens) return NO_COUNTS;
	const { input, output, cached = 0, cacheWrite = 0, cacheWriteLong = 0, reasoning } = tokens;
	return {
		input_tokens: Math.max(0, input - cached - cacheWrite),
		cache_creation_input_tokens: cacheWrite,
		cache_read_input_tokens: cached,
		output_tokens: output,
		...(cacheWrite > 0
			? {
					cache_creation: {
						ephemeral_5m_input_tokens: Math.max(0, cacheWrite - cacheWriteLong),
						ephemeral_1h_input_tokens: cacheWriteLong,
					},
				}
			: {}),
		...(reasoning === undefined ? {} : { output_tokens_details: { thinking_tokens: reasoning } }),
		...(isEstimated ? { estimated: true as const } : {}),
	};
}

/** The same of OpenAI's `usage`. */
export function usageOf(sent: unknown): MessagesUsage {
	const isEstimated = (sent as { estimated?: unknown } | null | undefined)?.estimated === true;
	return messagesUsage(tokensOf(sent), isEstimated);
}

/** OpenAI's `usage` of these counts. */
export function chatUsageOf(usage: Partial<MessagesUsage>): object {
	const { input_tokens = 0, cache_read_input_tokens = 0, cache_creation_input_tokens = 0, output_tokens = 0 } = usage;
	const prompt_tokens = input_tokens + cache_read_input_tokens + cache_creation_input_tokens;
	const long = (usage.cache_creation as { ephemeral_1h_input_tokens?: number } | undefined)?.ephemeral_1h_input_tokens;
	const thinking = (usage.output_tokens_details as { thinking_tokens?: number } | undefined)?.thinking_tokens;
	return {
		prompt_tokens,
		completion_tokens: output_tokens,
		total_tokens: prompt_tokens + output_tokens,
		prompt_tokens_details: {
			cached_tokens: cache_read_input_tokens,
			...(cache_creation_input_tokens ? { cache_write_tokens: cache_creation_input_tokens } : {}),
			...(long ? { cache_write_1h_tokens: long } : {}),
		},
		...(thinking === undefined ? {} : { completion_tokens_details: { reasoning_tokens: thinking } }),
		...(usage.estimated ? { estimated: true } : {}),
	};
}
