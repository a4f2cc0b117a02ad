/** What each candidate of a plan is worth. Pure. */

import { listPriceOf } from "../accounts/usage/price-book.ts";
import type { Prompt } from "./affinity.ts";
import { admits, shareOf } from "./breaker.ts";
import type { Needs } from "./requirements.ts";
import type { Feature, Kind, Policy, Route, RouteTarget } from "./route.ts";
import type { StateView, TargetView } from "./target-state.ts";

/** Why a candidate comes after the others, and how far: level 0 is for those with none. */
const LEVELS = { long: 1, busy: 1, loading: 1, late: 2, paused: 3, open: 3, keyless: 4, missing: 5 } as const;
/** The name of one. */
export type Penalty = keyof typeof LEVELS;

/** A candidate, and what it is worth. Few fields: a hundred of these are made for a call. */
export interface Scored {
	readonly target: RouteTarget;
	readonly view: TargetView;
	/** `missing`: what the call asks is something it can't do, so it is no target at all. */
	readonly penalty: Penalty | undefined;
	/** Least first: its penalty's level, tier, what the policy puts first (kind, or position in the configuration), readiness. */
	readonly group: number;
	/** Within its group, least first: by `basis`. */
	score: number;
	/** Between equal scores, then between equals in this, too. */
	second: number;
	readonly tie: number;
	basis: Basis;
}

/** What made a score. `cache`: its prompt cache has the conversation's history. `weight`: it was drawn, by its entry's share of calls. `probe`: it is tried first, to find out whether it is well again. `ramp`: it is not its turn yet. */
export type Basis =
	| "load"
	| "price and time"
	| "price"
	| "time"
	| "order"
	| "weight"
	| "session"
	| "cache"
	| "probe"
	| "ramp";

/** What is decided by. */
export interface ScoreInput {
	readonly needs: Needs;
	readonly prompt: Prompt;
	readonly route: Route;
	readonly state: StateView;
	readonly now: number;
	readonly random: () => number;
}

/** An answer's length where the client sets no limit, tokens; how much input and output weigh depends on it, no more. */
const USUAL_ANSWER = 500;
/** From this readiness on calls can only wait for a target, and from that one on its agent was not heard of lately. */
const WAITING = 50;
const LATE = 100;
/** A replica of the other side of a trial comes behind all of its own side, and before whatever has to be loaded first. */
const OTHER_SIDE = 0.5;
/** A session stays where it was, unless that has more calls than the least busy has, times 1.5 and 8. */
export const STICKY_RATIO = 1.5;
const STICKY_SLACK = 8;
/**
 * Where all replicas' caches are known, not guessed: what one computes again takes the time of later calls, and the place of what they would
 * find. With a guess half of it would be weighed for nothing. test/bench/routing.ts says what it saves.
 */
const EXACT_WEIGHT = 2;
const KINDS: Record<Kind, number> = { local: 0, "llm-d": 1, cloud: 2 };
/** Room for standings, and for places, within a group's number. */
const ROOM = 1_000;
/** More than any load, so that kinds come first; and than any price, for targets that have none. */
const BEYOND_ANY_LOAD = 1e15;
/** Whether it was weighed by its price, and nobody knows that. */
export const isUnpriced = ({ basis, score }: Pick<Scored, "basis" | "score">): boolean =>
	basis === "price" && score === BEYOND_ANY_LOAD;
/** Free vendors are compared by their speed. USD, and ms. */
const LEAST_COST = 1e-9;
const LEAST_TIME = 1;

/** Scores every target of the route, in the route's order. */
export function score(input: ScoreInput): Scored[] {
	const { route, state, needs } = input;
	const { targets } = route;
	const views: TargetView[] = [];
	for (const { id } of targets) views.push(state.of(id));
	const comparison = comparisonOf(input, views);
	const scored: Scored[] = [];
	let drawnFor: RouteTarget | undefined;
	let draw = 0;
	for (let at = 0; at < targets.length; at++) {
		const target = targets[at]!;
		// The targets of one entry stand beside each other, and have one share together.
		if (target.weight !== undefined && !(drawnFor && isOfOneEntry(drawnFor, target))) {
			draw = drawOf(target.weight, input.random());
			drawnFor = target;
		}
		const each = scoreOne(input, comparison, target, views[at]!);
		if (target.weight !== undefined) shareOut(each, draw);
		scored.push(each);
	}
	const last = needs.session === undefined ? undefined : state.session(needs.session);
	if (last !== undefined) preferSession(scored, last);
	return scored;
}

const isOfOneEntry = (one: RouteTarget, other: RouteTarget): boolean =>
	one.position === other.position && one.tier === other.tier;

/**
 * An exponential variate of the rate `weight`, for a chance from 0 to 1: of several the least is each one's with the probability of its
 * share, and so is the next of those that are left. A weight of 0 is behind all others by its group.
 */
function drawOf(weight: number, chance: number): number {
	return weight > 0 ? -Math.log(1 - chance) / weight : 0;
}

/** What was drawn decides; between the targets of one entry what would have decided without. */
function shareOut(scored: Scored, draw: number): void {
	if (scored.basis === "probe" || scored.basis === "ramp") return;
	scored.basis = "weight";
	scored.second = scored.score;
	scored.score = draw;
}

/** What the policy puts first within a tier: of targets whose calls are shared out, those that have a share at all. */
function partOf({ weight, kind = "cloud", position = 0 }: RouteTarget, policy: Policy): number {
	if (weight !== undefined) return weight > 0 ? 0 : 1;
	return policy === "order" ? position : policy === "balanced" ? KINDS[kind] : 0;
}

/** What one candidate's worth depends on besides itself. */
interface Comparison {
	readonly policy: Policy;
	/** Of each sort: whose open breakers are not listened to; undefined where none is open. */
	readonly ignored: readonly Ignored[] | undefined;
	/** How much more what has to be computed counts than what waits. */
	readonly computeWeight: number;
	/** Of vendors whose time, or price, is not known. */
	readonly usualTime: number;
	readonly usualCost: number;
}

/** Equals, as far as the breaker's rule goes: of one kind and tier. */
const SORTS = 6;
const sortOf = ({ tier, kind = "cloud" }: RouteTarget): number => KINDS[kind] + (tier === "fallback" ? 3 : 0);

function comparisonOf({ route, needs, now }: ScoreInput, views: readonly TargetView[]): Comparison {
	let isAnyOpen = false;
	let isGuessed = false;
	let usualTime = Number.POSITIVE_INFINITY;
	let costs = 0;
	let priced = 0;
	for (let at = 0; at < views.length; at++) {
		const target = route.targets[at]!;
		const view = views[at]!;
		if (admits(view.breaker, now) === "no") isAnyOpen = true;
		if (target.kind === "local") isGuessed ||= view.prefixes?.held === undefined;
		if (target.kind !== "cloud" && target.kind !== undefined) continue;
		usualTime = Math.min(usualTime, timeOf(view, needs, now) ?? usualTime);
		const cost = expectedCost(target, needs);
		if (cost === undefined) continue;
		costs += cost;
		priced++;
	}
	return {
		policy: route.alias?.policy ?? "balanced",
		ignored: isAnyOpen ? ignoredSorts(route.targets, views, now) : undefined,
		computeWeight: isGuessed ? 1 : EXACT_WEIGHT,
		usualTime: usualTime === Number.POSITIVE_INFINITY ? LEAST_TIME : usualTime,
		usualCost: priced > 0 ? costs / priced : LEAST_COST,
	};
}

/** Of a sort, whose open breakers are not listened to: of those that still take connections, where some do. */
type Ignored = "none" | "reachable" | "all";

/** Most of them ill at once: more likely we are, or few would bear the load of all. Unless another sort is well. */
function ignoredSorts(targets: readonly RouteTarget[], views: readonly TargetView[], now: number): Ignored[] {
	const there = new Array<number>(SORTS).fill(0);
	const well = new Array<number>(SORTS).fill(0);
	const open = new Array<number>(SORTS).fill(0);
	for (let at = 0; at < views.length; at++) {
		const counts = admits(views[at]!.breaker, now) === "no" ? open : well;
		const sort = sortOf(targets[at]!);
		counts[sort]! += 1;
		if (!views[at]!.isUnreachable) there[sort]! += 1;
	}
	const wellInAll = well.reduce((sum, count) => sum + count);
	return open.map((count, sort) => {
		if (count <= well[sort]! || wellInAll !== well[sort]) return "none";
		// The dead have nothing in flight: they would come first.
		return there[sort]! > 0 ? "reachable" : "all";
	});
}

/** The other side of a trial comes behind its equals, and before the next rank: one that is retired before what would have to be loaded. */
const rankOf = (readiness: number, isOtherSide: boolean): number =>
	isOtherSide ? readiness + OTHER_SIDE * (1 - (readiness % 1)) : readiness;

/** Whether an open breaker is listened to. */
const isBreakerHeeded = ({ isUnreachable }: TargetView, ignored: Ignored | undefined): boolean =>
	ignored === "all" ? false : ignored === "reachable" ? isUnreachable === true : true;

function scoreOne(input: ScoreInput, comparison: Comparison, target: RouteTarget, view: TargetView): Scored {
	const { needs, prompt, now, random } = input;
	const { tier, kind = "cloud", position = 0, canaryShare } = target;
	const { inFlight, breaker } = view;
	const isOtherSide = canaryShare !== undefined && needs.conversation() < canaryShare !== target.isCanary;
	const readiness = rankOf(target.readiness ?? 0, isOtherSide);
	const isFallback = tier === "fallback";
	const policy = isFallback ? "order" : comparison.policy;
	const admitted = admits(breaker, now);
	const penalty = penaltyOf(
		input,
		target,
		view,
		admitted === "no" && isBreakerHeeded(view, comparison.ignored?.[sortOf(target)]),
	);
	const isVendor = kind === "cloud";
	const load =
		kind === "local"
			? (uncachedOf(target, view, prompt) * comparison.computeWeight + view.queuedCharacters) * (inFlight + 1)
			: inFlight;

	let basis: Basis = "load";
	let score = load;
	let second = 0;
	if (policy === "cheapest") {
		basis = "price";
		score = expectedCost(target, needs) ?? BEYOND_ANY_LOAD;
		second = KINDS[kind] * BEYOND_ANY_LOAD + (isVendor ? (timeOf(view, needs, now) ?? comparison.usualTime) : load);
	} else if (policy === "fastest") {
		basis = "time";
		// A vendor's capacity is no matter of the few calls that we have there.
		score = (timeOf(view, needs, now) ?? 0) * (isVendor ? 1 : inFlight + 1);
		second = load;
	} else if (isVendor) {
		basis = policy === "order" ? "order" : "price and time";
		score = policy === "order" ? 0 : vendorScore(comparison, target, view, needs, now);
	}
	if (admitted === "probe") {
		basis = "probe";
		score = Number.NEGATIVE_INFINITY;
	} else if (breaker.closedAt > Number.NEGATIVE_INFINITY && random() >= shareOf(breaker, now)) {
		basis = "ramp";
		score = Number.POSITIVE_INFINITY;
	}
	const level = penalty === undefined ? 0 : LEVELS[penalty];
	return {
		target,
		view,
		penalty,
		group: ((level * 2 + (isFallback ? 1 : 0)) * ROOM + partOf(target, policy)) * ROOM + readiness,
		score,
		second,
		// Replicas are as good as each other; between others their owner's order counts.
		tie: target.isReplica ? random() : position,
		basis,
	};
}

function vendorScore(comparison: Comparison, target: RouteTarget, view: TargetView, needs: Needs, now: number): number {
	const cost = expectedCost(target, needs) ?? comparison.usualCost;
	const time = timeOf(view, needs, now) ?? comparison.usualTime;
	return Math.max(cost, LEAST_COST) * Math.max(time, LEAST_TIME);
}

function penaltyOf(
	{ needs, route, now }: ScoreInput,
	target: RouteTarget,
	view: TargetView,
	isOpen: boolean,
): Penalty | undefined {
	const { context, readiness = 0, lacks } = target;
	if (lacks && missingOf(target, needs) !== undefined) return "missing";
	if (target.isKeyless) return "keyless";
	if (isOpen) return "open";
	if (now < view.pausedUntil) return "paused";
	if (readiness >= LATE) return "late";
	if (readiness >= WAITING) return "loading";
	if (context !== undefined && needs.leastTokens + (needs.maxTokens ?? 0) > context) return "long";
	const maxWait = route.alias?.max_wait;
	return maxWait !== undefined && waitOf(target, view, now) > maxWait ? "busy" : undefined;
}

/** What the call asks that the target is known not to do. */
export function missingOf({ lacks }: RouteTarget, { features }: Needs): Feature | undefined {
	return lacks && features.find((feature) => lacks.includes(feature));
}

/** Characters of a prompt that a target would have to compute. Only of replicas anything is known. */
export function uncachedOf({ kind }: RouteTarget, { prefixes }: TargetView, prompt: Prompt): number {
	return kind === "local" && prefixes ? prefixes.uncached(prompt) : Math.max(1, prompt.characters);
}

/**
 * How long a call would wait for its turn, ms. What each call before it takes was measured; and it won't be served before the one
 * that waits longest. A model that has yet to be loaded keeps all but the call that has it loaded waiting for minutes. Vendors
 * have no queue that is ours to see.
 */
export function waitOf(
	{ kind = "cloud", readiness = 0, reportedWaiting = 0 }: RouteTarget,
	view: TargetView,
	now: number,
): number {
	if (kind === "cloud") return 0;
	const { waiting, waitingSince = now, inFlight } = view;
	if (readiness >= 1 && readiness < LATE) return inFlight > 0 ? Number.POSITIVE_INFINITY : 0;
	const ahead = Math.max(waiting, reportedWaiting);
	return ahead === 0 ? 0 : Math.max(now - waitingSince, ahead * (view.waitPerCall.mean(now) ?? 0));
}

/** Mean time to the first token, or to the whole answer, ms; undefined where nothing was measured. */
export function timeOf(view: TargetView, { isStream }: Needs, now: number): number | undefined {
	return (isStream ? view.firstToken : view.answer).mean(now);
}

/** USD the call is likely to cost; undefined where nobody knows the price. */
export function expectedCost({ price }: RouteTarget, { tokens, maxTokens = USUAL_ANSWER }: Needs): number | undefined {
	return price && listPriceOf(price, tokens, Math.min(maxTokens, USUAL_ANSWER * 2));
}

/** Puts the target that has the session's history first in its group, where that does not make it wait. */
function preferSession(scored: readonly Scored[], last: string): void {
	const previous = scored.find(({ target }) => target.id === last);
	if (!previous || previous.basis === "probe" || previous.basis === "ramp") return;
	let least = Number.POSITIVE_INFINITY;
	// Among targets of weight 0 all have the same share.
	const its = previous.target.weight || 1;
	for (const { group, view, target } of scored) {
		// One with a larger share is busier without being busy.
		if (group === previous.group) least = Math.min(least, view.inFlight * (its / (target.weight || its)));
	}
	if (previous.view.inFlight > least * STICKY_RATIO + STICKY_SLACK) return;
	previous.score = -1;
	previous.basis = "session";
}
