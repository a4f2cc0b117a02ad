/** Token counts, as OpenAI's `usage` object gives them. */
import { type Edit, fieldNamed, fieldsOf } from "./json.ts";

/** The parts of `usage` the router reads (CompletionUsage, spec v2.3.0; cost fields as recorded from each vendor). */
export interface Usage {
	prompt_tokens?: number;
	completion_tokens?: number;
	total_tokens?: number;
	prompt_tokens_details?: { cached_tokens?: number | null } | null;
	completion_tokens_details?: { reasoning_tokens?: number | null } | null;
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
}

const count = (value: unknown): number =>
	typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;

/** Tokens of a `usage` object, already in OpenAI's sense. Missing or senseless numbers count as 0. */
export function tokensOf(usage: Usage): Tokens {
	const cached = usage.prompt_tokens_details?.cached_tokens;
	const reasoning = usage.completion_tokens_details?.reasoning_tokens;
	return {
		input: count(usage.prompt_tokens),
		output: count(usage.completion_tokens),
		...(cached ? { cached: count(cached) } : {}),
		...(reasoning ? { reasoning: count(reasoning) } : {}),
	};
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
