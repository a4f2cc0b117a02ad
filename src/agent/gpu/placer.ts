/** Where containers go: keeps the world that memory questions are asked of, and what was promised to starts under way. */
import { availableMemory } from "node:process";
import { steadyTime } from "../../steady-time.ts";
import type { ContainerSpecs } from "../models/container-spec.ts";
import type { InventoryItem } from "../models/inventory.ts";
import type { ModelRegistry, RegisteredModel } from "../models/model-registry.ts";
import type { Placement } from "../models/model-spec.ts";
import { replicaKey } from "../models/supervisor.ts";
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
import type { ModelInfoCache } from "./model-infos.ts";

/** So long after a container ended or fell asleep its memory may still count as used, ms. */
const RELEASE_LAG_MS = 1000;

/** What a wanted replica without a place is told. */
export interface StartBlocker {
	readonly waitReason?: string;
	readonly misfit?: Problem;
}

/** Finds each start its place, and holds it until the container does. */
export class Placer {
	/** Found in this tick, by replica. */
	readonly #placed = new Map<string, Placement>();
	/** Starts under way. */
	readonly #reserved = new Map<string, ReplicaMemory>();
	#reading: GpuReading | undefined;
	/** Ids of containers that held their memory at the last look, and when one of them gave it back. */
	#memoryHolders: ReadonlySet<string> = new Set();
	#freedAt = 0;
	#otherUse: ReadonlyMap<number, number> = new Map();

	constructor(
		private readonly registry: ModelRegistry,
		private readonly gpus: Pick<GpuWatch, "reading" | "requestedAt" | "readSoon">,
		private readonly infos: ModelInfoCache,
		private readonly cacheDir: string,
		private readonly specs: Pick<ContainerSpecs, "canSleep">,
		/** For tests: a clock, ms. */
		private readonly now = steadyTime,
	) {}

	/** The world of this moment. Its `held` grows as places are found. */
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
		// Asked for too early, it shows as a stranger's what was ours.
		else if (reading !== this.#reading) this.gpus.readSoon();
		const entries = new Map(this.registry.all().map((entry) => [entry.spec.name, entry]));
		return {
			gpus: reading.gpus,
			otherUse: this.#otherUse,
			replicas,
			specs: new Map([...entries].map(([name, { spec }]) => [name, spec])),
			sizeOf: (model) => {
				const spec = entries.get(model)?.spec;
				return spec && this.infos.get(spec, false)?.size;
			},
			canSleep: (model) => {
				const entry = entries.get(model);
				return entry !== undefined && this.specs.canSleep(entry);
			},
			hostFreeBytes: availableMemory(),
		};
	}

	capacity(world: MemorySnapshot) {
		return capacityOf(world);
	}

	/** Finds a place for a replica. `leaving`: models whose memory will be free in a moment. */
	place(
		{ spec }: RegisteredModel,
		replica: number,
		world: MemorySnapshot & { readonly replicas: ReplicaMemory[] },
		leaving: readonly string[],
	): StartBlocker {
		const isThere = world.replicas.some((each) => each.model === spec.name && each.replica === replica);
		if (!isThere) {
			const info = this.infos.get(spec, true);
			if (!info) return { waitReason: "its size is being looked up" };
			const { gpus } = world;
			const { freeDisk } = info;
			const want = { spec, replica, ...(info.size && { size: info.size }) };
			const misfit = misfitOf(want, info, {
				gpus,
				cacheDir: this.cacheDir,
				...(freeDisk !== undefined && { freeDisk }),
			});
			if (misfit) return { misfit };
		}
		const result = placeNow(world, spec.name, replica);
		if (typeof result !== "string") {
			this.#placed.set(replicaKey(spec.name, replica), result.placement);
			if (!isThere) world.replicas.push(replicaMemory(spec.name, result.placement));
			return {};
		}
		if (leaving.length > 0) return { waitReason: `it waits for the memory of ${[...new Set(leaving)].join(", ")}` };
		return {
			misfit: {
				reason: result,
				fix: "unload a model that holds the memory, stop other processes on the GPU, or give this one less (`gpu_memory`)",
			},
		};
	}

	/** The place found in this tick, or reserved. */
	placement(key: string): Placement | undefined {
		return this.#placed.get(key) ?? this.#placements.get(key);
	}

	readonly #placements = new Map<string, Placement>();

	/** Keeps a place for a start that begins now. */
	reserve(key: string): void {
		const placement = this.#placed.get(key);
		if (!placement) return;
		this.#placements.set(key, placement);
		this.#reserved.set(key, replicaMemory(key.slice(0, key.lastIndexOf("#")), placement));
	}

	/** The start has ended: its container speaks for itself. */
	release(key: string): void {
		this.#reserved.delete(key);
		this.#placements.delete(key);
	}
}

function replicaMemory(model: string, placement: Placement): ReplicaMemory {
	return { model, replica: placement.replica, allocations: allocationsOf(model, placement), isAsleep: false };
}
