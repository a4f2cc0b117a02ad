/** What is said of each model, and whether its calls are let through, wait or are refused. */

import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import { modelRefusal, reasonText, type WholeState, wholeState } from "./model-state.ts";
import type { Decision } from "./scheduler.ts";
import { type Reason, type ReplicaState, replicaKey } from "./supervisor.ts";
import type { Destination, Traffic } from "./traffic.ts";

/** The keys of a model's replicas. */
export function keysOf({ spec }: RegisteredModel): string[] {
	return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => replicaKey(spec.name, replica));
}

/** As of the last tick. */
export class ModelStatus {
	readonly #wholes = new Map<string, WholeState>();

	constructor(
		private readonly book: ModelRegistry,
		private readonly traffic: Traffic,
		private readonly log: () => Log["logger"],
		/** A state or its reason is another one. */
		private readonly onChange: () => void,
	) {}

	of(model: string): WholeState {
		return this.#wholes.get(model) ?? { state: "stopped" };
	}

	/**
	 * Takes in a tick's outcome for a model.
	 * @param why the arithmetic for a model that does not fit beside those that have to be there
	 */
	tell(
		entry: RegisteredModel,
		states: readonly ReplicaState[],
		{ awake, closed, misfits }: Decision,
		why: (name: string, awake: ReadonlySet<string>) => string,
		originOf: (id: string) => string | undefined,
		now: number,
	): void {
		const { spec, load, order } = entry;
		const { name } = spec;
		const misfit = misfits.has(name) ? this.#misfit(name, why) : undefined;
		const whole: WholeState = misfit ? { state: "failed", why: misfit } : wholeState(states, name);
		this.#say(name, whole);
		const isOpen = awake.has(name) && !closed.has(name);
		const destinations = states.flatMap(({ id }): Destination[] => {
			const origin = id === undefined ? undefined : originOf(id);
			return isOpen && id !== undefined && origin !== undefined ? [{ id, origin }] : [];
		});
		this.traffic.open(name, destinations);
		if (destinations.length === 0) {
			const refusal = closed.has(name) ? undefined : modelRefusal({ name, load, order, whole, misfit }, now);
			this.traffic.refuse(name, refusal);
		}
		// An on-demand model that was told to go is gone; its next call may bring it back.
		if (load === "on-demand" && order === "unload" && whole.state === "stopped") this.book.settle(name);
	}

	/** Nothing can be said yet, or ever: `why`. */
	blind(entries: readonly RegisteredModel[], why: Reason | undefined): void {
		const whole: WholeState = why ? { state: "failed", why } : { state: "starting" };
		for (const { spec, load, order } of entries) {
			this.#say(spec.name, whole);
			this.traffic.refuse(spec.name, modelRefusal({ name: spec.name, load, order, whole }, steadyTime()));
		}
	}

	#misfit(name: string, why: (name: string, awake: ReadonlySet<string>) => string): Reason {
		const fixed = this.book.all().filter(({ load, order }) => load === "always" || order === "load");
		return {
			reason: why(name, new Set(fixed.map(({ spec }) => spec.name))),
			fix: "unload a model that holds the memory, or give this one less (`gpu_memory`, `args`)",
		};
	}

	#say(name: string, whole: WholeState): void {
		const before = this.#wholes.get(name);
		this.#wholes.set(name, whole);
		if (before?.state === whole.state && before.why?.reason === whole.why?.reason) return;
		const reason = whole.why && reasonText(whole.why);
		const fields = { model: name, state: whole.state, ...(reason && { reason }) };
		if (whole.state === "failed") this.log().warn(fields, "model");
		else if (before || whole.state !== "stopped") this.log().info(fields, "model");
		this.onChange();
	}
}
