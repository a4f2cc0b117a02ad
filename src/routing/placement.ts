/** At which agent a model is loaded next, of those that offer it, and why. Pure, and the same at every router that has heard the same. */
import type { Fit, GpuReport, ModelReport } from "../protocol/agent.ts";

/** What one agent offers a model that is not loaded there. */
export interface PlacementOffer {
	readonly agent: string;
	/** Undefined: an older agent, which does not say. */
	readonly fits?: Fit | undefined;
	/** Bytes of weights that are not on its disk; undefined: not known. */
	readonly download?: number | undefined;
	/** Bytes that a replica takes, where its owner has said that. */
	readonly memory?: number | undefined;
	/** Bytes that are free on all of its GPUs together. */
	readonly free: number;
	/** Of its hottest GPU, °C; 0 where none says it. */
	readonly temperature: number;
	/** What its GPUs draw of what they may, 0 to 1; 0 where none says it. */
	readonly power: number;
	/** Other models that are being loaded there, and that are loaded. */
	readonly loading: number;
	readonly loaded: number;
	/** Calls of all routers that wait for the model there: its agent loads it, or is about to. */
	readonly waiting: number;
}

/** An offer in its place. */
export interface RankedOffer {
	readonly offer: PlacementOffer;
	/** What was decided by, for a person: `its weights are there, its memory is free`. */
	readonly why: string;
}

/** The part of what is known of an agent that an offer is made of. */
export interface OfferingAgent {
	readonly name: string;
	readonly models: ReadonlyMap<string, ModelReport>;
	readonly gpus?: readonly GpuReport[] | undefined;
}

/** Bytes a second of a download: a gigabit network's. */
const DOWNLOAD_RATE = 125_000_000;
/** Seconds that one is worth which need not be downloaded, where another may have to be. */
const UNKNOWN_DOWNLOAD_S = 60;
/** Seconds that an idle model takes to be loaded again which goes for this one; that calls of busy ones may take to end. */
const EVICTING_S = 30;
const BUSY_S = 180;
/** Seconds by which a load slows another one down beside it: they share disk and CPU. */
const LOADING_S = 20;
/** GPUs are slowed down from some 85 °C on, and at their limit of power. Seconds a degree; seconds at the limit. */
const WARM_C = 75;
const WARM_S = 2;
const NEAR_LIMIT = 0.8;
const LIMIT_S = 20;

/** What an agent offers. @param waiting see PlacementOffer */
export function offerOf(agent: OfferingAgent, model: string, waiting: number): PlacementOffer {
	const { fits, download, memory } = agent.models.get(model)?.placement ?? {};
	const gpus = agent.gpus ?? [];
	let loading = 0;
	let loaded = 0;
	for (const { name, state, parent } of agent.models.values()) {
		if (name === model || parent !== undefined) continue;
		if (state === "starting" || state === "pulling") loading++;
		if (state === "ready") loaded++;
	}
	const limited = gpus.filter(({ power_limit = 0 }) => power_limit > 0);
	const limit = limited.reduce((sum, { power_limit = 0 }) => sum + power_limit, 0);
	return {
		...{ agent: agent.name, fits, download, memory, loading, loaded, waiting },
		free: gpus.reduce((sum, { memory_total, memory_used }) => sum + Math.max(0, memory_total - memory_used), 0),
		temperature: Math.max(0, ...gpus.map(({ temperature = 0 }) => temperature)),
		power: limit > 0 ? limited.reduce((sum, { power = 0 }) => sum + power, 0) / limit : 0,
	};
}

/**
 * The offers, the best first. Where calls wait already is first: else each call of the same moment would have it loaded elsewhere. Then what is
 * quickest, and costs other models least; of equals, as the agents themselves place replicas, where a given size fits tightest, any other where
 * most is free; then where least is loaded.
 */
export function rankOffers(model: string, offers: readonly PlacementOffer[]): RankedOffer[] {
	const ranked = offers.map((offer) => ({
		offer,
		cost: costOf(offer),
		hash: Bun.hash.xxHash32(`${model} ${offer.agent}`),
	}));
	ranked.sort(
		(a, b) =>
			Number(a.offer.fits === "no") - Number(b.offer.fits === "no") ||
			Number(b.offer.waiting > 0) - Number(a.offer.waiting > 0) ||
			a.cost - b.cost ||
			roomOf(b.offer) - roomOf(a.offer) ||
			a.offer.loaded - b.offer.loaded ||
			a.hash - b.hash,
	);
	return ranked.map(({ offer }) => ({ offer, why: whyOf(offer) }));
}

/** Whether it can be loaded there: at once, or once idle models have gone. An older agent does not say what keeps it from that. */
export const hasRoom = ({ fits = "now" }: Pick<PlacementOffer, "fits">): boolean =>
	fits === "now" || fits === "evicting";

/** Seconds, until it can answer, and of what that takes from others. */
function costOf({ fits, download, loading, temperature, power }: PlacementOffer): number {
	const fetching = download === undefined ? UNKNOWN_DOWNLOAD_S : download / DOWNLOAD_RATE;
	const evicting = fits === "evicting" ? EVICTING_S : fits === "busy" ? BUSY_S : 0;
	const heat = Math.max(0, temperature - WARM_C) * WARM_S;
	const limit = (Math.max(0, Math.min(1, power) - NEAR_LIMIT) / (1 - NEAR_LIMIT)) * LIMIT_S;
	// Seconds that say something: else a degree would decide where nothing else does.
	return Math.round((fetching + evicting + loading * LOADING_S + heat + limit) / 10);
}

const roomOf = ({ memory, free }: PlacementOffer): number => (memory === undefined ? free : -free);

const FITS: Record<Fit, string> = {
	now: "its memory is free",
	evicting: "idle models go for it",
	busy: "models with calls have its memory",
	no: "it does not fit",
};

function whyOf({ fits, download, loading, temperature, waiting }: PlacementOffer): string {
	const gigabytes = ((download ?? 0) / 1e9).toFixed(1);
	return [
		waiting > 0 ? "calls wait for it there" : "",
		download === undefined ? "" : download === 0 ? "its weights are there" : `${gigabytes} GB to download`,
		fits === undefined ? "its agent does not say whether it fits" : FITS[fits],
		loading > 0 ? `${loading} other ${loading > 1 ? "models are" : "model is"} being loaded` : "",
		temperature > WARM_C ? `a GPU has ${Math.round(temperature)} °C` : "",
	]
		.filter((clause) => clause !== "")
		.join(", ");
}
