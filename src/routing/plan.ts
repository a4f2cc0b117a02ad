/**
 * Which targets a call is tried at, and in which order. Pure: everything it decides by is handed to it, so the same call in the
 * same state always gets the same plan. Budget: 20 µs with 100 targets that remember 10,000 blocks each.
 */
import { NO_BLOCKS } from "./affinity.ts";
import { type Judged, judge } from "./judge.ts";
import type { Needs } from "./needs.ts";
import type { Route, RouteTarget } from "./route.ts";
import type { StateView, Work } from "./state.ts";

/** What a call is to do. */
export interface Plan {
	/** In the order to try. Empty where no target can do what the call asks. */
	readonly targets: readonly RouteTarget[];
	/** For `RoutingState.opened`; absent where there was nothing to choose. */
	readonly work?: Work | undefined;
	/** Every candidate in that order, those that can't do it last; absent where there was nothing to choose. */
	readonly judged?: readonly Judged[] | undefined;
}

/**
 * The plan for a call. Last come the targets that are out of use: where all others have failed, they are worth a try.
 * @param dice a number from 0 to 1, anew at each call
 */
export function plan(needs: Needs, route: Route, state: StateView, now: number, dice: () => number): Plan {
	let replicas = 0;
	for (const { kind } of route.targets) if (kind === "local") replicas++;
	const prompt = replicas > 1 ? needs.prompt() : { characters: needs.characters, blocks: NO_BLOCKS };
	const work: Work = { prompt, session: needs.session };
	const judged = judge({ needs, prompt, route, state, now, dice });
	judged.sort(byRank);
	const targets: RouteTarget[] = [];
	for (const { target, missing } of judged) if (missing === undefined) targets.push(target);
	return { targets, work, judged };
}

function byRank(a: Judged, b: Judged): number {
	if (a.level !== b.level) return a.level - b.level;
	if (a.group !== b.group) return a.group - b.group;
	// Not by their difference: two may be infinite.
	if (a.score !== b.score) return a.score < b.score ? -1 : 1;
	return a.second - b.second || a.tie - b.tie;
}
