/** The scheduler's questions about memory, answered by the ledger. Pure, but for what it is given to look at. */

import type { Room } from "../models/scheduler.ts";
import type { ModelSpec, Placement } from "../models/container-spec";
import { ASLEEP, type Holding, holdingsAt, place } from "./allocations.ts";
import type { Gpu } from "./gpu.ts";
import { GIB, type Want } from "./memory.ts";
import type { ModelSize } from "./model-size.ts";

/** What one container (or one that is being started) holds of the GPUs. */
export interface Held {
	readonly model: string;
	readonly replica: number;
	/** What it holds awake. */
	readonly holdings: readonly Holding[];
	readonly isAsleep: boolean;
}

/** Everything that memory questions depend on. */
export interface MemoryWorld {
	readonly gpus: readonly Gpu[];
	/** Bytes that processes which are not ours hold, by GPU. */
	readonly foreign: ReadonlyMap<number, number>;
	readonly held: readonly Held[];
	readonly specs: ReadonlyMap<string, ModelSpec>;
	sizeOf(model: string): ModelSize | undefined;
	/** It was started so that it can sleep. */
	canSleep(model: string): boolean;
	/** Free bytes of the host's own memory. */
	readonly hostFree: number;
}

/** Kept free of the host's memory, bytes. */
const HOST_SPARE = 2 * GIB;

/** What is held now: asleep, next to nothing. */
export function holdingsNow(held: readonly Held[]): Holding[] {
	return held.flatMap((each) => (each.isAsleep ? dozing(each) : each.holdings));
}

/** What strangers hold: what is used beyond what is ours. */
export function foreignOf(gpus: readonly Gpu[], ours: readonly Holding[]): Map<number, number> {
	return new Map(gpus.map(({ index, memory_used }) => [index, Math.max(0, memory_used - promised(ours, index))]));
}

/**
 * Where one replica goes beside what is held at this moment; the arithmetic where it goes nowhere. A sleeping one has its
 * place: the question is whether that is free.
 */
export function placeNow(world: MemoryWorld, model: string, replica: number): { placement: Placement } | string {
	return put(world, holdingsNow(without(world.held, model, replica)), model, replica);
}

/** The scheduler's view: what would be, if these were awake and those asleep. */
export function roomOf(world: MemoryWorld): Room & { why(name: string, awake: ReadonlySet<string>): string } {
	return {
		fits: (name, awake, asleep) => beside(world, name, awake, asleep) === undefined,
		why: (name, awake) => beside(world, name, awake, new Set()) ?? "",
		sleeps(name, asleep) {
			if (!world.canSleep(name)) return false;
			const own = world.held.filter(({ model }) => model === name);
			if (own.length === 0) return false;
			const bytes = own.reduce((sum, each) => sum + weightsOf(world, each), 0);
			// Those that were put to sleep in this very decision do not show in the host's memory yet.
			const coming = world.held
				.filter(({ model, isAsleep }) => asleep.has(model) && !isAsleep)
				.reduce((sum, each) => sum + weightsOf(world, each), 0);
			return bytes * 1.1 + coming + HOST_SPARE <= world.hostFree;
		},
	};
}

/** Why `name` finds no memory beside them; undefined where it does. */
function beside(
	world: MemoryWorld,
	name: string,
	awake: ReadonlySet<string>,
	asleep: ReadonlySet<string>,
): string | undefined {
	const ledger = world.held.filter(({ model }) => asleep.has(model) && model !== name).flatMap(dozing);
	for (const model of awake) {
		if (model === name) continue;
		for (let replica = 0; replica < replicasOf(world, model); replica++) {
			const own = world.held.find((each) => each.model === model && each.replica === replica);
			if (own) ledger.push(...own.holdings);
			else {
				const result = put(world, ledger, model, replica);
				if (typeof result !== "string") ledger.push(...holdingsAt(model, result.placement));
			}
		}
	}
	for (let replica = 0; replica < replicasOf(world, name); replica++) {
		const result = put(world, ledger, name, replica);
		if (typeof result === "string") return result;
		ledger.push(...holdingsAt(name, result.placement));
	}
	return undefined;
}

function put(
	world: MemoryWorld,
	ledger: readonly Holding[],
	model: string,
	replica: number,
): { placement: Placement } | string {
	const spec = world.specs.get(model);
	if (!spec) return `${model} is not known any more`;
	const own = world.held.find((each) => each.model === model && each.replica === replica);
	if (own) return back(world, ledger, own);
	const size = world.sizeOf(model);
	const want: Want = { spec, replica, ...(size && { size }) };
	const result = place(want, seenBy(world, ledger), ledger);
	return "placement" in result ? result : result.message;
}

/** A container can't move: its own GPUs must have what it holds awake. */
function back(world: MemoryWorld, ledger: readonly Holding[], own: Held): { placement: Placement } | string {
	for (const { gpu, bytes } of own.holdings) {
		const total = world.gpus.find(({ index }) => index === gpu)?.memory_total;
		if (total === undefined) continue;
		const free = total - promised(ledger, gpu) - (world.foreign.get(gpu) ?? 0);
		if (free < bytes) {
			const [needs, has] = [bytes, Math.max(0, free)].map((each) => (each / GIB).toFixed(1));
			return `${own.model} needs ${needs} GiB on GPU ${gpu} to wake, and ${has} GiB are free there`;
		}
	}
	const [first] = own.holdings;
	const devices = own.holdings.map(({ gpu }) => gpu);
	return { placement: { replica: own.replica, devices, bytes: first?.bytes ?? 0 } };
}

/** GPUs as they would be read if exactly these were held. */
function seenBy({ gpus, foreign }: MemoryWorld, ledger: readonly Holding[]): Gpu[] {
	return gpus.map((gpu) => ({
		...gpu,
		memory_used: (foreign.get(gpu.index) ?? 0) + promised(ledger, gpu.index),
	}));
}

function weightsOf(world: MemoryWorld, { model, holdings }: Held): number {
	// Not known: no more than what it holds.
	return world.sizeOf(model)?.weights ?? holdings.reduce((sum, { bytes }) => sum + bytes, 0);
}

function dozing({ holdings }: Held): Holding[] {
	return holdings.map((holding) => ({ ...holding, bytes: Math.min(holding.bytes, ASLEEP) }));
}

function without(held: readonly Held[], model: string, replica: number): Held[] {
	return held.filter((each) => each.model !== model || each.replica !== replica);
}

function replicasOf({ specs }: MemoryWorld, model: string): number {
	return specs.get(model)?.replicas ?? 1;
}

function promised(ledger: readonly Holding[], gpu: number): number {
	return ledger.reduce((sum, held) => (held.gpu === gpu ? sum + held.bytes : sum), 0);
}
