/**
 * Which targets a call is tried at, and in which order. Pure: everything it decides by is handed to it, so the same call in the
 * same state with the same random numbers gets the same plan. Every call to several targets is planned: test/bench/plan-cost.ts says what that costs.
 */
import { NO_BLOCKS } from "./affinity.ts";
import type { CachedHistory } from "./cache-places.ts";
import { type KeyState, preferCached } from "./cached-target.ts";
import type { Needs } from "./requirements.ts";
import type { Route, RouteTarget } from "./route.ts";
import { type Scored, score } from "./score.ts";
import type { StateView, Work } from "./target-state.ts";

/** What a call is to do. */
export interface Plan {
	/** In the order to try. Empty where no target can do what the call asks. */
	readonly targets: readonly RouteTarget[];
	/** For `RoutingState.opened`. */
	readonly work: Work;
	/** Every candidate in that order, those that can't do it last. */
	readonly scored: readonly Scored[];
	/** Which of them has the call's history in its prompt cache, and what that is worth; absent where none has. */
	readonly cached?: CachedHistory | undefined;
}

/** What comes behind so many that all failed is no matter of merit, and sorting a hundred would cost half of the budget. */
const RANKED = 8;
const ALL_READY: KeyState = { isReady: () => true };

/**
 * The plan for a call. Last come targets that are out of use: where all others have failed, they are worth a try.
 * @param random a number from 0 to 1, anew at each call
 * @param ranked how many are put in order; the others follow in the route's
 * @param keys what is known of keys, where providers may have several
 */
export function plan(
	needs: Needs,
	route: Route,
	state: StateView,
	now: number,
	random: () => number,
	ranked: number = RANKED,
	keys: KeyState = ALL_READY,
): Plan {
	let replicas = 0;
	for (const { kind } of route.targets) if (kind === "local") replicas++;
	const prompt = replicas > 1 ? needs.prompt() : { characters: needs.characters, blocks: NO_BLOCKS };
	const scored = score({ needs, prompt, route, state, now, random });
	// A session that its client names stays where it is, whatever that costs.
	const isPlaced = needs.session !== undefined && state.session(needs.session) !== undefined;
	const policy = route.alias?.policy ?? "balanced";
	const isAsked = !isPlaced && replicas < scored.length;
	const cached = isAsked ? preferCached(scored, policy, needs, state, keys) : undefined;
	if (ranked < scored.length) bringForward(scored, ranked);
	else scored.sort(byScore);
	const targets: RouteTarget[] = [];
	for (const { target, penalty } of scored) if (penalty !== "missing") targets.push(target);
	return { targets, work: { prompt, session: needs.session }, scored, cached };
}

/** Puts the best `count` first, in order. */
function bringForward(scored: Scored[], count: number): void {
	for (let position = 0; position < count; position++) {
		let best = position;
		for (let at = position + 1; at < scored.length; at++) if (byScore(scored[at]!, scored[best]!) < 0) best = at;
		const other = scored[position]!;
		scored[position] = scored[best]!;
		scored[best] = other;
	}
}

function byScore(a: Scored, b: Scored): number {
	if (a.group !== b.group) return a.group - b.group;
	// Not by their difference: two may be infinite.
	if (a.score !== b.score) return a.score < b.score ? -1 : 1;
	return a.second - b.second || a.tie - b.tie;
}
