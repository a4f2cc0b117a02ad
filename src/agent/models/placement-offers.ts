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

/** How long an offer counts while the same models hold memory, ms: a little less than from one heartbeat to the next. */
const KEPT_MS = 4_000;

/**
 * The offers as of the last ticks: written by the loop alone. They are worked out when they are asked for, and kept for a while: what is reported is
 * looked at every second, and sixteen models on eight GPUs take 5 ms.
 */
export class PlacementOffers {
	#inputs: OfferInputs | undefined;
	readonly #known = new Map<string, PlacementReport>();
	#keptSince = Number.NEGATIVE_INFINITY;

	/** After each tick. */
	set(inputs: OfferInputs): void {
		const { residents: before } = this.#inputs ?? {};
		this.#inputs = inputs;
		if (before && isSame(before, inputs.residents) && inputs.now - this.#keptSince < KEPT_MS) return;
		this.#known.clear();
		this.#keptSince = inputs.now;
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

const isSame = (one: Residents, other: Residents): boolean =>
	isSameSet(one.awake, other.awake) && isSameSet(one.asleep, other.asleep);
const isSameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
	one.size === other.size && one.isSubsetOf(other);

function offerOf(entry: RegisteredModel, { demands, residents, capacity, now, ...host }: OfferInputs) {
	const { name, gpu_memory: memory } = entry.spec;
	const download = host.downloadOf(entry);
	return {
		fits: host.isMisfit(entry) ? ("no" as const) : fitOf(name, demands, residents, capacity, now),
		...(download !== undefined && { download }),
		...(memory !== undefined && { memory }),
	};
}
