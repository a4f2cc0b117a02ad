/** Which models fit beside which, for the scheduler; where one replica goes now. Pure. */

import type { ModelSpec, Placement } from "../models/model-spec.ts";
import type { Capacity } from "../models/scheduler.ts";
import type { Problem } from "../problem.ts";
import { allocationsOf, placeReplica, SLEEPING_BYTES } from "./allocations.ts";
import type { Gpu } from "./gpu.ts";
import { type Allocation, GIB, HOST, type HostMemory, type PlacementRequest } from "./memory.ts";
import type { ModelSize } from "./model-size.ts";

/** What one container, or one that is being started, holds of the GPUs. */
export interface ReplicaMemory {
	readonly model: string;
	readonly replica: number;
	/** What it holds when awake. */
	readonly allocations: readonly Allocation[];
	readonly isAsleep: boolean;
}

/** Memory at one moment: what it has, who holds it, and what the models need. */
export interface MemorySnapshot {
	readonly gpus: readonly Gpu[];
	/** Bytes that other processes than the agent's containers hold, by GPU. */
	readonly otherUse: ReadonlyMap<number, number>;
	readonly replicas: readonly ReplicaMemory[];
	readonly specs: ReadonlyMap<string, ModelSpec>;
	/** The numbers of a model's replicas; without it from 0 on. */
	numbersOf?(model: string): readonly number[];
	sizeOf(model: string): ModelSize | undefined;
	/** Whether its containers are started so that they can sleep. */
	canSleep(model: string): boolean;
	/** Free bytes of the host's own memory. */
	readonly hostFreeBytes: number;
	/** The host's memory for a model on the CPU; undefined for others, and where it is not known. `otherUse` has what others hold of it. */
	hostOf?(model: string): HostMemory | undefined;
}

/** Left free of the host's memory, bytes. */
const HOST_RESERVE = 2 * GIB;

/** What these replicas hold as they are, asleep or awake. */
export function currentAllocations(replicas: readonly ReplicaMemory[]): Allocation[] {
	return replicas.flatMap((each) => (each.isAsleep ? sleepingAllocations(each) : each.allocations));
}

/** What other processes hold: what is used beyond what is allocated. */
export function otherUseOf(gpus: readonly Gpu[], own: readonly Allocation[]): Map<number, number> {
	return new Map(gpus.map(({ index, memory_used }) => [index, Math.max(0, memory_used - allocatedOn(own, index))]));
}

/**
 * Where one replica goes beside what the others hold now; the arithmetic and a remedy where it does not fit. A sleeping one keeps its
 * GPUs: it fits where they have enough free memory.
 */
export function placeNow(snapshot: MemorySnapshot, model: string, replica: number): { placement: Placement } | Problem {
	return placeOne(snapshot, currentAllocations(without(snapshot.replicas, model, replica)), model, replica);
}

/** What fits, for the scheduler, which tries out sets of models that would be awake and asleep. */
export function capacityOf(
	snapshot: MemorySnapshot,
): Required<Capacity> & { whyMisfit(name: string, awake: ReadonlySet<string>): Problem } {
	return {
		fits: (name, awake, asleep) => placeBeside(snapshot, name, awake, asleep).problem === undefined,
		replicasThatFit: (name, awake, asleep) => placeBeside(snapshot, name, awake, asleep).placed,
		whyMisfit: (name, awake) => placeBeside(snapshot, name, awake, new Set()).problem ?? { reason: "", fix: "" },
		canSleep(name, asleep) {
			if (!snapshot.canSleep(name)) return false;
			const own = snapshot.replicas.filter(({ model }) => model === name);
			if (own.length === 0) return false;
			const bytes = own.reduce((sum, each) => sum + weightsOf(snapshot, each), 0);
			// Models that this very decision puts to sleep do not show in the host's memory yet.
			const fallingAsleep = snapshot.replicas
				.filter(({ model, isAsleep }) => asleep.has(model) && !isAsleep)
				.reduce((sum, each) => sum + weightsOf(snapshot, each), 0);
			return bytes * 1.1 + fallingAsleep + HOST_RESERVE <= snapshot.hostFreeBytes;
		},
	};
}

/** How many replicas of `name` fit beside these models, and why the first of the others does not. */
function placeBeside(
	snapshot: MemorySnapshot,
	name: string,
	awake: ReadonlySet<string>,
	asleep: ReadonlySet<string>,
): { readonly placed: number; readonly problem?: Problem } {
	const allocated = snapshot.replicas
		.filter(({ model }) => asleep.has(model) && model !== name)
		.flatMap(sleepingAllocations);
	for (const model of awake) {
		if (model === name) continue;
		for (const replica of numbersOf(snapshot, model)) {
			const own = snapshot.replicas.find((each) => each.model === model && each.replica === replica);
			if (own) allocated.push(...own.allocations);
			else {
				const result = placeOne(snapshot, allocated, model, replica);
				if ("placement" in result) allocated.push(...allocationsOf(model, result.placement));
			}
		}
	}
	let placed = 0;
	let problem: Problem | undefined;
	for (const replica of numbersOf(snapshot, name)) {
		const result = placeOne(snapshot, allocated, name, replica);
		if ("placement" in result) {
			placed++;
			allocated.push(...allocationsOf(name, result.placement));
		} else problem ??= result;
	}
	return { placed, ...(problem && { problem }) };
}

function placeOne(
	snapshot: MemorySnapshot,
	allocated: readonly Allocation[],
	model: string,
	replica: number,
): { placement: Placement } | Problem {
	const spec = snapshot.specs.get(model);
	if (!spec) return { reason: `${model} is not known any more`, fix: "" };
	const own = snapshot.replicas.find((each) => each.model === model && each.replica === replica);
	if (own) return placeSleeping(snapshot, allocated, own);
	const size = snapshot.sizeOf(model);
	const host = hostHolding(snapshot, allocated, snapshot.hostOf?.(model));
	const request: PlacementRequest = { spec, replica, ...(size && { size }), ...(host && { host }) };
	const result = placeReplica(request, gpusHolding(snapshot, allocated), allocated);
	return "placement" in result ? result : { reason: result.message, fix: result.fix };
}

/** A container can't move: its own GPUs must have the memory that it holds when awake. */
function placeSleeping(
	snapshot: MemorySnapshot,
	allocated: readonly Allocation[],
	own: ReplicaMemory,
): { placement: Placement } | Problem {
	for (const { gpu, bytes } of own.allocations) {
		const total = snapshot.gpus.find(({ index }) => index === gpu)?.memory_total;
		if (total === undefined) continue;
		const free = total - allocatedOn(allocated, gpu) - (snapshot.otherUse.get(gpu) ?? 0);
		if (free < bytes) {
			const [needs, has] = [bytes, Math.max(0, free)].map((each) => (each / GIB).toFixed(1));
			return {
				reason: `${own.model} needs ${needs} GiB on GPU ${gpu} to wake, and ${has} GiB are free there`,
				fix: "unload a model that holds the memory, or stop other processes on the GPU",
			};
		}
	}
	const [first] = own.allocations;
	const devices = own.allocations.map(({ gpu }) => gpu);
	return { placement: { replica: own.replica, devices, bytes: first?.bytes ?? 0 } };
}

/** The host's memory as it would be read if exactly this were allocated. */
function hostHolding(
	{ otherUse }: MemorySnapshot,
	allocated: readonly Allocation[],
	host: HostMemory | undefined,
): HostMemory | undefined {
	return host && { ...host, available: host.total - (otherUse.get(HOST) ?? 0) - allocatedOn(allocated, HOST) };
}

/** GPUs as they would be read if exactly this were allocated. */
function gpusHolding({ gpus, otherUse }: MemorySnapshot, allocated: readonly Allocation[]): Gpu[] {
	return gpus.map((gpu) => ({
		...gpu,
		memory_used: (otherUse.get(gpu.index) ?? 0) + allocatedOn(allocated, gpu.index),
	}));
}

function weightsOf(snapshot: MemorySnapshot, { model, allocations }: ReplicaMemory): number {
	// Where the size is not known: no more than what it holds.
	return snapshot.sizeOf(model)?.weights ?? allocations.reduce((sum, { bytes }) => sum + bytes, 0);
}

function sleepingAllocations({ allocations }: ReplicaMemory): Allocation[] {
	return allocations.map((each) => ({ ...each, bytes: Math.min(each.bytes, SLEEPING_BYTES) }));
}

function without(replicas: readonly ReplicaMemory[], model: string, replica: number): ReplicaMemory[] {
	return replicas.filter((each) => each.model !== model || each.replica !== replica);
}

function numbersOf(snapshot: MemorySnapshot, model: string): readonly number[] {
	return snapshot.numbersOf?.(model) ?? Array.from({ length: snapshot.specs.get(model)?.replicas ?? 1 }, (_, at) => at);
}

function allocatedOn(allocated: readonly Allocation[], gpu: number): number {
	return allocated.reduce((sum, each) => (each.gpu === gpu ? sum + each.bytes : sum), 0);
}
