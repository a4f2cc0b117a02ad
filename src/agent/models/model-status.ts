/** What is said of each model, and whether its calls are let through, wait or are refused. */

import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Problem } from "../problem.ts";
import { problemText } from "../problem.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import { type ModelStatus, modelRefusal, modelStatus } from "./model-state.ts";
import type { Decision } from "./scheduler.ts";
import { type ReplicaState, replicaKey } from "./supervisor.ts";
import type { ContainerAddress, Traffic } from "./traffic.ts";

/** The keys of a model's replicas. */
export function replicaKeys({ spec }: RegisteredModel): string[] {
	return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => replicaKey(spec.name, replica));
}

/** As of the last tick. */
export class ModelStatuses {
	readonly #byName = new Map<string, ModelStatus>();

	constructor(
		private readonly registry: ModelRegistry,
		private readonly traffic: Traffic,
		private readonly log: () => Log["logger"],
		/** A state or its reason is another one. */
		private readonly onChange: () => void,
	) {}

	of(model: string): ModelStatus {
		return this.#byName.get(model) ?? { state: "stopped" };
	}

	/**
	 * Takes in a tick's outcome for a model.
	 * @param why the arithmetic for a model that does not fit beside those that have to be there
	 */
	update(
		entry: RegisteredModel,
		states: readonly ReplicaState[],
		{ awake, closed, misfits }: Decision,
		why: (name: string, awake: ReadonlySet<string>) => string,
		originOf: (id: string) => string | undefined,
		now: number,
	): void {
		const { spec, load, order } = entry;
		const { name } = spec;
		const misfit = misfits.has(name) ? this.#misfitProblem(name, why) : undefined;
		const status: ModelStatus = misfit ? { state: "failed", problem: misfit } : modelStatus(states, name);
		this.#set(name, status);
		const isOpen = awake.has(name) && !closed.has(name);
		const destinations = states.flatMap(({ id }): ContainerAddress[] => {
			const origin = id === undefined ? undefined : originOf(id);
			return isOpen && id !== undefined && origin !== undefined ? [{ id, origin }] : [];
		});
		this.traffic.open(name, destinations);
		if (destinations.length === 0) {
			const refusal = closed.has(name) ? undefined : modelRefusal({ name, load, order, status, misfit }, now);
			this.traffic.refuse(name, refusal);
		}
		// An on-demand model that was told to go is gone; its next call may bring it back.
		if (load === "on-demand" && order === "unload" && status.state === "stopped") this.registry.clearOrder(name);
	}

	/** Nothing can be said yet, or ever: `why`. */
	setUnknown(entries: readonly RegisteredModel[], problem: Problem | undefined): void {
		const status: ModelStatus = problem ? { state: "failed", problem } : { state: "starting" };
		for (const { spec, load, order } of entries) {
			this.#set(spec.name, status);
			this.traffic.refuse(spec.name, modelRefusal({ name: spec.name, load, order, status }, steadyTime()));
		}
	}

	#misfitProblem(name: string, why: (name: string, awake: ReadonlySet<string>) => string): Problem {
		const fixed = this.registry.all().filter(({ load, order }) => load === "always" || order === "load");
		return {
			reason: why(name, new Set(fixed.map(({ spec }) => spec.name))),
			fix: "unload a model that holds the memory, or give this one less (`gpu_memory`, `args`)",
		};
	}

	#set(name: string, whole: ModelStatus): void {
		const before = this.#byName.get(name);
		this.#byName.set(name, whole);
		if (before?.state === whole.state && before.problem?.reason === whole.problem?.reason) return;
		const reason = whole.problem && problemText(whole.problem);
		const fields = { model: name, state: whole.state, ...(reason && { reason }) };
		if (whole.state === "failed") this.log().warn(fields, "model");
		else if (before || whole.state !== "stopped") this.log().info(fields, "model");
		this.onChange();
	}
}
