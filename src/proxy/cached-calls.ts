/** Calls as the prompt caches of vendors have them: which key has a call's history, what is remembered once it is answered, and what a failure says. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { OPERATIONS } from "../openai/operations.ts";
import { errorOf, type Failure } from "../providers/failure.ts";
import type { Target } from "../providers/provider.ts";
import { cachedAt, cachesOf, hasSeveralCaches, keepAt, namedAt } from "../routing/cache-places.ts";
import type { KeyState } from "../routing/cached-target.ts";
import { historyOf } from "../routing/requirements.ts";
import type { StateView } from "../routing/target-state.ts";
import { type Account, FIRST_ACCOUNT } from "./key-rotation.ts";
import type { ProxyState } from "./proxy-state.ts";
import { OF_THE_KEY, type TriedTarget } from "./retry.ts";

/** What is known of conversations. */
type Known = Pick<StateView, "conversations">;

/** Which of a target's keys that may be used has a call's history in its prompt cache; undefined where none has, or all share one. */
function cachedKey({ conversations }: Known, keys: KeyState, call: Call, target: Target): number | undefined {
	if (!hasSeveralCaches(target.provider) || !isCached(call)) return undefined;
	return cachedAt(conversations, target, historyOf(call), (key, isSole) => keys.isReady(target, key, isSole))?.account;
}

/** The account that an attempt at a target is made with. Throws as `KeyRotation.take`. @param all the call's targets */
export function accountFor(
	{ keys, targets }: Pick<ProxyState, "keys" | "targets">,
	call: Call,
	tried: TriedTarget,
	all: readonly TriedTarget[],
): Account {
	const { target, refusedKeys } = tried;
	if (!keys.hasRefusals && !target.provider.otherAccounts) return FIRST_ACCOUNT;
	const isAllThereIs = all.every((each) => each === tried || each.wasNotTried);
	return keys.take(target, refusedKeys, isAllThereIs, cachedKey(targets, keys, call, target));
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
export function failureOfKey(call: Call, target: Target, failure: Failure): Failure {
	return lacksNamed(call, target, failure) ? { ...failure, isOurs: true } : failure;
}

/**
 * Whether another of a target's keys may answer a call that this one has failed: the failure speaks against the key. Where that only says that the
 * limit is used up of the key which has the cache that the call names, no other may.
 */
export function mayOthers(
	{ targets, keys }: { readonly targets: Known; readonly keys: KeyState },
	call: Call,
	target: Target,
	key: number,
	{ kind }: Failure,
): boolean {
	if (!OF_THE_KEY.includes(kind)) return false;
	if (kind !== "rate" || call.facts.namedCache?.() === undefined || !isCached(call)) return true;
	return namedAt(targets.conversations, target, historyOf(call), (each) => keys.isReady(target, each, true)) !== key;
}

/**
 * The error of a failed attempt. That the keys of a vendor have not the cache that a call names is the call's fault; where one of them could
 * not say so, since its limit is used up, it may have the cache.
 * @param tried the target's: its `usedUp` is the last failure of such a key in this call
 */
export function errorOfAttempt(
	call: Call,
	failure: Failure,
	target: Target,
	{ usedUp }: Pick<TriedTarget, "usedUp">,
): RouterError {
	if (!lacksNamed(call, target, failure)) return errorOf(failure, target);
	if (usedUp) return errorOf(usedUp, target);
	const message = `${target.provider.name} has no cache of that name for the router's keys, or has it no longer: make another, or send the prompt itself.`;
	return new RouterError("upstream_refused", message, { status: 404, param: "cachedContent" });
}

/** Whether an account has not the cache that the call names: Google answers so whether or not there is one of that name. */
const lacksNamed = ({ facts }: Call, { provider }: Target, { kind, status }: Failure): boolean =>
	kind === "auth" &&
	status === 403 &&
	provider.promptCache?.rules.hasNamedCaches === true &&
	facts.namedCache?.() !== undefined;

/** Where nothing is generated there is no prompt cache. */
const isCached = ({ operation, passed }: Call): boolean => passed === undefined && OPERATIONS[operation].generates;
