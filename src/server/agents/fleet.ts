/** The agents of this router: who has registered, who was heard of, and the targets that follow. */

import type { AgentSecrets } from "../../accounts/auth/agent-secrets.ts";
import { RouterError } from "../../errors.ts";
import { HEARTBEAT_MS, type Heartbeat, type Register, type RegisterAnswer } from "../../protocol/agent.ts";
import { openAiCompatible } from "../../providers/openai/index.ts";
import type { Provider, Transport } from "../../providers/provider.ts";
import type { Upstream } from "../../providers/registry.ts";
import {
	absenceOf,
	admission,
	agentsFor,
	type Fleet,
	type FleetTarget,
	firstServed,
	servedModels,
	standingOf,
} from "../../routing/agent-targets.ts";
import { heardBeforeRestart, LeaseClock, leaseAt } from "../../routing/lease.ts";
import type { Store, StoredAgent } from "../../store/store.ts";
import type { Sink } from "../../telemetry/events.ts";
import type { Log } from "../../telemetry/log.ts";
import type { AgentCounts } from "../../telemetry/metrics.ts";
import {
	AGENT_PREFIX,
	type AgentRecord,
	isSameWork,
	modelsByName,
	nameTaken,
	nextHeardAt,
	type ShownAgent,
	shownOf,
	storedOf,
	targetId,
	unknownAgent,
} from "./agent-record.ts";
import { callBack } from "./health-check.ts";
import { ServedNames } from "./model-names.ts";

/** The lease clock is wound, leases are looked at, ms. */
const TICK_MS = 1_000;
/** How often what was heard is stored, ms. */
const STORE_MS = 30_000;
/** An agent that was not heard of for a week is forgotten, ms. */
const FORGET_MS = 7 * 86_400_000;
/** Most agents. */
const MOST = 1_000;

/** What it works with. */
export interface AgentFleetOptions {
	/** What all agents have in common: the provider `local`. */
	readonly upstream: Upstream;
	readonly transport: Transport;
	readonly store: Store;
	readonly secrets: AgentSecrets;
	readonly log: Pick<Log, "logger">;
	/** Routers that share agents: while it is not up leases stand still, since agents may be heard by others, which can't tell this one. */
	readonly link?: { readonly isUp: boolean } | undefined;
	/** Tests: clocks (ms; the first never goes back) and chance. */
	readonly time?: () => number;
	readonly wall?: () => number;
	readonly random?: () => number;
}

/** Holds the agents. Nothing is opened before `open` or the first registration. */
export class AgentFleet implements Fleet {
	readonly #agents = new Map<string, AgentRecord>();
	/** Attempts under way, by target. */
	readonly #inFlight = new Map<string, number>();
	readonly #clock: LeaseClock;
	readonly #wall: () => number;
	readonly #time: () => number;
	readonly #random: () => number;
	readonly #served: ServedNames;
	#heard: ((agent: StoredAgent) => void) | undefined;
	#storedAt = 0;
	#upstream: Upstream;

	constructor(private readonly options: AgentFleetOptions) {
		this.#upstream = options.upstream;
		this.#served = new ServedNames(options.store);
		this.#time = options.time ?? (() => performance.now());
		this.#clock = new LeaseClock(this.#time, options.link);
		this.#wall = options.wall ?? Date.now;
		this.#random = options.random ?? Math.random;
	}

	/** Reads the agents of before, suspect until they are heard of, and begins to watch leases. Returns how to end that. */
	open(): () => void {
		const heardAt = heardBeforeRestart(this.#clock.now());
		for (const stored of this.options.store.agents()) {
			if (this.#agents.has(stored.name)) continue;
			const { models, gpus, heardAt: heardAtTime, ...rest } = stored;
			this.#put({ ...rest, instance: rest.instance, version: rest.version }, { heardAt, heardAtTime, models, gpus });
		}
		const timer = setInterval(() => this.tick(), TICK_MS);
		timer.unref();
		return () => {
			clearInterval(timer);
			this.#store();
		};
	}

	/**
	 * Takes an agent in, or updates it; resolves once the router has tried to call it back. One that it can't reach is
	 * kept, and gets no calls until a heartbeat finds it reachable. Throws `agent_name_taken`.
	 */
	async register(body: Register, endpoint: string): Promise<RegisterAnswer> {
		const { name, instance, version } = body;
		this.#admit(name, instance, endpoint);
		const secret = this.options.secrets.of({ name, instance, endpoint });
		const problem = await callBack(endpoint, secret, this.options.transport);
		// Another may have come while the call back was under way.
		const how = this.#admit(name, instance, endpoint);
		const before = this.#agents.get(name);
		const heardAtTime = nextHeardAt(before, this.#wall());
		const agent = this.#put(
			{ name, instance, endpoint, version, registeredAt: before?.registeredAt ?? this.#wall() },
			{ heardAt: this.#clock.now(), heardAtTime, models: body.models, gpus: body.gpus },
		);
		agent.isReachable = problem === undefined;
		agent.problem = problem;
		this.options.store.saveAgents([storedOf(agent)]);
		this.#heard?.(storedOf(agent));
		const what = { agent: name, endpoint, models: agent.models.size };
		if (how === "takeover") this.options.log.logger.warn(what, "Another agent took over the name of one that is gone.");
		else if (before?.endpoint !== endpoint) this.options.log.logger.info(what, "An agent registered.");
		if (problem !== undefined) this.options.log.logger.warn(what, `The agent gets no calls: ${problem}`);
		return {
			secret,
			heartbeat_ms: HEARTBEAT_MS,
			reachable: agent.isReachable,
			...(problem === undefined ? {} : { problem }),
		};
	}

	/**
	 * Hears of an agent. Throws `agent_not_found` where it has to register: it is not known, or its endpoint is not one that it
	 * could register now; `agent_name_taken` where another one of its name is alive.
	 * @param mayBeAt whether the sender could register this endpoint
	 */
	async heartbeat(body: Heartbeat, mayBeAt: (endpoint: string) => boolean): Promise<object> {
		const agent = this.#agents.get(body.name);
		if (!agent) throw unknownAgent(body.name);
		if (agent.instance !== body.instance) {
			throw this.#lease(agent) === "fresh" ? nameTaken(body.name) : unknownAgent(body.name);
		}
		if (agent.mustRegister || !mayBeAt(agent.endpoint)) throw unknownAgent(body.name);
		const models = modelsByName(body.models);
		const isSame = isSameWork(agent.models, models);
		agent.models = models;
		this.#served.add(models.keys());
		agent.gpus = body.gpus ?? agent.gpus;
		agent.heardAt = this.#clock.now();
		agent.heardAtTime = nextHeardAt(agent, this.#wall());
		agent.isShaky = false;
		agent.isDirty = true;
		this.#tellLease(agent);
		if (!isSame) this.#store(agent);
		this.#heard?.(storedOf(agent));
		return agent.isReachable ? {} : this.#reach(agent);
	}

	/** Tries again to call an agent back that could not be reached. */
	async #reach(agent: AgentRecord): Promise<object> {
		agent.problem = await callBack(agent.endpoint, agent.provider.secret!, this.options.transport);
		agent.isReachable = agent.problem === undefined;
		if (agent.isReachable) this.options.log.logger.info({ agent: agent.name }, "The agent can be reached now.");
		return agent.isReachable ? { reachable: true } : { reachable: false, problem: agent.problem };
	}

	/** Tells of each registration and heartbeat that this router hears. */
	onHeard(listener: (agent: StoredAgent) => void): void {
		this.#heard = listener;
	}

	/** Takes over what another router has heard, unless it is older than what this one has. */
	adopt(news: StoredAgent): void {
		const known = this.#agents.get(news.name);
		if (known && known.heardAtTime >= news.heardAt) return;
		if (!known && this.#agents.size >= MOST) return;
		// The routers' clocks may differ: news of an agent that is known count as heard now.
		const age = known ? 0 : Math.max(0, this.#wall() - news.heardAt);
		const { models, gpus, heardAt: heardAtTime, ...who } = news;
		const agent = this.#put(
			{ ...who, instance: who.instance, version: who.version },
			{ heardAt: this.#clock.now() - age, heardAtTime, models, gpus },
		);
		agent.isDirty = true;
		if (known?.endpoint !== agent.endpoint) return;
		agent.toldLease = known.toldLease;
		this.#tellLease(agent);
		agent.isReachable = known.isReachable;
		if (!agent.isReachable) void this.#reach(agent);
	}

	/** All of them, as they are kept. */
	stored(): StoredAgent[] {
		return [...this.#agents.values()].map(storedOf);
	}

	/** Secrets are derived from something else now: agents get theirs when they register again, at their next heartbeat. */
	renewSecrets(): void {
		this.setUpstream(this.#upstream);
		for (const agent of this.#agents.values()) agent.mustRegister = true;
	}

	/** All agents, the first to come first. */
	list(): ShownAgent[] {
		return [...this.#agents.values()].map((agent) =>
			shownOf(agent, this.#lease(agent), (model) => this.#inFlight.get(targetId(agent.name, model)) ?? 0),
		);
	}

	get isEmpty(): boolean {
		return ![...this.#agents.values()].some((agent) => this.#lease(agent) !== "gone");
	}

	get names(): readonly string[] {
		return [...servedModels(this.#agents.values(), this.#clock.now()).keys()];
	}

	get first(): string | undefined {
		return firstServed(servedModels(this.#agents.values(), this.#clock.now()));
	}

	targets(model: string): readonly FleetTarget[] {
		const found = this.#targetsOf(model, this.#agents.values());
		if (found.length > 0) return found;
		const slash = model.indexOf("/");
		const agent = slash > 0 ? this.#agents.get(model.slice(0, slash)) : undefined;
		return agent ? this.#targetsOf(model.slice(slash + 1), [agent]) : [];
	}

	absence(model: string): string | undefined {
		return absenceOf(model, this.#agents.values(), this.#clock.now());
	}

	knows(model: string): boolean {
		return this.#served.has(model);
	}

	/** Counts attempts, and sees agents that calls can't reach. */
	readonly sink: Partial<Sink> = {
		agentAttemptOpened: (target) => {
			if (target.startsWith(AGENT_PREFIX)) this.#inFlight.set(target, (this.#inFlight.get(target) ?? 0) + 1);
		},
		agentAttemptClosed: ({ target, agent, failure, status }) => {
			const rest = (this.#inFlight.get(target) ?? 0) - 1;
			if (rest > 0) this.#inFlight.set(target, rest);
			else this.#inFlight.delete(target);
			// `auth`: it has restarted and does not know its secret yet.
			const isAway = failure === "auth" || (failure === "transport" && status === undefined);
			const record = isAway && agent !== undefined && this.#agents.get(agent);
			if (!record) return;
			record.isShaky = true;
			if (failure === "auth") record.mustRegister = true;
		},
	};

	/** For the metrics. */
	readonly counts: AgentCounts = {
		agents: () => {
			const counts = { fresh: 0, suspect: 0, gone: 0, unreachable: 0 };
			for (const agent of this.#agents.values()) {
				const lease = this.#lease(agent);
				counts[lease !== "gone" && !agent.isReachable ? "unreachable" : lease]++;
			}
			return counts;
		},
		models: () => {
			const counts: Record<string, number> = {};
			for (const agent of this.#agents.values()) {
				if (this.#lease(agent) === "gone") continue;
				for (const { state } of agent.models.values()) counts[state] = (counts[state] ?? 0) + 1;
			}
			return counts;
		},
	};

	/** From now on agents are called with these settings; what runs keeps the old ones. */
	setUpstream(upstream: Upstream): void {
		this.#upstream = upstream;
		for (const agent of this.#agents.values()) agent.provider = this.#providerOf(agent);
	}

	/** What is done every second. */
	tick(): void {
		this.#clock.now();
		const now = this.#wall();
		for (const agent of this.#agents.values()) {
			this.#tellLease(agent);
			if (agent.toldLease === "gone" && now - agent.heardAtTime > FORGET_MS) this.#forget(agent.name);
		}
		if (this.#time() - this.#storedAt >= STORE_MS) this.#store();
	}

	#targetsOf(model: string, agents: Iterable<AgentRecord>): FleetTarget[] {
		const now = this.#clock.now();
		const busy = (agent: string) => this.#inFlight.get(targetId(agent, model)) ?? 0;
		return agentsFor(model, agents, now, busy, this.#random).map((name): FleetTarget => {
			const agent = this.#agents.get(name)!;
			const report = agent.models.get(model);
			return {
				id: targetId(name, model),
				provider: agent.provider,
				model,
				name: AGENT_PREFIX + model,
				agent: name,
				standing: standingOf(agent, report, now),
				context: report?.max_model_len,
				reportedWaiting: report?.waiting,
			};
		});
	}

	#admit(name: string, instance: string | undefined, endpoint: string) {
		const holder = this.#agents.get(name);
		const held = holder && { instance: holder.instance, endpoint: holder.endpoint, lease: this.#lease(holder) };
		const how = admission(held, { instance, endpoint });
		if (how === "conflict") throw nameTaken(name);
		if (how === "new" && this.#agents.size >= MOST) this.#makeRoom();
		return how;
	}

	#makeRoom(): void {
		const gone = [...this.#agents.values()].filter((agent) => this.#lease(agent) === "gone");
		const oldest = gone.sort((a, b) => a.heardAtTime - b.heardAtTime)[0];
		if (!oldest) throw new RouterError("invalid_value", `This router has ${MOST} agents, the most it takes.`);
		this.#forget(oldest.name);
	}

	#put(
		who: Pick<AgentRecord, "name" | "instance" | "endpoint" | "version" | "registeredAt">,
		heard: Pick<AgentRecord, "heardAt" | "heardAtTime" | "gpus"> & { models: Register["models"] | AgentModels },
	): AgentRecord {
		const agent: AgentRecord = {
			...who,
			...heard,
			models: modelsByName(heard.models),
			provider: this.#providerOf(who),
			isReachable: true,
			problem: undefined,
			isShaky: false,
			mustRegister: false,
			toldLease: leaseAt(heard.heardAt, this.#clock.now()),
			isDirty: false,
		};
		this.#agents.set(who.name, agent);
		this.#served.add(agent.models.keys());
		return agent;
	}

	#providerOf(who: Pick<AgentRecord, "name" | "instance" | "endpoint">): Provider {
		const { transport, secrets } = this.options;
		const own: Upstream = {
			...this.#upstream,
			baseUrl: `${who.endpoint}/v1`,
			apiKey: secrets.of(who),
			otherKeys: [],
			state: "ready",
			keySetting: `agent "${who.name}", which has to register again`,
		};
		return openAiCompatible(own, transport);
	}

	#lease(agent: AgentRecord) {
		return leaseAt(agent.heardAt, this.#clock.now());
	}

	#tellLease(agent: AgentRecord): void {
		const lease = this.#lease(agent);
		if (lease === agent.toldLease) return;
		agent.toldLease = lease;
		const what = { agent: agent.name, endpoint: agent.endpoint };
		if (lease === "fresh") this.options.log.logger.info(what, "The agent is heard of again.");
		else if (lease === "suspect")
			this.options.log.logger.warn(what, "The agent is late: used only where nothing else serves.");
		else this.options.log.logger.warn(what, "The agent is not heard of any more: it gets no calls.");
	}

	#store(...agents: AgentRecord[]): void {
		const changed = agents.length > 0 ? agents : [...this.#agents.values()].filter(({ isDirty }) => isDirty);
		if (agents.length === 0) this.#storedAt = this.#time();
		for (const agent of changed) agent.isDirty = false;
		this.options.store.saveAgents(changed.map(storedOf));
	}

	#forget(name: string): void {
		this.#agents.delete(name);
		this.options.store.removeAgent(name);
	}
}

type AgentModels = readonly Register["models"][number][];
