/** What an answer's `usage` says: token counts and cost, read from what upstreams send. Pure. */

/** More tokens than any call has: what is above is no count. Sums over nine billion calls at this bound fit SQLite's integers. */
export const MAX_TOKENS = 1_000_000_000;
/** More USD than any call costs. */
export const MAX_USD = 10_000;

/**
 * The parts of `usage` the router reads (CompletionUsage, spec v2.3.0; the others as their vendors document them). Nothing here is
 * checked: upstreams send fractions, texts and numbers of any size, so each value is read by `readUsage` alone.
 */
export interface Usage {
	prompt_tokens?: unknown;
	completion_tokens?: unknown;
	total_tokens?: unknown;
	prompt_tokens_details?: unknown;
	completion_tokens_details?: unknown;
	/** The Responses API's names for the same, which some upstreams use in chat, too. */
	input_tokens?: unknown;
	output_tokens?: unknown;
	input_tokens_details?: unknown;
	output_tokens_details?: unknown;
	/** Part of `prompt_tokens` (Moonshot, Together). */
	cached_tokens?: unknown;
	/** Both together are `prompt_tokens` (DeepSeek). */
	prompt_cache_hit_tokens?: unknown;
	prompt_cache_miss_tokens?: unknown;
	/** Not part of `input_tokens` (Anthropic); part of `prompt_tokens` where a translator kept it (LiteLLM). */
	cache_read_input_tokens?: unknown;
	cache_creation_input_tokens?: unknown;
	/** USD (OpenRouter). */
	cost?: unknown;
	/** 1e-10 USD (xAI). */
	cost_in_usd_ticks?: unknown;
	/** The router's own mark: these counts are a guess. */
	estimated?: unknown;
}

/** What llama.cpp's server counts beside `usage`, or without one: `prompt_n` tokens were read, `cache_n` more were there already. */
export interface Timings {
	prompt_n?: unknown;
	cache_n?: unknown;
	predicted_n?: unknown;
}

/** Tokens the way the router counts them: `input` includes `cached`, `output` includes `reasoning`. Whole numbers, none above `MOST_TOKENS`. */
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
	/** What the upstream has not counted in whole numbers: 0 there is to be estimated, another number is its own, rounded up. */
	uncounted?: "input" | "output" | "both" | undefined;
}

/** Tokens that an engine has computed: of the prompt those that its cache had not, and the answer's. Undefined where it has not counted them. */
export function computedTokens(tokens: Tokens | undefined): number | undefined {
	if (!tokens || tokens.uncounted) return undefined;
	return Math.max(0, tokens.input - (tokens.cached ?? 0)) + tokens.output;
}

/** Counts as an upstream sent them, whatever they are. Null and undefined: it said nothing of them. */
export type SentCounts = { readonly [kind in Exclude<keyof Tokens, "uncounted">]?: unknown };

const NUMERIC = /^\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?$/i;

/** A number from 0 to `most`, or the text of one; undefined for all else: NaN, negative, larger, another kind of value. */
export function numberIn(value: unknown, most: number): number | undefined {
	const number = typeof value === "string" && NUMERIC.test(value) ? Number(value) : value;
	// 0 for -0, which SQLite takes for a fraction.
	return typeof number === "number" && number >= 0 && number <= most ? number + 0 : undefined;
}

/** The sum of counts of which an upstream may leave some out; undefined where one of them is no count, or all are left out. */
export function sumOf(...counts: readonly unknown[]): number | undefined {
	let sum: number | undefined;
	for (const value of counts) {
		if (value === null || value === undefined) continue;
		const count = numberIn(value, MAX_TOKENS);
		if (count === undefined) return undefined;
		sum = (sum ?? 0) + count;
	}
	return sum;
}

/** An object; none for all else. */
export function objectIn(value: unknown): Readonly<Record<string, unknown>> | undefined {
	return typeof value === "object" && value !== null && !Array.isArray(value)
		? (value as Record<string, unknown>)
		: undefined;
}

/**
 * What an upstream counted, checked: each count is whole and within bounds, or said to be uncounted. A part is never larger than what it
 * is a part of. No call is without a prompt, so a prompt of 0 tokens has not been counted.
 */
export function checkedTokens(sent: SentCounts): Tokens {
	const input = numberIn(sent.input, MAX_TOKENS);
	const output = numberIn(sent.output, MAX_TOKENS);
	const tokens: Tokens = { input: Math.ceil(input ?? 0), output: Math.ceil(output ?? 0) };
	let isInputSure = input !== undefined && input > 0 && Number.isInteger(input);
	let isOutputSure = output !== undefined && Number.isInteger(output) && (output > 0 || isInputSure);
	for (const kind of INPUT_KINDS) if (sent[kind] && !setPart(tokens, kind, sent[kind])) isInputSure = false;
	for (const kind of OUTPUT_KINDS) if (sent[kind] && !setPart(tokens, kind, sent[kind])) isOutputSure = false;
	if (!isInputSure || !isOutputSure) tokens.uncounted = isInputSure ? "output" : isOutputSure ? "input" : "both";
	return tokens;
}

const INPUT_KINDS = ["cached", "cacheWrite", "cacheWriteLong", "inputImage", "inputAudio"] as const;
const OUTPUT_KINDS = ["reasoning", "outputImage", "outputAudio"] as const;

/** Whether it is a count: what is none is left out, so that it costs what the plain token does. */
function setPart(tokens: Tokens, kind: (typeof INPUT_KINDS)[number] | (typeof OUTPUT_KINDS)[number], value: unknown) {
	const count = numberIn(value, MAX_TOKENS);
	if (count === undefined || !Number.isInteger(count)) return false;
	const all = (OUTPUT_KINDS as readonly string[]).includes(kind) ? tokens.output : tokens.input;
	// The whole of what was not counted is not known.
	if (count > 0) tokens[kind] = all > 0 ? Math.min(count, all) : count;
	return true;
}

/** A `usage`, read. */
export interface UsageReading {
	/** Undefined where nothing was counted. */
	readonly tokens?: Tokens | undefined;
	/** USD, where the upstream says what the call cost. */
	readonly cost?: number | undefined;
	/**
	 * `completion_tokens` as OpenAI means it, reasoning included, where the upstream left the reasoning out: `tokens` has it, and what is
	 * shown must be given it.
	 */
	readonly completion?: number | undefined;
	/** Clients can read it, once it has that `completion`; see {@link isPlainUsage}. */
	readonly isPlain?: boolean;
}

const NO_USAGE: UsageReading = {};

/**
 * All that a `usage` says.
 * @param sentTimings llama.cpp's own counts, which stand beside it
 */
export function readUsage(sent: unknown, sentTimings?: unknown): UsageReading {
	const usage: Usage | undefined = objectIn(sent);
	if (!usage) return sentTimings === undefined ? NO_USAGE : { tokens: tokensOf(sent, sentTimings) };
	const completion = completionWithReasoning(usage);
	return {
		tokens: tokensOf(sent, sentTimings),
		cost: costOf(sent),
		completion,
		isPlain: isPlain(usage, completion ?? usage.completion_tokens),
	};
}

/** Tokens of a `usage` object, or of llama.cpp's `timings`; undefined where neither is there. */
export function tokensOf(sentUsage: unknown, sentTimings?: unknown): Tokens | undefined {
	const timings: Timings | undefined = objectIn(sentTimings);
	const usage: Usage | undefined = objectIn(sentUsage) ?? (timings?.predicted_n === undefined ? undefined : {});
	if (!usage) return undefined;
	const read = objectIn(usage.prompt_tokens_details) ?? objectIn(usage.input_tokens_details);
	const written = objectIn(usage.completion_tokens_details) ?? objectIn(usage.output_tokens_details);
	const input = inputOf(usage, timings);
	const tokens = checkedTokens({
		input,
		output: completionWithReasoning(usage) ?? outputOf(usage, timings, input),
		cached:
			read?.["cached_tokens"] ||
			usage.cached_tokens ||
			usage.prompt_cache_hit_tokens ||
			usage.cache_read_input_tokens ||
			timings?.cache_n,
		cacheWrite: read?.["cache_write_tokens"],
		cacheWriteLong: read?.["cache_write_1h_tokens"],
		inputImage: read?.["image_tokens"],
		inputAudio: read?.["audio_tokens"],
		reasoning: written?.["reasoning_tokens"],
		outputImage: written?.["image_tokens"],
		outputAudio: written?.["audio_tokens"],
	});
	if (usage.estimated === true) tokens.uncounted = "both";
	return tokens;
}

function inputOf(usage: Usage, timings: Timings | undefined): number | undefined {
	return (
		numberIn(usage.prompt_tokens, MAX_TOKENS) ??
		(usage.input_tokens === undefined ? undefined : responsesInput(usage)) ??
		sumOf(usage.prompt_cache_hit_tokens, usage.prompt_cache_miss_tokens) ??
		sumOf(timings?.prompt_n, timings?.cache_n)
	);
}

/** The prompt in the Responses API's names, or in Anthropic's, where what a cache holds is no part of it. */
function responsesInput(usage: Usage): number | undefined {
	const { input_tokens, input_tokens_details, cache_read_input_tokens, cache_creation_input_tokens } = usage;
	if (input_tokens_details) return numberIn(input_tokens, MAX_TOKENS);
	return sumOf(input_tokens, cache_read_input_tokens, cache_creation_input_tokens);
}

function outputOf(usage: Usage, timings: Timings | undefined, input: number | undefined): number | undefined {
	const counted =
		numberIn(usage.completion_tokens, MAX_TOKENS) ??
		numberIn(usage.output_tokens, MAX_TOKENS) ??
		numberIn(timings?.predicted_n, MAX_TOKENS);
	if (counted !== undefined) return counted;
	const total = numberIn(usage.total_tokens, MAX_TOKENS);
	return total !== undefined && input !== undefined && total >= input ? total - input : undefined;
}

/** USD, where the upstream says what the call cost. xAI counts in ticks of 1e-10 USD. What can be no price is none. */
export function costOf(sentUsage: unknown): number | undefined {
	const usage: Usage | undefined = objectIn(sentUsage);
	if (!usage) return undefined;
	const cost = numberIn(usage.cost, MAX_USD);
	if (cost !== undefined) return cost;
	const ticks = numberIn(usage.cost_in_usd_ticks, MAX_USD * 1e10);
	return ticks === undefined ? undefined : ticks / 1e10;
}

/**
 * `completion_tokens` as OpenAI means it, reasoning included. xAI leaves reasoning out of it (recorded: prompt 213,
 * completion 2, reasoning 198, total 413); the total says which, so a vendor that mends its count is not counted twice.
 */
function completionWithReasoning(usage: Usage): number | undefined {
	const reasoning = count(objectIn(usage.completion_tokens_details)?.["reasoning_tokens"]);
	if (reasoning === 0) return undefined;
	const output = count(usage.completion_tokens);
	const isLeftOut = count(usage.prompt_tokens) + output + reasoning === count(usage.total_tokens);
	return isLeftOut ? output + reasoning : undefined;
}

const count = (value: unknown): number => numberIn(value, MAX_TOKENS) ?? 0;

/**
 * Whether clients can read a `usage` as it is: the three counts are whole numbers within bounds (an embedding has no answer to count), and
 * no price is negative, endless or a text.
 */
export function isPlainUsage(value: unknown): boolean {
	const usage: Usage | undefined = objectIn(value);
	return usage !== undefined && isPlain(usage, usage.completion_tokens);
}

/** @param completion what its `completion_tokens` will be */
function isPlain(usage: Usage, completion: unknown): boolean {
	const { cost, cost_in_usd_ticks: ticks } = usage;
	return (
		isCount(usage.prompt_tokens) &&
		(completion === undefined || isCount(completion)) &&
		isCount(usage.total_tokens, 2 * MAX_TOKENS) &&
		areCounts(usage.prompt_tokens_details) &&
		areCounts(usage.completion_tokens_details) &&
		(cost === undefined || cost === null || (typeof cost === "number" && cost >= 0 && cost <= MAX_USD)) &&
		(ticks === undefined ||
			ticks === null ||
			(typeof ticks === "number" && ticks >= 0 && ticks <= Number.MAX_SAFE_INTEGER))
	);
}

/** Whether it is a count as clients expect one. */
export function isCount(value: unknown, most = MAX_TOKENS): boolean {
	return typeof value === "number" && value >= 0 && value <= most && Number.isInteger(value);
}

function areCounts(details: unknown): boolean {
	if (details === undefined || details === null) return true;
	if (typeof details !== "object") return false;
	for (const kind in details) {
		const count = (details as Record<string, unknown>)[kind];
		if (typeof count !== "object" && !isCount(count)) return false;
	}
	return true;
}
