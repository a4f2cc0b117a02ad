/** The scheduler's questions about memory, answered by the ledger. Pure, but for what it is given to look at. */

import type { ModelSpec, Placement } from "../models/model-spec.ts";
import type { Capacity } from "../models/scheduler.ts";
import { type Allocation, allocationsOf, placeReplica, SLEEPING_BYTES } from "./allocations.ts";
import type { Gpu } from "./gpu.ts";
import { GIB, type PlacementRequest } from "./memory.ts";
import type { ModelSize } from "./model-size.ts";

/** What one container (or one that is being started) holds of the GPUs. */
export interface ReplicaMemory {
	readonly model: string;
	readonly replica: number;
	/** What it holds awake. */
	readonly allocations: readonly Allocation[];
	readonly isAsleep: boolean;
}

/** Everything that memory questions depend on. */
export interface MemorySnapshot {
	readonly gpus: readonly Gpu[];
	/** Bytes that processes which are not ours hold, by GPU. */
	readonly otherUse: ReadonlyMap<number, number>;
	readonly replicas: readonly ReplicaMemory[];
	readonly specs: ReadonlyMap<string, ModelSpec>;
	sizeOf(model: string): ModelSize | undefined;
	/** It was started so that it can sleep. */
	canSleep(model: string): boolean;
	/** Free bytes of the host's own memory. */
	readonly hostFreeBytes: number;
}

/** Kept free of the host's memory, bytes. */
const HOST_RESERVE = 2 * GIB;

/** What is held now: asleep, next to nothing. */
export function currentAllocations(held: readonly ReplicaMemory[]): Allocation[] {
	return held.flatMap((each) => (each.isAsleep ? sleepingAllocations(each) : each.allocations));
}

/** What strangers hold: what is used beyond what is ours. */
export function otherUseOf(gpus: readonly Gpu[], ours: readonly Allocation[]): Map<number, number> {
	return new Map(gpus.map(({ index, memory_used }) => [index, Math.max(0, memory_used - allocatedOn(ours, index))]));
}

/**
 * Where one replica goes beside what is held at this moment; the arithmetic where it goes nowhere. A sleeping one has its
 * place: the question is whether that is free.
 */
export function placeNow(world: MemorySnapshot, model: string, replica: number): { placement: Placement } | string {
	return placeOne(world, currentAllocations(without(world.replicas, model, replica)), model, replica);
}

/** The scheduler's view: what would be, if these were awake and those asleep. */
export function capacityOf(
	snapshot: MemorySnapshot,
): Capacity & { why(name: string, awake: ReadonlySet<string>): string } {
	return {
		fits: (name, awake, asleep) => misfitBeside(snapshot, name, awake, asleep) === undefined,
		why: (name, awake) => misfitBeside(snapshot, name, awake, new Set()) ?? "",
		canSleep(name, asleep) {
			if (!snapshot.canSleep(name)) return false;
			const own = snapshot.replicas.filter(({ model }) => model === name);
			if (own.length === 0) return false;
			const bytes = own.reduce((sum, each) => sum + weightsOf(snapshot, each), 0);
			// Those that were put to sleep in this very decision do not show in the host's memory yet.
			const coming = snapshot.replicas
				.filter(({ model, isAsleep }) => asleep.has(model) && !isAsleep)
				.reduce((sum, each) => sum + weightsOf(snapshot, each), 0);
			return bytes * 1.1 + coming + HOST_RESERVE <= snapshot.hostFreeBytes;
		},
	};
}

/** Why `name` finds no memory beside them; undefined where it does. */
function misfitBeside(
	world: MemorySnapshot,
	name: string,
	awake: ReadonlySet<string>,
	asleep: ReadonlySet<string>,
): string | undefined {
	const ledger = world.replicas.filter(({ model }) => asleep.has(model) && model !== name).flatMap(sleepingAllocations);
	for (const model of awake) {
		if (model === name) continue;
		for (let replica = 0; replica < replicasOf(world, model); replica++) {
			const own = world.replicas.find((each) => each.model === model && each.replica === replica);
			if (own) ledger.push(...own.allocations);
			else {
				const result = placeOne(world, ledger, model, replica);
				if (typeof result !== "string") ledger.push(...allocationsOf(model, result.placement));
			}
		}
	}
	for (let replica = 0; replica < replicasOf(world, name); replica++) {
		const result = placeOne(world, ledger, name, replica);
		if (typeof result === "string") return result;
		ledger.push(...allocationsOf(name, result.placement));
	}
	return undefined;
}

function placeOne(
	world: MemorySnapshot,
	ledger: readonly Allocation[],
	model: string,
	replica: number,
): { placement: Placement } | string {
	const spec = world.specs.get(model);
	if (!spec) return `${model} is not known any more`;
	const own = world.replicas.find((each) => each.model === model && each.replica === replica);
	if (own) return placeSleeping(world, ledger, own);
	const size = world.sizeOf(model);
	const want: PlacementRequest = { spec, replica, ...(size && { size }) };
	const result = placeReplica(want, gpusHolding(world, ledger), ledger);
	return "placement" in result ? result : result.message;
}

/** A container can't move: its own GPUs must have what it holds awake. */
function placeSleeping(
	world: MemorySnapshot,
	ledger: readonly Allocation[],
	own: ReplicaMemory,
): { placement: Placement } | string {
	for (const { gpu, bytes } of own.allocations) {
		const total = world.gpus.find(({ index }) => index === gpu)?.memory_total;
		if (total === undefined) continue;
		const free = total - allocatedOn(ledger, gpu) - (world.otherUse.get(gpu) ?? 0);
		if (free < bytes) {
			const [needs, has] = [bytes, Math.max(0, free)].map((each) => (each / GIB).toFixed(1));
			return `${own.model} needs ${needs} GiB on GPU ${gpu} to wake, and ${has} GiB are free there`;
		}
	}
	const [first] = own.allocations;
	const devices = own.allocations.map(({ gpu }) => gpu);
	return { placement: { replica: own.replica, devices, bytes: first?.bytes ?? 0 } };
}

/** GPUs as they would be read if exactly these were held. */
function gpusHolding({ gpus, otherUse }: MemorySnapshot, ledger: readonly Allocation[]): Gpu[] {
	return gpus.map((gpu) => ({
		...gpu,
		memory_used: (otherUse.get(gpu.index) ?? 0) + allocatedOn(ledger, gpu.index),
	}));
}

function weightsOf(world: MemorySnapshot, { model, allocations }: ReplicaMemory): number {
	// Not known: no more than what it holds.
	return world.sizeOf(model)?.weights ?? allocations.reduce((sum, { bytes }) => sum + bytes, 0);
}

function sleepingAllocations({ allocations }: ReplicaMemory): Allocation[] {
	return allocations.map((holding) => ({ ...holding, bytes: Math.min(holding.bytes, SLEEPING_BYTES) }));
}

function without(held: readonly ReplicaMemory[], model: string, replica: number): ReplicaMemory[] {
	return held.filter((each) => each.model !== model || each.replica !== replica);
}

function replicasOf({ specs }: MemorySnapshot, model: string): number {
	return specs.get(model)?.replicas ?? 1;
}

function allocatedOn(ledger: readonly Allocation[], gpu: number): number {
	return ledger.reduce((sum, held) => (held.gpu === gpu ? sum + held.bytes : sum), 0);
}
