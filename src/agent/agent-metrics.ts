/** The agent's metrics: states, queues, loads, GPUs; and its vLLMs' own metrics, each labelled with its model. */

import { readText } from "../proxy/net/read-body.ts";
import { steadyTime } from "../steady-time.ts";
import { Counter, Gauge, Registry } from "../telemetry/prometheus.ts";
import type { EngineWatch } from "./docker/engine-watch.ts";
import type { GpuWatch } from "./gpu/gpu-watch.ts";
import type { ModelEvents } from "./models/controller.ts";
import type { Inventory } from "./models/inventory.ts";
import type { ModelRegistry } from "./models/model-registry.ts";
import type { ModelStatuses } from "./models/model-status.ts";
import type { Traffic } from "./models/traffic.ts";
import { relabel } from "./vllm/vllm-metrics.ts";
import type { VllmEndpoint } from "./vllm/vllm-probe.ts";

/** How long a vLLM may take for its metrics, ms: one that hangs must not keep the others' from being read. */
const SCRAPE_TIMEOUT_MS = 2000;
const MAX_METRICS_BYTES = 8 * 1024 * 1024;
const STATES = ["stopped", "pulling", "starting", "ready", "sleeping", "draining", "failed"] as const;

/** The metrics of one agent. */
export interface AgentMetrics {
	/** Counts what happens to models. */
	readonly events: ModelEvents;
	/** The Prometheus text, the vLLMs' own metrics included. */
	text(): Promise<string>;
}

/** What is read at each scrape. */
export interface MetricsSources {
	readonly registry: Pick<ModelRegistry, "all">;
	readonly statuses: Pick<ModelStatuses, "of">;
	readonly traffic: Pick<Traffic, "waiting" | "running">;
	readonly gpus: Pick<GpuWatch, "reading">;
	readonly engine: Pick<EngineWatch, "problem">;
	readonly inventory: Pick<Inventory, "items">;
}

type GaugeMaker = <L extends string>(
	name: string,
	help: string,
	labelNames: L[],
	read: (gauge: Gauge<L>) => void,
) => unknown;

/** The agent's metrics, with a registry of their own. */
export function agentMetrics(sources: MetricsSources): AgentMetrics {
	const registry = new Registry();
	const registers = [registry];
	const counter = (name: string, help: string) =>
		new Counter({ name: `router_agent_${name}`, help, labelNames: ["model"], registers });
	const gauge: GaugeMaker = (name, help, labelNames, read) =>
		new Gauge({
			name: `router_agent_${name}`,
			help,
			labelNames,
			registers,
			collect() {
				this.reset();
				read(this);
			},
		});
	const loads = counter("loads_total", "Containers started, by model.");
	const wakes = counter("wakes_total", "Models woken from their sleep in host memory.");
	const evictions = counter("evictions_total", "Models evicted because another one's calls needed their memory.");
	const restarts = counter("restarts_total", "Containers replaced because they ended or were unhealthy.");
	const rolls = new Counter({
		name: "router_agent_rolls_total",
		help: "Rolling changes that ended, by result.",
		labelNames: ["model", "result"],
		registers,
	});
	const warmUps = new Counter({
		name: "router_agent_warm_ups_total",
		help: "New replicas whose prefix caches were warmed, by how that ended.",
		labelNames: ["model", "result"],
		registers,
	});
	const warmTokens = counter("warm_up_tokens_total", "Prompt tokens that new replicas computed ahead.");
	const warmSeconds = counter("warm_up_seconds_total", "How long they took for that.");
	modelGauges(gauge, sources);
	gpuGauges(gauge, sources);
	return {
		events: {
			loaded: (model) => loads.inc({ model }),
			woken: (model) => wakes.inc({ model }),
			evicted: (model) => evictions.inc({ model }),
			restarted: (model) => restarts.inc({ model }),
			rolled: (model, result) => rolls.inc({ model, result }),
			warmed({ model, result, tokens, ms }) {
				warmUps.inc({ model, result });
				warmTokens.inc({ model }, tokens);
				warmSeconds.inc({ model }, ms / 1000);
			},
		},
		async text() {
			const own = await registry.metrics();
			const scraped = await Promise.all(sources.inventory.items.filter(({ health }) => health === "up").map(scrape));
			return own + relabel(scraped.filter((source) => source !== undefined));
		},
	};
}

function modelGauges(gauge: GaugeMaker, { registry, statuses, traffic, engine }: MetricsSources): void {
	const names = () => registry.all().map(({ spec }) => spec.name);
	gauge("model_state", "1 for the state that a model is in.", ["model", "state"], (each) => {
		for (const model of names()) {
			const { state } = statuses.of(model);
			for (const possible of STATES) each.set({ model, state: possible }, Number(possible === state));
		}
	});
	gauge("queue_length", "Calls that wait for a model.", ["model"], (each) => {
		for (const model of names()) each.set({ model }, traffic.waiting(model).count);
	});
	gauge("queue_oldest_seconds", "How long the first of them has waited.", ["model"], (each) => {
		for (const model of names()) {
			const { oldestAt } = traffic.waiting(model);
			each.set({ model }, oldestAt === undefined ? 0 : (steadyTime() - oldestAt) / 1000);
		}
	});
	gauge("running_requests", "Calls in a model's containers.", ["model"], (each) => {
		for (const model of names()) each.set({ model }, traffic.running(model));
	});
	gauge("docker_up", "1 while the Docker engine can be used.", [], (each) => each.set(engine.problem ? 0 : 1));
}

function gpuGauges(gauge: GaugeMaker, { gpus }: MetricsSources): void {
	const gpuGauge = (name: string, help: string, read: (gpu: GpuWatch["reading"]["gpus"][number]) => number) =>
		gauge(name, help, ["gpu", "name"], (each) => {
			for (const gpu of gpus.reading.gpus) each.set({ gpu: String(gpu.index), name: gpu.name }, read(gpu));
		});
	gpuGauge("gpu_memory_bytes", "Memory of a GPU.", ({ memory_total }) => memory_total);
	gpuGauge("gpu_memory_used_bytes", "Of that in use, by any process.", ({ memory_used }) => memory_used);
	gpuGauge("gpu_utilization_ratio", "Share of the time in which it worked.", ({ utilization }) => utilization);
	gpuGauge("gpu_temperature_celsius", "Its temperature.", ({ temperature }) => temperature);
	gpuGauge("gpu_power_watts", "What it draws.", ({ power }) => power);
}

/** The metrics of one vLLM; undefined where it does not answer: it is missing then, and its model's state says why. */
async function scrape({ model, replica, vllm }: { model: string; replica: number; vllm?: VllmEndpoint }) {
	if (!vllm) return undefined;
	try {
		const request = { url: `${vllm.origin}/metrics`, headers: {} };
		const answer = await vllm.http.send(request, AbortSignal.timeout(SCRAPE_TIMEOUT_MS));
		if (answer.status !== 200) return undefined;
		return { text: await readText(answer, MAX_METRICS_BYTES), labels: { model, replica: String(replica) } };
	} catch {
		return undefined;
	}
}
