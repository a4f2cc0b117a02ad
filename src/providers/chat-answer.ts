/** Chunks and `usage` of OpenAI's chat answers (spec v2.3.0), written for an upstream that sends something else. */
import type { NativeVendor } from "../openai/call.ts";
import type { Tokens } from "../openai/usage.ts";

/** OpenAI's reasons for an answer's end. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter";

/** Writes one stream. The head of every chunk is the same text, made once, for the first: a chunk of text costs one `JSON.stringify` of it. */
export class ChatChunks {
	#shared: object | undefined;
	#madeHead: string | undefined;
	/** Chunks that were written so far, but for those of `beside`. */
	count = 0;

	/** `created`: unix time, s. */
	constructor(private readonly created: number) {}

	/** Whether `begin` was called. */
	get hasBegun(): boolean {
		return this.#shared !== undefined;
	}

	/** Sets what all chunks share. `tier`: of the service, in OpenAI's word. */
	begin(id: string, model: string, tier?: string): void {
		const { created } = this;
		this.#shared = { id, object: "chat.completion.chunk", created, model, service_tier: tier };
		this.#madeHead = undefined;
	}

	/** "" before `begin`. */
	get #head(): string {
		if (!this.#shared) return "";
		this.#madeHead ??= `data: ${JSON.stringify(this.#shared).slice(0, -1)},"choices":[{"index":`;
		return this.#madeHead;
	}

	/** The chunk that opens a choice. */
	role(index = 0): string {
		return this.delta('{"role":"assistant","content":""}', index);
	}

	/** A piece of the answer. */
	text(text: string, index = 0): string {
		return this.delta(`{"content":${JSON.stringify(text)}}`, index);
	}

	/** The same around any text, as JSON between its quotes: what comes before that, and what behind. */
	textFrame(): readonly [string, string] {
		return aroundEmpty(this.text(""));
	}

	/** A piece of what the model thinks, under both of its names (see {@link thoughtFields}). */
	reasoning(text: string, index = 0): string {
		const json = JSON.stringify(text);
		return this.delta(`{"reasoning_content":${json},"reasoning":${json}}`, index);
	}

	/** The same around any thought, as JSON between its quotes, which stands there twice. */
	reasoningFrame(): readonly [string, string, string] {
		const [first, after] = aroundEmpty(this.reasoning(""));
		const [before, middle] = aroundEmpty(first.slice(0, -1));
		return [before, `${middle}"`, after];
	}

	/** A call; its arguments so far. `extra` goes beside the function. */
	call(at: number, id: string, name: string, args: string, extra?: object, index = 0): string {
		const call = { index: at, id, type: "function", function: { name, arguments: args }, ...extra };
		return this.delta(`{"tool_calls":[${JSON.stringify(call)}]}`, index);
	}

	/** A piece of a call's arguments. */
	args(at: number, args: string, index = 0): string {
		return this.delta(`{"tool_calls":[{"index":${at},"function":{"arguments":${JSON.stringify(args)}}}]}`, index);
	}

	/** The same around any piece of its arguments, as JSON between its quotes. */
	argsFrame(at: number): readonly [string, string] {
		return aroundEmpty(this.args(at, ""));
	}

	/** A delta, as JSON. */
	delta(delta: string, index = 0, logprobs = "null"): string {
		this.count++;
		return `${this.#head}${index},"delta":${delta},"logprobs":${logprobs},"finish_reason":null}]}\n\n`;
	}

	/** A chunk that says nothing in OpenAI's words; `own`, JSON, stands beside its delta in a field of its vendor's name. */
	beside(own: string, vendor: NativeVendor = "anthropic"): string {
		return `${this.#head}0,"delta":{},"${vendor}":${own},"logprobs":null,"finish_reason":null}]}\n\n`;
	}

	/** The chunk that closes a choice. `more`: further fields of it. */
	finish(reason: FinishReason, index = 0, more: object = {}): string {
		this.count++;
		const rest = JSON.stringify(more).slice(1, -1);
		const fields = rest === "" ? "" : `,${rest}`;
		return `${this.#head}${index},"delta":{},"logprobs":null,"finish_reason":"${reason}"${fields}}]}\n\n`;
	}

	/** The chunk behind the last, for callers that asked for it; JSON, no event yet. */
	usage(usage: ChatUsage): string {
		const head = this.#head.slice("data: ".length, -'[{"index":'.length);
		return `${head}[],"usage":${JSON.stringify(usage)}}`;
	}
}

/** What stands before the text, and what behind, in a chunk whose last text is empty. */
function aroundEmpty(chunk: string): readonly [string, string] {
	const at = chunk.lastIndexOf('""') + 1;
	return [chunk.slice(0, at), chunk.slice(at)];
}

/** Now, unix time, s: vendors that are translated give no time of their own. */
export const now = (): number => Math.floor(Date.now() / 1000);

/** Vendors' words for a tier, in OpenAI's. */
const TIERS: Readonly<Record<string, string>> = {
	standard: "default",
	on_demand: "default",
	on_demand_priority: "priority",
	on_demand_flex: "flex",
	on_demand_offpeak: "offpeak",
	// OpenAI's word for throughput that was bought ahead.
	provisioned_throughput: "scale",
};

/** The tier of the service that an answer was made in, in OpenAI's word; undefined where its vendor says none. One without a word there keeps its own. */
export function reportedTier(sent: unknown): string | undefined {
	if (typeof sent !== "string" || sent === "" || /unspecified$/i.test(sent)) return undefined;
	const tier = sent.toLowerCase().slice(0, 40);
	return Object.hasOwn(TIERS, tier) ? TIERS[tier] : tier;
}

/** Of `usage`: parts of its counts; what is 0 is left out, but for those that OpenAI always has. */
interface TokenDetails {
	cached_tokens?: number;
	cache_write_tokens?: number;
	cache_write_1h_tokens?: number;
	reasoning_tokens?: number;
	image_tokens?: number;
	audio_tokens?: number;
}

/** A `usage` object. */
export interface ChatUsage {
	readonly prompt_tokens: number;
	readonly completion_tokens: number;
	readonly total_tokens: number;
	readonly prompt_tokens_details: Readonly<TokenDetails>;
	readonly completion_tokens_details: Readonly<TokenDetails>;
}

/** The `usage` object; the total is always the sum. */
export function chatUsage(counts: Tokens): ChatUsage {
	const { input, output } = counts;
	const prompt: TokenDetails = { cached_tokens: counts.cached ?? 0 };
	if (counts.cacheWrite) prompt.cache_write_tokens = counts.cacheWrite;
	if (counts.cacheWriteLong) prompt.cache_write_1h_tokens = counts.cacheWriteLong;
	if (counts.inputImage) prompt.image_tokens = counts.inputImage;
	if (counts.inputAudio) prompt.audio_tokens = counts.inputAudio;
	const completion: TokenDetails = { reasoning_tokens: counts.reasoning ?? 0 };
	if (counts.outputImage) completion.image_tokens = counts.outputImage;
	if (counts.outputAudio) completion.audio_tokens = counts.outputAudio;
	return {
		prompt_tokens: input,
		completion_tokens: output,
		total_tokens: input + output,
		prompt_tokens_details: prompt,
		completion_tokens_details: completion,
	};
}
