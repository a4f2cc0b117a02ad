/**
 * What `/metrics` shows: a Prometheus registry of this process's own role. Several registries live side by side in one process
 * (`--standalone`, tests), so nothing is kept in prom-client's global one.
 */

import { CallMetrics } from "./call-metrics.ts";
import type { Sink } from "./events.ts";
import type { MetricValues } from "./merged-metrics.ts";
import type { DropReason } from "./otel/span-exporter.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import { Counter, Gauge, Registry } from "./prometheus.ts";
import { addRetirementMetrics, type RetirementMetrics } from "./retirement-metrics.ts";
import { addRoutingMetrics, type RoutingMetrics } from "./routing-metrics.ts";

/** Agents by whether they were heard of lately, and their models by state. */
export interface AgentCounts {
	agents(): Readonly<Record<string, number>>;
	models(): Readonly<Record<string, number>>;
}

/** What calls wait for. */
export interface ProxyCounts {
	/** Calls in line, by model. */
	waiting(): Iterable<readonly [model: string, count: number]>;
	/** Keys out of use, by provider. */
	keysOut(): Iterable<readonly [provider: string, count: number]>;
}

/** The size of the cache. */
export interface CacheCounts {
	readonly entries: number;
	readonly bytes: number;
}

/** How the ledger stands. `stopped`: calls wait. `memory`: what is new is in memory alone. Both are tried again, until it is on the disk. */
export type LedgerState = "ok" | "stopped" | "memory";

/** The ledger's state, and the calls that wait to be written. */
export interface LedgerCounts {
	readonly state: LedgerState;
	readonly waiting: number;
}

/** The registry, and what writes to it. */
export interface Metrics extends RoutingMetrics, RetirementMetrics {
	/** Counts calls and attempts. Never throws: a number that is none is left out. */
	readonly sink: Sink;
	/** The `content-type` of `text()`. */
	readonly contentType: string;
	/** The whole registry in the Prometheus text format. It keeps the event loop for each line, which is why labels are few and bounded. */
	text(): Promise<string>;
	/** The same as values, for one page of several threads. */
	values(): Promise<MetricValues>;
	/** A limit or a budget refused a call: whose it is, and of what. */
	refused(by: string, counts: string): void;
	/** A call of an agent that has run away: what was seen, and what was done. */
	runaway(kind: string, action: string): void;
	/** An exception that no call caught. */
	crash(): void;
	/** A log file that could not be written. */
	logFailure(): void;
	/** A worker has ended that was to run. */
	workerEnded(): void;
	/** A worker hangs, and is being ended. */
	workerHung(): void;
	/** @param running how many threads answer calls */
	watchWorkers(running: () => number): void;
	/** Rows are in no ledger, and never will be. */
	ledgerLost(reason: string, count: number): void;
	/** What becomes of the Redis that routers share. */
	readonly redis: {
		up(isUp: boolean): void;
		/** A command gave nothing; why is one of a few words. */
		failed(why: string): void;
	};
	/** What becomes of spans, where calls are traced. */
	readonly spans: {
		exported(count: number): void;
		dropped(reason: DropReason, count: number): void;
	};
	/** Where the ledger's state is read, at each scrape. */
	watchLedger(counts: () => LedgerCounts): void;
	/** Where the size of the cache is read, at each scrape. */
	watchCache(counts: () => CacheCounts): void;
	/** Where lines and keys are counted, at each scrape. */
	watchProxy(counts: ProxyCounts): void;
	/** Where the router's agents are counted, at each scrape. */
	watchAgents(counts: AgentCounts): void;
	/** Where it is read, at each scrape, what engines have drawn, J, by the ids of the targets that they are. */
	watchEnergy(sums: () => ReadonlyMap<string, EngineEnergy>): void;
}

/** What one engine has drawn, J. */
export interface EngineEnergy {
	/** Got by calls. */
	readonly given: number;
	readonly idle: number;
}

/**
 * A registry for one role. Both roles use the prefix `router_`: what they count about calls means the same.
 * @param role becomes the `role` label of `router_info`
 */
export function createMetrics(role: "router" | "agent"): Metrics {
	const registry = new Registry();
	// An agent keeps no ledger, has no agents, and copies no calls.
	const ofRouter = role === "router" ? registry : new Registry();
	const calls = new CallMetrics(registry, ofRouter);
	new Gauge({
		name: "router_info",
		help: "1; says which role runs.",
		labelNames: ["role"],
		registers: [registry],
		aggregator: "first",
	}).set({ role }, 1);
	addProcessMetrics(registry);
	return {
		...addRoutingMetrics(registry),
		...addRetirementMetrics(ofRouter),
		...addCacheMetrics(registry),
		...addRedisMetrics(registry),
		...addFaultMetrics(registry),
		...addSpanMetrics(registry),
		...addWorkerMetrics(ofRouter),
		...addProxyMetrics(registry),
		...addLedgerMetrics(ofRouter),
		...addAgentMetrics(ofRouter),
		...addEnergyMetrics(ofRouter),
		sink: calls,
		refused: (by, counts) => calls.refused(by, counts),
		runaway: (kind, action) => calls.runaway(kind, action),
		contentType: registry.contentType,
		text() {
			calls.count();
			return registry.metrics();
		},
		values() {
			calls.count();
			return registry.getMetricsAsJSON();
		},
	};
}

function addCacheMetrics(registry: Registry): Pick<Metrics, "watchCache"> {
	let counts: (() => CacheCounts) | undefined;
	const gauge = (name: string, help: string, read: (counts: CacheCounts) => number) =>
		new Gauge({
			name: `router_cache_${name}`,
			help,
			registers: [registry],
			collect() {
				this.set(counts ? read(counts()) : 0);
			},
		});
	gauge("entries", "Answers held in this process.", ({ entries }) => entries);
	gauge("bytes", "Memory in use for them.", ({ bytes }) => bytes);
	return {
		watchCache(watched) {
			counts = watched;
		},
	};
}

function addRedisMetrics(registry: Registry): Pick<Metrics, "redis"> {
	const registers = [registry];
	const help = "1 while the shared Redis answers.";
	const up = new Gauge({ name: "router_redis_up", help, registers, aggregator: "first" });
	const failures = new Counter({
		name: "router_redis_failures_total",
		help: "Commands that gave nothing: not sent during an outage (refused), too late, lost, or answered with an error.",
		labelNames: ["reason"],
		registers,
	});
	return { redis: { up: (isUp) => up.set(isUp ? 1 : 0), failed: (reason) => failures.inc({ reason }) } };
}

function addFaultMetrics(registry: Registry): Pick<Metrics, "crash" | "logFailure"> {
	const counter = (name: string, help: string) => new Counter({ name: `router_${name}`, help, registers: [registry] });
	const crashes = counter("crashes_total", "Exceptions that no call caught; the process went on.");
	const logFailures = counter("log_failures_total", "Times the log file could not be written.");
	return { crash: () => crashes.inc(), logFailure: () => logFailures.inc() };
}

function addSpanMetrics(registry: Registry): Pick<Metrics, "spans"> {
	const registers = [registry];
	const exported = new Counter({
		name: "router_spans_exported_total",
		help: "Spans that a collector took.",
		registers,
	});
	const dropped = new Counter({
		name: "router_spans_dropped_total",
		help: "Spans that no collector took: no room while they waited (full), refused, or unreachable in time.",
		labelNames: ["reason"],
		registers,
	});
	return {
		spans: {
			exported: (count) => exported.inc(count),
			dropped: (reason, count) => dropped.inc({ reason }, count),
		},
	};
}

function addWorkerMetrics(registry: Registry): Pick<Metrics, "workerEnded" | "workerHung" | "watchWorkers"> {
	let running = () => 1;
	const registers = [registry];
	const counter = (name: string, help: string) => new Counter({ name: `router_workers_${name}`, help, registers });
	const ends = counter("ended_total", "Workers that ended and were replaced.");
	const hangs = counter("hung_total", "Workers that hung and were ended.");
	new Gauge({
		name: "router_workers",
		help: "Threads that answer calls.",
		registers,
		aggregator: "first",
		collect() {
			this.set(running());
		},
	});
	return {
		workerEnded: () => ends.inc(),
		workerHung: () => hangs.inc(),
		watchWorkers(watched) {
			running = watched;
		},
	};
}

function addProxyMetrics(registry: Registry): Pick<Metrics, "watchProxy"> {
	let counts: ProxyCounts | undefined;
	const gauge = <L extends string>(
		name: string,
		help: string,
		label: L,
		aggregator: "sum" | "max",
		read: (counts: ProxyCounts) => Iterable<readonly [string, number]>,
	) =>
		new Gauge({
			name: `router_${name}`,
			help,
			labelNames: [label],
			registers: [registry],
			aggregator,
			collect() {
				this.reset();
				if (!counts) return;
				for (const [value, count] of read(counts)) this.inc({ [label]: value } as Record<L, string>, count);
			},
		});
	gauge("queue_waiting", "Calls in line before a model.", "model", "sum", (of) => of.waiting());
	const help = "Keys that an upstream refused, until they are tried again.";
	gauge("keys_out_of_use", help, "provider", "max", (of) => of.keysOut());
	return {
		watchProxy(watched) {
			counts = watched;
		},
	};
}

function addLedgerMetrics(registry: Registry): Pick<Metrics, "ledgerLost" | "watchLedger"> {
	let counts: (() => LedgerCounts) | undefined;
	const gauge = (name: string, help: string, aggregator: "min" | "sum", read: (counts: LedgerCounts) => number) =>
		new Gauge({
			name: `router_ledger_${name}`,
			help,
			registers: [registry],
			aggregator,
			collect() {
				if (counts) this.set(read(counts()));
			},
		});
	gauge("up", "1 while the ledger can be written to the disk.", "min", ({ state }) => Number(state === "ok"));
	gauge("waiting_calls", "Calls that wait to be written.", "sum", ({ waiting }) => waiting);
	const lost = new Counter({
		name: "router_ledger_lost_rows_total",
		help: "Calls and attempts that are in no ledger: refused by the database, or no room (full) while it could not be written.",
		labelNames: ["reason"],
		registers: [registry],
	});
	return {
		ledgerLost: (reason, count) => lost.inc({ reason }, count),
		watchLedger(watched) {
			counts = watched;
		},
	};
}

function addEnergyMetrics(registry: Registry): Pick<Metrics, "watchEnergy"> {
	let sums: (() => ReadonlyMap<string, EngineEnergy>) | undefined;
	new Counter({
		name: "router_energy_joules_total",
		help: "What GPUs of agents have drawn: got by calls, and idle, while none ran there.",
		labelNames: ["target", "use"],
		registers: [registry],
		collect() {
			this.reset();
			for (const [target, { given, idle }] of sums?.() ?? []) {
				this.inc({ target, use: "calls" }, given);
				this.inc({ target, use: "idle" }, idle);
			}
		},
	});
	return {
		watchEnergy(watched) {
			sums = watched;
		},
	};
}

function addAgentMetrics(registry: Registry): Pick<Metrics, "watchAgents"> {
	let counts: AgentCounts | undefined;
	const byState = (name: string, help: string, read: (counts: AgentCounts) => Readonly<Record<string, number>>) =>
		new Gauge({
			name: `router_${name}`,
			help,
			labelNames: ["state"],
			registers: [registry],
			collect() {
				this.reset();
				if (!counts) return;
				for (const [state, count] of Object.entries(read(counts))) this.set({ state }, count);
			},
		});
	byState("agents", "Agents that have registered.", (of) => of.agents());
	byState("local_models", "Models of agents that are there, each agent's counted.", (of) => of.models());
	return {
		watchAgents(watched) {
			counts = watched;
		},
	};
}
