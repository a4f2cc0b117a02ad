/** What this host has to offer each on-demand model: what its router decides by where to load one that several agents have. */
import type { PlacementReport } from "../../protocol/agent.ts";
import type { RegisteredModel } from "./model-registry.ts";
import { type Capacity, fitOf, type ModelDemand, type Residents } from "./scheduler.ts";

/** What the last tick has found. */
export interface OfferInputs {
	readonly demands: readonly ModelDemand[];
	readonly residents: Residents;
	readonly capacity: Capacity;
	/** Of `steadyTime`, ms. */
	readonly now: number;
	/** Bytes of a model's weights that are not on this host's disk; undefined where that is not known. */
	downloadOf(entry: RegisteredModel): number | undefined;
	/** Whether it can never be loaded here. */
	isMisfit(entry: RegisteredModel): boolean;
}

/** The offers as of the last tick: written by the loop alone. They are worked out when they are asked for, once a tick. */
export class PlacementOffers {
	#inputs: OfferInputs | undefined;
	readonly #known = new Map<string, PlacementReport>();

	/** After each tick. */
	set(inputs: OfferInputs): void {
		this.#inputs = inputs;
		this.#known.clear();
	}

	/** Undefined for a model that calls do not load, and before the first tick. */
	of(entry: RegisteredModel): PlacementReport | undefined {
		const { spec, load, order } = entry;
		if (!this.#inputs || load !== "on-demand" || order === "unload") return undefined;
		let known = this.#known.get(spec.name);
		if (!known) {
			known = offerOf(entry, this.#inputs);
			this.#known.set(spec.name, known);
		}
		return known;
	}
}

function offerOf(entry: RegisteredModel, { demands, residents, capacity, now, ...host }: OfferInputs) {
	const { name, gpu_memory: memory } = entry.spec;
	const download = host.downloadOf(entry);
	return {
		fits: host.isMisfit(entry) ? ("no" as const) : fitOf(name, demands, residents, capacity, now),
		...(download !== undefined && { download }),
		...(memory !== undefined && { memory }),
	};
}
