/** A fleet on a simulated clock, for the scaling of replicas: agents that load, fail, vanish, come back and drain, and calls that come and go. */
import type { Fit, ModelGoal, ModelState } from "../../src/protocol/agent.ts";
import type { PlacementOffer } from "../../src/routing/placement.ts";
import { scaleModel } from "../../src/routing/replica-scaling.ts";
import {
	type ReplicaBounds,
	type ReplicaHost,
	type ScalingEvent,
	type ScalingState,
	UNSCALED,
} from "../../src/routing/scaling-state.ts";

/** The model that is scaled. */
export const MODEL = "qwen";

/** An agent, as it is: what the router knows of it is as old as its last heartbeat. */
export interface SimulatedAgent {
	readonly name: string;
	readonly size: number;
	/** Bytes that it has to download. */
	download: number;
	fits: Fit;
	/** Loads begin and come to nothing. */
	isBroken: boolean;
	/** It sends no heartbeats. */
	isAway: boolean;
	/** It is stopping: whatever it has drains. */
	isDraining: boolean;
	state: ModelState;
	/** When its load is over, or its failure may be tried again. */
	until: number;
	goal: Omit<ModelGoal, "model"> | undefined;
	/** Mean time to the first token there, ms; undefined: not measured. */
	firstToken: number | undefined;
	/** Streams that stay where they are, whatever is decided. */
	streams: number;
	calls: number;
	idleSince: number;
	heardAt: number;
	heard: ReplicaHost;
}

/** What the router decided, and what it decided that by. */
export interface LoggedEvent extends ScalingEvent {
	readonly at: number;
	readonly hosts: readonly ReplicaHost[];
	readonly before: ScalingState;
}

const LOAD_MS = 40_000;
const RETRY_MS = 10_000;
const HEARTBEAT_S = 5;

/** It. `step` lets a second pass. */
export class SimulatedFleet {
	now = 0;
	/** Calls under way at all times. */
	demand = 0;
	readonly agents: SimulatedAgent[];
	readonly events: LoggedEvent[] = [];
	shortage: string | undefined;
	state: ScalingState = UNSCALED;

	constructor(
		public bounds: ReplicaBounds,
		agents: readonly Partial<SimulatedAgent>[],
	) {
		this.agents = agents.map((given, at) => {
			const agent = {
				...{ name: `gpu-${at + 1}`, size: 1, download: 0, fits: "now" as const, state: "stopped" as const },
				...{ isBroken: false, isAway: false, isDraining: false, until: 0, goal: undefined, streams: 0, calls: 0 },
				firstToken: undefined,
				...{ idleSince: 0, heardAt: 0 },
				...given,
			};
			return { ...agent, heard: seen(agent) };
		});
	}

	/** Replicas that are ready, at agents that are there. */
	get ready(): number {
		return this.agents.reduce((sum, { state, isAway, size }) => (state === "ready" && !isAway ? sum + size : sum), 0);
	}

	/** So many seconds. */
	run(seconds: number): this {
		for (let second = 0; second < seconds; second++) this.step();
		return this;
	}

	step(): void {
		this.now += 1000;
		this.#spreadCalls();
		for (const [at, agent] of this.agents.entries()) {
			const { state } = agent;
			this.#work(agent);
			// What changes is reported at once, how busy it is every 5 s.
			const isDue = state !== agent.state || (this.now / 1000) % HEARTBEAT_S === at % HEARTBEAT_S;
			if (agent.isAway || !isDue) continue;
			agent.heard = seen(agent);
			agent.heardAt = this.now;
			this.#answer(agent);
		}
		const hosts = this.#hosts();
		const { state: before } = this;
		const { state, events, goals, shortage } = scaleModel(MODEL, hosts, this.bounds, this.state, this.now);
		this.state = state;
		this.#goals = goals;
		this.shortage = shortage;
		this.events.push(...events.map((event) => ({ ...event, at: this.now, hosts, before })));
	}

	#goals: ReadonlyMap<string, Omit<ModelGoal, "model">> = new Map();

	#answer(agent: SimulatedAgent): void {
		agent.goal = this.#goals.get(agent.name);
	}

	/** As routing does it: evenly over what serves, nothing to what is retired. */
	#spreadCalls(): void {
		const serving = this.agents.filter(
			({ name, state, isAway }) => state === "ready" && !isAway && this.state.orders.get(name)?.what !== "retire",
		);
		const replicas = serving.reduce((sum, { size }) => sum + size, 0);
		for (const agent of this.agents) {
			const share = serving.includes(agent) ? Math.round((this.demand * agent.size) / replicas) : 0;
			agent.calls = agent.state === "ready" ? agent.streams + share : 0;
			if (agent.calls > 0) agent.idleSince = this.now;
		}
		// The first call has the model loaded, where routing would.
		const [first] = this.agents.filter(({ isAway, isDraining, fits }) => !isAway && !isDraining && fits !== "no");
		const isComing = this.agents.some(({ state, isAway }) => /ready|starting/.test(state) && !isAway);
		if (this.demand > 0 && !isComing && first?.state === "stopped") this.#begin(first);
	}

	#begin(agent: SimulatedAgent): void {
		agent.state = "starting";
		agent.until = this.now + LOAD_MS;
	}

	#work(agent: SimulatedAgent): void {
		const { state, goal, until } = agent;
		if (agent.isDraining) {
			if (state !== "draining") Object.assign(agent, { state: "draining" });
		} else if (state === "draining") {
			agent.state = "stopped";
		} else if (state === "starting" && this.now >= until) {
			Object.assign(agent, agent.isBroken ? { state: "failed", until: this.now + RETRY_MS } : { state: "ready" });
			agent.idleSince = this.now;
			if (!agent.isBroken) agent.download = 0;
		} else if (state === "failed" && this.now >= until) {
			if (goal?.goal === "keep") this.#begin(agent);
			else agent.state = "stopped";
		} else if (state === "stopped" && (goal?.goal === "keep" || goal?.goal === "load")) {
			this.#begin(agent);
		} else if (state === "ready" && goal?.goal === "unload" && agent.calls === 0) {
			if (this.now - agent.idleSince >= (goal.idle_ms ?? 0)) agent.state = "draining";
		}
	}

	#hosts(): ReplicaHost[] {
		return this.agents.flatMap(({ heard, heardAt }) => {
			const age = this.now - heardAt;
			return age > 30_000 ? [] : [{ ...heard, isFresh: age <= 15_000 }];
		});
	}
}

function seen({ name, state, size, calls, fits, download, firstToken }: Omit<SimulatedAgent, "heard">): ReplicaHost {
	const offer: PlacementOffer = {
		...{ agent: name, fits, download, memory: undefined, free: 0, temperature: 40, power: 0, loading: 0, loaded: 0 },
		waiting: 0,
	};
	return {
		agent: name,
		isFresh: true,
		state,
		size,
		takesGoals: true,
		calls,
		isWaiting: false,
		firstToken,
		offer,
	};
}
