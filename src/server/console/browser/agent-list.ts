/** Agents as `GET /agents` shows them: what the page reads of it. */

/** An agent. */
export interface FleetAgent {
	readonly name: string;
	readonly endpoint: string;
	/** By when it was last heard of. */
	readonly state: "fresh" | "suspect" | "gone";
	readonly reachable: boolean;
	/** Its host sleeps and can be woken, or is being woken. */
	readonly wake?: "asleep" | "waking";
	readonly problem?: string;
	/** Why the router does not let it in, where it is late or gone: a clause. */
	readonly refused?: string;
	readonly models: readonly FleetModel[];
	readonly gpus: readonly FleetGpu[];
	readonly version?: string;
	/** ISO 8601. */
	readonly last_heartbeat: string;
}

/** What a model and one of its replicas have in common. */
interface Work {
	readonly state: "stopped" | "pulling" | "starting" | "ready" | "sleeping" | "draining" | "failed";
	readonly running?: number;
	readonly waiting?: number;
	/** Share of its KV cache in use, 0 to 1. */
	readonly kv_cache?: number;
	/** W. */
	readonly power?: number;
	/** Calls of this router. */
	readonly in_flight: number;
}

/** A model of an agent. */
export interface FleetModel extends Work {
	readonly name: string;
	readonly model?: string;
	/** Of an adapter: the model that it changes. */
	readonly parent?: string;
	readonly load?: "always" | "on-demand" | "manual";
	/** Why it is in that state, and what to do. */
	readonly reason?: string;
	readonly replicas?: readonly FleetReplica[];
	/** How far a rolling change is. */
	readonly roll?: string;
}

/** One of several containers. */
export interface FleetReplica extends Work {
	readonly replica: number;
	/** On trial: the share of conversations that it gets. */
	readonly canary?: number;
}

/** A GPU. */
export interface FleetGpu {
	readonly index: number;
	readonly name: string;
	/** Bytes. */
	readonly memory_total: number;
	readonly memory_used: number;
	/** 0 to 1. */
	readonly utilization?: number;
	/** °C. */
	readonly temperature?: number;
	/** W. */
	readonly power?: number;
}

/** The path of a model at its agent. @param what `load`, `logs?follow=1` */
export const modelPath = (agent: string, model: string, what: string): string =>
	`agents/${encodeURIComponent(agent)}/models/${encodeURIComponent(model)}/${what}`;
