/** Publishes a tick's outcome: to the statuses that are shown, the queues of calls, the log and the router. */
import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Notifier } from "../notify.ts";
import { type Problem, problemText } from "../problem.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import type { EffectRecords } from "./effects.ts";
import type { Generations } from "./generations.ts";
import type { InventoryItem } from "./inventory.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import { type ModelStatus, type ModelStatuses, modelRefusal, modelStatus } from "./model-status.ts";
import type { ReplicaState } from "./replica-state.ts";
import type { Decision } from "./scheduler.ts";
import type { ContainerAddress, Traffic } from "./traffic.ts";

/** What it reads and writes. */
export interface PublisherOptions {
	readonly registry: ModelRegistry;
	readonly statuses: ModelStatuses;
	readonly traffic: Traffic;
	readonly specs: ContainerSpecs;
	readonly records: EffectRecords;
	readonly generations: Generations;
	readonly log: Pick<Log, "logger">;
	/** Notified when a model's state or problem has changed. */
	readonly changes: Notifier;
}

/** A tick's outcome. */
export interface TickOutcome {
	/** By replica. */
	readonly states: ReadonlyMap<string, ReplicaState>;
	readonly decision: Decision;
	readonly items: readonly InventoryItem[];
	/** The arithmetic and a remedy for a model that does not fit beside `awake`. */
	readonly whyMisfit: (name: string, awake: ReadonlySet<string>) => Problem;
	readonly now: number;
}

/** Publishes for all models. */
export class StatusPublisher {
	constructor(private readonly options: PublisherOptions) {}

	/** After each tick. */
	publish(outcome: TickOutcome): void {
		const { statuses, changes } = this.options;
		if (statuses.setReplicas(outcome.states)) changes.notify();
		for (const entry of this.options.registry.all()) this.#publish(entry, outcome);
	}

	/** Instead, while the hardware is not known: no decision can be made. `problem`: why, where it failed. */
	publishUnknown(problem: Problem | undefined, items: readonly InventoryItem[]): void {
		const status: ModelStatus = problem ? { state: "failed", problem } : { state: "starting" };
		const { registry, traffic } = this.options;
		for (const entry of registry.all()) {
			const { spec, load, order } = entry;
			this.#set(entry, status, items);
			traffic.refuse(spec.name, modelRefusal({ name: spec.name, load, order, status }, steadyTime()));
		}
	}

	#publish(entry: RegisteredModel, { states, decision, items, whyMisfit, now }: TickOutcome): void {
		const { awake, closed, misfits } = decision;
		const { registry, traffic, generations } = this.options;
		const { load } = entry;
		const { name } = entry.spec;
		// Those that are leaving take no calls, and their end is no matter of the model.
		const serving = generations.replicas(entry).filter(({ is }) => is !== "leaving");
		const replicas = serving.flatMap(({ key }) => states.get(key) ?? []);
		const misfit = misfits.has(name) ? this.#misfit(name, whyMisfit) : undefined;
		const status: ModelStatus = misfit ? { state: "failed", problem: misfit } : modelStatus(replicas, name);
		this.#set(entry, status, items);
		// An order to unload an on-demand model is done once it is stopped: its next call may load it again.
		const isDone = load === "on-demand" && entry.order === "unload" && status.state === "stopped";
		if (isDone) registry.clearOrder(name);
		const order = isDone ? undefined : entry.order;
		const isOpen = awake.has(name) && !closed.has(name);
		const addresses = replicas.flatMap(({ id }): ContainerAddress[] => {
			const item = id === undefined ? undefined : items.find((each) => each.id === id);
			if (!isOpen || !item?.vllm) return [];
			const { origin, key } = item.vllm;
			const { replica } = item;
			const [share, counter] = [generations.shareOf(name, replica), generations.counterOf(name, replica)];
			return [{ id: item.id, replica, origin, key, share, counter }];
		});
		traffic.open(
			name,
			addresses,
			serving.map(({ replica }) => replica),
		);
		if (addresses.length === 0) {
			const refusal = closed.has(name) ? undefined : modelRefusal({ name, load, order, status, misfit }, now);
			traffic.refuse(name, refusal);
		}
	}

	#misfit(name: string, whyMisfit: TickOutcome["whyMisfit"]): Problem {
		const pinned = this.options.registry.all().filter(({ load, order }) => load === "always" || order === "load");
		return whyMisfit(name, new Set(pinned.map(({ spec }) => spec.name)));
	}

	#set(entry: RegisteredModel, status: ModelStatus, items: readonly InventoryItem[]): void {
		const { statuses, log, changes } = this.options;
		const { name } = entry.spec;
		const isFirst = !statuses.has(name);
		const before = statuses.of(name);
		statuses.set(name, status, this.#progress(entry, status, items));
		if (!isFirst && before.state === status.state && before.problem?.reason === status.problem?.reason) return;
		const reason = status.problem && problemText(status.problem);
		const fields = { model: name, state: status.state, ...(reason && { reason }) };
		if (status.state === "failed") log.logger.warn(fields, "model");
		else if (!isFirst || status.state !== "stopped") log.logger.info(fields, "model");
		changes.notify();
	}

	/** How far a load is, in a few words; undefined where none is under way. */
	#progress(
		entry: RegisteredModel,
		{ state, waitReason }: ModelStatus,
		items: readonly InventoryItem[],
	): string | undefined {
		if (state === "pulling") {
			const { pulls } = this.options.records;
			const { specs, generations } = this.options;
			const { roll } = generations.of(entry.spec.name) ?? {};
			const image = roll?.to.image ?? specs.image(entry);
			if (!pulls.has(image)) return "looking for its image";
			const percent = pulls.get(image);
			return `pulling its image ${imageLabel(image)}${percent === undefined ? "" : `, ${percent} %`}`;
		}
		if (state === "sleeping") return "waking";
		if (state !== "starting") return undefined;
		if (waitReason !== undefined) return waitReason;
		const monitor = items.find((item) => item.model === entry.spec.name)?.monitor;
		if (!monitor) return "starting";
		const { progress, downloaded } = monitor;
		if (!progress) return downloaded ? `downloading, ${(downloaded / 1e9).toFixed(1)} GB so far` : "starting";
		return `starting: ${progress.phase}${progress.percent === undefined ? "" : `, ${progress.percent} %`}`;
	}
}

/** An image as people may see it: a registry's address may hold a user's name. */
function imageLabel(image: string): string {
	return image.slice(image.lastIndexOf("/") + 1);
}
