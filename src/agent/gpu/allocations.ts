/** Who holds how much of which GPU, and where a model fits. Pure. */

import type { Placement } from "../models/model-spec.ts";
import type { Problem } from "../problem.ts";
import { gpusPerReplica } from "../vllm/vllm-args.ts";
import type { Gpu } from "./gpu.ts";
import { CUDA_BYTES, contextLength, GIB, gib, memoryNeed, type PlacementRequest } from "./memory.ts";
import type { ModelInfo } from "./model-size.ts";

/** One replica's memory on one GPU. The ledger is a list of these. */
export interface Allocation {
	readonly model: string;
	readonly replica: number;
	/** Index of the GPU. */
	readonly gpu: number;
	/** Promised bytes; for a sleeping model `ASLEEP`. */
	readonly bytes: number;
}

/** What a model at sleep (level 1) leaves on each of its GPUs: CUDA's context and its graphs. */
export const SLEEPING_BYTES = GIB;

/** Where a replica goes, or why nowhere. */
export type PlacementResult =
	| { readonly placement: Placement }
	| {
			/** The arithmetic, for a person. */
			readonly message: string;
			/** What a person does about it. */
			readonly fix: string;
			/** Bytes that have to go from the first of `candidates`, on its fullest GPU; absent where no eviction helps. */
			readonly short?: number;
			/** Sets of GPUs that would do if enough of their holdings went, least to evict first. */
			readonly candidates: readonly (readonly number[])[];
	  };

/** What a container that was found running holds, from its labels. */
export function allocationsFromLabels(labels: Readonly<Record<string, string>>): Allocation[] {
	const model = labels["router.model"] ?? "";
	const bytes = Number(labels["router.memory"]);
	const devices = (labels["router.devices"] ?? "").split(",").filter((device) => device !== "");
	if (!(bytes > 0)) return [];
	return devices.map((gpu) => ({ model, replica: Number(labels["router.replica"] ?? 0), gpu: Number(gpu), bytes }));
}

/** What a placement takes. */
export function allocationsOf(model: string, { replica, devices, bytes }: Placement): Allocation[] {
	return bytes > 0 ? devices.map((gpu) => ({ model, replica, gpu, bytes })) : [];
}

/** One GPU as the ledger sees it. */
interface GpuCandidate {
	readonly gpu: Gpu;
	readonly free: number;
	/** Of processes that are not ours. */
	readonly foreign: number;
	readonly allocations: readonly Allocation[];
	/** What the replica must have here, and what it would take. */
	readonly min: number;
	readonly max: number;
	readonly hasSibling: boolean;
}

/**
 * Finds GPUs for one replica. `ledger` are the holdings of all others. A GPU's free memory is its total less what is
 * promised or used there, whichever is more: models that still load use less, strangers are promised nothing.
 */
export function placeReplica(
	want: PlacementRequest,
	gpus: readonly Gpu[],
	ledger: readonly Allocation[],
): PlacementResult {
	const { spec, replica } = want;
	const count = gpusPerReplica(spec);
	if (count === 0) return { placement: { replica, devices: [], bytes: 0 } };
	if (gpus.length === 0) return { placement: { replica, devices: unmeasuredDevices(want, count), bytes: 0 } };
	const allowed = gpus.filter(({ index }) => spec.devices?.includes(index) ?? true);
	const unknown = spec.devices?.find((device) => !gpus.some(({ index }) => index === device));
	if (unknown !== undefined || allowed.length < count) {
		const there = `this host has ${gpus.length === 1 ? "GPU" : "GPUs"} ${gpus.map(({ index }) => index).join(", ")}`;
		const asked = unknown === undefined ? `spans ${count} GPUs` : `asks for GPU ${unknown}`;
		const fix = "correct the model's `devices` or `gpus`";
		return { message: `${spec.name} ${asked}, and ${there}`, fix, candidates: [] };
	}
	const rooms = allowed.map((gpu) => gpuCandidate(gpu, want, count, ledger));
	// A given size goes where it fits tightest, so that whole GPUs stay for others; the rest goes where there is most.
	const tight = spec.gpu_memory !== undefined ? 1 : -1;
	const fitting = rooms
		.filter(isLargeEnough)
		.sort(
			(a, b) => Number(a.hasSibling) - Number(b.hasSibling) || tight * (a.free - b.free) || a.gpu.index - b.gpu.index,
		)
		.slice(0, count);
	if (fitting.length < count) return refusal(want, count, rooms);
	return { placement: placementOn(fitting, want) };
}

function gpuCandidate(gpu: Gpu, want: PlacementRequest, count: number, ledger: readonly Allocation[]): GpuCandidate {
	const { spec, replica } = want;
	const allocations = ledger.filter(
		(held) => held.gpu === gpu.index && !(held.model === spec.name && held.replica === replica),
	);
	const promised = allocations.reduce((sum, { bytes }) => sum + bytes, 0);
	const { min, max } = memoryNeed(want, count, gpu.memory_total);
	return {
		gpu,
		free: Math.max(0, gpu.memory_total - Math.max(promised, gpu.memory_used)),
		foreign: Math.max(0, gpu.memory_used - promised),
		allocations,
		min,
		max,
		hasSibling: allocations.some(({ model }) => model === spec.name),
	};
}

function isLargeEnough({ free, min }: GpuCandidate): boolean {
	return min <= free;
}

function placementOn(rooms: readonly GpuCandidate[], want: PlacementRequest): Placement {
	const bytes = Math.min(...rooms.map(({ free, max }) => Math.min(free, max)));
	const devices = rooms.map(({ gpu }) => gpu.index).sort((a, b) => a - b);
	// vLLM takes the same share of each of its GPUs: of the largest no more than was promised.
	const largest = Math.max(...rooms.map(({ gpu }) => gpu.memory_total));
	const share = Math.floor(((bytes - CUDA_BYTES) / largest) * 10_000) / 10_000;
	const maxModelLen = contextLength(want, rooms.length, bytes);
	return {
		replica: want.replica,
		devices,
		bytes,
		...(share > 0 && { share }),
		...(maxModelLen !== undefined && { maxModelLen }),
	};
}

/** Without readings: the devices that the model names, or as many as it spans; none for one, which sees them all. */
function unmeasuredDevices({ spec, replica }: PlacementRequest, count: number): number[] {
	const from = replica * count;
	if (spec.devices) return spec.devices.slice(from, from + count);
	return count === 1 && (spec.replicas ?? 1) === 1 ? [] : Array.from({ length: count }, (_, index) => from + index);
}

/** More sets than this say nothing new. */
const MAX_CANDIDATES = 64;
/** More GPUs than this are not listed in a message. */
const MAX_SHOWN = 4;

function refusal(want: PlacementRequest, count: number, rooms: readonly GpuCandidate[]): PlacementResult {
	const short = ({ min, free }: GpuCandidate) => Math.max(0, min - free);
	const possible = rooms
		.filter(({ gpu, foreign, min }) => min <= gpu.memory_total - foreign)
		.sort((a, b) => short(a) - short(b) || a.gpu.index - b.gpu.index);
	const candidates = [...combinations(possible, count)].slice(0, MAX_CANDIDATES);
	const message = `${want.spec.name} needs ${memoryNeed(want, count, rooms[0]!.gpu.memory_total).text}; ${usageText(rooms)}`;
	const [best] = candidates;
	const fix = best
		? "unload what is not needed, or give each model a `gpu_memory`"
		: "spread it over more `gpus`, take a smaller or quantised one (`router models suggest`), or change its `gpu_memory`";
	return {
		message,
		fix,
		...(best && { short: Math.max(...best.map(short)) }),
		candidates: candidates.map((set) => set.map(({ gpu }) => gpu.index)),
	};
}

/** `GPU 0 has 11.2 GiB free of 24.0: chat-7b holds 12.8`, for the GPUs with most room. */
function usageText(rooms: readonly GpuCandidate[]): string {
	const shown = [...rooms].sort((a, b) => b.free - a.free).slice(0, MAX_SHOWN);
	const texts = shown.map(({ gpu, free, foreign, allocations }) => {
		const held = allocations.map(({ model, bytes }) => `${model} holds ${gib(bytes)}`);
		if (foreign >= GIB / 10) held.push(`other processes hold ${gib(foreign)}`);
		return `GPU ${gpu.index} has ${gib(free)} GiB free of ${gib(gpu.memory_total)}${held.length > 0 ? `: ${held.join(", ")}` : ""}`;
	});
	const more = rooms.length - shown.length;
	return texts.join("; ") + (more > 0 ? `; and ${more} more with less` : "");
}

/** Sets of `count`, those of the first items first. */
function* combinations<T>(items: readonly T[], count: number, from = 0): Generator<T[]> {
	if (count === 0) {
		yield [];
		return;
	}
	for (let at = from; at <= items.length - count; at++) {
		for (const rest of combinations(items, count - 1, at + 1)) yield [items[at]!, ...rest];
	}
}

/** What a model may have of this machine. */
export interface HostLimits {
	readonly gpus: readonly Gpu[];
	/** Free bytes where the model cache lies; absent where not known. */
	readonly freeDisk?: number;
	readonly cacheDir: string;
}

/** Kept free on the disk: a full one stops more than the download. */
const DISK_RESERVE = GIB;

/**
 * Why it can't, with the arithmetic; undefined where it can, or where nothing is known that speaks against it. Whether it
 * fits beside the others right now is `place`'s to say.
 */
export function misfitOf(want: PlacementRequest, info: ModelInfo, host: HostLimits): Problem | undefined {
	if (info.refused) return info.refused;
	const { size } = info;
	if (size && host.freeDisk !== undefined && size.download > 0 && size.download + DISK_RESERVE > host.freeDisk) {
		return {
			reason: `${want.spec.name} downloads ${gib(size.download)} GiB into ${host.cacheDir}, and ${gib(host.freeDisk)} GiB are free there`,
			fix: "free space on that disk, or set `agent.cache_dir` to a larger one",
		};
	}
	const empty = host.gpus.map((gpu) => ({ ...gpu, memory_used: 0 }));
	const result = placeReplica({ ...want, ...(size && { size }) }, empty, []);
	if ("placement" in result) return undefined;
	return { reason: result.message, fix: result.fix };
}
