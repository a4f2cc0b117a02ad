/**
 * The upstreams a router can have, one row of data each. A new vendor is one row: its variables, model prefixes, price id, headers, what
 * `--help`, `router check` and the configuration's schema say of it follow from it.
 */

/** A model-name prefix that leads to an upstream. */
export interface Prefix {
	readonly pattern: RegExp;
	/** Shown as the reason of the choice. */
	readonly label: string;
	/** Cut off before the name goes upstream. */
	readonly strip?: string;
}

/** The wire an upstream speaks: which folder of `src/providers/` translates to it. */
export type Wire = "openai" | "anthropic" | "gemini";

/** Top-level fields of a request whose content goes into a wire's own request as it is; the translators to other wires leave them out. */
export const WIRE_FIELDS = ["anthropic", "gemini"] as const satisfies readonly Wire[];

/**
 * Where an upstream runs. `vendor`: at a vendor's, who is paid. `replica`: a server of the user's own, whose prefix cache is compared with the
 * prompt. `cluster`: a scheduler of the user's own before several of those, which chooses among them itself. `address`: unknown, so
 * its address decides: a local one is a replica, any other a vendor. `process`: in this process (the model `dummy`).
 */
export type Site = "vendor" | "replica" | "cluster" | "address" | "process";

/**
 * How an answer that broke off can go on at a target: as the last message, which it is asked to continue (vLLM); as a last message of
 * the assistant's, which the vendor takes for the beginning of the answer; or only by asking again and comparing.
 */
export type Continuation = "continue_final_message" | "prefill" | "replay";

/**
 * The form of signed thoughts in a message of a server that speaks OpenAI. `details`: OpenRouter's `reasoning_details`, of many vendors, Claude's cache markers
 * beside them. `encrypted`: Venice's `reasoning_encrypted`. `unknown`: any of these, or Google's `extra_content`, since a gateway to anyone may stand there.
 */
export type SignedThoughts = "details" | "encrypted" | "unknown";

/** Values by field, in top-level fields of a request. */
export type DefaultFields = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What a vendor has of OpenAI's Responses, `/responses`. */
export interface ResponsesSupport {
	/** It is OpenAI: it knows all kinds of items and tools, and reads what it has encrypted itself. */
	readonly isOpenAi?: boolean;
	/** It runs tools itself (`web_search`). */
	readonly runsTools?: boolean;
	/**
	 * It gives what its models think encrypted, where it is asked to, and takes that back: `own`, what it has encrypted itself; `any`, what the
	 * vendors have that it passes calls on to.
	 */
	readonly encrypts?: "own" | "any";
}

/** One kind of upstream. Header and field names in lower case. */
export interface VendorRow {
	/** The name in messages. */
	readonly title: string;
	readonly wire: Wire;
	readonly site: Site;
	/** The vendor's address; absent where only the user knows it. */
	readonly baseUrl?: string;
	/** The variable that gives the address. */
	readonly baseUrlVariable?: string;
	/** Variables that give the key, the first one that is set wins. */
	readonly keyVariables: readonly string[];
	/** Without a key it can't be called. */
	readonly needsKey: boolean;
	/** Put behind an address that names no version. */
	readonly version: string;
	/** Cut off the end of an address: users often have the address of the vendor's OpenAI-compatible half. */
	readonly strippedSuffix?: string;
	/** Other names for it in front of a `/`. */
	readonly aliases: readonly string[];
	readonly prefixes: readonly Prefix[];
	/** A model's own id begins with the provider's name when nothing else stands before the slash (`openrouter/auto`). */
	readonly ownsBareNames?: boolean;

	/** The vendor's id in the list prices of @pydantic/genai-prices; absent where those have no prices of it. */
	readonly priceId?: string;
	/** Its answers report their cost (`usage.cost`, `usage.cost_in_usd_ticks`). */
	readonly reportsCost?: boolean;

	/** The header that holds the key, bare; absent: `authorization: Bearer …`. */
	readonly keyHeader?: string;
	/** Headers of every call, list requests included. */
	readonly headers?: Readonly<Record<string, string>>;
	/** Headers of the client's that go on to this vendor alone. */
	readonly forwardedHeaders?: readonly string[];
	/** The headers that get the name of the caller's key: the upstream shares its time out among callers by it, and reads the first that it knows. */
	readonly callerHeaders?: readonly string[];

	/** By operation: top-level fields of its request, set where the client left them (one level deep) open. */
	readonly defaults?: { readonly [operation in "chat" | "completions" | "embeddings"]?: DefaultFields };
	/** Fields of a call may send it elsewhere than its `model` (`model-routing.ts`). Of the others so does what stands at another address. */
	readonly routesModels?: boolean;
	/** It speaks OpenAI's Responses, too; absent: not that anybody knew. */
	readonly responses?: ResponsesSupport;
	/** See {@link Continuation}; absent: as the wire has it. */
	readonly continuation?: Continuation;
	/** It counts the tokens so far in each chunk of a stream where it is asked to (vLLM's `continuous_usage_stats`). */
	readonly countsChunks?: boolean;
	/** Its comments before the first event report the progress of a model's loading. */
	readonly reportsLoading?: boolean;
	/** Its answers name the replica that gave them (`x-router-replica`). */
	readonly namesReplica?: boolean;
	/** It keeps files, and makes the calls in them later (`/files`, `/batches`). */
	readonly storesFiles?: boolean;
	/** How it signs what its models think, which it then wants back; absent: not at all. */
	readonly signs?: SignedThoughts;
	/** What its 400 says when it means a bad key. */
	readonly badKeyMessage?: RegExp;
}

/** A table of vendors by type: the type is the name under which the router knows the vendor without any configuration. */
export type Vendors = Readonly<Record<string, VendorRow>>;

const vendor = { wire: "openai", site: "vendor", version: "/v1", needsKey: true, aliases: [] } as const;
const own = {
	wire: "openai",
	site: "replica",
	version: "/v1",
	needsKey: false,
	aliases: [],
	keyVariables: [],
	prefixes: [],
} as const;

const rows = {
	openai: {
		...vendor,
		title: "OpenAI",
		baseUrl: "https://api.openai.com/v1",
		baseUrlVariable: "OPENAI_BASE_URL",
		keyVariables: ["OPENAI_API_KEY"],
		prefixes: [
			{ pattern: /^gpt-/, label: "gpt-*" },
			{ pattern: /^chatgpt-/, label: "chatgpt-*" },
			{ pattern: /^text-embedding-/, label: "text-embedding-*" },
			{ pattern: /^o\d/, label: "o<digit>*" },
			{ pattern: /^dall-e-/, label: "dall-e-*" },
			{ pattern: /^tts-1/, label: "tts-1*" },
			{ pattern: /^whisper-1$/, label: "whisper-1" },
			{ pattern: /^omni-moderation-/, label: "omni-moderation-*" },
		],
		storesFiles: true,
		responses: { isOpenAi: true, runsTools: true, encrypts: "own" },
		priceId: "openai",
	},
	anthropic: {
		...vendor,
		title: "Anthropic",
		wire: "anthropic",
		baseUrl: "https://api.anthropic.com/v1",
		baseUrlVariable: "ANTHROPIC_BASE_URL",
		keyVariables: ["ANTHROPIC_API_KEY"],
		aliases: ["claude"],
		prefixes: [{ pattern: /^claude/, label: "claude*" }],
		priceId: "anthropic",
		keyHeader: "x-api-key",
		headers: { "anthropic-version": "2023-06-01" },
	},
	gemini: {
		...vendor,
		title: "Google Gemini",
		wire: "gemini",
		version: "/v1beta",
		strippedSuffix: "/openai",
		baseUrl: "https://generativelanguage.googleapis.com/v1beta",
		baseUrlVariable: "GEMINI_BASE_URL",
		keyVariables: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
		aliases: ["google"],
		prefixes: [{ pattern: /^(?:gemini|google)/, label: "gemini*" }],
		priceId: "google",
		keyHeader: "x-goog-api-key",
		badKeyMessage: /api.key (?:not valid|expired)/i,
	},
	openrouter: {
		...vendor,
		title: "OpenRouter",
		baseUrl: "https://openrouter.ai/api/v1",
		baseUrlVariable: "OPENROUTER_BASE_URL",
		keyVariables: ["OPENROUTER_API_KEY"],
		prefixes: [{ pattern: /^openrouter/, label: "openrouter*" }],
		ownsBareNames: true,
		priceId: "openrouter",
		reportsCost: true,
		headers: { "x-title": "router" },
		// Attribution: which program made the call.
		forwardedHeaders: ["http-referer", "x-title"],
		routesModels: true,
		responses: { encrypts: "any" },
		signs: "details",
	},
	xai: {
		...vendor,
		title: "Grok (xAI)",
		baseUrl: "https://api.x.ai/v1",
		baseUrlVariable: "XAI_BASE_URL",
		keyVariables: ["XAI_API_KEY"],
		aliases: ["grok"],
		prefixes: [{ pattern: /^grok/, label: "grok*" }],
		priceId: "x-ai",
		reportsCost: true,
		badKeyMessage: /incorrect api key/i,
		responses: { runsTools: true, encrypts: "own" },
	},
	venice: {
		...vendor,
		title: "Venice",
		baseUrl: "https://api.venice.ai/api/v1",
		baseUrlVariable: "VENICE_BASE_URL",
		keyVariables: ["VENICE_API_KEY"],
		prefixes: [{ pattern: /^venice/, label: "venice*" }],
		routesModels: true,
		signs: "encrypted",
		// Venice puts a system prompt of its own before the caller's unless told not to (swagger 20260821: default true).
		defaults: { chat: { venice_parameters: { include_venice_system_prompt: false } } },
	},
	"llm-d": {
		...own,
		title: "llm-d",
		site: "cluster",
		baseUrlVariable: "LLMD_BASE_URL",
		aliases: ["llmd"],
		prefixes: [{ pattern: /^llmd-/, label: "llmd-*", strip: "llmd-" }],
		// The second is its name before 0.10, where the first one wins.
		callerHeaders: ["x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"],
		continuation: "continue_final_message",
		countsChunks: true,
	},
	local: {
		...own,
		title: "Local agent",
		baseUrl: "http://localhost:5000",
		baseUrlVariable: "LOCAL_AGENT_URL",
		keyVariables: ["ROUTER_AGENT_TOKEN"],
		prefixes: [{ pattern: /^local/, label: "local*" }],
		continuation: "continue_final_message",
		countsChunks: true,
		reportsLoading: true,
		namesReplica: true,
	},
	vllm: { ...own, title: "vLLM", continuation: "continue_final_message", countsChunks: true, responses: {} },
	// Which fields it reads is not known.
	"openai-compatible": {
		...own,
		title: "OpenAI-compatible",
		site: "address",
		routesModels: true,
		storesFiles: true,
		signs: "unknown",
	},
} as const satisfies Vendors;

/** A type that `providers:` may name. */
export type ProviderType = keyof typeof rows;

/** One row a type. */
export const VENDORS: Readonly<Record<ProviderType, VendorRow>> = rows;

/** The types, in the table's order. */
export const PROVIDER_TYPES = Object.keys(VENDORS) as readonly ProviderType[];
