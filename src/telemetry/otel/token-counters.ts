/**
 * Tokens that calls have used, since the start, as OpenTelemetry's conventions for generative AI count them: `gen_ai.client.inference.usage.*`
 * (docs/gen-ai/gen-ai-token-metrics.md). Of calls, not of attempts: what was billed is what they want counted.
 */
import { OPERATIONS, type Operation } from "../../openai/operations.ts";
import type { Tokens } from "../../openai/usage.ts";
import type { CallSettled, Sink } from "../events.ts";
import { operationName, providerName } from "./gen-ai-names.ts";

/** The counters by name, and what each counts. */
export const TOKEN_COUNTERS = {
	"gen_ai.client.inference.usage.input_tokens": "The number of input (prompt) tokens used, including cached tokens.",
	"gen_ai.client.inference.usage.output_tokens":
		"The number of output (completion) tokens used, including reasoning tokens.",
	"gen_ai.client.inference.usage.cache_read.input_tokens": "The number of input tokens served from a cache.",
	"gen_ai.client.inference.usage.cache_write.input_tokens": "The number of input tokens written to a cache.",
	"gen_ai.client.inference.usage.reasoning.output_tokens": "The number of output tokens used for reasoning.",
} as const;

/** The name of one. */
export type UsageCounter = keyof typeof TOKEN_COUNTERS;

const PREFIX = "gen_ai.client.inference.usage.";
const [INPUT, OUTPUT, READ, WRITTEN, REASONING] = Object.keys(TOKEN_COUNTERS) as UsageCounter[];

/** One sum. */
export interface TokenSum {
	readonly counter: UsageCounter;
	readonly attributes: Readonly<Record<string, string>>;
	value: number;
}

/** Models and providers that have sums of their own: those above are added up as `_OTHER`. */
const MOST_SERIES = 1000;
const OTHER = "_OTHER";

/** Sums of one model at one provider, by the counter and the kind of content. */
class ModelSums {
	readonly sums = new Map<string, TokenSum>();

	constructor(private readonly attributes: Readonly<Record<string, string>>) {}

	add(counter: UsageCounter, modality: Modality, tokens: number): void {
		const key = `${counter.slice(PREFIX.length)} ${modality}`;
		let sum = this.sums.get(key);
		if (!sum) {
			sum = { counter, attributes: { ...this.attributes, "gen_ai.token.modality": modality }, value: 0 };
			this.sums.set(key, sum);
		}
		sum.value += tokens;
	}
}

/** `gen_ai.token.modality`. */
type Modality = "text" | "image" | "audio" | "unknown";

/** Hears of settled calls. */
export class TokenCounters implements Pick<Sink, "callSettled"> {
	readonly #models = new Map<string, ModelSums>();

	/** @param vendorOf what price lists call the vendor of a provider of the configuration */
	constructor(private readonly vendorOf: (provider: string) => string | undefined) {}

	/** All sums so far. */
	get sums(): readonly TokenSum[] {
		return [...this.#models.values()].flatMap(({ sums }) => [...sums.values()]);
	}

	callSettled({ operation, provider, model, attempts, tokens }: CallSettled): void {
		// What the cache has answered, or nobody was asked for, used nothing.
		if (attempts === 0 || !OPERATIONS[operation].generates) return;
		const sums = this.#sumsOf(operation, provider, model);
		if (!tokens || tokens.uncounted) {
			sums.add(INPUT!, "unknown", 0);
			sums.add(OUTPUT!, "unknown", 0);
			return;
		}
		addParts(sums, INPUT!, tokens.input, tokens.inputImage, tokens.inputAudio);
		addParts(sums, OUTPUT!, tokens.output, tokens.outputImage, tokens.outputAudio);
		if (tokens.cached) sums.add(READ!, "unknown", tokens.cached);
		if (tokens.cacheWrite) sums.add(WRITTEN!, "unknown", tokens.cacheWrite);
		if (tokens.reasoning) sums.add(REASONING!, "unknown", tokens.reasoning);
	}

	#sumsOf(operation: Operation, provider: string, model: string): ModelSums {
		const key = `${operation} ${provider} ${model}`;
		const known = this.#models.get(key);
		if (known) return known;
		const isFull = this.#models.size >= MOST_SERIES;
		if (isFull && model !== OTHER) return this.#sumsOf("chat", OTHER, OTHER);
		const sums = new ModelSums({
			"gen_ai.operation.name": operationName(operation),
			"gen_ai.provider.name": providerName(provider, this.vendorOf(provider)),
			"gen_ai.request.model": model,
		});
		this.#models.set(key, sums);
		return sums;
	}
}

/** Where its provider tells pictures or sound apart, the rest is text; else nobody knows. */
function addParts(
	sums: ModelSums,
	counter: UsageCounter,
	all: Tokens["input"],
	image: number | undefined,
	audio: number | undefined,
): void {
	if (!image && !audio) {
		sums.add(counter, "unknown", all);
		return;
	}
	if (image) sums.add(counter, "image", image);
	if (audio) sums.add(counter, "audio", audio);
	sums.add(counter, "text", Math.max(0, all - (image ?? 0) - (audio ?? 0)));
}
