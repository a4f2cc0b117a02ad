/** The agent's containers, each with what its monitor knows. */

import { steadyTime } from "../../steady-time.ts";
import { holdingsOf } from "../gpu/allocations.ts";
import type { Held } from "../gpu/capacity.ts";
import { replicaKey, type Seen } from "../models/supervisor.ts";
import type { Monitor } from "../vllm/monitor.ts";
import type { Container } from "./docker.ts";

/** A container, read. */
export interface Item extends Seen {
	readonly model: string;
	readonly replica: number;
	readonly exitCode: number;
	readonly oomKilled: boolean;
	/** Where its vLLM answers; absent where it publishes no port. */
	readonly origin?: string;
	readonly held: Held;
	/** Absent while it does not run. */
	readonly monitor?: Monitor;
}

/** What there is. `sync` after each list. */
export class Inventory {
	#items: readonly Item[] = [];
	readonly #monitors = new Map<string, Monitor>();

	constructor(private readonly monitorOf: (container: Container, origin: string) => Monitor) {}

	get items(): readonly Item[] {
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
			monitor.look(now);
		}
		this.#items = containers.map((container) => this.#item(container));
	}

	monitor(id: string): Monitor | undefined {
		return this.#monitors.get(id);
	}

	end(): void {
		for (const monitor of this.#monitors.values()) monitor.end();
	}

	#item(container: Container): Item {
		const { id, labels, state, exitCode, oomKilled, startedAt } = container;
		const model = labels["router.model"] ?? "";
		const replica = Number(labels["router.replica"] ?? 0);
		const monitor = this.#monitors.get(id);
		const origin = originOf(container);
		const why = monitor?.why;
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
			startedAt: monitor?.seenAt ?? startedAt,
			progressAt: monitor?.progressAt ?? startedAt,
			...(origin && { origin }),
			...(why && { why }),
			...(monitor && { monitor }),
			held: { model, replica, holdings: holdingsOf(labels), isAsleep: monitor?.health === "asleep" },
		};
	}
}

function originOf({ port, labels }: Container): string | undefined {
	const known = port ?? Number(labels["router.port"]);
	return known > 0 ? `http://127.0.0.1:${known}` : undefined;
}
