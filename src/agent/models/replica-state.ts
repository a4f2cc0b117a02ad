/** One replica of a model: as it is to be, as it is observed, its failures, its state, and what may be done about it. */
import type { ModelState } from "../../protocol/agent.ts";
import type { ContainerState } from "../docker/docker-output.ts";
import type { Problem } from "../problem.ts";

/** One replica of a model as it is to be. */
export interface DesiredReplica {
	/** `model#replica`, see `replicaKey`. */
	readonly key: string;
	readonly goal: "up" | "asleep" | "down";
	/** Of the spec; a container of another hash is drained and replaced. */
	readonly hash: string;
	readonly image: string;
	/** Calls in flight. */
	readonly running: number;
	/** Longest that it waits for those when it has to go, ms, where it is not the usual time. */
	readonly drainMs?: number | undefined;
	/** Why it can't be started yet though nothing failed: other models still release their memory. */
	readonly waitReason?: string | undefined;
	/** Why it can't be started at all: it does not fit. */
	readonly misfit?: Problem | undefined;
}

/** The health of a running container. `unknown`: not up yet, or not probed yet. `dead`, `hung`: it was up before. */
export type Health = "unknown" | "up" | "asleep" | "dead" | "hung";

/** One of the agent's containers as it is. Times are ms of one clock. */
export interface ObservedContainer {
	readonly id: string;
	readonly key: string;
	readonly hash: string;
	readonly state: ContainerState;
	readonly health: Health;
	/** Calls in flight; absent where nobody counts them. */
	readonly running?: number;
	/** When it was started; where it ran before this agent did, when it was first seen. */
	readonly startedAt: number;
	/** When its start last made progress; at first as `startedAt`. */
	readonly progressAt: number;
	/** It is up, and computes ahead what calls begin with, while others serve. */
	readonly isWarming?: boolean | undefined;
	/** Why it ended or is unhealthy, where that is known. */
	readonly problem?: Problem | undefined;
}

/** What an effect in flight does for a replica. */
export type Activity = "pull" | "start" | "stop" | "sleep" | "wake";

/** What is observed of the engine and its containers. */
export interface ObservedState {
	/** The command that runs containers: advice names it. `docker` without it. */
	readonly command?: "docker" | "podman" | undefined;
	/** Why Docker can't be used; `containers` is then the last list that could be read. */
	readonly engineProblem?: Problem | undefined;
	readonly containers: readonly ObservedContainer[];
	/** Images known to be there. */
	readonly images: ReadonlySet<string>;
	/** By key: no second action is begun for a replica (or an orphan's id) until the first has ended and a list shows what it did. */
	readonly inFlight: ReadonlyMap<string, Activity>;
}

/** A replica's failures in a row. */
export interface FailureRecord {
	readonly hash: string;
	readonly count: number;
	/** No start before then, ms. */
	readonly retryAt: number;
	readonly problem: Problem;
}

/** One action on one replica, or on an orphan. */
export type Action =
	| { readonly do: "pull"; readonly key: string; readonly image: string }
	| { readonly do: "start"; readonly key: string }
	/** Stops and removes it. `failed`: it ended by itself or is unhealthy, and its log is read for the reason. */
	| { readonly do: "stop"; readonly key: string; readonly id: string; readonly failed: boolean }
	| { readonly do: "sleep" | "wake"; readonly key: string; readonly id: string };

/** A replica's state; `id` is the container that calls may go to. */
export interface ReplicaState {
	readonly state: ModelState;
	readonly id?: string | undefined;
	readonly problem?: Problem | undefined;
	readonly retryAt?: number | undefined;
	/** What its start waits for, in a few words. */
	readonly waitReason?: string | undefined;
	/** Its failures in a row, until it is ready: while it is started again they are the reason that people look for. */
	readonly failures?: Pick<FailureRecord, "count" | "problem"> | undefined;
}

/** The key of one replica. No model's name has a `#`. */
export const replicaKey = (model: string, replica: number): string => `${model}#${replica}`;

/** The model of a replica's key. */
export const modelOfKey = (key: string): string => key.slice(0, key.lastIndexOf("#"));

/** How long after the n-th failure in a row the next start waits, ms: 0, 10 s, 20 s, … 300 s. */
export function backoff(count: number): number {
	return Math.min(300_000, Math.max(0, count - 1) * 10_000);
}

/** One more failure of a replica. */
export function nextFailure(
	before: FailureRecord | undefined,
	hash: string,
	problem: Problem,
	now: number,
): FailureRecord {
	const count = (before?.hash === hash ? before.count : 0) + 1;
	return { hash, count, retryAt: now + backoff(count), problem };
}
