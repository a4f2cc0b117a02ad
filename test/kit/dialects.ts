/** The seven upstreams that speak OpenAI, as the tests address them, and how each one's answers differ. */
import type { Json } from "./exchange.ts";

/** One upstream. */
export interface Dialect {
	/** The provider's name in the router. */
	readonly name: string;
	/** The model as a client names it; `upstreamModel` as the upstream must see it. */
	readonly model: string;
	readonly upstreamModel: string;
	/** Where its API begins at the vendor: `/v1`, `/api/v1`. */
	readonly base: string;
	/** The provider key the router must send; none for upstreams without one. */
	readonly key?: string;
	/** The variable that sets it. */
	readonly keyVariable?: string;
	/** Fields of its own in an answer and in each choice. */
	readonly extra?: Json;
	readonly choiceExtra?: Json;
	/** Where it puts the thoughts of a reasoning model. */
	readonly reasoning: "reasoning" | "reasoning_content";
	/** Does its streamed usage come in a chunk without choices, or in one that has them? */
	readonly usageChunk: "alone" | "with-choices";
	/** Does `completion_tokens` include the reasoning tokens? */
	readonly countsReasoning: boolean;
	/** A comment line it sends while it waits for its own upstream. */
	readonly comment?: string;
}

const plain = { base: "/v1", reasoning: "reasoning_content", usageChunk: "alone", countsReasoning: true } as const;

/** One row an upstream. Keys are made up. */
export const DIALECTS: readonly Dialect[] = [
	{
		...plain,
		name: "openai",
		model: "gpt-5-mini",
		upstreamModel: "gpt-5-mini",
		key: "sk-openai-of-the-router",
		keyVariable: "OPENAI_API_KEY",
		extra: { service_tier: "default", system_fingerprint: "fp_00c0ffee" },
	},
	{
		...plain,
		name: "openrouter",
		model: "openrouter/qwen/qwen3-8b",
		upstreamModel: "qwen/qwen3-8b",
		base: "/api/v1",
		key: "sk-or-of-the-router",
		keyVariable: "OPENROUTER_API_KEY",
		extra: { provider: "Some Host" },
		choiceExtra: { native_finish_reason: null },
		reasoning: "reasoning",
		usageChunk: "with-choices",
		comment: ": OPENROUTER PROCESSING\n\n",
	},
	{
		...plain,
		name: "xai",
		model: "grok-4-fast",
		upstreamModel: "grok-4-fast",
		key: "xai-of-the-router",
		keyVariable: "XAI_API_KEY",
		countsReasoning: false,
	},
	{
		...plain,
		name: "venice",
		model: "venice/llama-3.3-70b",
		upstreamModel: "llama-3.3-70b",
		base: "/api/v1",
		key: "venice-of-the-router",
		keyVariable: "VENICE_API_KEY",
		extra: { venice_parameters: { include_venice_system_prompt: false }, prompt_logprobs: null },
		choiceExtra: { stop_reason: null },
	},
	{ ...plain, name: "llm-d", model: "llm-d/Qwen/Qwen3-8B", upstreamModel: "Qwen/Qwen3-8B" },
	{
		...plain,
		name: "vllm-box",
		model: "vllm-box/Qwen/Qwen3-8B",
		upstreamModel: "Qwen/Qwen3-8B",
		key: "vllm-key-of-the-router",
		extra: { prompt_logprobs: null },
		choiceExtra: { stop_reason: null },
	},
	{ ...plain, name: "local", model: "local/qwen3-8b", upstreamModel: "qwen3-8b", choiceExtra: { stop_reason: null } },
];

/** The row of that name. Throws when there is none. */
export function dialect(name: string): Dialect {
	const found = DIALECTS.find((row) => row.name === name);
	if (!found) throw new Error(`no dialect is called ${name}`);
	return found;
}

/** Settings that point every upstream at one origin. Bases come with and without `/v1`: both must work. */
export function upstreamsAt(origin: string): { env: Record<string, string>; config: Json } {
	const env: Record<string, string> = {
		OPENAI_BASE_URL: `${origin}/v1`,
		OPENROUTER_BASE_URL: `${origin}/api/v1`,
		XAI_BASE_URL: origin,
		VENICE_BASE_URL: `${origin}/api/v1/`,
		LLMD_BASE_URL: `${origin}/v1`,
		LOCAL_AGENT_URL: origin,
	};
	for (const { key, keyVariable } of DIALECTS) if (key && keyVariable) env[keyVariable] = key;
	// What these tests play is chats.
	const chat = { responses: "chat" };
	const box = { type: "vllm", base_url: origin, api_key: dialect("vllm-box").key, ...chat };
	return { env, config: { providers: { openai: chat, openrouter: chat, xai: chat, "vllm-box": box } } };
}
