/** A plan in words: every candidate, with what was known of it and the reason of its rank. Pure. */
import { admits } from "./breaker.ts";
import { type CachedHistory, hasSeveralCaches } from "./cache-places.ts";
import type { Plan } from "./plan.ts";
import type { Needs } from "./requirements.ts";
import type { Kind, Policy, Route, RouteTarget, Tier } from "./route.ts";
import { expectedCost, isUnpriced, missingOf, type Scored, timeOf, uncachedOf, waitOf } from "./score.ts";

/** One candidate. Numbers that were not known are absent. */
export interface ExplainedTarget {
	/** 1 is tried first; absent where it is no candidate for this call. */
	readonly rank?: number | undefined;
	readonly id: string;
	readonly provider: string;
	readonly model: string;
	readonly agent?: string | undefined;
	readonly tier: Tier;
	readonly kind: Kind;
	/** Least first, among those of its kind and tier; absent where there was nothing to choose. */
	readonly score?: number | undefined;
	readonly reason: string;
	readonly inputs: Inputs;
}

/** What its score was made of. */
export interface Inputs {
	readonly in_flight?: number;
	readonly queued_characters?: number;
	readonly uncached_characters?: number;
	readonly wait_ms?: number;
	readonly time_ms?: number;
	readonly cost_usd?: number;
	readonly context?: number;
	readonly breaker?: string;
	readonly weight?: number;
	/** Its prompt cache has about so much of the conversation, which costs so much less there; and the setting that the key comes from, where one of several has it. */
	readonly cached_tokens?: number;
	readonly saved_usd?: number;
	readonly cached_key?: string;
}

/** The whole of it. */
export interface Explanation {
	/** As the client wrote it. */
	readonly model: string;
	/** How the name led here. */
	readonly route: string;
	readonly policy: Policy;
	readonly max_wait_ms?: number | undefined;
	/** What the call asks for. */
	readonly call: {
		readonly operation: Needs["operation"];
		readonly stream: boolean;
		readonly characters: number;
		readonly tokens: number;
		readonly max_tokens?: number | undefined;
		readonly needs: Needs["features"];
		readonly has_session: boolean;
	};
	/** An engine may have died of the call: what that changes. */
	readonly suspicion?: string | undefined;
	readonly candidates: readonly ExplainedTarget[];
}

/** What a plan was made of, and the plan. `now`: when, on the state's clock; nothing may have happened since. */
export interface Explained {
	readonly model: string;
	readonly needs: Needs;
	readonly route: Route;
	readonly plan: Plan;
	readonly now: number;
	/** Targets that the call would not be sent to when it is their turn, by id, and why. */
	readonly refusals?: ReadonlyMap<string, string> | undefined;
	/** See Explanation. */
	readonly suspicion?: string | undefined;
}

/** The explanation, as JSON shows it, of the best `most` candidates. */
export function explain(
	{ model, needs, route, plan, now, refusals, suspicion }: Explained,
	most = plan.scored.length,
): Explanation {
	const policy = route.alias?.policy ?? "balanced";
	// Every call with several targets comes by here, few with refusals.
	const kept = refusals?.size ? withoutRefused(plan, refusals) : plan;
	const candidates = kept.scored
		.slice(0, most)
		.map((each, at) => candidate(each, { needs, at, plan: kept, now, policy }));
	for (const each of kept === plan ? [] : plan.scored) {
		const reason = refusals?.get(each.target.id);
		if (reason) candidates.push(skipped(candidate(each, { needs, at: 0, plan: kept, now, policy }), reason));
	}
	const { operation, isStream, characters, tokens, maxTokens, features, session } = needs;
	return {
		model: model.slice(0, 200),
		route: route.reason,
		policy,
		max_wait_ms: route.alias?.max_wait,
		call: {
			operation,
			stream: isStream,
			characters,
			tokens,
			max_tokens: maxTokens,
			needs: features,
			has_session: session !== undefined,
		},
		...(suspicion === undefined ? {} : { suspicion }),
		candidates,
	};
}

function withoutRefused(plan: Plan, refusals: ReadonlyMap<string, string>): Plan {
	return { ...plan, scored: plan.scored.filter(({ target }) => !refusals.has(target.id)) };
}

/** A candidate that the call is not sent to, and why. */
function skipped({ rank: _, score: __, ...rest }: ExplainedTarget, reason: string): ExplainedTarget {
	return { ...rest, reason };
}

/** What became of a decision in which targets were skipped when it was their turn: as `explain` would have shown it, had it known. */
export function withSkipped(
	{ candidates, policy }: Pick<Explanation, "candidates" | "policy">,
	skips: readonly { readonly target: string; readonly reason: string }[],
): ExplainedTarget[] {
	const reasons = new Map(skips.map(({ target, reason }) => [target, reason]));
	const rest = candidates.filter(({ id }) => !reasons.has(id));
	const tried = rest.map((each, at) => {
		if (each.rank === undefined) return each;
		const isOnly = at === 0 && rest[1]?.rank === undefined;
		const reason = isOnly || (at === 0 && each.rank > 1) ? reasonAsFirst(each, policy, isOnly) : each.reason;
		return { ...each, rank: at + 1, reason };
	});
	const others = candidates.filter(({ id }) => reasons.has(id));
	return [
		...tried,
		...others.map((each) => ({ ...each, rank: undefined, score: undefined, reason: reasons.get(each.id)! })),
	];
}

/** What speaks against a target stays; its rank among the others is another one once those before it are gone. */
function reasonAsFirst({ reason, kind, inputs }: ExplainedTarget, policy: Policy, isOnly: boolean): string {
	const isOfRank =
		OF_RANK.has(reason.split(":")[0]!) || reason.startsWith("behind ") || reason.startsWith("coming back");
	if (!isOfRank) return reason;
	if (isOnly) return ONLY;
	if (inputs.weight !== undefined) return inputs.weight === 0 ? DRAINED : CHOSEN.weight;
	if (policy === "cheapest") return CHOSEN.price;
	if (policy === "fastest") return CHOSEN.time;
	if (kind === "cloud") return policy === "order" ? CHOSEN.order : CHOSEN["price and time"];
	return kind === "llm-d" ? LLMD_FIRST : CHOSEN.load;
}

function head({ id, provider, model, agent, tier = "targets", kind = "cloud" }: RouteTarget) {
	return { id, provider: provider.name, model, agent, tier, kind };
}

/** A candidate's rank among the others. */
interface CandidateContext {
	readonly needs: Needs;
	readonly at: number;
	readonly plan: Plan;
	readonly now: number;
	readonly policy: Policy;
}

function candidate(scored: Scored, context: CandidateContext): ExplainedTarget {
	const { target, view, penalty, score } = scored;
	const { needs, plan, now, at } = context;
	const { kind } = head(target);
	const waitMs = waitOf(target, view, now);
	const timeMs = timeOf(view, needs, now);
	const cost = expectedCost(target, needs);
	return {
		rank: penalty === "missing" ? undefined : at + 1,
		...head(target),
		score: Number.isFinite(score) && !isUnpriced(scored) ? round(score) : undefined,
		reason: reasonOf(scored, context),
		inputs: {
			in_flight: view.inFlight,
			...(kind === "local" && {
				queued_characters: view.queuedCharacters,
				uncached_characters: uncachedOf(target, view, plan.work.prompt),
			}),
			...(kind !== "cloud" && Number.isFinite(waitMs) && { wait_ms: Math.round(waitMs) }),
			...(timeMs !== undefined && { time_ms: Math.round(timeMs) }),
			...(cost !== undefined && { cost_usd: round(cost) }),
			...(target.context !== undefined && { context: target.context }),
			...(target.weight !== undefined && { weight: target.weight }),
			...(view.breaker.state !== "closed" && { breaker: view.breaker.state }),
			...(plan.cached?.target === target.id && cachedInputs(target, plan.cached)),
		},
	};
}

function cachedInputs({ provider }: RouteTarget, { account, tokens, savesUsd }: CachedHistory): Inputs {
	const { keySetting } = account === 0 ? provider : provider.otherAccounts![account - 1]!;
	return {
		cached_tokens: tokens,
		...(savesUsd !== undefined && { saved_usd: round(savesUsd) }),
		...(hasSeveralCaches(provider) && { cached_key: keySetting }),
	};
}

const FEATURES = {
	tools: "takes no tools",
	images: "takes no images",
	schema: "can't be held to a JSON schema",
	embeddings: "makes no embeddings",
} as const;

function reasonOf(scored: Scored, { needs, at, plan, now, policy }: CandidateContext): string {
	const { penalty, target, view } = scored;
	const waitMs = waitOf(target, view, now);
	const text = at === 0 ? whyFirst(scored, plan.scored) : whyBehind(scored, plan.scored[at - 1]!, policy);
	switch (penalty) {
		case "missing":
			return FEATURES[missingOf(target, needs)!];
		case "open":
			return `failed too often: tried last, and again in ${seconds(view.breaker.probeAt - now)}`;
		case "paused":
			return `${view.pausedFor}: tried last for ${seconds(view.pausedUntil - now)}`;
		case "keyless":
			return "has no key or address: tried last";
		case "late":
			return "its agent was not heard of lately: used where nothing else serves";
		case "loading":
			return target.isQueue
				? "its agent's queue: where its ready replicas fail"
				: "its model is being started: used where nothing else is ready";
		case "long":
			return `the prompt is longer than its context of ${target.context} tokens`;
		case "busy":
			return Number.isFinite(waitMs)
				? `its queue makes a call wait ${seconds(waitMs)}, longer than max_wait`
				: "its model is being loaded, which takes longer than max_wait";
		default:
			return admits(view.breaker, now) === "no" ? `${text}; its breaker is open, as most are, and so not heeded` : text;
	}
}

const CHOSEN = {
	load: "least uncached prompt × load",
	"price and time": "best price × time",
	price: "cheapest",
	time: "fastest",
	order: "first in order",
	weight: "drawn by weight",
	session: "has the session's last calls",
	cache: "its prompt cache has the conversation",
	probe: "tried, to find out whether it is well again",
	ramp: "coming back, and nothing else is there",
} as const;

function whyFirst(
	{ basis, score, group, target: { kind, weight, placement } }: Scored,
	all: readonly Scored[],
): string {
	if (all.length === 1) return ONLY;
	if (isUnpriced({ basis, score })) return NO_PRICES;
	if (placement !== undefined && basis === "load") return `${LOADED_HERE}: ${placement}`;
	if (basis === "weight") {
		const entries = new Map(
			all.flatMap(({ group: its, target }) => (its === group ? [[target.position, target]] : [])),
		);
		const sum = [...entries.values()].reduce((weights, target) => weights + (target.weight ?? 0), 0);
		return weight === 0 ? DRAINED : `${CHOSEN.weight}: ${weight} of ${round(sum)}`;
	}
	return basis === "load" && kind === "llm-d" ? LLMD_FIRST : CHOSEN[basis];
}

/** Why it comes after the one before it. */
function whyBehind(scored: Scored, before: Scored, policy: Policy): string {
	const { target, basis } = scored;
	const [its, other] = [head(target), head(before.target)];
	if (before.penalty !== scored.penalty) return LAST;
	if (other.tier !== its.tier) return FALLBACK;
	if (before.group !== scored.group && target.weight !== undefined) {
		return target.weight === 0 && before.target.weight !== 0 ? DRAINED : NOT_LOADED;
	}
	if (before.group !== scored.group) {
		const { readiness = 0 } = target;
		if (readiness > 0 && readiness < 1) return RETIRED;
		// Equals but for the side of the trial.
		if (target.canaryShare !== undefined && Math.floor(scored.group) === Math.floor(before.group))
			return target.isCanary ? NOT_ITS_SHARE : TRIED_ELSEWHERE;
		if (its.tier === "fallback" || (policy === "order" && target.position !== before.target.position))
			return LATER_IN_ORDER;
		if (policy === "balanced" && its.kind !== other.kind) return LATER[its.kind];
		return target.placement === undefined ? NOT_LOADED : `${NOT_LOADED}: ${target.placement}`;
	}
	if (basis === "ramp") return "coming back: gets its share little by little";
	if (before.score === scored.score && before.second === scored.second) return AS_GOOD;
	if (isUnpriced(scored)) return NO_PRICE;
	if (basis === "weight" && target.position === before.target.position) return "behind the other of its entry";
	return (before.basis === basis && BEHIND[basis]) || `behind ${other.id}: ${CHOSEN[before.basis]}`;
}

const ONLY = "the only one";
const NO_PRICE = "its price is not known";
const NO_PRICES = "no price is known of any: the least load";
const LLMD_FIRST = "llm-d comes before vendors";
const LAST = "tried last";
const FALLBACK = "fallback: where no target answers";
const LATER_IN_ORDER = "later in order";
const AS_GOOD = "as good as the one before it";
const DRAINED = "weight 0: used where no other of its list is well";
const NOT_ITS_SHARE = "on trial: its share of conversations has others";
const TRIED_ELSEWHERE = "the conversation is of the share of the one on trial";
const NOT_LOADED = "its model has yet to be loaded";
const RETIRED = "retired: it finishes the calls that it has";
const LOADED_HERE = "the best place to load it";
const LATER = {
	local: "local targets come later",
	"llm-d": "behind the local replicas",
	cloud: "behind local replicas and llm-d",
} as const;
const BEHIND: Partial<Record<Scored["basis"], string>> = {
	load: "more uncached prompt × load",
	price: "dearer",
	time: "slower",
	weight: "drawn later",
	"price and time": "worse price × time",
};

/** Reasons that are about the targets beside it, up to their colon. */
const OF_RANK: ReadonlySet<string> = new Set(
	[...Object.values(CHOSEN), ...Object.values(BEHIND), ...Object.values(LATER)]
		.concat(LLMD_FIRST, NO_PRICE, NO_PRICES, LAST, FALLBACK, LATER_IN_ORDER, AS_GOOD)
		.concat(DRAINED, NOT_ITS_SHARE, TRIED_ELSEWHERE, NOT_LOADED, LOADED_HERE, RETIRED)
		.map((reason) => reason.split(":")[0]!),
);

/** Three digits that say something. */
const round = (value: number): number => Number(value.toPrecision(4));
/** 1234 → `1.2 s`. */
export const seconds = (ms: number): string => `${Math.max(0, Math.round(ms / 100) / 10)} s`;
