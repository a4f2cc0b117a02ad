/** Which agent serves a model, and in what order agents are tried. Pure decisions over what the agents have said. */
import type { GpuReport, ModelGoal, ModelReport } from "../protocol/agent.ts";
import type { Target } from "../providers/provider.ts";
import { shortText } from "../short-text.ts";
import { type Lease, leaseAt } from "./lease.ts";
import { offerOf, rankOffers } from "./placement.ts";
import type { RouteTarget } from "./route.ts";

/** The agents' models as they are at this moment, as the catalog asks for them. */
export interface Fleet {
	/** No agent is known: none has registered, or none was heard of for so long that it was forgotten. */
	readonly isEmpty: boolean;
	/** The models that can be called now, agents in the order of their coming. */
	readonly names: readonly string[];
	/** The model that `local` means: the first that is ready, else the first that can be loaded. */
	readonly first: string | undefined;
	/** Where a model (or `agent/model`, which calls ask for as `local/agent/model`) runs, the readiest first; none where nobody serves it. */
	targets(model: string): readonly FleetTarget[];
	/** Of a LoRA adapter at an agent, by default the first that is called by its name: the model that it changes; undefined for what is none. */
	parentOf?(model: string, agent?: string): string | undefined;
	/** Why no agent serves a model (or `agent/model`) that agents know, one clause an agent; undefined where none knows it. */
	absence(model: string): string | undefined;
	/** Names that some agent serves a model by, or once did: prompts for them are meant for the user's own machines. */
	readonly served: ReadonlySet<string>;
	/** Adds to `served` what an agent says that has not registered. */
	learn?(names: readonly string[]): void;
}

/** A model at an agent, and what the agent last said of it. */
export type FleetTarget = Target &
	Pick<
		RouteTarget,
		| "readiness"
		| "isQueue"
		| "context"
		| "parent"
		| "engine"
		| "reopens"
		| "isAsleep"
		| "reportedWaiting"
		| "canaryShare"
		| "isCanary"
		| "placement"
	>;

/** A router without agents. */
export const NO_FLEET: Fleet = {
	isEmpty: true,
	names: [],
	first: undefined,
	targets: () => [],
	absence: () => undefined,
	served: new Set(),
};

/** What is known of one agent. */
export interface AgentView {
	readonly name: string;
	/** On the lease clock, ms. */
	readonly heardAt: number;
	/** The router could call its endpoint when it last tried. */
	readonly isReachable: boolean;
	/** It can't be called, and until then opens the way to it again by itself, on the lease clock, ms. */
	readonly reopensUntil?: number | undefined;
	/** A call could not reach it since it was last heard of. */
	readonly isSuspect: boolean;
	/** Why the router refused a request in its name since it was last heard of: a clause. */
	readonly refused?: string | undefined;
	/** By name, in the order of its report. */
	readonly models: ReadonlyMap<string, ModelReport>;
	readonly gpus?: readonly GpuReport[] | undefined;
	/** What the router has told it of its on-demand models. */
	readonly goals?: readonly ModelGoal[] | undefined;
}

/** What loading takes, least first: a model that is on its way somewhere is not loaded elsewhere, too. */
const LOADING = ["sleeping", "starting", "pulling", "stopped", "draining"];

/**
 * How well an agent serves a model, 0 best; undefined where it does not. Ready comes first, then what the agent loads
 * when called: a sleeping model, and one that is `on-demand` and has not failed. What the agent loads of its own accord can be waited for,
 * and comes behind all that is ready, wherever that is.
 */
function readiness({ state, load }: ModelReport): number | undefined {
	if (state === "ready") return 0;
	const least = 1 + LOADING.indexOf(state);
	if (state === "sleeping" || (load === "on-demand" && state !== "failed")) return least;
	const isOnItsWay = state === "starting" || state === "pulling";
	// One that drains is loaded anew where it is always to be loaded; any other leaves.
	const isWaitedFor = load === "always" ? isOnItsWay || state === "draining" : load === "manual" && isOnItsWay;
	return isWaitedFor ? WAITED_FOR + least : undefined;
}

/** Whether an agent that says so would serve the model, or load it for a call. */
export const canServe = (model: ModelReport): boolean => readiness(model) !== undefined;

/** Behind every ready one. */
const WAITED_FOR = 50;
/** A replica that is retired comes behind those that stay, and before whatever has to be loaded first. */
const RETIRED = 0.75;
/** Behind every fresh one. */
const SUSPECT = 100;
/** Of an agent whose host is to be woken first. */
export const ASLEEP = 200;
/** Of a queue behind ready replicas: behind all that is ready, wherever it is. */
const QUEUE = 90;

/** The same with the agent's own lease: `RouteTarget.readiness`. Undefined where it does not serve the model. */
export function readinessOf(agent: AgentView, model: ModelReport | undefined, now: number): number | undefined {
	const lease = leaseAt(agent.heardAt, now);
	const { isReachable, reopensUntil = Number.NEGATIVE_INFINITY } = agent;
	const ready = model && lease !== "gone" && (isReachable || now < reopensUntil) ? readiness(model) : undefined;
	if (ready === undefined) return undefined;
	const rank = ready === 0 && agent.goals?.length && isRetired(agent.goals, model!) ? RETIRED : ready;
	return lease === "suspect" || agent.isSuspect || !isReachable ? SUSPECT + rank : rank;
}

function isRetired(goals: readonly ModelGoal[], { name, parent }: ModelReport): boolean {
	return goals.some(({ model, goal, idle_ms }) => model === (parent ?? name) && goal === "unload" && !idle_ms);
}

/** Agents that hold one of the model's replicas, or load one, as far as calls know: one that they can't reach holds none. */
function replicasAt(model: string, agents: Iterable<AgentView>, now: number): number {
	let replicas = 0;
	for (const agent of agents) {
		const report = agent.models.get(model);
		if (!report || !/^(?:ready|starting|pulling)$/.test(report.state)) continue;
		const rank = readinessOf(agent, report, now);
		if (rank !== undefined && rank < SUSPECT) replicas += sizeOf(report);
	}
	return replicas;
}

const sizeOf = ({ replicas = [] }: ModelReport): number => Math.max(1, replicas.length);

/** Of these agents those whose calls have no replica loaded beyond `max`. @param all that there are */
export function withinMax<A extends AgentView>(
	model: string,
	agents: readonly A[],
	all: Iterable<AgentView>,
	max: number,
	now: number,
): readonly A[] {
	const mayLoad = (agent: A) => {
		const report = agent.models.get(model);
		return report !== undefined && isLoadable(report) ? sizeOf(report) : 0;
	};
	if (!agents.some((agent) => mayLoad(agent) > 0)) return agents;
	const left = max - replicasAt(model, all, now);
	return agents.filter((agent) => mayLoad(agent) === 0 || mayLoad(agent) <= left);
}

/**
 * The agents that know a name. Where one has a model of it, a LoRA adapter of that name elsewhere is something else, and is
 * called by `local/agent/name` alone.
 */
export function agentsOfName<A extends AgentView>(name: string, agents: Iterable<A>): readonly A[] {
	const known = [...agents].filter(({ models }) => models.has(name));
	const withModel = known.filter(({ models }) => models.get(name)!.parent === undefined);
	return withModel.length > 0 ? withModel : known;
}

/** An agent that serves a model. */
export interface ServingAgent<A extends AgentView = AgentView> {
	readonly agent: A;
	/** See RouteTarget. */
	readonly readiness: number;
	readonly placement?: string | undefined;
}

/** A found agent, and what orders it. */
interface FoundAgent<A extends AgentView> extends ServingAgent<A> {
	readonly busy: number;
	readonly chance: number;
}

/**
 * The agents that serve a model, in the order to try: by rank, then by calls in flight, then by chance. Of those that its call would have load it
 * the best place is first, in the plan, too.
 */
export function agentsFor<A extends AgentView>(
	model: string,
	agents: Iterable<A>,
	now: number,
	inFlight: (agent: A) => number,
	random: () => number,
): ServingAgent<A>[] {
	const found: FoundAgent<A>[] = [];
	let loadable = 0;
	for (const agent of agents) {
		const report = agent.models.get(model);
		const readiness = readinessOf(agent, report, now);
		if (readiness === undefined) continue;
		if (isLoadable(report!)) loadable++;
		found.push({ agent, readiness, busy: inFlight(agent), chance: random() });
	}
	found.sort((a, b) => a.readiness - b.readiness || a.busy - b.busy || a.chance - b.chance);
	return loadable > 1 ? inPlaces(model, found) : found;
}

/** Its call would have it loaded. */
const isLoadable = ({ state, load }: ModelReport): boolean =>
	load === "on-demand" && (state === "stopped" || state === "sleeping");

/** Puts those that would have to load it into the order of their places, among those of their rank. */
function inPlaces<A extends AgentView>(model: string, found: readonly FoundAgent<A>[]): ServingAgent<A>[] {
	return [...Map.groupBy(found, ({ readiness }) => readiness).values()].flatMap((equals): ServingAgent<A>[] => {
		if (equals.length < 2 || !equals.every(({ agent }) => isLoadable(agent.models.get(model)!))) return equals;
		const byName = new Map(equals.map((each) => [each.agent.name, each]));
		const ranked = rankOffers(
			model,
			equals.map(({ agent, busy }) => offerOf(agent, model, busy)),
		);
		return ranked.map(({ offer, why }, at) => {
			const { agent, readiness } = byName.get(offer.agent)!;
			return { agent, readiness: readiness + (at * PLACES) / ranked.length, placement: why };
		});
	});
}

/** All places of one rank are before the next rank. */
const PLACES = 0.5;

/** One way to a model at an agent. */
export interface ModelAccess {
	/** The replica that is to take the call; undefined: whichever takes it, in the agent's queue. */
	readonly replica?: number | undefined;
	/** See RouteTarget. */
	readonly readiness: number;
	readonly isQueue?: boolean | undefined;
	readonly reportedWaiting?: number | undefined;
	readonly canaryShare?: number | undefined;
	readonly isCanary?: boolean | undefined;
}

/**
 * The ways to a model at an agent that serves it with this rank: each of its ready replicas, where it is to have several. Behind them, as
 * long as not all are ready, its queue: a call that its ready replicas fail goes to one that has become ready meanwhile, or waits for one. A
 * model that is to have one replica, or has none that is ready, is one target: the agent's queue decides.
 */
export function accessTo({ state, replicas = [], waiting }: ModelReport, rank: number): readonly ModelAccess[] {
	// Of two with one number the later counts.
	const all = [...new Map(replicas.map((each) => [each.replica, each])).values()];
	const ready = all.length > 1 && state === "ready" ? all.filter((each) => each.state === "ready") : [];
	if (ready.length === 0) return [{ readiness: rank, reportedWaiting: waiting }];
	const canary = ready.find((each) => each.canary !== undefined);
	const isBeside = canary !== undefined && ready.some((each) => each.canary === undefined);
	const access = ready.map((each): ModelAccess => {
		const trial = isBeside && { canaryShare: canary.canary, isCanary: each.canary !== undefined };
		return { replica: each.replica, readiness: rank, reportedWaiting: each.waiting, ...trial };
	});
	if (ready.length < all.length) access.push({ readiness: rank + QUEUE, isQueue: true });
	return access;
}

/** Every model that some agent serves, with its best rank; in the order of the agents and their models. */
export function servedModels(agents: Iterable<AgentView>, now: number): Map<string, number> {
	const served = new Map<string, number>();
	for (const agent of agents) {
		for (const model of agent.models.values()) {
			const rank = readinessOf(agent, model, now);
			if (rank !== undefined) served.set(model.name, Math.min(rank, served.get(model.name) ?? rank));
		}
	}
	return served;
}

/** The first model of the best rank. */
export function firstServed(served: ReadonlyMap<string, number>): string | undefined {
	let first: string | undefined;
	for (const [name, rank] of served) if (first === undefined || rank < served.get(first)!) first = name;
	return first;
}

/** What keeps the agents that know a model from serving it: `gpu-1: failed (…); gpu-2: not heard of`. */
export function absenceOf(model: string, agents: Iterable<AgentView>, now: number): string | undefined {
	const clauses: string[] = [];
	const all = [...agents];
	const called = agentsOfName(model, all);
	for (const agent of all) {
		const report = agent.models.get(model);
		if (!report) continue;
		const isOther = !called.includes(agent);
		const why = isOther
			? `an adapter, as local/${agent.name}/${model}`
			: trouble(agent, report, leaseAt(agent.heardAt, now));
		clauses.push(`${agent.name}: ${why}`);
	}
	return clauses.length > 0 ? clauses.join("; ") : undefined;
}

/** Of an agent that is gone: what to do. */
export const GONE = "not heard of any more (see whether its host is up and `router --agent` runs there)";
/** Most that is told of what an agent says of a model, characters. */
const LONGEST_REASON = 600;

function trouble(agent: AgentView, { name, state, load, reason }: ModelReport, lease: Lease): string {
	if (lease === "gone") return agent.refused ? `refused: ${agent.refused}` : GONE;
	if (!agent.isReachable) return "the router can't reach it";
	if (reason) return `${state} (${shortText(reason, LONGEST_REASON)})`;
	return state === "stopped" && load === "manual" ? `stopped (POST /models/${name}/load there loads it)` : state;
}

/** Who asks to be registered, and who has the name. */
interface Identity {
	readonly instance?: string | undefined;
	readonly endpoint: string;
}

/**
 * What becomes of a registration under a name that another may have.
 * - `new`: nobody has it
 * - `same`: the same agent, perhaps with another address
 * - `takeover`: another one, whose forerunner is not fresh any more
 * - `conflict`: another one, while the first is alive
 *
 * An agent without an instance is the same as long as its endpoint is.
 */
export function admission(
	holder: (Identity & { readonly lease: Lease }) | undefined,
	asking: Identity,
): "new" | "same" | "takeover" | "conflict" {
	if (!holder) return "new";
	const isSame =
		holder.instance === asking.instance && (asking.instance !== undefined || holder.endpoint === asking.endpoint);
	if (isSame) return "same";
	return holder.lease === "fresh" ? "conflict" : "takeover";
}
