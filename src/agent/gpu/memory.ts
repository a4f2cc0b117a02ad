/** The arithmetic of GPU memory: what a model needs, what it may take, how long a context that leaves. Pure; bytes. */

import type { ModelSpec, Placement } from "../models/model-spec.ts";
import { flagsOf } from "../vllm/vllm-args.ts";
import type { ModelSize } from "./model-size.ts";

/** One replica that is to be placed. */
export interface PlacementRequest {
	readonly spec: ModelSpec;
	readonly replica: number;
	/** Absent where it is not known. */
	readonly size?: ModelSize;
	/** The host's memory, for a replica on the CPU; absent for one on GPUs, and where it is not known. */
	readonly host?: HostMemory | undefined;
}

/** The host's memory at one moment. Bytes. */
export interface HostMemory {
	readonly total: number;
	/** What a new process could have, caches that can be dropped included. */
	readonly available: number;
}

/** Stands for the host's memory where an allocation names a GPU. */
export const HOST = -1;

/** One replica's memory on one GPU. */
export interface Allocation {
	readonly model: string;
	readonly replica: number;
	/** Index of the GPU; HOST for the host's memory, which a model on the CPU takes. */
	readonly gpu: number;
	/** For a sleeping model `SLEEPING_BYTES`. */
	readonly bytes: number;
}

/** Where a replica goes, or why it does not fit. */
export type PlacementResult =
	| { readonly placement: Placement }
	| {
			/** The arithmetic, for a person. */
			readonly message: string;
			/** What a person does about it. */
			readonly fix: string;
			/** Bytes that have to be freed on the first of `candidates`, on its fullest GPU; absent where no eviction helps. */
			readonly short?: number;
			/** Sets of GPUs that would do if enough were evicted from them, least to evict first. */
			readonly candidates: readonly (readonly number[])[];
	  };

/** Begins the remedy of a replica that does not fit beside others of its model. */
export const FEWER_REPLICAS = "lower the model's `replicas`, ";

/** Bytes. */
export const GIB = 1024 ** 3;
/** CUDA's context, which vLLM does not count into its share of a GPU. */
export const CUDA_BYTES = GIB / 2;
/** vLLM's own default is 0.92; this leaves some memory to a desktop and other contexts. */
const DEFAULT_SHARE = 0.9;
/** The usual estimate of what a model needs: its weights times this, and some bytes (see `memoryNeed`). */
const WEIGHT_FACTOR = 1.2;
const RUNTIME_BYTES = 2 * GIB;
/** Share of a GPU that a given `gpu_memory` may miss: three models of `8GiB` fit on a GPU "of 24 GB" with a desktop on it. */
const TOLERANCE = 0.02;
/** Memory that is no KV cache: a little more than the weights, and CUDA's context, the activations of one step, graphs. */
const LOADED_FACTOR = 1.05;
const WORKSPACE_BYTES = 1.5 * GIB;
/** The sizes are estimates, and vLLM refuses to start for a context one token too long. */
export const SAFETY_FACTOR = 0.9;
/** Tokens. A shorter context is left to vLLM, whose own message names the length that fits. */
const MIN_CONTEXT = 1024;

/** What a replica needs and takes on each of its GPUs. */
export interface MemoryNeed {
	readonly min: number;
	readonly max: number;
	/** `17.6 GiB (weights 13.0 × 1.2 + 2)` */
	readonly text: string;
}

/** On a GPU of `total` bytes, `count` of which serve the replica. */
export function memoryNeed({ spec, size }: PlacementRequest, count: number, total: number): MemoryNeed {
	const each = count > 1 ? ` on each of ${count} GPUs` : "";
	const weights = size && size.weights / count;
	const given = spec.gpu_memory ?? shareGiven(spec, total);
	if (given !== undefined) {
		// A given size counts, unless not even the weights would fit.
		const floor = (weights ?? 0) + CUDA_BYTES;
		const from = spec.gpu_memory === undefined ? "`--gpu-memory-utilization`" : "`gpu_memory`";
		const text =
			given >= floor
				? `${gib(given)} GiB${each} (${from})`
				: `${gib(floor)} GiB${each} for its weights, more than its ${from} of ${gib(given)}`;
		const min = given >= floor ? Math.max(floor, given - TOLERANCE * total) : Number.POSITIVE_INFINITY;
		return { min, max: given, text };
	}
	const max = DEFAULT_SHARE * total + CUDA_BYTES;
	if (weights === undefined) {
		return {
			min: max,
			max,
			text: `${gib(max)} GiB${each}, nearly all, as its size is not known; \`gpu_memory\` says less`,
		};
	}
	const min = weights * WEIGHT_FACTOR + RUNTIME_BYTES;
	const division = count > 1 ? ` / ${count}` : "";
	const text = `${gib(min)} GiB${each} (weights ${gib(size!.weights)}${division} × ${WEIGHT_FACTOR} + ${RUNTIME_BYTES / GIB})`;
	return { min, max: Math.max(min, max), text };
}

/** What `--max-model-len` must be so that one sequence's KV cache fits; undefined where the model's own length does, or nothing is known. */
export function contextLength(request: PlacementRequest, count: number, bytes: number): number | undefined {
	const weights = (request.size?.weights ?? 0) / count;
	return contextInCache(request, count, bytes - weights * LOADED_FACTOR - WORKSPACE_BYTES);
}

/** The same for a KV cache of `bytes` in each of `count` processes that share the model. */
export function contextInCache({ spec, size }: PlacementRequest, count: number, bytes: number): number | undefined {
	const flags = flagsOf(spec.args ?? []);
	if (!size?.kv || !size.maxContext || flags.has("--max-model-len")) return undefined;
	const narrow = /^(?:fp8|int8)/.test(flags.get("--kv-cache-dtype") ?? "") ? 0.5 : 1;
	const heads = Math.ceil(size.kv.heads / count) * narrow;
	const left = bytes * SAFETY_FACTOR - heads * size.kv.windowBytes;
	const tokens = Math.floor(left / (heads * size.kv.headBytes) / 256) * 256;
	return tokens < size.maxContext && tokens >= MIN_CONTEXT ? tokens : undefined;
}

/** `13.0` for 13 GiB, without the unit. */
export function gib(bytes: number): string {
	return (bytes / GIB).toFixed(1);
}

function shareGiven({ args = [] }: ModelSpec, total: number): number | undefined {
	const share = Number(flagsOf(args).get("--gpu-memory-utilization") || Number.NaN);
	return share > 0 && share <= 1 ? share * total + CUDA_BYTES : undefined;
}
