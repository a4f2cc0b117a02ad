/** Has models loaded and unloaded over all agents, as `agents.replicas` says: looks every second, decides, and leaves the agents' goals with the registry. */
import type { Config } from "../../config/schema.ts";
import { GOAL_MS, type ModelGoal, type ModelReport } from "../../protocol/agent.ts";
import { offerOf } from "../../routing/placement.ts";
import { scaleModel } from "../../routing/replica-scaling.ts";
import {
	type ReplicaHost,
	type Scaling,
	type ScalingEvent,
	type ScalingState,
	type SleepingHost,
	UNSCALED,
} from "../../routing/scaling-state.ts";
import type { RoutingState } from "../../routing/target-state.ts";
import type { Log } from "../../telemetry/log.ts";
import { type AgentRecord, targetId } from "./agent-record.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import { type FleetGoals, type ScalingClaim, ScalingElection } from "./scaling-election.ts";

/** How often it looks, ms. */
const TICK_MS = 1_000;
/** How long it only listens after its start, ms: agents are heard of every 5 s, other routers every second. */
const SETTLE_MS = 10_000;
/** How long what was last decided stands while no router decides, ms: as long as it would at an agent that hears nothing. */
const STANDS_MS = GOAL_MS;

/**
 * Whether this router hears the others. `up`: it has heard its own message lately. `away`: Redis is. `unproven`: its own message has not come yet.
 * `unheard`: its messages are taken, and for seconds none has come back, as where the subscription is refused: the others may well hear each other.
 */
export type PeerLink = "up" | "away" | "unproven" | "unheard";

/** The other routers of a Redis: one of those decides that have the setting. */
export interface ScalingPeers {
	/** Names this router. */
	readonly router: string;
	/** What can't be agreed on is left as it is. */
	readonly link: PeerLink;
	/** To be called every second, in every state: tells the others, and this one in return. @param claim undefined: it can't decide now */
	tell(claim: ScalingClaim | undefined): void;
}

/** What it works with. */
export interface ReplicaScalerOptions {
	readonly agents: Pick<AgentRegistry, "agents" | "now" | "leaseOf" | "setGoals">;
	/** What is known of targets. */
	readonly states: Pick<RoutingState, "of" | "now">;
	/** `agents.replicas` in force. */
	bounds(): Config["agents"]["replicas"];
	readonly peers?: ScalingPeers | undefined;
	/** Has the host of an agent woken that sleeps. @param why for the log */
	wake(agent: string, why: string): void;
	readonly log: Pick<Log, "logger">;
	/** For tests: see SETTLE_MS. */
	readonly settleMs?: number;
}

/** A model's replicas, as `GET /agents/replicas` shows them. */
export interface ShownReplicas {
	readonly model: string;
	readonly min: number;
	readonly max?: number;
	readonly ready: number;
	readonly coming: number;
	/** What is under way, by agent, and why. */
	readonly orders: readonly { readonly agent: string; readonly what: "load" | "retire"; readonly why: string }[];
	/** Why there are fewer than `min`, or that no agent has it. */
	readonly shortage?: string;
	/** What each agent is to do. */
	readonly goals: readonly { readonly agent: string; readonly goal: ModelGoal["goal"]; readonly idle_ms?: number }[];
}

/** Decides, or takes what another router has decided. */
export class ReplicaScaler {
	readonly #states = new Map<string, ScalingState>();
	readonly #scalings = new Map<string, Scaling>();
	readonly #shortages = new Map<string, string>();
	readonly #election: ScalingElection;
	/** From when on it has listened without a gap, or has decided. */
	#listensSince: number | undefined;
	#isUnheard = false;
	/** When this router last decided, or was told. */
	#decidedAt = 0;

	constructor(private readonly options: ReplicaScalerOptions) {
		this.#election = new ScalingElection(options.peers?.router ?? "");
	}

	/** Begins to look. Returns how to end that. */
	open(): () => void {
		const timer = setInterval(() => this.tick(), TICK_MS);
		timer.unref();
		return () => clearInterval(timer);
	}

	/** Another router has said that it can decide. */
	hear(from: string, claim: ScalingClaim): void {
		this.#election.hear(from, claim, this.options.agents.now());
	}

	/** What is done every second. */
	tick(): void {
		const { agents, bounds, peers, settleMs = SETTLE_MS } = this.options;
		const now = agents.now();
		const models = bounds();
		const isScaled = Object.keys(models).length > 0;
		const link = peers?.link ?? "up";
		this.#noteLink(link, isScaled);
		if (link !== "up") {
			if (link === "unheard") this.#leave(now);
			else this.#wait(now);
			peers!.tell(undefined);
			return;
		}
		this.#listensSince ??= now;
		const canDecide = isScaled && now - this.#listensSince >= settleMs;
		const { isDecider, isLed, told } = this.#election.result(canDecide, now);
		if (isDecider || isLed) this.#decidedAt = now;
		if (!isDecider) {
			this.#forgetOwn();
			peers?.tell(canDecide ? { role: "candidate" } : undefined);
			if (isLed || !isScaled || now - this.#decidedAt >= STANDS_MS) this.#apply(told);
			return;
		}
		for (const model of this.#states.keys()) if (!Object.hasOwn(models, model)) this.#forget(model);
		const goals: Record<string, FleetGoals[string]> = {};
		for (const [model, bound] of Object.entries(models)) {
			const before = this.#states.get(model) ?? UNSCALED;
			const scaling = scaleModel(model, this.#hosts(model), bound, before, now, this.#sleepers(model));
			this.#states.set(model, scaling.state);
			this.#scalings.set(model, scaling);
			this.#logEvents(model, scaling);
			if (scaling.wake) this.options.wake(scaling.wake.agent, scaling.wake.why);
			goals[model] = Object.fromEntries(scaling.goals);
		}
		this.#apply(goals);
		peers?.tell({ role: "decider", goals });
	}

	/** All models of `agents.replicas`. What is under way, and why, is known to the router that decides. */
	shown(): ShownReplicas[] {
		const { agents, bounds } = this.options;
		return Object.entries(bounds()).map(([model, { min, max }]): ShownReplicas => {
			const hosts = this.#hosts(model);
			const scaling = this.#scalings.get(model);
			const sum = (...states: readonly string[]) =>
				hosts.reduce((replicas, { state, size }) => (states.includes(state) ? replicas + size : replicas), 0);
			return {
				...{ model, min, ...(max !== undefined && { max }) },
				ready: sum("ready"),
				coming: sum("starting", "pulling"),
				orders: [...(scaling?.state.orders ?? [])].map(([agent, { what, why }]) => ({ agent, what, why })),
				...(scaling?.shortage !== undefined && { shortage: scaling.shortage }),
				goals: [...agents.agents.values()].flatMap(({ name, goals }) =>
					(goals ?? [])
						.filter((each) => each.model === model)
						.map(({ model: _, ...goal }) => ({ agent: name, ...goal })),
				),
			};
		});
	}

	/** Nobody can be heard: who decided before does so after, and what was decided stays. */
	#wait(now: number): void {
		this.#election.keep(now);
		this.#decidedAt = now;
		if (!this.#election.isDecider) this.#listensSince = undefined;
	}

	/** The others may go on without this one: it is as new when it hears them again, and says no longer what they may have changed. */
	#leave(now: number): void {
		this.#election.leave();
		this.#forgetOwn();
		this.#listensSince = undefined;
		if (now - this.#decidedAt >= STANDS_MS) this.#apply(undefined);
	}

	#noteLink(link: PeerLink, isScaled: boolean): void {
		const isUnheard = link === "unheard" && isScaled;
		if (isUnheard && !this.#isUnheard) this.options.log.logger.warn({}, UNHEARD);
		this.#isUnheard = isUnheard;
	}

	/** @param goals undefined: nobody has decided anything, and agents are told nothing */
	#apply(goals: FleetGoals | undefined): void {
		const { agents } = this.options;
		for (const { name, goals: before } of agents.agents.values()) {
			const own =
				goals &&
				Object.entries(goals).flatMap(([model, byAgent]): ModelGoal[] =>
					Object.hasOwn(byAgent, name) ? [{ model, ...byAgent[name]! }] : [],
				);
			if (JSON.stringify(own) !== JSON.stringify(before)) agents.setGoals(name, own);
		}
	}

	#hosts(model: string): ReplicaHost[] {
		const { agents } = this.options;
		return [...agents.agents.values()].flatMap((agent) => {
			const report = agent.models.get(model);
			return report && report.parent === undefined && agents.leaseOf(agent) !== "gone"
				? [this.#host(agent, report)]
				: [];
		});
	}

	#sleepers(model: string): SleepingHost[] {
		return [...this.options.agents.agents.values()].flatMap((agent) => {
			const report = agent.models.get(model);
			const { wake } = agent;
			return wake && report && report.parent === undefined ? [{ ...this.#host(agent, report), wake }] : [];
		});
	}

	#host(agent: AgentRecord, report: ModelReport): ReplicaHost {
		const { agents, states } = this.options;
		const { name } = agent;
		const { state, load, replicas = [], placement, running = 0, waiting = 0 } = report;
		const ids = [undefined, ...replicas.map(({ replica }) => replica)].map((replica) =>
			targetId(name, report.name, replica),
		);
		const views = ids.map((id) => states.of(id));
		const inFlight = views.reduce((sum, each) => sum + each.inFlight, 0);
		const times = views.flatMap((view) => view.firstToken.mean(states.now()) ?? []);
		return {
			agent: name,
			isFresh: agents.leaseOf(agent) === "fresh" && agent.isReachable && !agent.isSuspect,
			state,
			size: Math.max(1, replicas.length),
			takesGoals: load === "on-demand" && placement !== undefined,
			// Others than routers may call the agent, too.
			calls: Math.max(inFlight, running + waiting),
			isWaiting: waiting > 0,
			firstToken: times.length > 0 ? times.reduce((sum, each) => sum + each, 0) / times.length : undefined,
			offer: offerOf(agent, report.name, inFlight),
		};
	}

	#logEvents(model: string, { events, shortage }: Scaling): void {
		const { logger } = this.options.log;
		for (const { what, agent, why } of events) {
			const fields = { model, agent, why };
			if (what === "failed") logger.warn(fields, SENTENCES[what]);
			else logger.info(fields, SENTENCES[what]);
		}
		if (shortage !== undefined && this.#shortages.get(model) !== shortage) {
			logger.warn({ model, why: shortage }, "What agents.replicas says of a model can't be had.");
		}
		if (shortage === undefined) this.#shortages.delete(model);
		else this.#shortages.set(model, shortage);
	}

	/** Another router decides: what it has to know it sees. */
	#forgetOwn(): void {
		for (const model of this.#states.keys()) this.#forget(model);
	}

	#forget(model: string): void {
		this.#states.delete(model);
		this.#scalings.delete(model);
		this.#shortages.delete(model);
	}
}

const UNHEARD =
	"None of this router's messages has come back to it from Redis for 5 s: until one does, it decides nothing of `agents.replicas`. Its user there needs `+publish +subscribe &*`.";

const SENTENCES: Readonly<Record<ScalingEvent["what"], string>> = {
	load: "A replica is loaded.",
	retire: "A replica is retired: it gets no further calls, and is unloaded once those it has are over.",
	stay: "A replica that was to be retired stays.",
	failed: "A replica could not be loaded where it was to be: for 5 minutes it is loaded elsewhere.",
};
