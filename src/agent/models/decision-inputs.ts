/** What the scheduler and the supervisor are given: read at one tick from the registry, the traffic and the containers. */
import { steadyTime } from "../../steady-time.ts";
import type { MemorySnapshot, ReplicaMemory } from "../gpu/capacity.ts";
import type { Placer } from "../gpu/placer.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import type { InventoryItem } from "./inventory.ts";
import type { RegisteredModel } from "./model-registry.ts";
import type { ModelStatus } from "./model-status.ts";
import { type Activity, type DesiredReplica, replicaKey } from "./replica-state.ts";
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
): ModelDemand {
	const { count, oldestAt } = traffic.waiting(name);
	const monitors = items.flatMap(({ model, monitor }) => (model === name && monitor ? [monitor] : []));
	return {
		name,
		load,
		order,
		state,
		waiting: count,
		oldestAt,
		running: traffic.running(name),
		usedAt: traffic.lastUsedAt(name),
		readyAt: latest(monitors.map(({ readyAt }) => readyAt)),
		loadMs: latest(monitors.map(({ loadMs }) => loadMs)),
		ttl,
		retryAt,
	};
}

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
}

/** The replicas of a model, each placed where it is to be started or woken. */
export function desiredReplicas(
	entry: RegisteredModel,
	{ items, decision, memory, inFlight, specs, placer, traffic }: DesiredInputs,
): DesiredReplica[] {
	const { spec } = entry;
	const { awake, asleep } = decision;
	const goal = awake.has(spec.name) ? "up" : asleep.has(spec.name) ? "asleep" : "down";
	const hash = specs.hash(entry);
	const image = specs.image(entry);
	const leaving = items
		.filter(({ model, health }) => model !== spec.name && health !== "asleep" && !awake.has(model))
		.map(({ model }) => model);
	return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => {
		const key = replicaKey(spec.name, replica);
		const own = items.find((item) => item.key === key);
		const needsMemory = goal === "up" && (!own || own.health === "asleep") && !inFlight.has(key);
		const blocker = needsMemory ? placer.place(entry, replica, memory, leaving) : {};
		return { key, goal, hash, image, running: own ? traffic.runningIn(own.id) : 0, ...blocker };
	});
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
		const own = items.filter(({ model, state }) => model === spec.name && state === "running");
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
