/** The agents as calls see them: the targets that they are, how busy each is, and which of them calls can't reach. */
import { routerShare } from "../../protocol/router-shares.ts";
import { TUNNEL_PREFIX } from "../../protocol/tunnel.ts";
import type { Provider } from "../../providers/provider.ts";
import {
	ASLEEP,
	absenceOf,
	accessTo,
	agentsFor,
	agentsOfName,
	canServe,
	type Fleet,
	type FleetTarget,
	firstServed,
	servedModels,
	withinMax,
} from "../../routing/agent-targets.ts";
import type { Lease } from "../../routing/lease.ts";
import type { ReplicaBounds } from "../../routing/scaling-state.ts";
import type { StateView } from "../../routing/target-state.ts";
import type { Sink } from "../../telemetry/events.ts";
import type { AgentCounts } from "../../telemetry/metrics.ts";
import { AGENT_PREFIX, type AgentRecord, type ShownAgent, shownOf, targetId } from "./agent-record.ts";
import type { WakingHosts } from "./host-wakes.ts";

/** What calls need of a registry: the router's own, or what a worker thread has of it. */
export interface FleetRegistry {
	/** By name, the first to come first. */
	readonly agents: ReadonlyMap<string, AgentRecord>;
	/** Names of models that agents serve, or once served. */
	readonly servedNames: { readonly all: ReadonlySet<string>; add(names: Iterable<string>): void };
	/** The time on the lease clock, ms. */
	now(): number;
	/** An agent's lease now. */
	leaseOf(agent: AgentRecord): Lease;
	/** A call could not reach an agent. */
	callFailed(agent: string, failure: "auth" | "transport"): void;
}

/** The fleet of a registry. */
export class AgentFleet implements Fleet {
	readonly served: ReadonlySet<string>;
	/** `agents.replicas` in force: no call has more replicas of a model loaded. */
	bounds: Readonly<Record<string, Pick<ReplicaBounds, "max">>> = {};
	/** How agents know this router. */
	router: () => string | undefined = () => undefined;
	readonly #agents: ReadonlyMap<string, AgentRecord>;

	/**
	 * @param states what is known of each target: how many attempts are under way there
	 * @param random decides between agents that are equally good
	 */
	constructor(
		private readonly registry: FleetRegistry,
		private readonly states: Pick<StateView, "of">,
		private readonly random: () => number = Math.random,
		/** Has hosts that sleep woken; without it none is. */
		private readonly hosts?: WakingHosts,
	) {
		this.served = registry.servedNames.all;
		this.#agents = registry.agents;
	}

	get isEmpty(): boolean {
		return this.#agents.size === 0;
	}

	get names(): readonly string[] {
		const served = servedModels(this.#agents.values(), this.registry.now()).keys();
		return [...new Set([...served, ...this.#asleepModels()])];
	}

	get first(): string | undefined {
		return firstServed(servedModels(this.#agents.values(), this.registry.now())) ?? this.#asleepModels()[0];
	}

	targets(model: string): readonly FleetTarget[] {
		const found = this.#targetsOf(model, agentsOfName(model, this.#agents.values()));
		if (found.length > 0) return found;
		const [agent, own] = this.#ofOneAgent(model);
		const ofOne = agent ? this.#targetsOf(own, [agent]) : [];
		if (ofOne.length > 0 || !this.hosts) return ofOne;
		const asleep = this.#asleepTarget(model, agentsOfName(model, this.#agents.values()));
		return asleep.length > 0 || !agent ? asleep : this.#asleepTarget(own, [agent]);
	}

	learn(names: readonly string[]): void {
		this.registry.servedNames.add(names);
	}

	parentOf(model: string, name?: string): string | undefined {
		const agent = name === undefined ? agentsOfName(model, this.#agents.values())[0] : this.#agents.get(name);
		return agent?.models.get(model)?.parent;
	}

	absence(model: string): string | undefined {
		return this.#absenceAt(model, agentsOfName(model, this.#agents.values())) ?? this.#absenceOfAgent(model);
	}

	/** Of `agent/model`. */
	#absenceOfAgent(model: string): string | undefined {
		const [agent, own] = this.#ofOneAgent(model);
		return agent?.models.has(own) ? this.#absenceAt(own, [agent]) : undefined;
	}

	#absenceAt(model: string, agents: readonly AgentRecord[]): string | undefined {
		const isLimited = agents.length > 0 && this.#allowed(model, agents).length === 0;
		const limit = isLimited ? "; `agents.replicas` lets it have no more replicas (`max`)" : "";
		const why = absenceOf(model, agents.length === 1 ? agents : this.#agents.values(), this.registry.now());
		return why && why + limit;
	}

	/** All agents as they are shown, the first to come first. */
	list(): ShownAgent[] {
		return [...this.#agents.values()].map((agent) =>
			shownOf(agent, this.registry.leaseOf(agent), (model, replica) =>
				replica === undefined ? this.#busy(agent, model) : this.#inFlight(targetId(agent.name, model, replica)),
			),
		);
	}

	/** Sees agents that calls can't reach. */
	readonly sink: Partial<Sink> = {
		agentAttemptClosed: ({ agent, failure, status }) => {
			if (agent === undefined) return;
			if (failure === "auth" || (failure === "transport" && status === undefined)) {
				this.registry.callFailed(agent, failure);
			}
		},
	};

	/** For the metrics. */
	readonly counts: AgentCounts = {
		agents: () => {
			const counts = { fresh: 0, suspect: 0, gone: 0, unreachable: 0 };
			for (const agent of this.#agents.values()) {
				const lease = this.registry.leaseOf(agent);
				counts[lease !== "gone" && !agent.isReachable ? "unreachable" : lease]++;
			}
			return counts;
		},
		models: () => {
			const counts: Record<string, number> = {};
			for (const agent of this.#agents.values()) {
				if (this.registry.leaseOf(agent) === "gone") continue;
				for (const { state } of agent.models.values()) counts[state] = (counts[state] ?? 0) + 1;
			}
			return counts;
		},
	};

	/** Attempts under way at a model of an agent: at its replicas, and at whichever takes them. */
	#busy({ name, models }: AgentRecord, model: string): number {
		let busy = this.#inFlight(targetId(name, model));
		for (const { replica } of models.get(model)?.replicas ?? []) {
			busy += this.#inFlight(targetId(name, model, replica));
		}
		return busy;
	}

	/** Models that would be there if hosts that sleep were woken. */
	#asleepModels(): string[] {
		if (!this.hosts) return [];
		const sleeping = [...this.#agents.values()].filter(({ wake }) => wake !== undefined);
		return sleeping.flatMap(({ models }) => [...models.values()].filter(canServe).map(({ name }) => name));
	}

	/** The model at the agent whose host is woken for it: one that is being woken, else the one heard of last. */
	#asleepTarget(model: string, agents: readonly AgentRecord[]): FleetTarget[] {
		const sleeping = agents.filter((each) => {
			const report = each.models.get(model);
			return each.wake !== undefined && report !== undefined && canServe(report);
		});
		const order = ({ wake, heardAtTime }: AgentRecord) => (wake === "waking" ? Number.POSITIVE_INFINITY : heardAtTime);
		const agent = sleeping.sort((a, b) => order(b) - order(a))[0];
		if (!agent) return [];
		const { max_model_len: context, parent } = agent.models.get(model)!;
		const provider = wakingProvider(agent, this.hosts!);
		const { name } = agent;
		const facts = { context, parent, engine: parent === undefined ? undefined : targetId(name, parent) };
		const id = targetId(name, model);
		return [
			{ id, provider, model, name: AGENT_PREFIX + model, agent: name, ...facts, readiness: ASLEEP, isAsleep: true },
		];
	}

	#inFlight(target: string): number {
		return this.states.of(target).inFlight;
	}

	/** `agent/model`: both; no agent where none has that name. */
	#ofOneAgent(model: string): readonly [agent: AgentRecord | undefined, own: string] {
		const slash = model.indexOf("/");
		return [slash > 0 ? this.#agents.get(model.slice(0, slash)) : undefined, model.slice(slash + 1)];
	}

	/** Of these agents those that calls for a model may go to, if it is to have so many replicas at most. */
	#allowed(model: string, agents: readonly AgentRecord[]): readonly AgentRecord[] {
		const own = agents[0]?.models.get(model)?.parent ?? model;
		const max = Object.hasOwn(this.bounds, own) ? this.bounds[own]!.max : undefined;
		return max === undefined ? agents : withinMax(model, agents, this.#agents.values(), max, this.registry.now());
	}

	#targetsOf(model: string, all: readonly AgentRecord[]): FleetTarget[] {
		const now = this.registry.now();
		const agents = this.#allowed(model, all);
		const busy = (agent: AgentRecord) => this.#busy(agent, model);
		return agentsFor(model, agents, now, busy, this.random).flatMap(({ agent, readiness, placement }) => {
			const { name } = agent;
			const report = agent.models.get(model)!;
			const common = {
				provider: agent.provider,
				model,
				name: AGENT_PREFIX + model,
				agent: name,
				context: report.max_model_len,
				parent: report.parent,
				timeShare: report.time_shares && routerShare(report.time_shares, this.router()),
				placement,
				reopens: agent.endpoint.startsWith(TUNNEL_PREFIX) || undefined,
			};
			const deployment = targetId(name, model);
			const { parent } = report;
			return accessTo(report, readiness).map((access): FleetTarget => {
				const engine = parent === undefined ? undefined : targetId(name, parent, access.replica);
				return access.replica === undefined
					? { id: deployment, engine, ...common, ...access }
					: { id: targetId(name, model, access.replica), deployment, engine, ...common, ...access };
			});
		});
	}
}

/** Calls the agent once its host is awake: where it is then, with what it knows then. */
function wakingProvider({ name, endpoint, provider }: AgentRecord, hosts: WakingHosts): Provider {
	return {
		...provider,
		transport: {
			async send(request, signal, connectMs) {
				const now = await hosts.wait(name, signal);
				const url = now.endpoint + request.url.slice(endpoint.length);
				const headers = { ...request.headers, authorization: `Bearer ${now.provider.secret}` };
				return now.provider.transport.send({ ...request, url, headers }, signal, connectMs);
			},
		},
	};
}
