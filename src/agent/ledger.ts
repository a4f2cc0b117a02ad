/** Who holds how much of which GPU, and where a model fits. Pure. */
import type { Placement } from "./spec.ts";

/** One replica's memory on one GPU. The ledger is a list of these. */
export interface Holding {
	readonly model: string;
	readonly replica: number;
	/** Index of the GPU. */
	readonly gpu: number;
	/** Promised bytes; for a sleeping model what stays on the GPU. */
	readonly bytes: number;
}

/** Where a replica goes, or why nowhere. */
export type PlaceResult =
	| { readonly placement: Placement }
	| {
			/** The arithmetic, for a person. */
			readonly message: string;
			/** Bytes short on the GPUs that came closest; undefined where no eviction can help (too few GPUs, larger than the GPU). */
			readonly short?: number;
			/** GPUs that would do if enough of their holdings went, best first. */
			readonly candidates: readonly (readonly number[])[];
	  };
