/** What is shown of models and GPUs: to people by the API, to the router by reports. */
import type { GpuReport, LoadMode, ModelReport, ModelState } from "../../protocol/agent.ts";
import { asWall } from "../../steady-time.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { problemText } from "../problem.ts";
import type { ModelController } from "./controller.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import { replicaKey } from "./supervisor.ts";
import type { Traffic } from "./traffic.ts";

/** A report's bounds (protocol). */
const MAX_REASON = 2048;

/** One model, as `GET /models/{name}` shows it. */
export interface ModelView {
	readonly name: string;
	readonly model: string;
	readonly load: LoadMode;
	/** What an API call said last, where that still holds. */
	readonly order?: "load" | "unload";
	readonly state: ModelState;
	/** Why, and what to do about it. */
	readonly reason?: string;
	readonly fix?: string;
	/** When a failed one is tried again, ISO. */
	readonly retry_at?: string;
	/** How far it is, while it is on its way. */
	readonly progress?: string;
	readonly running: number;
	readonly waiting: number;
	readonly kv_cache?: number;
	readonly max_model_len?: number;
	readonly ttl_ms?: number;
	readonly replicas: readonly ReplicaView[];
}

/** One replica, as the agent's API shows it. */
export interface ReplicaView {
	readonly replica: number;
	readonly state: ModelState;
	readonly container?: string;
	readonly port?: number;
	readonly gpus: readonly number[];
	/** Bytes promised on each of them. */
	readonly gpu_memory: number;
	readonly running: number;
}

/** Asked for by everyone who shows something. */
export class ModelViews {
	constructor(
		private readonly registry: ModelRegistry,
		private readonly controller: ModelController,
		private readonly traffic: Traffic,
	) {}

	all(): ModelView[] {
		return this.registry.all().map((entry) => this.of(entry));
	}

	of({ spec, load, order }: RegisteredModel): ModelView {
		const { name, model, ttl } = spec;
		const { state, problem, retryAt } = this.controller.statusOf(name);
		const measured = this.#measured(name);
		const progress = this.progress(name);
		return {
			name,
			model,
			load,
			...(order && { order }),
			state,
			...(problem && { reason: problem.reason, ...(problem.fix && { fix: problem.fix }) }),
			...(retryAt !== undefined && { retry_at: new Date(asWall(retryAt)).toISOString() }),
			...(progress !== undefined && { progress }),
			...measured,
			...(ttl !== undefined && { ttl_ms: ttl }),
			replicas: Array.from({ length: spec.replicas ?? 1 }, (_, replica) => this.#replica(name, replica)),
		};
	}

	/** How far a model is, in a few words; undefined where it is not on its way. */
	progress(name: string): string | undefined {
		const { state, problem } = this.controller.statusOf(name);
		const entry = this.registry.get(name);
		if (!entry) return undefined;
		if (state === "pulling") {
			const pull = this.controller.pullOf(entry);
			if (!pull) return "looking for its image";
			return `pulling its image ${imageLabel(pull.image)}${pull.percent === undefined ? "" : `, ${pull.percent} %`}`;
		}
		if (state === "sleeping") return "waking";
		if (state !== "starting") return undefined;
		if (problem) return problem.reason;
		const monitor = this.controller.inventory.items.find((item) => item.model === name)?.monitor;
		if (!monitor) return "starting";
		const { progress, downloaded } = monitor;
		if (!progress) return downloaded ? `downloading, ${(downloaded / 1e9).toFixed(1)} GB so far` : "starting";
		return `starting: ${progress.phase}${progress.percent === undefined ? "" : `, ${progress.percent} %`}`;
	}

	/** For the router. */
	reports(): ModelReport[] {
		return this.registry.all().map(({ spec: { name, model }, load }): ModelReport => {
			const { state, problem } = this.controller.statusOf(name);
			return {
				name,
				model,
				state,
				load,
				...(problem && { reason: problemText(problem).slice(0, MAX_REASON) }),
				...this.#measured(name),
			};
		});
	}

	/** What its vLLMs and the queue in front of them say. */
	#measured(name: string): { running: number; waiting: number; kv_cache?: number; max_model_len?: number } {
		const monitors = this.controller.inventory.items.flatMap(({ model, monitor }) =>
			model === name && monitor ? [monitor] : [],
		);
		const caches = monitors.flatMap(({ metrics }) => metrics?.kvCache ?? []);
		const maxModelLen = monitors.find((monitor) => monitor.maxModelLen)?.maxModelLen;
		const queued = monitors.reduce((sum, { metrics }) => sum + (metrics?.waiting ?? 0), 0);
		return {
			running: this.traffic.running(name),
			waiting: this.traffic.waiting(name).count + Math.round(queued),
			...(caches.length > 0 && { kv_cache: Math.min(1, caches.reduce((sum, each) => sum + each, 0) / caches.length) }),
			...(maxModelLen && { max_model_len: maxModelLen }),
		};
	}

	#replica(name: string, replica: number): ReplicaView {
		const key = replicaKey(name, replica);
		const item = this.controller.inventory.items.find((each) => each.key === key);
		const [held] = item?.memory.allocations ?? [];
		return {
			replica,
			state: this.controller.replicaState(key)?.state ?? "stopped",
			...(item && { container: item.id.slice(0, 12) }),
			...(item?.origin && { port: Number(new URL(item.origin).port) }),
			gpus: item?.memory.allocations.map(({ gpu }) => gpu) ?? [],
			gpu_memory: held?.bytes ?? 0,
			running: item ? this.traffic.runningIn(item.id) : 0,
		};
	}
}

/** One GPU, for the router. */
export function gpuReport({
	index,
	name,
	uuid,
	memory_total,
	memory_used,
	utilization,
	temperature,
	power,
}: Gpu): GpuReport {
	return { index, name, uuid, memory_total, memory_used, utilization: Math.min(1, utilization), temperature, power };
}

/** An image as people may see it: a registry's address may hold a user's name. */
function imageLabel(image: string): string {
	return image.slice(image.lastIndexOf("/") + 1);
}
