/** The agent's containers, each with what its monitor knows. */
import { MAX_GPUS } from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Docker } from "../docker/docker.ts";
import type { Container } from "../docker/docker-output.ts";
import type { EngineWatch } from "../docker/engine-watch.ts";
import { allocationsFromLabels } from "../gpu/allocations.ts";
import type { ReplicaMemory } from "../gpu/capacity.ts";
import { HOST } from "../gpu/memory.ts";
import type { Notifier } from "../notify.ts";
import { KV_EVENT_LABEL } from "../vllm/kv-event-args.ts";
import { type KvEventSockets, kvEventSockets } from "../vllm/kv-sockets.ts";
import { mayHaveAdapters } from "../vllm/lora-modules.ts";
import { Monitor } from "../vllm/monitor.ts";
import type { VllmEndpoint } from "../vllm/vllm-probe.ts";
import type { AgentSettings } from "./agent-settings.ts";
import { containerKey, KEY_LABEL } from "./container-key.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import type { ModelRegistry } from "./model-registry.ts";
import { type ObservedContainer, replicaKey } from "./replica-state.ts";
import type { Traffic } from "./traffic.ts";

/** A container: what the engine lists, and what its monitor has found out. */
export interface InventoryItem extends ObservedContainer {
	readonly model: string;
	readonly replica: number;
	/** As it was named when it was made. */
	readonly image: string;
	readonly exitCode: number;
	readonly oomKilled: boolean;
	/** When its container was started and when it ended, ms since the epoch; 0 where it did not. */
	readonly ran: { readonly from: number; readonly to: number };
	/** Where its vLLM answers; absent where it publishes no port. */
	readonly vllm?: VllmEndpoint;
	/** Where its KV events are had; absent where it publishes none. */
	readonly kvEvents?: KvEventSockets;
	readonly memory: ReplicaMemory;
	/** Absent while it does not run. */
	readonly monitor?: Monitor;
}

/** Indexes of the GPUs that a container has memory on. */
export function gpusOfContainer(items: readonly InventoryItem[], id: string): number[] {
	const { allocations = [] } = items.find((each) => each.id === id)?.memory ?? {};
	return allocations.flatMap(({ gpu }) => (gpu === HOST ? [] : [gpu])).slice(0, MAX_GPUS);
}

/** What the monitors work with. */
export interface InventoryOptions {
	readonly registry: ModelRegistry;
	readonly specs: ContainerSpecs;
	readonly settings: AgentSettings;
	readonly docker: Docker;
	readonly engine: EngineWatch;
	readonly traffic: Traffic;
	readonly http: Transport;
	/** How long a container's calls may run without a byte or a token, ms. */
	readonly stallMs: number;
	/** Notified when a container's health changes. */
	readonly tick: Notifier;
}

/** All containers of this agent. `sync` is called after each list. */
export class Inventory {
	#items: readonly InventoryItem[] = [];
	readonly #monitors = new Map<string, Monitor>();

	constructor(private readonly options: InventoryOptions) {}

	get items(): readonly InventoryItem[] {
		return this.#items;
	}

	/** Takes over what the engine listed, and probes the containers that run. */
	sync(containers: readonly Container[]): void {
		const now = steadyTime();
		for (const [id, monitor] of this.#monitors) {
			if (containers.some((each) => each.id === id && each.state === "running")) continue;
			monitor.end();
			this.#monitors.delete(id);
		}
		for (const container of containers) {
			const vllm = this.#vllm(container);
			if (container.state !== "running" || !vllm) continue;
			let monitor = this.#monitors.get(container.id);
			if (!monitor) {
				monitor = this.#monitorOf(container, vllm);
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

	#monitorOf({ id, labels, startedAt }: Container, vllm: VllmEndpoint): Monitor {
		const { registry, specs, docker, traffic, engine, settings, stallMs, tick } = this.options;
		const model = labels["router.model"] ?? "";
		const entry = registry.get(model);
		return new Monitor({
			id,
			model,
			weights: entry?.spec.model ?? model,
			vllm,
			mayHaveAdapters: mayHaveAdapters(entry?.spec.args),
			canSleep: () => entry !== undefined && specs.canSleep(entry),
			docker,
			traffic,
			cacheDir: settings.cacheDir,
			stallMs,
			startedAt,
			tick,
			engine,
		});
	}

	#vllm({ port, labels }: Container): VllmEndpoint | undefined {
		const known = port ?? Number(labels["router.port"]);
		if (!(known > 0)) return undefined;
		const { http, settings } = this.options;
		return { origin: `http://127.0.0.1:${known}`, key: containerKey(settings.vllmKey, labels[KEY_LABEL]), http };
	}

	#item(container: Container): InventoryItem {
		const { id, labels, state, image, exitCode, oomKilled, startedAt, finishedAt = 0 } = container;
		const model = labels["router.model"] ?? "";
		const replica = Number(labels["router.replica"] ?? 0);
		const monitor = this.#monitors.get(id);
		const vllm = this.#vllm(container);
		const problem = monitor?.problem;
		const kvEvents = kvEventSockets(this.options.settings.kvDirectory, labels[KV_EVENT_LABEL]);
		return {
			id,
			model,
			replica,
			key: replicaKey(model, replica),
			hash: labels["router.spec"] ?? "",
			state,
			image,
			exitCode,
			oomKilled,
			ran: { from: startedAt, to: finishedAt },
			health: monitor?.health ?? "unknown",
			running: this.options.traffic.runningIn(id),
			startedAt: monitor?.firstSeenAt ?? startedAt,
			progressAt: monitor?.progressAt ?? startedAt,
			...(vllm && { vllm }),
			...(kvEvents && { kvEvents }),
			...(problem && { problem }),
			...(monitor && { monitor }),
			memory: { model, replica, allocations: allocationsFromLabels(labels), isAsleep: monitor?.health === "asleep" },
		};
	}
}
