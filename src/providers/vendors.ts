/** The upstreams, one row of data each: everything in which those that speak OpenAI differ. */
import type { PROVIDER_TYPES } from "../config/schema.ts";
import type { Continuation } from "./provider.ts";

/** A known kind of upstream. */
export type ProviderType = (typeof PROVIDER_TYPES)[number];

/** A model-name prefix that leads to a provider. */
export interface Prefix {
	readonly pattern: RegExp;
	/** Shown as the reason of the choice. */
	readonly label: string;
	/** Cut off before the name goes upstream. */
	readonly strip?: string;
}

/** One kind of upstream. */
export interface Row {
	readonly title: string;
	/** The vendor's address; absent where only the user knows it. */
	readonly baseUrl?: string;
	/** Variables that give the address and the key, first one wins. */
	readonly baseUrlVariable?: string;
	readonly keyVariables: readonly string[];
	/** Without a key it can't be called. */
	readonly needsKey: boolean;
	/** Put behind an address that names no version. */
	readonly version: string;
	/** Cut off the end of an address: people have the one of the vendor's OpenAI half at hand. */
	readonly drops?: string;
	/** The header that holds the key, bare; absent: `authorization: Bearer …`. */
	readonly keyHeader?: string;
	/** Other names for it in front of a `/`. */
	readonly aliases: readonly string[];
	readonly prefixes: readonly Prefix[];
	/** In the user's own network: no proxy, no vendor CA. */
	readonly isInternal: boolean;
	/** Top-level fields set where the client left them (one level deep) open. */
	readonly defaults?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
	/** Headers of every call. */
	readonly headers?: Readonly<Record<string, string>>;
	/** A model's own id begins with the provider's name when nothing else stands before the slash (`openrouter/auto`). */
	readonly ownsBareNames?: boolean;
	/** Fields of a call may send it elsewhere than its `model` (`model-routing.ts`). Of the others so does what stands at another address. */
	readonly routesModels?: boolean;
	/** See {@link Continuation}; absent: only by asking again. */
	readonly continuation?: Continuation;
	/** It tells the tokens so far with each chunk of a stream where it is asked for them (vLLM's `continuous_usage_stats`). */
	readonly countsChunks?: boolean;
	/** What its 400 says when it means a bad key. */
	readonly badKey?: RegExp;
}

const plain = { version: "/v1", needsKey: true, isInternal: false, aliases: [] } as const;
const inside = {
	version: "/v1",
	needsKey: false,
	isInternal: true,
	aliases: [],
	keyVariables: [],
	prefixes: [],
} as const;

/** One row a type. */
export const TABLE: Readonly<Record<ProviderType, Row>> = {
	openai: {
		...plain,
		title: "OpenAI",
		baseUrl: "https://api.openai.com/v1",
		baseUrlVariable: "OPENAI_BASE_URL",
		keyVariables: ["OPENAI_API_KEY"],
		prefixes: [
			{ pattern: /^gpt-/, label: "gpt-*" },
			{ pattern: /^chatgpt-/, label: "chatgpt-*" },
			{ pattern: /^text-embedding-/, label: "text-embedding-*" },
			{ pattern: /^o\d/, label: "o<digit>*" },
		],
	},
	// The two vendors below speak a wire of their own (`anthropic.ts`, `gemini.ts`).
	anthropic: {
		...plain,
		title: "Anthropic",
		baseUrl: "https://api.anthropic.com/v1",
		baseUrlVariable: "ANTHROPIC_BASE_URL",
		keyVariables: ["ANTHROPIC_API_KEY"],
		aliases: ["claude"],
		prefixes: [{ pattern: /^claude/, label: "claude*" }],
		keyHeader: "x-api-key",
		headers: { "anthropic-version": "2023-06-01" },
	},
	gemini: {
		...plain,
		title: "Google Gemini",
		version: "/v1beta",
		drops: "/openai",
		baseUrl: "https://generativelanguage.googleapis.com/v1beta",
		baseUrlVariable: "GEMINI_BASE_URL",
		keyVariables: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
		aliases: ["google"],
		prefixes: [{ pattern: /^(?:gemini|google)/, label: "gemini*" }],
		keyHeader: "x-goog-api-key",
		badKey: /api.key (?:not valid|expired)/i,
	},
	openrouter: {
		...plain,
		title: "OpenRouter",
		baseUrl: "https://openrouter.ai/api/v1",
		baseUrlVariable: "OPENROUTER_BASE_URL",
		keyVariables: ["OPENROUTER_API_KEY"],
		prefixes: [{ pattern: /^openrouter/, label: "openrouter*" }],
		headers: { "x-title": "router" },
		ownsBareNames: true,
		routesModels: true,
	},
	xai: {
		...plain,
		title: "Grok (xAI)",
		baseUrl: "https://api.x.ai/v1",
		baseUrlVariable: "XAI_BASE_URL",
		keyVariables: ["XAI_API_KEY"],
		aliases: ["grok"],
		prefixes: [{ pattern: /^grok/, label: "grok*" }],
		badKey: /incorrect api key/i,
	},
	venice: {
		...plain,
		title: "Venice",
		baseUrl: "https://api.venice.ai/api/v1",
		baseUrlVariable: "VENICE_BASE_URL",
		keyVariables: ["VENICE_API_KEY"],
		prefixes: [{ pattern: /^venice/, label: "venice*" }],
		routesModels: true,
		// Venice puts a system prompt of its own before the caller's unless told not to (swagger 20260821: default true).
		defaults: { venice_parameters: { include_venice_system_prompt: false } },
	},
	"llm-d": {
		...inside,
		title: "llm-d",
		baseUrlVariable: "LLMD_BASE_URL",
		aliases: ["llmd"],
		prefixes: [{ pattern: /^llmd-/, label: "llmd-*", strip: "llmd-" }],
		continuation: "continue_final_message",
		countsChunks: true,
	},
	local: {
		...inside,
		title: "Local agent",
		baseUrl: "http://localhost:5000",
		baseUrlVariable: "LOCAL_AGENT_URL",
		keyVariables: ["ROUTER_AGENT_TOKEN"],
		prefixes: [{ pattern: /^local/, label: "local*" }],
		continuation: "continue_final_message",
		countsChunks: true,
	},
	vllm: { ...inside, title: "vLLM", continuation: "continue_final_message", countsChunks: true },
	// Nobody knows what it heeds.
	"openai-compatible": { ...inside, isInternal: false, title: "OpenAI-compatible", routesModels: true },
};
