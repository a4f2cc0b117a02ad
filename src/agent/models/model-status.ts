/** The status of each model, from the states of its replicas, and whether its calls may wait for it. */
import type { LoadMode, ModelState } from "../../protocol/agent.ts";
import { type Problem, problemOf } from "../problem.ts";
import type { RegisteredModel } from "./model-registry.ts";
import type { ReplicaState } from "./replica-state.ts";
import { QueueRefusal } from "./traffic.ts";

/** A model as a whole. */
export interface ModelStatus {
	readonly state: ModelState;
	readonly problem?: Problem | undefined;
	/** When a failed one is tried again, ms of `steadyTime`. */
	readonly retryAt?: number | undefined;
	/** How often a replica of it failed in a row; absent where all that are to run are ready. */
	readonly failures?: number | undefined;
	/** What its start waits for, in a few words. */
	readonly waitReason?: string | undefined;
}

/** The first of these states that a replica has is the model's. */
const PRECEDENCE: readonly ModelState[] = ["ready", "sleeping", "starting", "pulling", "draining", "failed", "stopped"];

/** The status of the model of these replicas; a failed replica's problem is shown even where another one serves. */
export function modelStatus(replicas: readonly ReplicaState[], name: string): ModelStatus {
	const state = PRECEDENCE.find((each) => replicas.some((replica) => replica.state === each)) ?? "stopped";
	const deciding = replicas.find((replica) => replica.state === state && replica.problem);
	const failed = replicas.find((replica) => replica.state === "failed");
	const again = replicas
		.filter((replica) => replica.failures)
		.sort((a, b) => b.failures!.count - a.failures!.count)
		.find((replica) => /pulling|starting|draining/.test(replica.state));
	const waitReason = replicas.find((replica) => replica.state === state && replica.waitReason)?.waitReason;
	const problem =
		deciding?.problem ??
		failed?.problem ??
		(again?.failures && startedAgain(again.failures)) ??
		(waitReason === undefined ? undefined : { reason: waitReason, fix: "" });
	const retryAt = state === "failed" ? earliest(replicas.map((replica) => replica.retryAt)) : undefined;
	const failures = Math.max(...replicas.map((replica) => replica.failures?.count ?? 0));
	return {
		state,
		...(problem && { problem: problemOf(name, problem) }),
		...(retryAt !== undefined && { retryAt }),
		...(failures > 0 && { failures }),
		...(waitReason !== undefined && { waitReason }),
	};
}

/** What is said of a replica that failed while it is started again. */
function startedAgain({ count, problem }: NonNullable<ReplicaState["failures"]>): Problem {
	const said =
		count === 1 ? "it failed and is started again" : `it failed ${count} times in a row and is started again`;
	return { reason: `${said}; the last reason: ${problem.reason}`, fix: problem.fix };
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
	const known = times.filter((time) => time !== undefined);
	return known.length > 0 ? Math.min(...known) : undefined;
}

/** What decides whether a model's calls may wait for it. */
export interface ModelAvailability {
	readonly name: string;
	readonly load: LoadMode;
	readonly order?: "load" | "unload" | undefined;
	readonly status: ModelStatus;
	/** It would not fit if every model that may be evicted were. */
	readonly misfit?: Problem | undefined;
}

/** Why a call is refused instead of waiting; undefined where it may wait. `now` is of `steadyTime`. */
export function modelRefusal(
	{ name, load, order, status, misfit }: ModelAvailability,
	now: number,
): QueueRefusal | undefined {
	const { state, problem, retryAt, failures = 0 } = status;
	if (state === "ready") return undefined;
	const isUnloaded = order === "unload" || (load === "manual" && order !== "load");
	if (isUnloaded && state !== "failed") {
		return new QueueRefusal(503, `"${name}" is not loaded: POST /models/${name}/load on its agent loads it`, 30);
	}
	if (misfit) return new QueueRefusal(503, refusalText(name, "does not fit", misfit), 60);
	if (state !== "failed" || (retryAt !== undefined && retryAt <= now)) return undefined;
	return new QueueRefusal(
		503,
		refusalText(name, failures > 1 ? `failed ${failures} times in a row` : "failed", problem),
		retryAt === undefined ? 10 : Math.ceil((retryAt - now) / 1000),
	);
}

function refusalText(name: string, what: string, problem: Problem | undefined): string {
	const fix = problem?.fix ? `. What to do: ${problem.fix}` : "";
	return `"${name}" ${what}${problem ? `: ${problem.reason}` : ""}${fix}`;
}

/** Whether calls may name the model: it is there, or a call (or an order to load it) would load it. */
export function isCallable({ load, order }: RegisteredModel, { state }: ModelStatus): boolean {
	if (/ready|sleeping|starting|pulling/.test(state)) return true;
	return order !== "unload" && (load !== "manual" || order === "load");
}

/** The outcome of the last tick for one model. */
interface TickStatus {
	readonly status: ModelStatus;
	/** How far a load is, in a few words; absent where none is under way. */
	readonly progress?: string | undefined;
}

/** Statuses as of the last tick: written by the loop alone, read wherever models are shown or calls are routed. */
export class ModelStatuses {
	readonly #byModel = new Map<string, TickStatus>();
	#replicas: ReadonlyMap<string, ReplicaState> = new Map();

	/** Whether a tick has seen the model. */
	has(model: string): boolean {
		return this.#byModel.has(model);
	}

	/** A model that no tick has seen is stopped. */
	of(model: string): ModelStatus {
		return this.#byModel.get(model)?.status ?? { state: "stopped" };
	}

	/** A replica's state; undefined for one that no tick has seen. */
	replica(key: string): ReplicaState | undefined {
		return this.#replicas.get(key);
	}

	/** How far a load is; undefined where none is under way. */
	progress(model: string): string | undefined {
		return this.#byModel.get(model)?.progress;
	}

	/** The progress, else the state, and why it failed before: what a waiting call is told. One line. */
	progressText(model: string): string {
		const { state, problem, failures = 0 } = this.of(model);
		const text = this.progress(model) ?? state;
		return (failures > 0 && problem ? `${text} (${problem.reason})` : text).replace(/\s+/g, " ");
	}

	set(model: string, status: ModelStatus, progress: string | undefined): void {
		this.#byModel.set(model, { status, progress });
	}

	/** Whether one has another state than before. */
	setReplicas(states: ReadonlyMap<string, ReplicaState>): boolean {
		const before = this.#replicas;
		this.#replicas = states;
		for (const [key, { state }] of states) if (before.get(key)?.state !== state) return true;
		return before.size !== states.size;
	}
}
