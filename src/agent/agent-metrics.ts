/** What the agent tells of its host: states, queues, loads, GPUs; and its vLLMs' own metrics, each with its model. */
import { Counter, Gauge, Registry } from "prom-client";
import { readText } from "../proxy/net/read-body.ts";
import { steadyTime } from "../steady-time.ts";
import type { GpuWatch } from "./gpu/gpu-watch.ts";
import type { ModelController, ModelEvents } from "./models/controller.ts";
import type { ModelRegistry } from "./models/model-registry.ts";
import type { Traffic } from "./models/traffic.ts";
import { relabel } from "./vllm/vllm-metrics.ts";
import type { VllmEndpoint } from "./vllm/vllm-probe.ts";

/** How long a vLLM may take for its metrics, ms: one that hangs must not keep the others' from being read. */
const SCRAPE_TIMEOUT_MS = 2000;
const MAX_METRICS_BYTES = 8 * 1024 * 1024;
const STATES = ["stopped", "pulling", "starting", "ready", "sleeping", "draining", "failed"] as const;

/** What is counted, before there is anything to read. */
export interface AgentMetrics {
	readonly events: ModelEvents;
	/** Fills in what the gauges read. */
	watch(world: MetricsSources): void;
	/** The Prometheus text, the vLLMs' own metrics included. */
	text(): Promise<string>;
}

/** What is read at each scrape. */
export interface MetricsSources {
	readonly registry: ModelRegistry;
	readonly controller: ModelController;
	readonly traffic: Traffic;
	readonly gpus: GpuWatch;
	/** Running vLLMs, with what each serves. */
	vllms(): readonly { readonly model: string; readonly replica: string; readonly vllm: VllmEndpoint }[];
}

/** The agent's registry. Until it is given its world it tells of the counters alone. */
export function agentMetrics(): AgentMetrics {
	const registry = new Registry();
	const registers = [registry];
	let world: MetricsSources | undefined;
	const counter = (name: string, help: string) =>
		new Counter({ name: `router_agent_${name}`, help, labelNames: ["model"], registers });
	const gauge = <L extends string>(
		name: string,
		help: string,
		labelNames: L[],
		read: (gauge: Gauge<L>, world: MetricsSources) => void,
	) =>
		new Gauge({
			name: `router_agent_${name}`,
			help,
			labelNames,
			registers,
			collect() {
				this.reset();
				if (world) read(this, world);
			},
		});

	const loads = counter("loads_total", "Containers started, by model.");
	const wakes = counter("wakes_total", "Models woken from their sleep in host memory.");
	const evictions = counter("evictions_total", "Models that lost their place to another one's calls.");
	const restarts = counter("restarts_total", "Containers replaced because they ended or were ill.");
	gauge("model_state", "1 for the state that a model is in.", ["model", "state"], (each, { registry, controller }) => {
		for (const { spec } of registry.all()) {
			const { state } = controller.statusOf(spec.name);
			for (const possible of STATES) each.set({ model: spec.name, state: possible }, Number(possible === state));
		}
	});
	gauge("queue_length", "Calls that wait for a model.", ["model"], (each, { registry, traffic }) => {
		for (const { spec } of registry.all()) each.set({ model: spec.name }, traffic.waiting(spec.name).count);
	});
	gauge("queue_oldest_seconds", "How long the first of them has waited.", ["model"], (each, { registry, traffic }) => {
		for (const { spec } of registry.all()) {
			const { oldestAt } = traffic.waiting(spec.name);
			each.set({ model: spec.name }, oldestAt === undefined ? 0 : (steadyTime() - oldestAt) / 1000);
		}
	});
	gauge("running_requests", "Calls in a model's containers.", ["model"], (each, { registry, traffic }) => {
		for (const { spec } of registry.all()) each.set({ model: spec.name }, traffic.running(spec.name));
	});
	gauge("docker_up", "1 while the engine can be asked.", [], (each, { controller }) =>
		each.set(controller.engineProblem ? 0 : 1),
	);
	const gpu = (name: string, help: string, read: (gpu: GpuWatch["reading"]["gpus"][number]) => number) =>
		gauge(name, help, ["gpu", "name"], (each, { gpus }) => {
			for (const one of gpus.reading.gpus) each.set({ gpu: String(one.index), name: one.name }, read(one));
		});
	gpu("gpu_memory_bytes", "Memory of a GPU.", ({ memory_total }) => memory_total);
	gpu("gpu_memory_used_bytes", "Of that in use, by whomever.", ({ memory_used }) => memory_used);
	gpu("gpu_utilization_ratio", "Share of the time in which it worked.", ({ utilization }) => utilization);
	gpu("gpu_temperature_celsius", "Its temperature.", ({ temperature }) => temperature);
	gpu("gpu_power_watts", "What it draws.", ({ power }) => power);

	return {
		events: {
			loaded: (model) => loads.inc({ model }),
			woken: (model) => wakes.inc({ model }),
			evicted: (model) => evictions.inc({ model }),
			restarted: (model) => restarts.inc({ model }),
		},
		watch: (given) => {
			world = given;
		},
		async text() {
			const own = await registry.metrics();
			const sources = await Promise.all((world?.vllms() ?? []).map(read));
			return own + relabel(sources.filter((source) => source !== undefined));
		},
	};
}

async function read({ model, replica, vllm }: ReturnType<MetricsSources["vllms"]>[number]) {
	try {
		const { origin, http } = vllm;
		const answer = await http.send({ url: `${origin}/metrics`, headers: {} }, AbortSignal.timeout(SCRAPE_TIMEOUT_MS));
		if (answer.status !== 200) return undefined;
		return { text: await readText(answer, MAX_METRICS_BYTES), labels: { model, replica } };
	} catch {
		// One that does not answer is missing here, and its state says why.
		return undefined;
	}
}
