/** Token counts in Google's words. */
import { type Tokens, tokensOf } from "../../openai/usage.ts";
import { decimal } from "../../openai/usage-edits.ts";

/** A `usageMetadata` object. */
export interface UsageMetadata {
	readonly promptTokenCount: number;
	/** Those of the answer, without what it thought. */
	readonly candidatesTokenCount: number;
	readonly totalTokenCount: number;
	readonly cachedContentTokenCount?: number;
	readonly thoughtsTokenCount?: number;
	/** The router's own mark: these counts are a guess. */
	readonly estimated?: true;
}

/** The counts, of which `input` has all that was read, and `output` all that was written. */
export function usageMetadata(tokens: Tokens | undefined, isEstimated = false): UsageMetadata {
	const { input = 0, output = 0, cached, reasoning } = tokens ?? {};
	return {
		promptTokenCount: input,
		candidatesTokenCount: Math.max(0, output - (reasoning ?? 0)),
		totalTokenCount: input + output,
		...(cached ? { cachedContentTokenCount: cached } : {}),
		...(reasoning ? { thoughtsTokenCount: reasoning } : {}),
		...(isEstimated ? { estimated: true as const } : {}),
	};
}

/** The same of OpenAI's `usage`. */
export function usageOf(sent: unknown): UsageMetadata {
	const isEstimated = (sent as { estimated?: unknown } | null | undefined)?.estimated === true;
	return usageMetadata(tokensOf(sent), isEstimated);
}

/** As JSON, with what the call cost, USD, where that is told. */
export function usageText(usage: UsageMetadata, costUsd: number | undefined): string {
	const text = JSON.stringify(usage);
	return costUsd === undefined ? text : `${text.slice(0, -1)},"cost":${decimal(costUsd)}}`;
}

/** OpenAI's `usage` of these counts. */
export function chatUsageOf(usage: Partial<UsageMetadata>): object {
	const { promptTokenCount: prompt = 0, candidatesTokenCount = 0, thoughtsTokenCount: thoughts = 0 } = usage;
	const completion = candidatesTokenCount + thoughts;
	return {
		prompt_tokens: prompt,
		completion_tokens: completion,
		total_tokens: prompt + completion,
		prompt_tokens_details: { cached_tokens: usage.cachedContentTokenCount ?? 0 },
		completion_tokens_details: { reasoning_tokens: thoughts },
		...(usage.estimated ? { estimated: true } : {}),
	};
}
