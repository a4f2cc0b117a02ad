/** From the states of a model's replicas to what is said of the model, and to whether its calls may wait. Pure. */
import type { LoadMode, ModelState } from "../../protocol/agent.ts";
import type { Reason, ReplicaState } from "./supervisor.ts";
import { QueueRefusal } from "./traffic.ts";

/** A model as a whole. */
export interface WholeState {
	readonly state: ModelState;
	readonly why?: Reason | undefined;
	/** When a failed one is tried again. */
	readonly retryAt?: number | undefined;
}

/** The furthest replica speaks for the model. */
const ORDER: readonly ModelState[] = ["ready", "sleeping", "starting", "pulling", "draining", "failed", "stopped"];

/** The state of the model of these replicas; one that failed is told of even where another serves. */
export function wholeState(replicas: readonly ReplicaState[], name: string): WholeState {
	const state = ORDER.find((each) => replicas.some((replica) => replica.state === each)) ?? "stopped";
	const speaker = replicas.find((replica) => replica.state === state && replica.why);
	const failed = replicas.find((replica) => replica.state === "failed");
	const why = speaker?.why ?? failed?.why;
	const retryAt = state === "failed" ? earliest(replicas.map((replica) => replica.retryAt)) : undefined;
	const named = why && { ...why, fix: why.fix.replaceAll("{name}", name) };
	return { state, ...(named && { why: named }), ...(retryAt !== undefined && { retryAt }) };
}

/** What decides whether a model's calls may wait for it. */
export interface Prospects {
	readonly name: string;
	readonly load: LoadMode;
	readonly order?: "load" | "unload" | undefined;
	readonly whole: WholeState;
	/** It would not fit, whatever went. */
	readonly misfit?: Reason | undefined;
}

/** Why a call has no use waiting; undefined where it may wait. */
export function modelRefusal({ name, load, order, whole, misfit }: Prospects, now: number): QueueRefusal | undefined {
	const { state, why, retryAt } = whole;
	if (state === "ready") return undefined;
	const isUnloaded = order === "unload" || (load === "manual" && order !== "load");
	if (isUnloaded && state !== "failed") {
		return new QueueRefusal(503, `"${name}" is not loaded: POST /models/${name}/load on its agent loads it`, 30);
	}
	if (misfit) return new QueueRefusal(503, sentence(name, "does not fit", misfit), 60);
	if (state !== "failed" || (retryAt !== undefined && retryAt <= now)) return undefined;
	return new QueueRefusal(
		503,
		sentence(name, "failed", why),
		retryAt === undefined ? 10 : Math.ceil((retryAt - now) / 1000),
	);
}

function sentence(name: string, what: string, why: Reason | undefined): string {
	const fix = why?.fix ? `. What to do: ${why.fix}` : "";
	return `"${name}" ${what}${why ? `: ${why.reason}` : ""}${fix}`;
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
	const known = times.filter((time) => time !== undefined);
	return known.length > 0 ? Math.min(...known) : undefined;
}

/** Reason and remedy in one line, for reports. */
export function reasonText({ reason, fix }: Reason): string {
	return fix ? `${reason}. What to do: ${fix}` : reason;
}
