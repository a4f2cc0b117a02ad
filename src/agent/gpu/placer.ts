/** Where containers go: keeps the world that memory questions are asked of, and what was promised to starts under way. */
import { availableMemory } from "node:process";
import { steadyTime } from "../../steady-time.ts";
import type { Item } from "../docker/inventory.ts";
import type { ModelRegistry, RegisteredModel } from "../models/model-registry.ts";
import type { Placement } from "../models/container-spec";
import { type Reason, replicaKey } from "../models/supervisor.ts";
import { holdingsAt } from "./allocations.ts";
import { foreignOf, type Held, holdingsNow, type MemoryWorld, placeNow, roomOf } from "./capacity.ts";
import { unfit } from "./fit.ts";
import type { GpuReading } from "./gpu.ts";
import type { GpuWatch } from "./gpu-watch.ts";
import type { ModelInfos } from "./model-infos.ts";

/** So long after a container ended or fell asleep its memory may still count as used, ms. */
const FREED_MS = 1000;

/** What a wanted replica without a place is told. */
export interface PlaceFound {
	readonly hold?: string;
	readonly misfit?: Reason;
}

/** Finds each start its place, and holds it until the container does. */
export class Placer {
	/** Found in this tick, by replica. */
	readonly #found = new Map<string, Placement>();
	/** Starts under way. */
	readonly #reserved = new Map<string, Held>();
	#reading: GpuReading | undefined;
	/** Ids of containers that held their memory at the last look, and when one of them gave it back. */
	#holders: ReadonlySet<string> = new Set();
	#freedAt = 0;
	#foreign: ReadonlyMap<number, number> = new Map();

	constructor(
		private readonly book: ModelRegistry,
		private readonly gpus: Pick<GpuWatch, "reading" | "askedAt" | "soon">,
		private readonly infos: ModelInfos,
		private readonly cacheDir: string,
		private readonly sleeps: (entry: RegisteredModel) => boolean,
		/** For tests: a clock, ms. */
		private readonly now = steadyTime,
	) {}

	/** The world of this moment. Its `held` grows as places are found. */
	see(items: readonly Item[]): MemoryWorld & { readonly held: Held[] } {
		this.#found.clear();
		const running = items.filter(({ state }) => state === "running");
		const held = running.map((item) => item.held);
		for (const [key, each] of this.#reserved) if (!running.some((item) => item.key === key)) held.push(each);
		const holders = new Set(running.filter((item) => !item.held.isAsleep).map(({ id }) => id));
		if ([...this.#holders].some((id) => !holders.has(id))) this.#freedAt = this.now();
		this.#holders = holders;
		const { reading, askedAt } = this.gpus;
		if (reading !== this.#reading && askedAt >= this.#freedAt + FREED_MS) {
			this.#reading = reading;
			this.#foreign = foreignOf(reading.gpus, holdingsNow(held));
		}
		// Asked for too early, it shows as a stranger's what was ours.
		else if (reading !== this.#reading) this.gpus.soon();
		const entries = new Map(this.book.all().map((entry) => [entry.spec.name, entry]));
		return {
			gpus: reading.gpus,
			foreign: this.#foreign,
			held,
			specs: new Map([...entries].map(([name, { spec }]) => [name, spec])),
			sizeOf: (model) => {
				const spec = entries.get(model)?.spec;
				return spec && this.infos.of(spec, false)?.size;
			},
			canSleep: (model) => {
				const entry = entries.get(model);
				return entry !== undefined && this.sleeps(entry);
			},
			hostFree: availableMemory(),
		};
	}

	room(world: MemoryWorld) {
		return roomOf(world);
	}

	/** Finds a place for a replica. `leaving`: models whose memory will be free in a moment. */
	place(
		{ spec }: RegisteredModel,
		replica: number,
		world: MemoryWorld & { readonly held: Held[] },
		leaving: readonly string[],
	): PlaceFound {
		const isThere = world.held.some((each) => each.model === spec.name && each.replica === replica);
		if (!isThere) {
			const info = this.infos.of(spec, true);
			if (!info) return { hold: "its size is being looked up" };
			const { gpus } = world;
			const { freeDisk } = info;
			const want = { spec, replica, ...(info.size && { size: info.size }) };
			const misfit = unfit(want, info, { gpus, cacheDir: this.cacheDir, ...(freeDisk !== undefined && { freeDisk }) });
			if (misfit) return { misfit };
		}
		const result = placeNow(world, spec.name, replica);
		if (typeof result !== "string") {
			this.#found.set(replicaKey(spec.name, replica), result.placement);
			if (!isThere) world.held.push(heldAt(spec.name, result.placement));
			return {};
		}
		if (leaving.length > 0) return { hold: `it waits for the memory of ${[...new Set(leaving)].join(", ")}` };
		return {
			misfit: {
				reason: result,
				fix: "unload a model that holds the memory, stop other processes on the GPU, or give this one less (`gpu_memory`)",
			},
		};
	}

	/** The place found in this tick, or reserved. */
	placement(key: string): Placement | undefined {
		return this.#found.get(key) ?? this.#placements.get(key);
	}

	readonly #placements = new Map<string, Placement>();

	/** Keeps a place for a start that begins now. */
	reserve(key: string): void {
		const placement = this.#found.get(key);
		if (!placement) return;
		this.#placements.set(key, placement);
		this.#reserved.set(key, heldAt(key.slice(0, key.lastIndexOf("#")), placement));
	}

	/** The start has ended: its container speaks for itself. */
	release(key: string): void {
		this.#reserved.delete(key);
		this.#placements.delete(key);
	}
}

function heldAt(model: string, placement: Placement): Held {
	return { model, replica: placement.replica, holdings: holdingsAt(model, placement), isAsleep: false };
}
