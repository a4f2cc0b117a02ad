/** The decision about a recorded call, made again: the plan's own code, with the candidates as they were and the load as the replay has it. */
import type { Price } from "../../accounts/usage/price-book.ts";
import type { ModelConfig } from "../../config/schema.ts";
import type { Provider } from "../../providers/provider.ts";
import { BLOCK, MOST_BLOCKS, NO_BLOCKS, type PrefixCache, type Prompt } from "../../routing/affinity.ts";
import { type Breaker, CLOSED } from "../../routing/breaker.ts";
import type { History } from "../../routing/history.ts";
import { plan } from "../../routing/plan.ts";
import { blocksOf } from "../../routing/plan-snapshot.ts";
import type { Needs } from "../../routing/requirements.ts";
import type { Policy, Route, RouteTarget } from "../../routing/route.ts";
import type { StateView, TargetView } from "../../routing/target-state.ts";
import type { RecordedCall, RecordedCandidate, RecordedPlan } from "./recorded-call.ts";

/** A call that is planned again. */
export interface PlannedCall extends RecordedCall {
	readonly plan: RecordedPlan;
}

/** Whether it is one. */
export const isPlanned = (call: RecordedCall): call is PlannedCall => call.plan !== undefined;

/** What the prompt of a call was, as far as its marks say; without marks no replica's cache has any of it. */
export function promptOfCall({ plan: { call, marks }, id }: PlannedCall): Prompt {
	const { characters } = call;
	if (marks.length === 0) return { characters, blocks: NO_BLOCKS };
	const count = Math.min(MOST_BLOCKS, Math.floor(characters / BLOCK));
	return { characters, blocks: blocksOf(marks, count, Bun.hash.xxHash32(id)) };
}

/**
 * Characters of a prompt that a target has to compute, as the replay knows it: as was recorded where that may be the same, since marks are coarser
 * than blocks.
 */
export function uncachedAt(view: TargetView, prompt: Prompt, recorded: number | undefined): number {
	const { characters } = prompt;
	const found = view.prefixes?.uncached(prompt) ?? Math.max(1, characters);
	if (recorded === undefined) return found;
	const known = characters - Math.min(found, recorded);
	return Math.abs(found - recorded) <= known / 16 + BLOCK ? recorded : found;
}

/** What a vendor's prompt cache has of a call. */
export interface CachedPart {
	/** The target's id. */
	readonly target: string;
	/** Of the prompt. */
	readonly tokens: number;
}

/**
 * Where the call goes: the id of the plan's first target; undefined where none was one.
 * @param policy undefined: the call's own
 * @param now on the state's clock, ms
 * @param cached what the conversation's calls before this one have left in a cache
 */
export function replannedTarget(
	call: PlannedCall,
	prompt: Prompt,
	state: StateView,
	now: number,
	policy: Policy | undefined,
	cached: CachedPart | undefined,
): string | undefined {
	const { candidates } = call.plan;
	const able = candidates.filter(({ penalty }) => penalty !== "missing").sort(byPlace);
	const recorded = new Map(able.map((candidate) => [candidate.id, candidate]));
	const targets = able.map((candidate) => routeTarget(candidate, call, policy !== undefined, cached));
	const { policy: own, maxWaitMs } = call.plan;
	const alias = { name: call.model, policy: policy ?? own, max_wait: maxWaitMs } as ModelConfig;
	const route: Route = { targets, reason: "replay", label: call.model, alias };
	const view: StateView = {
		of: (id) => viewOf(state.of(id), recorded.get(id)!),
		session: (name) => state.session(name),
		conversations: state.conversations,
	};
	const chances = chancesOf(call, able, targets);
	return plan(needsOf(call, prompt), route, view, now, () => chances.shift() ?? 0).targets[0]?.id;
}

/** As in a configuration: the targets of one entry stand beside each other. */
function byPlace(one: RecordedCandidate, other: RecordedCandidate): number {
	if (one.tier !== other.tier) return one.tier === "fallback" ? 1 : -1;
	return one.position - other.position || (one.id < other.id ? -1 : 1);
}

/** Another policy chooses otherwise than by shares, where there were some. What is cached is weighed by what it saves of the price. */
function routeTarget(
	candidate: RecordedCandidate,
	call: PlannedCall,
	isOtherPolicy: boolean,
	cached: CachedPart | undefined,
): RouteTarget {
	const { id, provider, model, agent, tier, kind, position, isReplica, rank, penalty, inputs } = candidate;
	const price =
		cached?.target === id ? withCached(candidate.price, cached.tokens / call.plan.call.tokens) : candidate.price;
	return {
		...{ id, provider: { name: provider } as Provider, model, agent, tier, kind, position, isReplica, price },
		readiness: rank,
		weight: isOtherPolicy ? undefined : inputs.weight,
		isKeyless: penalty === "keyless" || undefined,
		// Its context was too small for this call.
		context: penalty === "long" ? -1 : undefined,
	};
}

function withCached(price: Price | undefined, share: number): Price | undefined {
	if (price?.cached === undefined || !(share > 0)) return price;
	return { ...price, input: price.input - Math.max(0, price.input - price.cached) * Math.min(1, share) };
}

const OPEN: Breaker = { ...CLOSED, state: "open", probeAt: Number.POSITIVE_INFINITY };
const PROBED: Breaker = { ...CLOSED, state: "open", probeAt: Number.NEGATIVE_INFINITY };
const COMING_BACK: Breaker = { ...CLOSED, closedAt: Number.POSITIVE_INFINITY };

/** The replay's load and times of a target, and its health as it was. */
function viewOf(view: TargetView, { penalty, breaker, inputs, isReported }: RecordedCandidate): TargetView {
	const { prefixes } = view;
	const { inFlight, waiting, queuedCharacters, waitingSince, firstToken, answer, answerTokens, waitPerCall } = view;
	const cache = {
		uncached: (prompt: Prompt) => uncachedAt(view, prompt, inputs.uncached_characters),
		held: isReported ? {} : undefined,
	};
	return {
		...{ inFlight, waiting, queuedCharacters, waitingSince, firstToken, answer, answerTokens, waitPerCall },
		prefixes: prefixes || isReported ? (cache as unknown as PrefixCache) : undefined,
		breaker: penalty === "open" ? OPEN : breaker === "probe" ? PROBED : breaker === "ramp" ? COMING_BACK : CLOSED,
		// A breaker that was listened to is so again, however many are open: else a dead target, which has nothing in flight, would come first.
		isUnreachable: penalty === "open",
		pausedUntil: penalty === "paused" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY,
		pausedFor: "",
	};
}

const NOTHING = { hash: 0n, characters: 0 };
const NO_HISTORY: History = {
	...{ earlier: [], whole: NOTHING, before: 0, first: NOTHING, session: undefined, named: undefined },
};

function needsOf({ isStream, plan: { call, session } }: PlannedCall, prompt: Prompt): Needs {
	const { operation, characters, tokens, max_tokens: maxTokens } = call;
	return {
		...{ operation, isStream, characters, tokens, maxTokens, session },
		features: [],
		// Whether it fits is recorded.
		leastTokens: 0,
		conversation: () => 0,
		history: () => NO_HISTORY,
		prompt: () => prompt,
	};
}

/**
 * The chances of a plan, in the order in which it asks for them: such that of targets that were equal when the call was made the same comes first again, and
 * so of entries whose weights were drawn.
 */
function chancesOf(call: PlannedCall, able: readonly RecordedCandidate[], targets: readonly RouteTarget[]): number[] {
	const { candidates } = call.plan;
	const rankOf = new Map(candidates.map(({ id }, rank) => [id, rank]));
	const heaviest = Math.max(1, ...targets.map(({ weight = 0 }) => weight));
	const chances: number[] = [];
	let entry: string | undefined;
	for (const [at, candidate] of able.entries()) {
		const rank = rankOf.get(candidate.id)!;
		const { weight } = targets[at]!;
		const its = `${candidate.tier} ${candidate.position}`;
		if (weight !== undefined && its !== entry) {
			entry = its;
			const best = Math.min(
				...able.filter((each) => `${each.tier} ${each.position}` === its).map(({ id }) => rankOf.get(id)!),
			);
			// The variate that is drawn by this chance is in proportion to the rank, whatever the weight.
			chances.push(1 - Math.exp((-weight * (best + 1)) / (1_000 * heaviest)));
		}
		// It did not get its share then.
		if (candidate.breaker === "ramp") chances.push(1);
		if (candidate.isReplica) chances.push(tieOf(call, candidate, rank));
	}
	return chances;
}

/** Less than 1: by chance between those that were not equal, by their order between those that were. */
function tieOf({ id }: PlannedCall, { score, penalty, tier }: RecordedCandidate, rank: number): number {
	const equals = Bun.hash.xxHash32(JSON.stringify([id, tier, penalty, score])) / 2 ** 32;
	return equals * 0.99 + rank * 1e-4;
}
