/** Which calls the cache is for. Pure decisions over a call, its headers and the configuration. */
import type { Config, ModelConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { OPERATIONS } from "../openai/operations.ts";

/** What the configuration says for one model; times in ms. */
export interface CacheSettings {
	/** True: every call. False: none. Absent: those that say themselves that they want the same answer each time. */
	readonly enabled?: boolean | undefined;
	readonly ttl: number;
}

/**
 * The settings for one model.
 * @param own what `models:` says of it
 */
export function modelSettings({ enabled, ttl }: Config["cache"], own: ModelConfig["cache"]): CacheSettings {
	if (!enabled) return { enabled, ttl };
	return own ? { ttl, ...own } : { ttl };
}

/** What the cache may do for a call. */
export interface CacheUse {
	/** It may be answered by an older answer, or by one that is on its way to another caller. */
	readonly looksUp: boolean;
	/** Its answer may be kept. */
	readonly stores: boolean;
	/** How old an answer may be, ms. */
	readonly maxAgeMs: number;
	/** How long its answer is kept, ms. */
	readonly ttlMs: number;
}

/** What is read of a call. */
export type CacheableCall = Pick<Call, "operation" | "facts" | "headers">;

/** Longest that a caller may have its answer kept, s. */
const MOST_SECONDS = 30 * 86_400;

/**
 * What the cache may do; undefined where it keeps out of the way. A call is for the cache where its model's settings or its own
 * `Cache-Control: max-age` ask for it, or where it says `temperature: 0` (an omitted one counts as 1); embeddings have
 * no temperature and are always the same. Throws `invalid_value` for an `x-router-cache` that means nothing.
 */
export function cacheUse(call: CacheableCall, settings: CacheSettings): CacheUse | undefined {
	const own = ownHeader(call.headers);
	const asked = cacheControl(call.headers);
	if (own === "bypass" || settings.enabled === false || settings.ttl === 0) return undefined;
	const wants = settings.enabled === true || (asked.maxAgeMs ?? 0) > 0;
	if (!(wants || isAlwaysTheSame(call)) || call.facts.hasEffects) return undefined;
	const looksUp = !asked.noCache && own !== "no-cache" && asked.maxAgeMs !== 0;
	const stores = !asked.noStore && own !== "no-store";
	if (!looksUp && !stores) return undefined;
	return {
		looksUp,
		stores,
		maxAgeMs: asked.maxAgeMs ?? settings.ttl,
		ttlMs: asked.maxAgeMs || settings.ttl,
	};
}

function ownHeader(headers: Headers): string | undefined {
	const value = headers.get("x-router-cache")?.trim().toLowerCase();
	if (value === undefined || ["bypass", "no-store", "no-cache"].includes(value)) return value;
	throw new RouterError("invalid_value", "x-router-cache must be bypass, no-cache or no-store.", {
		param: "x-router-cache",
	});
}

/** What a caller says of caches. */
interface CacheControl {
	readonly noCache: boolean;
	readonly noStore: boolean;
	readonly maxAgeMs: number | undefined;
}

const SAYS_NOTHING: CacheControl = { noCache: false, noStore: false, maxAgeMs: undefined };

/** RFC 9111, 5.2.1, as far as it makes sense here; a caller that says nonsense has said nothing. */
function cacheControl(headers: Headers): CacheControl {
	const header = headers.get("cache-control");
	if (header === null) return SAYS_NOTHING;
	const parts = header.toLowerCase().split(/\s*,\s*/);
	const seconds = parts.map((part) => /^max-age="?(\d{1,10})"?$/.exec(part.trim())?.[1]).find(Boolean);
	return {
		noCache: parts.includes("no-cache"),
		noStore: parts.includes("no-store"),
		maxAgeMs: seconds === undefined ? undefined : Math.min(Number(seconds), MOST_SECONDS) * 1000,
	};
}

function isAlwaysTheSame({ operation, facts }: CacheableCall): boolean {
	if (!OPERATIONS[operation].generates) return true;
	return facts.temperature === 0 && !facts.usesLiveData();
}
