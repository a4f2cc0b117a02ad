/** The agents as a worker thread has them: what the registry of the main thread knows, sent when it changes. */
import type { GpuReport, ModelGoal, ModelReport } from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import type { Upstream } from "../../providers/registry.ts";
import { type Lease, leaseAt, type WakeState } from "../../routing/lease.ts";
import { type AgentRecord, agentProvider, modelsByName } from "./agent-record.ts";
import type { FleetRegistry } from "./fleet.ts";

/** Longest that the clock of leases runs on without word of the main thread, ms. */
const LONGEST_STEP_MS = 2_000;

/** An agent, as it is sent. */
export interface AgentState
	extends Pick<
		AgentRecord,
		"name" | "instance" | "endpoint" | "version" | "registeredAt" | "isInProcess" | "heardAt" | "heardAtTime"
	> {
	readonly models: readonly ModelReport[];
	readonly gpus: readonly GpuReport[] | undefined;
	readonly goals: readonly ModelGoal[] | undefined;
	readonly isReachable: boolean;
	readonly isSuspect: boolean;
	readonly reopensUntil: number | undefined;
	readonly refused: string | undefined;
	readonly wake: WakeState | undefined;
	/** What it is called with. */
	readonly secret: string;
}

/** What has changed. */
export interface AgentNews {
	/** The time on the clock of leases, ms. */
	readonly now: number;
	readonly agents: readonly AgentState[];
	/** Names of those that were forgotten. */
	readonly gone: readonly string[];
	/** Names of models that an agent has served which had not been said before. */
	readonly served: readonly string[];
}

/** The part of the main thread's registry that is sent. */
export type SentRegistry = Pick<FleetRegistry, "agents" | "servedNames" | "now">;

/** Finds out what the workers have to be told. */
export class AgentChanges {
	/** By name, as it was last sent. */
	readonly #sent = new Map<string, string>();
	#served = 0;

	constructor(private readonly registry: SentRegistry) {}

	/** All there is, for a worker that starts. */
	all(): AgentNews {
		const { agents, servedNames } = this.registry;
		return {
			now: this.registry.now(),
			agents: [...agents.values()].map(stateOf),
			gone: [],
			served: [...servedNames.all],
		};
	}

	/** What has changed since the last time. */
	next(): AgentNews {
		const { agents, servedNames } = this.registry;
		const changed: AgentState[] = [];
		for (const agent of agents.values()) {
			const state = stateOf(agent);
			const text = JSON.stringify(state);
			if (this.#sent.get(agent.name) === text) continue;
			this.#sent.set(agent.name, text);
			changed.push(state);
		}
		const gone = [...this.#sent.keys()].filter((name) => !agents.has(name));
		for (const name of gone) this.#sent.delete(name);
		const served = servedNames.all.size > this.#served ? [...servedNames.all].slice(this.#served) : [];
		this.#served += served.length;
		return { now: this.registry.now(), agents: changed, gone, served };
	}
}

function stateOf({ models, provider, gpus, ...agent }: AgentRecord): AgentState {
	const { name, instance, endpoint, version, registeredAt, isInProcess, heardAt, heardAtTime } = agent;
	const { isReachable, isSuspect, reopensUntil, goals, refused, wake } = agent;
	return {
		...{ name, instance, endpoint, version, registeredAt, isInProcess, heardAt, heardAtTime },
		...{ isReachable, isSuspect, reopensUntil, gpus, goals, refused, wake },
		...{ models: [...models.values()], secret: provider.secret! },
	};
}

/** What a worker tells the main thread. */
export interface AgentReports {
	/** A call could not reach an agent. */
	failed(agent: string, failure: "auth" | "transport"): void;
	/** Names that an agent serves which has not registered. */
	served(names: readonly string[]): void;
}

/** The worker's registry. */
export class AgentReplica implements FleetRegistry {
	readonly agents: ReadonlyMap<string, AgentRecord>;
	readonly servedNames: FleetRegistry["servedNames"];
	readonly #agents = new Map<string, AgentRecord>();
	readonly #served = new Set<string>();
	#now = 0;
	/** When the main thread last said it, on this thread's clock. */
	#saidAt = performance.now();

	/** @param upstream what all agents have in common */
	constructor(
		private upstream: Upstream,
		private readonly transport: Transport,
		private readonly reports: AgentReports,
	) {
		this.agents = this.#agents;
		this.servedNames = { all: this.#served, add: (names) => this.#learn([...names]) };
	}

	now(): number {
		return this.#now + Math.min(performance.now() - this.#saidAt, LONGEST_STEP_MS);
	}

	leaseOf(agent: AgentRecord): Lease {
		return leaseAt(agent.heardAt, this.now());
	}

	callFailed(agent: string, failure: "auth" | "transport"): void {
		const record = this.#agents.get(agent);
		if (!record) return;
		record.isSuspect = true;
		this.reports.failed(agent, failure);
	}

	/** Takes what has changed. */
	take({ now, agents, gone, served }: AgentNews): void {
		this.#now = now;
		this.#saidAt = performance.now();
		for (const name of served) this.#served.add(name);
		for (const name of gone) this.#agents.delete(name);
		for (const { models, secret, ...rest } of agents) {
			const known = this.#agents.get(rest.name);
			const isSame = known?.endpoint === rest.endpoint && known.provider.secret === secret;
			const provider = isSame ? known.provider : agentProvider(rest, secret, this.upstream, this.transport);
			const ofRegistry = {
				problem: undefined,
				nextSecret: undefined,
				mustRegister: false,
				canWake: false,
				loggedLease: "fresh",
				isDirty: false,
				sharedAt: 0,
			} as const;
			this.#agents.set(rest.name, { ...rest, ...ofRegistry, models: modelsByName(models), provider });
		}
	}

	/** From now on agents are called with these settings; calls that run keep the old ones. */
	setUpstream(upstream: Upstream): void {
		this.upstream = upstream;
		for (const agent of this.#agents.values()) {
			agent.provider = agentProvider(agent, agent.provider.secret!, upstream, this.transport);
		}
	}

	#learn(names: readonly string[]): void {
		const added = names.filter((name) => !this.#served.has(name));
		if (added.length === 0) return;
		for (const name of added) this.#served.add(name);
		this.reports.served(added);
	}
}
