/**
 * What vendors document of their prompt caches: whose they are, from how many tokens on, and for how long. A conversation stays with the key
 * whose cache has it as long as that lasts. Too long costs nothing but a choice; too short costs the whole history, read anew. Pure.
 */
import type { PromptCacheRequest } from "../openai/call-facts.ts";
import type { ProviderType } from "../vendors.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** One vendor's. */
export interface PromptCacheRules {
	/** Who shares it, in the vendor's word. */
	readonly scope: "organization" | "workspace" | "project" | "account";
	/** Calls may name a cache that was made beforehand (Google's `cachedContent`). */
	readonly hasNamedCaches?: true;
	/** Tokens that a prompt must have to be cached. */
	minimumTokens(model: string): number;
	/** How long a prompt is kept from its last use on, ms; 0: it is not cached. */
	lifetimeMs(model: string, asked: PromptCacheRequest): number;
}

/** The prompt cache of an account at its vendor. */
export interface AccountCache {
	/** What the vendor says of it. */
	readonly rules: PromptCacheRules;
	/** Whose it is: the same for all keys that share it. It holds a key, so it must reach nobody. */
	readonly scope: string;
}

/** Lifetimes as calls name them, ms. */
const LIFETIMES: Readonly<Record<string, number>> = {
	// "5 to 10 minutes of inactivity".
	in_memory: 10 * MINUTE_MS,
	"30m": 30 * MINUTE_MS,
	"12h": 12 * HOUR_MS,
	"24h": 24 * HOUR_MS,
};

/** Of the models of 5.6 and later 30 minutes are the least; 5.5 has 24 hours alone. Older ones have 24 hours or, where no data may be kept, an hour at most. */
function openAiLifetime(model: string): number {
	const [, major = "0", minor = "0"] = /(?:^|\/)gpt-(\d+)(?:\.(\d+))?/.exec(model) ?? [];
	const version = Number(major) * 100 + Number(minor);
	if (version >= 506) return 30 * MINUTE_MS;
	return version === 505 ? 24 * HOUR_MS : HOUR_MS;
}

/** Of Claude: 512 to 4,096 tokens. */
function claudeMinimum(model: string): number {
	if (/(?:haiku-4-5|opus-4-[567])/.test(model)) return 4_096;
	return /(?:opus|fable|mythos)-5/.test(model) ? 512 : 1_024;
}

/** Automatic, nothing said of how long: what the others keep at least. */
const AUTOMATIC: PromptCacheRules = {
	scope: "account",
	minimumTokens: () => 1_024,
	lifetimeMs: () => 5 * MINUTE_MS,
};

/**
 * By vendor, read in November 2026. What is not named has none: a server of the user's own is chosen by what it was given
 * (`routing/affinity.ts`).
 */
export const PROMPT_CACHES: Readonly<Partial<Record<ProviderType, PromptCacheRules>>> = {
	// developers.openai.com/api/docs/guides/prompt-caching, and its reference of `prompt_cache_retention` and `prompt_cache_options`.
	openai: {
		scope: "organization",
		minimumTokens: () => 1_024,
		lifetimeMs: (model, { retention }) =>
			retention !== undefined && Object.hasOwn(LIFETIMES, retention) ? LIFETIMES[retention]! : openAiLifetime(model),
	},
	// platform.claude.com/docs/en/build-with-claude/prompt-caching: nothing without `cache_control`; each use renews it.
	anthropic: {
		scope: "workspace",
		minimumTokens: claudeMinimum,
		lifetimeMs: (_, { isMarked, isForHour }) => (isMarked ? (isForHour ? HOUR_MS : 5 * MINUTE_MS) : 0),
	},
	// ai.google.dev/gemini-api/docs/caching: implicit, "in a short amount of time".
	gemini: {
		scope: "project",
		hasNamedCaches: true,
		minimumTokens: (model) => (model.includes("flash") ? 1_024 : 4_096),
		lifetimeMs: () => 5 * MINUTE_MS,
	},
	// docs.x.ai/developers/advanced-api-usage/prompt-caching: may be evicted at any time; openrouter.ai/docs: by the vendor behind it.
	xai: AUTOMATIC,
	openrouter: AUTOMATIC,
	venice: AUTOMATIC,
	// DeepSeek, Moonshot, Together and the like.
	"openai-compatible": AUTOMATIC,
};
