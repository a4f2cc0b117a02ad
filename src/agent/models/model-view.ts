/** Models and GPUs as they are shown: to people by the API, to the router by reports. */
import {
	type GpuReport,
	type LoadMode,
	MAX_REPLICAS,
	type ModelReport,
	type ModelState,
	type ReplicaReport,
} from "../../protocol/agent.ts";
import type { RouterShares } from "../../protocol/router-shares.ts";
import { shortText } from "../../short-text.ts";
import { asWall } from "../../steady-time.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { GpuWatch } from "../gpu/gpu-watch.ts";
import { HOST } from "../gpu/memory.ts";
import { replicaPowers } from "../gpu/replica-power.ts";
import { problemText } from "../problem.ts";
import type { VllmMetrics } from "../vllm/vllm-metrics.ts";
import type { AdapterList } from "./adapter-list.ts";
import type { Generations } from "./generations.ts";
import { gpusOfContainer, type Inventory } from "./inventory.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import type { ModelStatus, ModelStatuses } from "./model-status.ts";
import type { PlacementOffers } from "./placement-offers.ts";
import { replicaKey } from "./replica-state.ts";
import type { Generation } from "./roll.ts";
import { type RollView, rollText, rollView } from "./roll-view.ts";
import type { RouterShareMeter } from "./router-share-meter.ts";
import type { Traffic } from "./traffic.ts";

/** The longest `reason` that a report may carry, characters. */
const MAX_REASON = 2048;

/** One model, as `GET /models/{name}` shows it. */
export interface ModelView {
	readonly name: string;
	readonly model: string;
	readonly load: LoadMode;
	/** The last order of an API call, until it is carried out. */
	readonly order?: "load" | "unload";
	/** Of a LoRA adapter: the model that it changes, whose state this is. */
	readonly parent?: string;
	/** Its LoRA adapters, which are called by these names. */
	readonly adapters?: readonly string[];
	readonly state: ModelState;
	/** Why, and what to do about it. */
	readonly reason?: string;
	readonly fix?: string;
	/** When a failed one is tried again, ISO. */
	readonly retry_at?: string;
	/** How often it failed in a row, until it is ready. */
	readonly failures?: number;
	/** How far its load is, while one is under way. */
	readonly progress?: string;
	readonly running: number;
	readonly waiting: number;
	readonly kv_cache?: number;
	readonly max_model_len?: number;
	readonly ttl_ms?: number;
	readonly replicas: readonly ReplicaView[];
	/** A rolling change that is under way, or the last one. */
	readonly roll?: RollView;
	/** One was ordered, and it is not decided yet what becomes of that: a model that does not serve has nothing to roll. */
	readonly roll_ordered?: boolean;
}

/** One replica, as the agent's API shows it. */
export interface ReplicaView {
	readonly replica: number;
	readonly state: ModelState;
	/** There while the model's replicas are of several generations: what it is made from, and whether it is of the one that comes. */
	readonly generation?: string;
	readonly is_new?: boolean;
	readonly image?: string;
	readonly container?: string;
	readonly port?: number;
	readonly gpus: readonly number[];
	/** Bytes allocated on each of them. */
	readonly gpu_memory: number;
	/** Bytes allocated of the host's memory, on the CPU. */
	readonly memory?: number;
	readonly running: number;
	/** What its vLLM counts of itself; absent before 0.32, and while it does not run. */
	readonly engine?: EngineView;
}

/** What a vLLM says of its queue and its prompts: counts since its start, but for `waiting`. */
export interface EngineView {
	/** Calls that wait in it now, by why: `capacity` for room in the batch or the KV cache, `deferred` for something of their own. */
	readonly waiting?: { readonly capacity: number; readonly deferred: number };
	/** Prompt tokens by where their KV blocks came from. */
	readonly prompt_tokens?: { readonly computed: number; readonly cached: number; readonly transferred: number };
	/** Calls that it refused because it had too many. */
	readonly refused?: number;
}

const NO_POWERS: ReadonlyMap<string, number> = new Map();

/** The views of all models, as of the last tick. */
export class ModelViews {
	constructor(
		private readonly registry: ModelRegistry,
		private readonly statuses: ModelStatuses,
		private readonly inventory: Inventory,
		private readonly traffic: Traffic,
		private readonly adapters: AdapterList,
		private readonly gpus: Pick<GpuWatch, "reading">,
		private readonly generations: Generations,
		private readonly offers: Pick<PlacementOffers, "of">,
		private readonly shares?: Pick<RouterShareMeter, "ofEnergy" | "ofTime">,
	) {}

	all(): ModelView[] {
		return this.registry.all().map((entry) => this.of(entry));
	}

	/** An adapter as its model's: it is loaded, unloaded and called as that is. */
	adapter(name: string, base: RegisteredModel): ModelView {
		const { adapters, ...view } = this.of(base);
		return { ...view, name, parent: base.spec.name };
	}

	of(entry: RegisteredModel): ModelView {
		const { spec, load, order } = entry;
		const { name, model, ttl } = spec;
		const adapters = this.adapters.of(entry);
		const { problem, retryAt, failures } = this.statuses.of(name);
		const measured = this.#measured(name);
		const progress = this.statuses.progress(name);
		const roll = rollView(this.generations.of(name));
		return {
			name,
			model,
			load,
			...(order && { order }),
			...(adapters.length > 0 && { adapters }),
			state: this.#stateOf(entry),
			...(problem && { reason: problem.reason, ...(problem.fix && { fix: problem.fix }) }),
			...(retryAt !== undefined && { retry_at: wallTime(retryAt) }),
			...(failures !== undefined && { failures }),
			...(progress !== undefined && { progress }),
			...measured,
			...(ttl !== undefined && { ttl_ms: ttl }),
			replicas: this.generations.replicas(entry).map(({ replica }) => this.#replica(name, replica)),
			...(roll && { roll }),
			...(this.generations.isOrdered(name) && { roll_ordered: true }),
		};
	}

	/** For the router: the models, then their adapters, each of which does what its model does. */
	reports(): ModelReport[] {
		const entries = this.registry.all();
		const powers = this.#powers();
		const reports = entries.map((entry) => this.#report(entry, powers));
		const adapters = entries.flatMap((entry, index) =>
			this.adapters.of(entry).map((name) => ({ ...reports[index]!, name, parent: entry.spec.name })),
		);
		return [...reports, ...adapters];
	}

	/** Indexes of the GPUs that a replica has memory on. */
	#gpusOf(key: string): number[] {
		const { items } = this.inventory;
		return gpusOfContainer(items, items.find((each) => each.key === key)?.id ?? "");
	}

	/** What routers have of the energy of a replica's engine. */
	#energyShares(key: string): { energy_shares?: RouterShares } {
		const item = this.inventory.items.find((each) => each.key === key);
		const shares = item && this.shares?.ofEnergy(item.id);
		return shares ? { energy_shares: shares } : {};
	}

	/** By replica, W: for routers that do not share out by themselves what GPUs draw. */
	#powers(): ReadonlyMap<string, number> {
		const { gpus } = this.gpus.reading;
		if (!gpus.some(({ power }) => power > 0)) return NO_POWERS;
		const replicas = this.inventory.items.map(({ key, id }) => ({
			key,
			gpus: this.#gpusOf(key),
			isBusy: this.traffic.runningIn(id) > 0,
		}));
		return replicaPowers(replicas, gpus);
	}

	#report(entry: RegisteredModel, powers: ReadonlyMap<string, number>): ModelReport {
		const { spec, load } = entry;
		const { name, model } = spec;
		const replicas = this.generations.replicas(entry).map(({ replica }) => replica);
		const reason = reportedReason(this.statuses.of(name));
		const only = replicas.length === 1 ? replicaKey(name, replicas[0]!) : undefined;
		const power = only === undefined ? undefined : powers.get(only);
		const placement = this.offers.of(entry);
		const time = this.shares?.ofTime(name);
		const roll = rollView(this.generations.of(name));
		return {
			name,
			model,
			state: this.#stateOf(entry),
			load,
			...(reason !== undefined && { reason: shortText(reason, MAX_REASON) }),
			...this.#measured(name),
			...(only !== undefined && { gpus: this.#gpusOf(only) }),
			...(power !== undefined && { power }),
			...(only !== undefined && this.#energyShares(only)),
			...(time && { time_shares: time }),
			...(placement && { placement }),
			...(replicas.length > 1 && { replicas: this.#replicaReports(name, replicas, powers) }),
			...(roll && { roll: rollText(roll, MAX_REASON) }),
		};
	}

	/** One that is to be loaded is on its way before the first tick has seen it: calls wait for it, here and at the router. */
	#stateOf({ spec: { name }, load, order }: RegisteredModel): ModelState {
		const isToBeLoaded = order === undefined ? load === "always" : order === "load";
		return isToBeLoaded && !this.statuses.has(name) ? "starting" : this.statuses.of(name).state;
	}

	#replicaReports(name: string, numbers: readonly number[], powers: ReadonlyMap<string, number>): ReplicaReport[] {
		return numbers.slice(0, MAX_REPLICAS).map((replica): ReplicaReport => {
			const key = replicaKey(name, replica);
			const item = this.inventory.items.find((each) => each.key === key);
			const { waiting, kvCache } = item?.monitor?.metrics ?? {};
			const power = powers.get(key);
			return {
				replica,
				state: this.statuses.replica(key)?.state ?? "stopped",
				running: item ? this.traffic.runningIn(item.id) : 0,
				...(waiting !== undefined && { waiting: Math.round(waiting) }),
				...(kvCache !== undefined && { kv_cache: Math.min(1, kvCache) }),
				gpus: this.#gpusOf(key),
				...(power !== undefined && { power }),
				...this.#energyShares(key),
				...this.#generation(name, replica),
				...this.#canary(name, replica),
			};
		});
	}

	/** Which generation a replica is of, while there are several. */
	#generation(name: string, replica: number): { generation?: string } {
		const own = this.generations.at(replicaKey(name, replica));
		return own && this.generations.of(name)?.roll ? { generation: generationId(own) } : {};
	}

	#isNew(name: string, replica: number): { is_new?: boolean; image?: string } {
		const { roll } = this.generations.of(name) ?? {};
		const image = this.generations.at(replicaKey(name, replica))?.image;
		return roll ? { is_new: roll.replicas.includes(replica), ...(image !== undefined && { image }) } : {};
	}

	#canary(name: string, replica: number): { canary?: number } {
		const share = this.generations.shareOf(name, replica);
		return share === undefined ? {} : { canary: share };
	}

	/** From its vLLMs' metrics and its queue. */
	#measured(name: string): { running: number; waiting: number; kv_cache?: number; max_model_len?: number } {
		const monitors = this.inventory.items.flatMap(({ model, monitor }) => (model === name && monitor ? [monitor] : []));
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
		const item = this.inventory.items.find((each) => each.key === key);
		const allocations = (item?.memory.allocations ?? []).filter(({ gpu }) => gpu !== HOST);
		const onHost = item?.memory.allocations.find(({ gpu }) => gpu === HOST);
		return {
			replica,
			state: this.statuses.replica(key)?.state ?? "stopped",
			...this.#generation(name, replica),
			...this.#isNew(name, replica),
			...(item && { container: item.id.slice(0, 12) }),
			...(item?.vllm && { port: Number(new URL(item.vllm.origin).port) }),
			gpus: allocations.map(({ gpu }) => gpu),
			gpu_memory: allocations[0]?.bytes ?? 0,
			...(onHost && { memory: onHost.bytes }),
			running: item ? this.traffic.runningIn(item.id) : 0,
			...engineView(item?.monitor?.metrics),
		};
	}
}

function engineView(metrics: VllmMetrics | undefined): { engine?: EngineView } {
	const { waitingBy: waiting, promptTokensBy: prompt_tokens, refused } = metrics ?? {};
	const engine = {
		...(waiting && { waiting }),
		...(prompt_tokens && { prompt_tokens }),
		...(refused !== undefined && { refused }),
	};
	return Object.keys(engine).length > 0 ? { engine } : {};
}

/** Short for what a generation is made from. */
function generationId({ hash, image }: Generation): string {
	return new Bun.CryptoHasher("sha256").update(`${hash} ${image}`).digest("hex").slice(0, 8);
}

/** Why it is in its state and what to do, with how often it failed and when it is tried again: a report has no fields of their own for those. */
function reportedReason({ state, problem, failures = 0, retryAt }: ModelStatus): string | undefined {
	if (!problem) return undefined;
	// Whole seconds: the text stays the same from report to report.
	const again = retryAt === undefined ? "" : `; it is tried again at ${wallTime(retryAt).replace(/\.\d+/, "")}`;
	const often = state === "failed" && failures > 1 ? ` (${failures} times in a row${again})` : "";
	return problemText({ ...problem, reason: problem.reason + often });
}

/** `steadyTime` as ISO. */
function wallTime(steady: number): string {
	return new Date(asWall(steady)).toISOString();
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
	power_limit,
}: Gpu): GpuReport {
	const report = { index, name, uuid, memory_total, memory_used, utilization: Math.min(1, utilization) };
	return { ...report, temperature, power, ...(power_limit !== undefined && power_limit > 0 && { power_limit }) };
}
