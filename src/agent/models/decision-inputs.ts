/** What the scheduler and the supervisor are given: read at one tick from the registry, the traffic and the containers. */
import { steadyTime } from "../../steady-time.ts";
import type { MemorySnapshot, ReplicaMemory } from "../gpu/capacity.ts";
import type { Placer, StartBlocker } from "../gpu/placer.ts";
import { gpusPerReplica } from "../vllm/vllm-args.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import type { Generations, PlannedReplica } from "./generations.ts";
import type { InventoryItem } from "./inventory.ts";
import type { RegisteredModel } from "./model-registry.ts";
import type { ModelStatus } from "./model-status.ts";
import type { Activity, DesiredReplica } from "./replica-state.ts";
import type { Room } from "./roll.ts";
import type { Decision, ModelDemand, Residents } from "./scheduler.ts";
import type { Traffic } from "./traffic.ts";

/** How long a container that was running before the agent may take to answer whether it sleeps, ms. */
const ADOPTION_MS = 5000;

/** One model for the scheduler. `status` is that of the last tick. */
export function modelDemand(
	{ spec: { name, ttl }, load, order }: RegisteredModel,
	{ state, retryAt }: ModelStatus,
	items: readonly InventoryItem[],
	traffic: Traffic,
	goal?: ModelDemand["goal"],
): ModelDemand {
	const { count, oldestAt } = traffic.waiting(name);
	const monitors = items.flatMap(({ model, monitor }) => (model === name && monitor ? [monitor] : []));
	return {
		name,
		load,
		order,
		state,
		isThere: items.some((item) => item.model === name && isThere(item)),
		waiting: count,
		oldestAt,
		running: traffic.running(name),
		usedAt: traffic.lastUsedAt(name),
		readyAt: latest(monitors.map(({ readyAt }) => readyAt)),
		loadMs: latest(monitors.map(({ loadMs }) => loadMs)),
		ttl,
		retryAt,
		goal,
	};
}

/** Its memory is taken, whether or not it moves: somebody may have paused it, and come back. */
const isThere = ({ state }: InventoryItem): boolean => state === "running" || state === "paused";

function latest(times: readonly (number | undefined)[]): number | undefined {
	return times.reduce((a, b) => Math.max(a ?? 0, b ?? 0) || undefined, undefined);
}

/** What a tick has gathered for the supervisor's input. */
export interface DesiredInputs {
	readonly items: readonly InventoryItem[];
	readonly decision: Decision;
	/** Of the placer; grows as replicas are placed. */
	readonly memory: MemorySnapshot & { readonly replicas: ReplicaMemory[] };
	readonly inFlight: ReadonlyMap<string, Activity>;
	readonly specs: ContainerSpecs;
	readonly placer: Placer;
	readonly traffic: Traffic;
	readonly generations: Generations;
	/** Longest that a replica which is replaced while others serve waits for its calls, ms. */
	readonly rollDrainMs: number;
}

/** The replicas of a model, each placed where it is to be started or woken. Says whether a roll's newest one has room. */
export function desiredReplicas(entry: RegisteredModel, inputs: DesiredInputs): DesiredReplica[] {
	const { items, decision, inFlight, specs, traffic, generations, rollDrainMs } = inputs;
	const { name } = entry.spec;
	const { awake, asleep } = decision;
	const goal = awake.has(name) ? "up" : asleep.has(name) ? "asleep" : "down";
	const made = specs.generation(entry);
	const planned = generations.replicas(entry);
	const isUp = (key: string) => items.some((item) => item.key === key && item.health === "up");
	const isServed = planned.some(({ key, is }) => is !== "leaving" && isUp(key));
	return planned.map((each): DesiredReplica => {
		const { key, is } = each;
		const { hash, image } = generations.at(key) ?? made;
		const own = items.find((item) => item.key === key);
		const running = own ? traffic.runningIn(own.id) : 0;
		if (is === "leaving") return { key, goal: "down", hash, image, running, ...(isServed && { drainMs: rollDrainMs }) };
		const needsMemory = goal === "up" && (!own || own.health === "asleep") && !inFlight.has(key);
		return { key, goal, hash, image, running, ...(needsMemory && blockerOf(entry, each, inputs)) };
	});
}

/** Why a replica can't be started or woken now; nothing where it can. */
function blockerOf(
	entry: RegisteredModel,
	{ replica, key, is }: Pick<PlannedReplica, "replica" | "key" | "is">,
	{ items, decision, memory, placer, generations, specs }: DesiredInputs,
): Pick<DesiredReplica, "waitReason" | "misfit"> {
	const { name } = entry.spec;
	const spec = generations.at(key)?.spec ?? entry.spec;
	const leaving = items
		.filter(({ model, health }) => model !== name && health !== "asleep" && !decision.awake.has(model))
		.map(({ model }) => model);
	const beside = { ...memory, specs: new Map(memory.specs).set(name, spec) };
	const blocker = placer.place({ ...entry, spec }, replica, beside, leaving);
	const isUnmeasured = !specs.runsOnCpu(entry) && gpusPerReplica(spec) > 0 && memory.gpus.length === 0;
	const own = generations.of(name);
	if (is === "new") {
		const room = roomOf(blocker, isUnmeasured && (own?.replicas.length ?? 0) + (own?.leaving.length ?? 0) > 0);
		generations.setRoom(name, room);
		if (room !== "yes") return { waitReason: blocker.waitReason ?? "there is no room for it beside the old ones" };
	}
	// What finishes its calls still holds the memory.
	const isLeft = own?.leaving.some((each) => items.some((item) => item.model === name && item.replica === each));
	if (blocker.misfit && isLeft) return { waitReason: "its calls wait for the one before it to end" };
	return blocker;
}

function roomOf({ waitReason, misfit, isForGood }: StartBlocker, isUnmeasured: boolean): Room {
	if (misfit) return isForGood ? misfit : "no";
	if (waitReason !== undefined) return "unknown";
	return isUnmeasured ? "no" : "yes";
}

/**
 * The residents, with the on-demand models that were running before this agent started: they keep their memory. `isComplete`:
 * every such container has answered whether it sleeps, or had its time to.
 */
export function adoptRunning(
	{ awake: awakeBefore, asleep: asleepBefore }: Residents,
	entries: readonly RegisteredModel[],
	items: readonly InventoryItem[],
): { readonly residents: Residents; readonly isComplete: boolean } {
	const awake = new Set(awakeBefore);
	const asleep = new Set(asleepBefore);
	for (const { spec, load } of entries) {
		const own = items.filter((item) => item.model === spec.name && isThere(item));
		if (load !== "on-demand" || own.length === 0) continue;
		const isAsleep = own.some(({ health }) => health === "asleep");
		(isAsleep ? asleep : awake).add(spec.name);
		if (isAsleep) awake.delete(spec.name);
	}
	const isOpen = items.some(
		({ state, health, monitor }) =>
			state === "running" && health === "unknown" && monitor && steadyTime() - monitor.firstSeenAt < ADOPTION_MS,
	);
	return { residents: { awake, asleep }, isComplete: !isOpen };
}
