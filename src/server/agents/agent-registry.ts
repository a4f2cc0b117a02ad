/** The agents that have registered: what was last heard of each, for how long that counts, and what is stored. */
import { RouterError } from "../../errors.ts";
import { HEARTBEAT_MS, type Heartbeat, type Register, type RegisterAnswer } from "../../protocol/agent.ts";
import { tunnelEndpoint } from "../../protocol/tunnel.ts";
import type { Provider } from "../../providers/provider.ts";
import type { Upstream } from "../../providers/registry.ts";
import { admission } from "../../routing/agent-targets.ts";
import { heardBeforeRestart, isForgotten, type Lease, LeaseClock, leaseAt } from "../../routing/lease.ts";
import { type AgentAsking, AgentProcesses } from "./agent-processes.ts";
import {
	type AgentRecord,
	agentProvider,
	agentRecord,
	closeTunnel,
	type HeardOfAgent,
	hearAgain,
	heartbeatAnswer,
	isOtherForCalls,
	isSameWork,
	latestSecret,
	modelsByName,
	nameTaken,
	nextHeardAt,
	otherProcess,
	type RegisteredAgent,
	registerAnswer,
	type SharedAgent,
	secretsInUse,
	sharedOf,
	storedOf,
	tunnelProblem,
	unknownAgent,
} from "./agent-record.ts";
import type { AgentRegistryOptions } from "./agent-registry-options.ts";
import { callBack } from "./agent-transport.ts";
import { RegistryListeners } from "./registry-listeners.ts";
import { RegistryLog } from "./registry-log.ts";
import { ServedNames } from "./served-names.ts";

/** How often leases are looked at, ms; the lease clock has to be read at least as often. */
const TICK_MS = 1_000;
/** How often what was heard is stored, ms. */
const STORE_MS = 30_000;
/** Most agents. */
const MOST = 1_000;
/** How often other routers are told of an agent that does what it did, ms: heartbeats come twice as seldom. */
const SHARE_MS = HEARTBEAT_MS / 2;

/** Holds the agents. Opens nothing before `open` or the first registration. */
export class AgentRegistry {
	readonly #agents = new Map<string, AgentRecord>();
	/** By name, the first to come first. */
	readonly agents: ReadonlyMap<string, AgentRecord> = this.#agents;
	/** Names of models that agents serve, or once served. */
	readonly servedNames: ServedNames;
	/** Who hears of what becomes of them. */
	readonly listeners = new RegistryListeners();
	readonly #clock: LeaseClock;
	readonly #wall: () => number;
	readonly #time: () => number;
	readonly #log: RegistryLog;
	readonly #processes: AgentProcesses;
	#storedAt = 0;
	#upstream: Upstream;

	constructor(private readonly options: AgentRegistryOptions) {
		this.servedNames = new ServedNames(options.store);
		this.#upstream = options.upstream;
		this.#log = new RegistryLog(options.log.logger);
		this.#processes = new AgentProcesses(this, options, this.#log);
		this.#time = options.time ?? (() => performance.now());
		this.#clock = new LeaseClock(this.#time, options.link);
		this.#wall = options.wall ?? Date.now;
	}

	/** The time on the lease clock, ms. */
	now(): number {
		return this.#clock.now();
	}

	/** An agent's lease now. */
	leaseOf(agent: AgentRecord): Lease {
		return leaseAt(agent.heardAt, this.#clock.now());
	}

	/** Reads the agents of before, suspect until they are heard of, and begins to watch leases. Returns how to end that. */
	open(): () => void {
		this.restore();
		const timer = setInterval(() => this.tick(), TICK_MS).unref();
		return () => {
			clearInterval(timer);
			this.#store();
		};
	}

	/** Reads the agents of before. */
	restore(): void {
		this.servedNames.load();
		const heardAt = heardBeforeRestart(this.#clock.now());
		for (const stored of this.options.store.agents()) {
			if (this.#agents.has(stored.name)) continue;
			const { models, gpus, heardAt: heardAtTime, ...who } = stored;
			this.#put(otherProcess(who), { heardAt, heardAtTime, models, gpus });
		}
	}

	/**
	 * Takes an agent in, or updates it; resolves once the router has tried to call it back. One that it can't reach is
	 * registered all the same, and gets no calls until a heartbeat finds it reachable. Throws `agent_name_taken`.
	 * @param isInProcess it is the agent of this process
	 */
	async register(body: Register, endpoint: string, isInProcess = false): Promise<RegisterAnswer> {
		const { name, instance, process, version, models, gpus } = body;
		this.#admit(name, instance, endpoint);
		await this.#processes.admit({ name, instance, process, endpoint });
		const who = { name, instance, endpoint };
		const { secrets, transport, tunnels } = this.options;
		const secret = secrets.of(who);
		const problem = tunnelProblem(who, tunnels) ?? (await callBack(endpoint, secret, transport));
		// Another may have come while the call back was under way.
		const how = this.#admit(name, instance, endpoint);
		const before = this.#agents.get(name);
		const agent = this.#put(
			{ ...who, version, isInProcess, registeredAt: before?.registeredAt ?? this.#wall() },
			{ models, gpus, heardAt: this.#clock.now(), heardAtTime: nextHeardAt(before, this.#wall()) },
			secretsInUse(before, who, secret, before && this.leaseOf(before)),
		);
		Object.assign(agent, { isReachable: problem === undefined, problem });
		this.#processes.take(body);
		// It may be another process by now; one that reports does so with its next heartbeat, of all that it has.
		this.options.prefixes?.take(name, agent.models, undefined);
		this.#store(agent);
		this.#share(agent);
		this.#log.registered(agent, before?.endpoint, how === "takeover");
		this.#log.namesakes(agent, this.#agents.values());
		return registerAnswer(agent, secret, this.options.prefixes !== undefined);
	}

	/**
	 * Hears of an agent. Throws `agent_not_found` where it has to register: it is not known, or its endpoint is not one that it
	 * could register now; `agent_name_taken` where another one of its name is alive.
	 * @param mayBeAt whether the sender could register this endpoint
	 */
	async heartbeat(body: Heartbeat, mayBeAt: (endpoint: string) => boolean): Promise<object> {
		const agent = this.#agents.get(body.name);
		if (!agent) throw unknownAgent(body.name);
		this.#processes.hear(body, agent);
		// Secrets are derived from another router's key by now: it gets its own when it registers.
		const mustRegister = agent.mustRegister || latestSecret(agent) !== this.options.secrets.of(agent);
		if (mustRegister || !mayBeAt(agent.endpoint)) throw unknownAgent(body.name);
		const models = modelsByName(body.models);
		const isSame = isSameWork(agent.models, models) && agent.nextSecret === undefined;
		if (agent.nextSecret !== undefined) agent.provider = this.#providerOf(agent, agent.nextSecret);
		agent.nextSecret = undefined;
		this.listeners.reported(agent.name, agent.models, models);
		hearAgain(agent, { models, gpus: body.gpus }, this.#clock.now(), this.#wall());
		this.servedNames.add(models.keys());
		this.#logLease(agent);
		if (!isSame) this.#store(agent);
		if (!isSame) this.#log.namesakes(agent, this.#agents.values());
		// What has changed of prefix caches is reported at once: other routers are told of the agent no more often for that.
		if (!isSame || this.#clock.now() - agent.sharedAt >= SHARE_MS) this.#share(agent);
		const missing = this.options.prefixes?.take(agent.name, models, body.prefixes) ?? [];
		const answer = heartbeatAnswer(missing, agent);
		return agent.isReachable ? answer : { ...(await this.#callBack(agent)), ...answer };
	}

	/** From now on an agent is told this with each heartbeat. */
	setGoals(name: string, goals: AgentRecord["goals"]): void {
		Object.assign(this.#agents.get(name) ?? {}, { goals });
		this.listeners.adopted();
	}

	/** Whether an agent may open a tunnel, as it may register. Throws `agent_name_taken`. */
	async admitTunnel(asking: Omit<AgentAsking, "endpoint">): Promise<void> {
		const endpoint = tunnelEndpoint(asking.name);
		this.#admission(asking.name, asking.instance, endpoint);
		await this.#processes.admit({ ...asking, endpoint });
	}

	/** An agent's tunnel is open now, or not any more. Resolves once it is known whether calls can go through. */
	async tunnelChanged(name: string): Promise<void> {
		const agent = this.#agents.get(name);
		if (agent?.endpoint !== tunnelEndpoint(name)) return;
		const problem = tunnelProblem(agent, this.options.tunnels);
		if (problem !== undefined) {
			closeTunnel(agent, problem, this.#clock.now());
			this.#log.tunnelClosed(name);
		} else if (!agent.isReachable) {
			await this.#callBack(agent);
			// That calls broke with the tunnel says nothing of the next one.
			if (agent.isReachable) agent.isSuspect = false;
		}
	}

	/** Tries again to call an agent back that could not be reached. */
	async #callBack(agent: AgentRecord): Promise<object> {
		const { transport, tunnels } = this.options;
		agent.problem =
			tunnelProblem(agent, tunnels) ?? (await callBack(agent.endpoint, agent.provider.secret!, transport));
		agent.isReachable = agent.problem === undefined;
		if (agent.isReachable) this.#log.reachable(agent.name);
		return agent.isReachable ? { reachable: true } : { reachable: false, problem: agent.problem };
	}

	/** A call could not reach an agent: until it is heard of again it is used only where nothing else serves. */
	callFailed(agent: string, failure: "auth" | "transport"): void {
		const record = this.#agents.get(agent);
		if (!record) return;
		record.isSuspect = true;
		// It has restarted and does not know its secret yet.
		if (failure === "auth") record.mustRegister = true;
	}

	/** Takes over what another router has heard, unless it is older than what this one has. */
	adopt(heard: SharedAgent): void {
		const known = this.#agents.get(heard.name);
		if (known ? known.heardAtTime >= heard.heardAt : this.#agents.size >= MOST) return;
		// The routers' clocks may differ: an agent that is known counts as heard of now.
		const heardAt = this.#clock.now() - (known ? 0 : Math.max(0, this.#wall() - heard.heardAt));
		const { models, gpus, heardAt: heardAtTime, secret, nextSecret, ...who } = heard;
		const secrets = secret === undefined ? undefined : { secret, nextSecret };
		const agent = this.#put(otherProcess(who), { heardAt, heardAtTime, models, gpus }, secrets);
		agent.isDirty = true;
		if (known?.endpoint === agent.endpoint) agent.isReachable &&= known.isReachable;
		if (isOtherForCalls(known, agent)) this.listeners.adopted();
		if (known?.endpoint !== agent.endpoint) return;
		agent.loggedLease = known.loggedLease;
		this.#logLease(agent);
		if (!agent.isReachable) void this.#callBack(agent).then(() => agent.isReachable && this.listeners.adopted());
	}

	/** All agents that other routers may call. */
	shared(): SharedAgent[] {
		return [...this.#agents.values()].filter(({ isInProcess }) => !isInProcess).map(sharedOf);
	}

	/** From now on agents are called with these settings; calls that run keep the old ones. */
	setUpstream(upstream: Upstream): void {
		this.#upstream = upstream;
		for (const agent of this.#agents.values()) agent.provider = this.#providerOf(agent, agent.provider.secret!);
	}

	/** What is done every second. */
	tick(): void {
		this.#clock.now();
		this.servedNames.load();
		for (const agent of this.#agents.values()) {
			this.#logLease(agent);
			if (isForgotten(agent, this.#wall())) this.#forget(agent.name);
		}
		if (this.#time() - this.#storedAt >= STORE_MS) this.#store();
	}

	#admit(name: string, instance: string | undefined, endpoint: string) {
		const how = this.#admission(name, instance, endpoint);
		if (how === "new" && this.#agents.size >= MOST) this.#forgetOldest();
		return how;
	}

	#admission(name: string, instance: string | undefined, endpoint: string) {
		const holder = this.#agents.get(name);
		const held = holder && { instance: holder.instance, endpoint: holder.endpoint, lease: this.leaseOf(holder) };
		const how = admission(held, { instance, endpoint });
		if (how === "conflict") throw nameTaken(name);
		return how;
	}

	#forgetOldest(): void {
		const gone = [...this.#agents.values()].filter((agent) => this.leaseOf(agent) === "gone");
		// Those that a packet may bring back go last.
		const oldest = gone.sort((a, b) => Number(a.canWake) - Number(b.canWake) || a.heardAtTime - b.heardAtTime)[0];
		if (!oldest) throw new RouterError("invalid_value", `This router has ${MOST} agents, the most it takes.`);
		this.#forget(oldest.name);
	}

	#put(who: RegisteredAgent, heard: HeardOfAgent, secrets?: ReturnType<typeof secretsInUse>): AgentRecord {
		const before = this.#agents.get(who.name);
		const agent = agentRecord(who, heard, {
			provider: this.#providerOf(who, secrets?.secret ?? this.options.secrets.of(who)),
			nextSecret: secrets?.nextSecret,
			problem: tunnelProblem(who, this.options.tunnels),
			reopensUntil: before?.reopensUntil,
			goals: before?.goals,
			now: this.#clock.now(),
		});
		this.listeners.reported(who.name, before?.models, agent.models);
		this.#agents.set(who.name, agent);
		this.servedNames.add(agent.models.keys());
		return agent;
	}

	#providerOf(who: Pick<AgentRecord, "name" | "endpoint">, secret: string): Provider {
		return agentProvider(who, secret, this.#upstream, this.options.transport);
	}

	#logLease(agent: AgentRecord): void {
		const lease = this.leaseOf(agent);
		if (lease === agent.loggedLease) return;
		agent.loggedLease = lease;
		this.#log.lease(agent, lease);
	}

	#store(...agents: AgentRecord[]): void {
		const changed = agents.length > 0 ? agents : [...this.#agents.values()].filter(({ isDirty }) => isDirty);
		if (agents.length === 0) this.#storedAt = this.#time();
		for (const agent of changed) agent.isDirty = false;
		this.options.store.saveAgents(changed.filter(({ isInProcess }) => !isInProcess).map(storedOf));
	}

	#share(agent: AgentRecord): void {
		agent.sharedAt = this.#clock.now();
		if (!agent.isInProcess) this.listeners.heard(sharedOf(agent));
	}

	#forget(name: string): void {
		this.options.prefixes?.forget(name);
		this.#processes.forget(name);
		this.#agents.delete(name);
		this.options.store.removeAgent(name);
	}
}
