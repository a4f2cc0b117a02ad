/** What is known of an on-demand model's replicas over all agents, and what was decided of them. Plain values. */
import type { ModelGoal, ModelState } from "../protocol/agent.ts";
import type { WakeState } from "./lease.ts";
import type { PlacementOffer } from "./placement.ts";

/** What the configuration says of a model. Times in ms. */
export interface ReplicaBounds {
	readonly min: number;
	readonly max?: number | undefined;
	/** Calls under way for each replica, from which on another one is loaded. */
	readonly calls: number;
	/** Mean time to the first token from which on another one is loaded. */
	readonly first_token?: number | undefined;
	/** How long calls must have been few enough for one less. */
	readonly ttl: number;
}

/** An agent that has the model in its list, and is heard of. */
export interface ReplicaHost {
	readonly agent: string;
	/** It was heard of within its lease, and calls reach it: a model may be loaded there. */
	readonly isFresh: boolean;
	readonly state: ModelState;
	/** Replicas that it has of the model, or would have: it loads all that its own file says, or none. */
	readonly size: number;
	/** It loads and unloads the model when it is told to. */
	readonly takesGoals: boolean;
	/** Calls that run and wait there, of all routers. */
	readonly calls: number;
	/** Calls wait at its engine. */
	readonly isWaiting: boolean;
	/** Mean time to the first token, ms; undefined where nothing was measured lately. */
	readonly firstToken: number | undefined;
	readonly offer: PlacementOffer;
}

/** An agent that is gone since its host sleeps, as it last was: the host may be woken. */
export interface SleepingHost extends ReplicaHost {
	readonly wake: WakeState;
}

/** What has been decided and is not done yet. */
export interface PendingOrder {
	readonly what: "load" | "retire";
	readonly since: number;
	readonly why: string;
}

/** What the next decision has to know of those before. */
export interface ScalingState {
	/** By agent. */
	readonly orders: ReadonlyMap<string, PendingOrder>;
	/** Agents at which a load has failed, and until when nothing is loaded there. */
	readonly avoided: ReadonlyMap<string, number>;
	/** Agents whose replicas are kept. */
	readonly kept: ReadonlySet<string>;
	/** Since when there have been too many calls. */
	readonly busySince?: number | undefined;
	/** Since when there have been so few that one replica less would do, among which agents' replicas, and the most at one time. */
	readonly quiet?: { readonly since: number; readonly among: string; readonly most: number } | undefined;
	/** Since when agents that are heard of are late, or can't be reached. */
	readonly awaySince?: ReadonlyMap<string, number> | undefined;
}

/** Nothing was decided yet. */
export const UNSCALED: ScalingState = { orders: new Map(), avoided: new Map(), kept: new Set() };

/** What was decided just now. */
export interface ScalingEvent {
	readonly what: "load" | "retire" | "stay" | "failed";
	readonly agent: string;
	readonly why: string;
}

/** A decision. */
export interface Scaling {
	readonly state: ScalingState;
	/** By agent: what it is told. */
	readonly goals: ReadonlyMap<string, Omit<ModelGoal, "model">>;
	readonly events: readonly ScalingEvent[];
	/** The agent whose host is to be woken, and why: `min` can't be had without it. */
	readonly wake?: { readonly agent: string; readonly why: string } | undefined;
	/** Replicas that are ready, and that are on their way. */
	readonly ready: number;
	readonly coming: number;
	/** Why there are fewer than `min`, or that no agent has the model; undefined where all is as it is to be. */
	readonly shortage?: string | undefined;
}
