/**
 * The next call of a conversation goes to the target whose prompt cache has its history, unless another one is worth more even so. Pure, but for
 * the state that it reads.
 */
import { OPERATIONS } from "../openai/operations.ts";
import { type CachedHistory, cachedAt, cachesOf } from "./cache-places.ts";
import { type Needs, PER_TOKEN } from "./requirements.ts";
import type { Policy, RouteTarget } from "./route.ts";
import { expectedCost, type Scored, STICKY_RATIO } from "./score.ts";
import type { StateView } from "./target-state.ts";

/** What is known of the keys of providers. */
export interface KeyState {
	/**
	 * Whether one of a target's keys is in use, and its limit is not used up.
	 * @param isSole no other key could answer: its limit does not matter
	 */
	isReady(target: Pick<RouteTarget, "provider" | "model">, account: number, isSole?: boolean): boolean;
}

const MILLION = 1_000_000;

/**
 * Puts the target that has the conversation's history before its equals, where that is worth it. Asks for nothing where there is one cache.
 * Returns what it has; undefined where none has anything.
 */
export function preferCached(
	scored: readonly Scored[],
	policy: Policy,
	needs: Needs,
	state: StateView,
	keys: KeyState,
): CachedHistory | undefined {
	let group = Number.POSITIVE_INFINITY;
	for (const each of scored) if (each.group < group) group = each.group;
	let caches = 0;
	for (const { group: its, target } of scored) if (its === group) caches += cachesOf(target.provider);
	if (caches < 2 || !OPERATIONS[needs.operation].generates) return undefined;
	const history = needs.history();
	if (history.earlier.length === 0 && !history.named) return undefined;
	let held: Scored | undefined;
	let account = 0;
	let characters = -1;
	for (const each of scored) {
		if (each.group !== group || !each.target.provider.promptCache) continue;
		const found = cachedAt(state.conversations, each.target, history, (key, isSole) =>
			keys.isReady(each.target, key, isSole),
		);
		if (!found || found.characters <= characters) continue;
		({ account, characters } = found);
		held = each;
	}
	if (!held) return undefined;
	const tokens = Math.min(needs.tokens, Math.ceil(characters / PER_TOKEN));
	const savesUsd = savingOf(held.target, tokens);
	const stays = isWorthMore(held, savesUsd, scored, policy, needs);
	if (stays) {
		held.score = -1;
		held.basis = "cache";
	}
	return { target: held.target.id, account, tokens, savesUsd, stays };
}

/** USD that so many tokens of a prompt cost less where they are cached. */
export function savingOf({ price }: Pick<RouteTarget, "price">, tokens: number): number | undefined {
	if (price?.cached === undefined) return undefined;
	return (Math.max(0, price.input - price.cached) * tokens) / MILLION;
}

/**
 * Whether a target with the history in its cache is worth more than its equals without. `cheapest`: it costs no more with what is saved.
 * `balanced`: nor is price × time of another better by more than half; to leave it costs the saving of later calls, too. `fastest`: time alone
 * counts. Where calls are shared out by weights, or between the targets of one entry of an order, the cache decides.
 */
function isWorthMore(
	held: Scored,
	savesUsd: number | undefined,
	scored: readonly Scored[],
	policy: Policy,
	needs: Needs,
): boolean {
	// In an order each entry is a group: equals are the targets of one entry, between which nothing else decides.
	if (held.basis === "weight" || held.basis === "order") return true;
	if (held.basis !== "price" && held.basis !== "price and time") return false;
	let least = Number.POSITIVE_INFINITY;
	for (const { group, score, basis } of scored) {
		// What is asked to find out whether it is well comes first anyway, for one call.
		if (group === held.group && basis !== "probe") least = Math.min(least, score);
	}
	const cost = expectedCost(held.target, needs) ?? 0;
	const left = cost > 0 ? Math.max(0, cost - (savesUsd ?? 0)) / cost : 1;
	return held.score * left <= least * (policy === "balanced" ? STICKY_RATIO : 1);
}
