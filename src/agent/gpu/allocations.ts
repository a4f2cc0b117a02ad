/** How much of which GPU is allocated to which replica, and where another replica fits. Pure. */

import type { Placement } from "../models/model-spec.ts";
import type { Problem } from "../problem.ts";
import { gpusPerReplica, isMig } from "../vllm/vllm-args.ts";
import type { Gpu } from "./gpu.ts";
import { placeOnHost } from "./host-memory.ts";
import {
	type Allocation,
	CUDA_BYTES,
	contextLength,
	FEWER_REPLICAS,
	GIB,
	gib,
	HOST,
	memoryNeed,
	type PlacementRequest,
	type PlacementResult,
} from "./memory.ts";
import type { ModelInfo } from "./model-size.ts";

/** What a sleeping model (level 1) leaves on each of its GPUs: CUDA's context and its graphs. */
export const SLEEPING_BYTES = GIB;

/** What a running container holds, from its labels. */
export function allocationsFromLabels(labels: Readonly<Record<string, string>>): Allocation[] {
	const model = labels["router.model"] ?? "";
	const bytes = Number(labels["router.memory"]);
	const devices = (labels["router.devices"] ?? "").split(",").filter((device) => device !== "");
	if (!(bytes > 0)) return [];
	// On the CPU it is of the host's memory.
	if (devices.length === 0) return [{ model, replica: Number(labels["router.replica"] ?? 0), gpu: HOST, bytes }];
	return devices.map((gpu) => ({ model, replica: Number(labels["router.replica"] ?? 0), gpu: Number(gpu), bytes }));
}

/** What a placement allocates. */
export function allocationsOf(model: string, { replica, devices, bytes }: Placement): Allocation[] {
	if (!(bytes > 0)) return [];
	return (devices.length > 0 ? devices : [HOST]).map((gpu) => ({ model, replica, gpu, bytes }));
}

/** One GPU, considered for a replica. */
interface GpuCandidate {
	readonly gpu: Gpu;
	readonly free: number;
	/** Bytes of other processes than the agent's containers. */
	readonly otherUse: number;
	readonly allocations: readonly Allocation[];
	/** What the replica needs here at least, and what it would take at most. */
	readonly min: number;
	readonly max: number;
	readonly hasSibling: boolean;
}

/**
 * Finds GPUs for one replica. `allocated` is what all others hold. A GPU's free memory is its total less what is allocated or
 * used there, whichever is more: models that still load use less, and other processes have no allocation.
 */
export function placeReplica(
	request: PlacementRequest,
	gpus: readonly Gpu[],
	allocated: readonly Allocation[],
): PlacementResult {
	const { spec, replica } = request;
	const { host } = request;
	if (host) return placeOnHost({ ...request, host }, allocated);
	const mig = spec.devices?.filter(isMig)[replica];
	if (mig !== undefined) return { placement: { replica, devices: [], mig: String(mig), bytes: 0 } };
	const count = gpusPerReplica(spec);
	if (count === 0) return { placement: { replica, devices: [], bytes: 0 } };
	if (gpus.length === 0) return { placement: { replica, devices: unmeasuredDevices(request, count), bytes: 0 } };
	const names = ({ index, uuid }: Gpu, device: number | string) => device === index || device === uuid;
	const allowed = gpus.filter((gpu) => spec.devices?.some((device) => names(gpu, device)) ?? true);
	const unknown = spec.devices?.find((device) => !gpus.some((gpu) => names(gpu, device)));
	if (unknown !== undefined || allowed.length < count) {
		const available = `this host has ${gpus.length === 1 ? "GPU" : "GPUs"} ${gpus.map(({ index }) => index).join(", ")}`;
		const requested = unknown === undefined ? `spans ${count} GPUs` : `asks for GPU ${unknown}`;
		const fix = "correct the model's `devices` or `gpus`";
		return { message: `${spec.name} ${requested}, and ${available}`, fix, candidates: [] };
	}
	const considered = allowed.map((gpu) => gpuCandidate(gpu, request, count, allocated));
	// A given size goes where it fits tightest, so that whole GPUs stay free; any other goes where most is free.
	const tight = spec.gpu_memory !== undefined ? 1 : -1;
	const fitting = considered
		.filter(isLargeEnough)
		.sort(
			(a, b) => Number(a.hasSibling) - Number(b.hasSibling) || tight * (a.free - b.free) || a.gpu.index - b.gpu.index,
		)
		.slice(0, count);
	if (fitting.length < count) return refusal(request, count, considered);
	return { placement: placementOn(fitting, request) };
}

function gpuCandidate(
	gpu: Gpu,
	request: PlacementRequest,
	count: number,
	allocated: readonly Allocation[],
): GpuCandidate {
	const { spec, replica } = request;
	const allocations = allocated.filter(
		(each) => each.gpu === gpu.index && !(each.model === spec.name && each.replica === replica),
	);
	const allocatedHere = allocations.reduce((sum, { bytes }) => sum + bytes, 0);
	const { min, max } = memoryNeed(request, count, gpu.memory_total);
	return {
		gpu,
		free: Math.max(0, gpu.memory_total - Math.max(allocatedHere, gpu.memory_used)),
		otherUse: Math.max(0, gpu.memory_used - allocatedHere),
		allocations,
		min,
		max,
		hasSibling: allocations.some(({ model }) => model === spec.name),
	};
}

function isLargeEnough({ free, min }: GpuCandidate): boolean {
	return min <= free;
}

function placementOn(considered: readonly GpuCandidate[], request: PlacementRequest): Placement {
	const bytes = Math.min(...considered.map(({ free, max }) => Math.min(free, max)));
	const devices = considered.map(({ gpu }) => gpu.index).sort((a, b) => a - b);
	// vLLM takes the same share of each of its GPUs: of the largest no more than is allocated.
	const largest = Math.max(...considered.map(({ gpu }) => gpu.memory_total));
	const share = Math.floor(((bytes - CUDA_BYTES) / largest) * 10_000) / 10_000;
	const maxModelLen = contextLength(request, considered.length, bytes);
	return {
		replica: request.replica,
		devices,
		bytes,
		...(share > 0 && { share }),
		...(maxModelLen !== undefined && { maxModelLen }),
	};
}

/** Without readings: the devices that the model names, or as many as it spans; none for a single GPU: the container sees them all. */
function unmeasuredDevices({ spec, replica }: PlacementRequest, count: number): number[] {
	// One that is started beside those that it replaces has a number behind theirs.
	const from = (replica % (spec.replicas ?? 1)) * count;
	// What a UUID is called here nobody knows then: the container is told what can be told.
	const known = spec.devices?.filter((device) => typeof device === "number");
	if (known?.length === spec.devices?.length && known) return known.slice(from, from + count);
	return count === 1 && (spec.replicas ?? 1) === 1 ? [] : Array.from({ length: count }, (_, index) => from + index);
}

/** Most sets of GPUs that a refusal lists. */
const MAX_CANDIDATES = 64;
/** Most GPUs that a message lists. */
const MAX_SHOWN = 4;

function refusal(request: PlacementRequest, count: number, considered: readonly GpuCandidate[]): PlacementResult {
	const short = ({ min, free }: GpuCandidate) => Math.max(0, min - free);
	const possible = considered
		.filter(({ gpu, otherUse, min }) => min <= gpu.memory_total - otherUse)
		.sort((a, b) => short(a) - short(b) || a.gpu.index - b.gpu.index);
	const candidates = [...combinations(possible, count)].slice(0, MAX_CANDIDATES);
	const message = `${request.spec.name} needs ${memoryNeed(request, count, considered[0]!.gpu.memory_total).text}; ${usageText(considered)}`;
	const [best] = candidates;
	const fewer = considered.some(({ hasSibling }) => hasSibling) ? FEWER_REPLICAS : "";
	const fix = best
		? `${fewer}unload what is not needed, stop other processes on the GPU, or give each model less (\`gpu_memory\`)`
		: "spread it over more `gpus`, take a smaller or quantised one (`router models suggest`), or change its `gpu_memory`";
	return {
		message,
		fix,
		...(best && { short: Math.max(...best.map(short)) }),
		candidates: candidates.map((set) => set.map(({ gpu }) => gpu.index)),
	};
}

/** `GPU 0 has 11.2 GiB free of 24.0: chat-7b holds 12.8`, for the GPUs with most free memory. */
function usageText(considered: readonly GpuCandidate[]): string {
	const shown = [...considered].sort((a, b) => b.free - a.free).slice(0, MAX_SHOWN);
	const texts = shown.map(({ gpu, free, otherUse, allocations }) => {
		const users = allocations.map(({ model, bytes }) => `${model} holds ${gib(bytes)}`);
		if (otherUse >= GIB / 10) users.push(`other processes hold ${gib(otherUse)}`);
		return `GPU ${gpu.index} has ${gib(free)} GiB free of ${gib(gpu.memory_total)}${users.length > 0 ? `: ${users.join(", ")}` : ""}`;
	});
	const more = considered.length - shown.length;
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

/** What this host has for a model. */
export interface HostLimits {
	readonly gpus: readonly Gpu[];
	/** Free bytes on the disk of the model cache; absent where not known. */
	readonly freeDisk?: number;
	readonly cacheDir: string;
}

/** Bytes left free on the disk: a full one breaks more than the download. */
const DISK_RESERVE = GIB;

/**
 * Why a model can never run here, asked before anything is pulled or downloaded; undefined where it can, or where too little is
 * known. Whether it fits beside the others now is `placeNow`'s answer.
 */
export function misfitOf(request: PlacementRequest, info: ModelInfo, host: HostLimits): Problem | undefined {
	if (info.refused) return info.refused;
	const { size } = info;
	if (size && host.freeDisk !== undefined && size.download > 0 && size.download + DISK_RESERVE > host.freeDisk) {
		return {
			reason: `${request.spec.name} downloads ${gib(size.download)} GiB into ${host.cacheDir}, and ${gib(host.freeDisk)} GiB are free there`,
			fix: "free space on that disk, or set `agent.cache_dir` to a larger one",
		};
	}
	const empty = host.gpus.map((gpu) => ({ ...gpu, memory_used: 0 }));
	const memory = request.host && { host: { ...request.host, available: request.host.total } };
	const result = placeReplica({ ...request, ...memory, ...(size && { size }) }, empty, []);
	if ("placement" in result) return undefined;
	return { reason: result.message, fix: result.fix };
}
