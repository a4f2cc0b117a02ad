/** From the states of a model's replicas to what is said of the model, and to whether its calls may wait. Pure. */
import type { LoadMode, ModelState } from "../../protocol/agent.ts";
import type { Problem } from "../problem.ts";
import type { ReplicaState } from "./supervisor.ts";
import { QueueRefusal } from "./traffic.ts";

/** A model as a whole. */
export interface ModelStatus {
	readonly state: ModelState;
	readonly problem?: Problem | undefined;
	/** When a failed one is tried again. */
	readonly retryAt?: number | undefined;
}

/** The furthest replica speaks for the model. */
const ORDER: readonly ModelState[] = ["ready", "sleeping", "starting", "pulling", "draining", "failed", "stopped"];

/** The state of the model of these replicas; one that failed is told of even where another serves. */
export function modelStatus(replicas: readonly ReplicaState[], name: string): ModelStatus {
	const state = ORDER.find((each) => replicas.some((replica) => replica.state === each)) ?? "stopped";
	const speaker = replicas.find((replica) => replica.state === state && replica.problem);
	const failed = replicas.find((replica) => replica.state === "failed");
	const why = speaker?.problem ?? failed?.problem;
	const retryAt = state === "failed" ? earliest(replicas.map((replica) => replica.retryAt)) : undefined;
	const named = why && { ...why, fix: why.fix.replaceAll("{name}", name) };
	return { state, ...(named && { problem: named }), ...(retryAt !== undefined && { retryAt }) };
}

/** What decides whether a model's calls may wait for it. */
export interface ModelAvailability {
	readonly name: string;
	readonly load: LoadMode;
	readonly order?: "load" | "unload" | undefined;
	readonly status: ModelStatus;
	/** It would not fit, whatever went. */
	readonly misfit?: Problem | undefined;
}

/** Why a call has no use waiting; undefined where it may wait. */
export function modelRefusal(
	{ name, load, order, status, misfit }: ModelAvailability,
	now: number,
): QueueRefusal | undefined {
	const { state, problem, retryAt } = status;
	if (state === "ready") return undefined;
	const isUnloaded = order === "unload" || (load === "manual" && order !== "load");
	if (isUnloaded && state !== "failed") {
		return new QueueRefusal(503, `"${name}" is not loaded: POST /models/${name}/load on its agent loads it`, 30);
	}
	if (misfit) return new QueueRefusal(503, refusalText(name, "does not fit", misfit), 60);
	if (state !== "failed" || (retryAt !== undefined && retryAt <= now)) return undefined;
	return new QueueRefusal(
		503,
		refusalText(name, "failed", problem),
		retryAt === undefined ? 10 : Math.ceil((retryAt - now) / 1000),
	);
}

function refusalText(name: string, what: string, why: Problem | undefined): string {
	const fix = why?.fix ? `. What to do: ${why.fix}` : "";
	return `"${name}" ${what}${why ? `: ${why.reason}` : ""}${fix}`;
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
	const known = times.filter((time) => time !== undefined);
	return known.length > 0 ? Math.min(...known) : undefined;
}
