/** The agent's containers, each with what its monitor knows. */

import { steadyTime } from "../../steady-time.ts";
import { allocationsFromLabels } from "../gpu/allocations.ts";
import type { ReplicaMemory } from "../gpu/capacity.ts";
import { type ObservedContainer, replicaKey } from "../models/supervisor.ts";
import type { Monitor } from "../vllm/monitor.ts";
import type { Container } from "./docker-output.ts";

/** A container, read. */
export interface InventoryItem extends ObservedContainer {
	readonly model: string;
	readonly replica: number;
	readonly exitCode: number;
	readonly oomKilled: boolean;
	/** Where its vLLM answers; absent where it publishes no port. */
	readonly origin?: string;
	readonly memory: ReplicaMemory;
	/** Absent while it does not run. */
	readonly monitor?: Monitor;
}

/** What there is. `sync` after each list. */
export class Inventory {
	#items: readonly InventoryItem[] = [];
	readonly #monitors = new Map<string, Monitor>();

	constructor(private readonly monitorOf: (container: Container, origin: string) => Monitor) {}

	get items(): readonly InventoryItem[] {
		return this.#items;
	}

	/** Takes in what the engine listed and asks those that run how they are. */
	sync(containers: readonly Container[]): void {
		const now = steadyTime();
		for (const [id, monitor] of this.#monitors) {
			if (containers.some((each) => each.id === id && each.state === "running")) continue;
			monitor.end();
			this.#monitors.delete(id);
		}
		for (const container of containers) {
			const origin = originOf(container);
			if (container.state !== "running" || !origin) continue;
			let monitor = this.#monitors.get(container.id);
			if (!monitor) {
				monitor = this.monitorOf(container, origin);
				this.#monitors.set(container.id, monitor);
			}
			monitor.check(now);
		}
		this.#items = containers.map((container) => this.#item(container));
	}

	monitor(id: string): Monitor | undefined {
		return this.#monitors.get(id);
	}

	end(): void {
		for (const monitor of this.#monitors.values()) monitor.end();
	}

	#item(container: Container): InventoryItem {
		const { id, labels, state, exitCode, oomKilled, startedAt } = container;
		const model = labels["router.model"] ?? "";
		const replica = Number(labels["router.replica"] ?? 0);
		const monitor = this.#monitors.get(id);
		const origin = originOf(container);
		const problem = monitor?.problem;
		return {
			id,
			model,
			replica,
			key: replicaKey(model, replica),
			hash: labels["router.spec"] ?? "",
			state,
			exitCode,
			oomKilled,
			health: monitor?.health ?? "unknown",
			startedAt: monitor?.firstSeenAt ?? startedAt,
			progressAt: monitor?.progressAt ?? startedAt,
			...(origin && { origin }),
			...(problem && { problem }),
			...(monitor && { monitor }),
			memory: { model, replica, allocations: allocationsFromLabels(labels), isAsleep: monitor?.health === "asleep" },
		};
	}
}

function originOf({ port, labels }: Container): string | undefined {
	const known = port ?? Number(labels["router.port"]);
	return known > 0 ? `http://127.0.0.1:${known}` : undefined;
}
