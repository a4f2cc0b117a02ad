/** Which agent serves a model, and in what order agents are tried. Pure decisions over what the agents have said. */
import type { ModelReport } from "../protocol/agent.ts";
import type { Target } from "../providers/provider.ts";
import { shortText } from "../short-text.ts";
import { type Lease, leaseAt } from "./lease.ts";
import type { RouteTarget } from "./route.ts";

/** The agents' models as they are at this moment, as the catalog asks for them. */
export interface Fleet {
	/** Nobody is there who could serve anything: no agent, or none that was heard of lately. */
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
		| "reportedWaiting"
		| "canaryShare"
		| "isCanary"
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
	/** By name, in the order of its report. */
	readonly models: ReadonlyMap<string, ModelReport>;
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

/** Behind every ready one. */
const WAITED_FOR = 50;
/** Behind every fresh one. */
const SUSPECT = 100;
/** Of a queue behind ready replicas: behind all that is ready, wherever it is. */
const QUEUE = 90;

/** The same with the agent's own lease: `RouteTarget.readiness`. Undefined where it does not serve the model. */
export function readinessOf(agent: AgentView, model: ModelReport | undefined, now: number): number | undefined {
	const lease = leaseAt(agent.heardAt, now);
	const { isReachable, reopensUntil = Number.NEGATIVE_INFINITY } = agent;
	const ready = model && lease !== "gone" && (isReachable || now < reopensUntil) ? readiness(model) : undefined;
	if (ready === undefined) return undefined;
	return lease === "suspect" || agent.isSuspect || !isReachable ? SUSPECT + ready : ready;
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

/** The agents that serve a model, in the order to try: by rank, then by calls in flight, then by chance. */
export function agentsFor(
	model: string,
	agents: Iterable<AgentView>,
	now: number,
	inFlight: (agent: string) => number,
	random: () => number,
): string[] {
	const found: { name: string; rank: number; busy: number; chance: number }[] = [];
	for (const agent of agents) {
		const rank = readinessOf(agent, agent.models.get(model), now);
		if (rank !== undefined) found.push({ name: agent.name, rank, busy: inFlight(agent.name), chance: random() });
	}
	found.sort((a, b) => a.rank - b.rank || a.busy - b.busy || a.chance - b.chance);
	return found.map(({ name }) => name);
}

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

/** Most that is told of what an agent says of a model, characters. */
const LONGEST_REASON = 600;

function trouble(agent: AgentView, { name, state, load, reason }: ModelReport, lease: Lease): string {
	if (lease === "gone") return "not heard of any more";
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
