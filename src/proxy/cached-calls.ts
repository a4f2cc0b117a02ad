/** Calls as the prompt caches of vendors have them: which key has a call's history, and what is remembered once it is answered. */
import type { Call } from "../openai/call.ts";
import { OPERATIONS } from "../openai/operations.ts";
import type { Failure } from "../providers/failure.ts";
import type { Target } from "../providers/provider.ts";
import { cachedAt, cachesOf, hasSeveralCaches, keepAt } from "../routing/cache-places.ts";
import type { KeyState } from "../routing/cached-target.ts";
import { historyOf } from "../routing/requirements.ts";
import type { StateView } from "../routing/target-state.ts";

/** What is known of conversations. */
type Known = Pick<StateView, "conversations">;

/** Which of a target's keys that may be used has a call's history in its prompt cache; undefined where none has, or all share one. */
export function cachedKey({ conversations }: Known, keys: KeyState, call: Call, target: Target): number | undefined {
	if (!hasSeveralCaches(target.provider) || !isCached(call)) return undefined;
	return cachedAt(conversations, target, historyOf(call), (key) => keys.isReady(target, key))?.account;
}

/**
 * A target has answered with one of its keys, whose prompt cache has the call's prompt now. Nothing is remembered of a call that had one cache to go to.
 * @param tried the call's targets, with the first of their keys
 */
export function keepCached(
	{ conversations }: Known,
	call: Call,
	target: Target,
	tried: readonly { readonly target: Target }[],
): void {
	if (!target.provider.promptCache || !isCached(call)) return;
	let caches = 0;
	for (const each of tried) caches += cachesOf(each.target.provider);
	if (caches > 1) keepAt(conversations, target, historyOf(call), call.facts.promptCache());
}

/**
 * What a failure says of the key that it was made with. That an account has not the cache that a call names (Google: 403) says nothing of its
 * other calls.
 */
export function failureOfKey({ facts }: Call, failure: Failure): Failure {
	const isOfCache = failure.kind === "auth" && failure.status === 403 && facts.namedCache?.() !== undefined;
	return isOfCache ? { ...failure, isOurs: true } : failure;
}

/** Where nothing is generated there is no prompt cache. */
const isCached = ({ operation, passed }: Call): boolean => passed === undefined && OPERATIONS[operation].generates;
