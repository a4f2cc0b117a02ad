/** Where containers go: takes snapshots of the memory, places replicas and reserves memory for starts under way. */
import { availableMemory } from "node:process";
import { steadyTime } from "../../steady-time.ts";
import type { ContainerSpecs } from "../models/container-spec.ts";
import type { InventoryItem } from "../models/inventory.ts";
import type { ModelRegistry, RegisteredModel } from "../models/model-registry.ts";
import type { ModelSpec, Placement } from "../models/model-spec.ts";
import { modelOfKey, replicaKey } from "../models/replica-state.ts";
import type { Problem } from "../problem.ts";
import { allocationsOf, misfitOf } from "./allocations.ts";
import {
	capacityOf,
	currentAllocations,
	type MemorySnapshot,
	otherUseOf,
	placeNow,
	type ReplicaMemory,
} from "./capacity.ts";
import type { GpuReading } from "./gpu.ts";
import type { GpuWatch } from "./gpu-watch.ts";
import { HOST, type HostMemory } from "./memory.ts";
import type { ModelFacts, ModelInfoCache } from "./model-infos.ts";

/** How long the memory of a container that ended or fell asleep may still be read as used, ms. */
const RELEASE_LAG_MS = 1000;

/** Why a replica can't be started now; neither where it can. */
export interface StartBlocker {
	readonly waitReason?: string;
	readonly misfit?: Problem;
	/** It will never fit, whatever else goes. */
	readonly isForGood?: boolean;
}

/** Reads the host's memory. */
export interface HostReader {
	read(): HostMemory | undefined;
	/** Bytes. */
	useOf(container: string): number | undefined;
}

/** Places replicas, and reserves their memory until their containers hold it. */
export class Placer {
	/** Of this tick, by replica key. */
	readonly #placed = new Map<string, Placement>();
	/** Of starts under way, by replica key. */
	readonly #reserved = new Map<string, ReplicaMemory>();
	#reading: GpuReading | undefined;
	/** Ids of containers that held their memory at the last snapshot, and when one of them released it. */
	#memoryHolders: ReadonlySet<string> = new Set();
	#freedAt = 0;
	#otherUse: ReadonlyMap<number, number> = new Map();
	#hostUseBefore = 0;

	constructor(
		private readonly registry: ModelRegistry,
		private readonly gpus: Pick<GpuWatch, "reading" | "requestedAt" | "readSoon">,
		private readonly infos: ModelInfoCache,
		private readonly cacheDir: string,
		private readonly specs: Pick<ContainerSpecs, "canSleep" | "runsOnCpu">,
		/** For tests: a clock, ms. */
		private readonly now = steadyTime,
		/** The host's memory, and what a container uses of it, by its id; undefined where that is not known. */
		private readonly host: HostReader = { read: () => undefined, useOf: () => undefined },
		/** The numbers of a model's replicas; by default from 0 on. */
		private readonly numbersOf: (entry: RegisteredModel) => readonly number[] = numbersFromZero,
	) {}

	/** The memory now. `replicas` grows as replicas are placed. */
	snapshot(items: readonly InventoryItem[]): MemorySnapshot & { readonly replicas: ReplicaMemory[] } {
		this.#placed.clear();
		const running = items.filter(({ state }) => state === "running");
		const replicas = running.map((item) => item.memory);
		for (const [key, each] of this.#reserved) if (!running.some((item) => item.key === key)) replicas.push(each);
		const holders = new Set(running.filter((item) => !item.memory.isAsleep).map(({ id }) => id));
		if ([...this.#memoryHolders].some((id) => !holders.has(id))) this.#freedAt = this.now();
		this.#memoryHolders = holders;
		const { reading, requestedAt } = this.gpus;
		if (reading !== this.#reading && requestedAt >= this.#freedAt + RELEASE_LAG_MS) {
			this.#reading = reading;
			this.#otherUse = otherUseOf(reading.gpus, currentAllocations(replicas));
		}
		// A reading that was requested too early shows released memory as another process's.
		else if (reading !== this.#reading) this.gpus.readSoon();
		const entries = new Map(this.registry.all().map((entry) => [entry.spec.name, entry]));
		const onCpu = new Set([...entries].flatMap(([name, entry]) => (this.specs.runsOnCpu(entry) ? [name] : [])));
		const host = onCpu.size > 0 ? this.host.read() : undefined;
		return {
			gpus: reading.gpus,
			otherUse: host ? new Map(this.#otherUse).set(HOST, this.#hostOtherUse(host, running, replicas)) : this.#otherUse,
			replicas,
			specs: new Map([...entries].map(([name, { spec }]) => [name, spec])),
			numbersOf: (model) => {
				const entry = entries.get(model);
				return entry ? this.numbersOf(entry) : [];
			},
			sizeOf: (model) => {
				const spec = entries.get(model)?.spec;
				return spec && this.infos.get(spec, false)?.size;
			},
			canSleep: (model) => {
				const entry = entries.get(model);
				return entry !== undefined && this.specs.canSleep(entry);
			},
			hostFreeBytes: availableMemory(),
			hostOf: (model) => (onCpu.has(model) ? host : undefined),
		};
	}

	/**
	 * What others use of the host's memory: what is used less what these containers use, where the kernel says that. Else what is used
	 * beyond what is allocated, and no less than before the first of them came, as they use theirs little by little.
	 */
	#hostOtherUse(
		{ total, available }: HostMemory,
		running: readonly InventoryItem[],
		replicas: readonly ReplicaMemory[],
	) {
		const used = total - available;
		const sizeOf = (memory: ReplicaMemory) =>
			memory.allocations.reduce((sum, { gpu, bytes }) => (gpu === HOST ? sum + bytes : sum), 0);
		const own = running.filter(({ memory }) => sizeOf(memory) > 0);
		const uses = own.map(({ id }) => this.host.useOf(id));
		if (uses.every((use) => use !== undefined)) {
			const others = Math.max(0, used - uses.reduce((sum, use) => sum + use, 0));
			this.#hostUseBefore = others;
			// One that uses more than it was given leaves the others less.
			const beyond = own.map(({ memory }, at) => Math.max(0, uses[at]! - sizeOf(memory)));
			return others + beyond.reduce((sum, each) => sum + each, 0);
		}
		this.#hostUseBefore = Math.min(this.#hostUseBefore, used);
		const allocated = replicas.reduce((sum, each) => sum + sizeOf(each), 0);
		return Math.max(used - allocated, this.#hostUseBefore);
	}

	capacity(memory: MemorySnapshot) {
		return capacityOf(memory);
	}

	/** Bytes of a model's weights that are not on this host's disk; undefined where that is not known, or not yet. */
	downloadOf({ spec }: RegisteredModel): number | undefined {
		return this.infos.get(spec, false)?.size?.download;
	}

	/** Whether a model can never be loaded here, whatever else goes: it is too large, or its download is for the disk. */
	isMisfit({ spec }: RegisteredModel, memory: MemorySnapshot): boolean {
		const info = this.infos.get(spec, false);
		return info !== undefined && this.#misfitOf(spec, 0, info, memory) !== undefined;
	}

	#misfitOf(spec: ModelSpec, replica: number, info: ModelFacts, memory: MemorySnapshot): Problem | undefined {
		const { freeDisk, size } = info;
		const host = memory.hostOf?.(spec.name);
		const want = { spec, replica, ...(size && { size }), ...(host && { host }) };
		const { gpus } = memory;
		return misfitOf(want, info, { gpus, cacheDir: this.cacheDir, ...(freeDisk !== undefined && { freeDisk }) });
	}

	/** Places a replica. `leaving`: models that are about to release their memory. */
	place(
		{ spec }: RegisteredModel,
		replica: number,
		memory: MemorySnapshot & { readonly replicas: ReplicaMemory[] },
		leaving: readonly string[],
	): StartBlocker {
		const hasContainer = memory.replicas.some((each) => each.model === spec.name && each.replica === replica);
		if (!hasContainer) {
			const info = this.infos.get(spec, true);
			if (!info) return { waitReason: "its size is being looked up" };
			const misfit = this.#misfitOf(spec, replica, info, memory);
			if (misfit) return { misfit, isForGood: true };
		}
		const result = placeNow(memory, spec.name, replica);
		if ("placement" in result) {
			this.#placed.set(replicaKey(spec.name, replica), result.placement);
			if (!hasContainer) memory.replicas.push(replicaMemory(spec.name, result.placement));
			return {};
		}
		if (leaving.length > 0) return { waitReason: `it waits for the memory of ${[...new Set(leaving)].join(", ")}` };
		return { misfit: result };
	}

	/** Of this tick, or reserved. */
	placement(key: string): Placement | undefined {
		return this.#placed.get(key) ?? this.#placements.get(key);
	}

	readonly #placements = new Map<string, Placement>();

	/** Reserves the memory for a start that begins now. */
	reserve(key: string): void {
		const placement = this.#placed.get(key);
		if (!placement) return;
		this.#placements.set(key, placement);
		this.#reserved.set(key, replicaMemory(modelOfKey(key), placement));
	}

	/** The start has ended: its container holds the memory, or nothing does. */
	release(key: string): void {
		this.#reserved.delete(key);
		this.#placements.delete(key);
	}
}

function replicaMemory(model: string, placement: Placement): ReplicaMemory {
	return { model, replica: placement.replica, allocations: allocationsOf(model, placement), isAsleep: false };
}

const numbersFromZero = ({ spec }: RegisteredModel): number[] =>
	Array.from({ length: spec.replicas ?? 1 }, (_, replica) => replica);
