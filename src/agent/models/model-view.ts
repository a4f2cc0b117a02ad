/** What is shown of models and GPUs: to people by the API, to the router by reports. */
import type { GpuReport, LoadMode, ModelReport, ModelState } from "../../protocol/agent.ts";
import { asWall } from "../../steady-time.ts";
import { imageLabel } from "../docker/image-label.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { ModelController } from "./controller.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import { reasonText } from "./model-state.ts";
import { replicaKey } from "./supervisor.ts";
import type { Traffic } from "./traffic.ts";

/** A report's bounds (protocol). */
const LONGEST_REASON = 2048;

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
export class Views {
	constructor(
		private readonly book: ModelRegistry,
		private readonly host: ModelController,
		private readonly traffic: Traffic,
	) {}

	all(): ModelView[] {
		return this.book.all().map((entry) => this.of(entry));
	}

	of({ spec, load, order }: RegisteredModel): ModelView {
		const { name, model, ttl } = spec;
		const { state, why, retryAt } = this.host.whole(name);
		const measured = this.#measured(name);
		const progress = this.progress(name);
		return {
			name,
			model,
			load,
			...(order && { order }),
			state,
			...(why && { reason: why.reason, ...(why.fix && { fix: why.fix }) }),
			...(retryAt !== undefined && { retry_at: new Date(asWall(retryAt)).toISOString() }),
			...(progress !== undefined && { progress }),
			...measured,
			...(ttl !== undefined && { ttl_ms: ttl }),
			replicas: Array.from({ length: spec.replicas ?? 1 }, (_, replica) => this.#replica(name, replica)),
		};
	}

	/** How far a model is, in a few words; undefined where it is not on its way. */
	progress(name: string): string | undefined {
		const { state, why } = this.host.whole(name);
		const entry = this.book.get(name);
		if (!entry) return undefined;
		if (state === "pulling") {
			const pull = this.host.pullOf(entry);
			if (!pull) return "looking for its image";
			return `pulling its image ${imageLabel(pull.image)}${pull.percent === undefined ? "" : `, ${pull.percent} %`}`;
		}
		if (state === "sleeping") return "waking";
		if (state !== "starting") return undefined;
		if (why) return why.reason;
		const monitor = this.host.inventory.items.find((item) => item.model === name)?.monitor;
		if (!monitor) return "starting";
		const { progress, downloaded } = monitor;
		if (!progress) return downloaded ? `downloading, ${(downloaded / 1e9).toFixed(1)} GB so far` : "starting";
		return `starting: ${progress.phase}${progress.percent === undefined ? "" : `, ${progress.percent} %`}`;
	}

	/** For the router. */
	reports(): ModelReport[] {
		return this.book.all().map(({ spec: { name, model }, load }): ModelReport => {
			const { state, why } = this.host.whole(name);
			return {
				name,
				model,
				state,
				load,
				...(why && { reason: reasonText(why).slice(0, LONGEST_REASON) }),
				...this.#measured(name),
			};
		});
	}

	/** What its vLLMs and the queue in front of them say. */
	#measured(name: string): { running: number; waiting: number; kv_cache?: number; max_model_len?: number } {
		const monitors = this.host.inventory.items.flatMap(({ model, monitor }) =>
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
		const item = this.host.inventory.items.find((each) => each.key === key);
		const [held] = item?.held.holdings ?? [];
		return {
			replica,
			state: this.host.replica(key)?.state ?? "stopped",
			...(item && { container: item.id.slice(0, 12) }),
			...(item?.origin && { port: Number(new URL(item.origin).port) }),
			gpus: item?.held.holdings.map(({ gpu }) => gpu) ?? [],
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
