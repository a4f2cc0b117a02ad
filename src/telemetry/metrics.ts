/**
 * What `/metrics` shows: every call counted into a Prometheus registry of this
 * process's own role. Several registries live side by side in one process
 * (`--standalone`, tests), so nothing is kept in prom-client's global one.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { AccountMetrics } from "./account-metrics.ts";
import { addCallMetrics } from "./call-metrics.ts";
import type { Sink } from "./events.ts";
import { addLedgerMetrics, type LedgerMetrics } from "./ledger-metrics.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import { addRoutingMetrics, type RoutingMetrics } from "./routing-metrics.ts";

/** Agents by standing, and their models by state. */
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

/** The registry and the hands that write to it. */
export interface Metrics extends RoutingMetrics, AccountMetrics, LedgerMetrics {
	/** Counts calls and attempts. Never throws: a number that is none is left out. */
	readonly sink: Sink;
	/** The `content-type` of `text()`. */
	readonly contentType: string;
	/**
	 * The whole registry in the Prometheus text format. Blocks for about 8 µs a line (13 ms at 1,700 lines),
	 * which is why labels are few and bounded.
	 */
	text(): Promise<string>;
	/** An exception that no call caught. */
	crash(): void;
	/** A log file that could not be written. */
	logFailure(): void;
	/** Where the size of the cache is read, at each scrape. */
	watchCache(stats: () => { readonly entries: number; readonly bytes: number }): void;
	/** What becomes of the Redis that routers share. */
	readonly redis: {
		up(isUp: boolean): void;
		/** A command gave nothing; why is one of a few words. */
		failed(why: string): void;
	};
	/** Where lines and keys are counted, asked at each scrape. */
	watchProxy(counts: ProxyCounts): void;
	/** Where the router's agents are counted, asked at each scrape. */
	watchAgents(counts: AgentCounts): void;
}

/**
 * A registry for one role. Both roles use the prefix `router_`: what they count about calls means the same.
 * @param role becomes the `role` label of `router_info`
 */
export function createMetrics(role: "router" | "agent"): Metrics {
	const registry = new Registry();
	const registers = [registry];
	const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
		new Counter({ name: `router_${name}`, help, labelNames, registers });
	const calls = addCallMetrics(registry);
	const retries = counter("retries_total", "Attempts made again at the same target.", ["provider"]);
	const refusedRetries = counter(
		"retries_refused_total",
		"Attempts not made again because all calls together had been tried again too often.",
		["provider"],
	);
	const failovers = counter("failovers_total", "Calls that went on elsewhere, by the provider that failed.", [
		"provider",
	]);
	const hedges = counter("hedges_total", "Calls sent to a second target, by the provider that was late.", ["provider"]);
	const resumes = counter(
		"resumes_total",
		"Answers that had begun and went on elsewhere, by the provider that broke them off.",
		["provider"],
	);
	const hedgeCost = counter(
		"hedge_cost_usd_total",
		"USD that answers cost which were not used, since another target was faster; counted to no key.",
		["provider"],
	);
	const hedgesWon = counter("hedges_won_total", "Those of them that the second target answered.", ["provider"]);
	const queueWait = new Histogram({
		name: "router_queue_wait_seconds",
		help: "Time in line before a model, of calls that had their turn.",
		labelNames: ["model"],
		buckets: [0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
		registers,
	});
	const queueRefused = counter("queue_refused_total", "Calls not let into the line, or too late for their turn.", [
		"model",
		"reason",
	]);
	let cacheStats: (() => { readonly entries: number; readonly bytes: number }) | undefined;
	const cacheGauge = (name: string, help: string, read: (stats: { entries: number; bytes: number }) => number) =>
		new Gauge({
			name: `router_cache_${name}`,
			help,
			registers,
			collect() {
				this.set(cacheStats ? read(cacheStats()) : 0);
			},
		});
	cacheGauge("entries", "Answers held in this process.", ({ entries }) => entries);
	cacheGauge("bytes", "Memory in use for them.", ({ bytes }) => bytes);
	const redisUp = new Gauge({ name: "router_redis_up", help: "1 while the shared Redis answers.", registers });
	const redisFailures = counter(
		"redis_failures_total",
		"Commands that gave nothing: not sent during an outage (refused), too late, lost, or answered with an error.",
		["reason"],
	);
	const crashes = counter("crashes_total", "Exceptions that no call caught; the process went on.");
	const logFailures = counter("log_failures_total", "Times the log file could not be written.");
	new Gauge({ name: "router_info", help: "1; says which role runs.", labelNames: ["role"], registers }).set(
		{ role },
		1,
	);

	let inFlight = 0;
	new Gauge({
		name: "router_in_flight_requests",
		help: "Calls that have arrived and are not settled.",
		registers,
		collect() {
			this.set(inFlight);
		},
	});
	let proxyCounts: ProxyCounts | undefined;
	const counted = <L extends string>(
		name: string,
		help: string,
		label: L,
		counts: () => Iterable<readonly [string, number]>,
	) =>
		new Gauge({
			name: `router_${name}`,
			help,
			labelNames: [label],
			registers,
			collect() {
				this.reset();
				for (const [value, count] of counts()) this.inc({ [label]: value } as Record<L, string>, count);
			},
		});
	counted("queue_waiting", "Calls in line before a model.", "model", () => proxyCounts?.waiting() ?? []);
	counted(
		"keys_out_of_use",
		"Keys that an upstream refused, until they are tried again.",
		"provider",
		() => proxyCounts?.keysOut() ?? [],
	);
	let agentCounts: AgentCounts | undefined;
	const byState = (name: string, help: string, counts: () => Readonly<Record<string, number>> | undefined) =>
		new Gauge({
			name: `router_${name}`,
			help,
			labelNames: ["state"],
			registers,
			collect() {
				this.reset();
				for (const [state, count] of Object.entries(counts() ?? {})) this.set({ state }, count);
			},
		});
	if (role === "router") {
		byState("agents", "Agents that have registered.", () => agentCounts?.agents());
		byState("local_models", "Models of agents that are there, each agent's counted.", () => agentCounts?.models());
	}
	const routing = addRoutingMetrics(registry);
	// An agent keeps none.
	const ledger = addLedgerMetrics(role === "router" ? registry : new Registry());
	addProcessMetrics(registry);

	const steps = {
		retry: retries,
		refused: refusedRetries,
		failover: failovers,
		hedge: hedges,
		"hedge-won": hedgesWon,
		resume: resumes,
	};

	return {
		...routing,
		...ledger,
		refused: calls.refused,
		contentType: registry.contentType,
		text() {
			calls.count();
			return registry.metrics();
		},
		crash: () => crashes.inc(),
		logFailure: () => logFailures.inc(),
		watchCache(stats) {
			cacheStats = stats;
		},
		redis: {
			up: (isUp) => redisUp.set(isUp ? 1 : 0),
			failed: (reason) => redisFailures.inc({ reason }),
		},
		watchProxy(counts) {
			proxyCounts = counts;
		},
		watchAgents(counts) {
			agentCounts = counts;
		},
		sink: {
			callStarted() {
				inFlight++;
			},
			attemptClosed(attempt) {
				calls.attemptClosed(attempt);
				if (attempt.isUnused && attempt.cost) hedgeCost.inc({ provider: attempt.provider }, attempt.cost);
			},
			attemptFollowed: ({ how, provider }) => steps[how].inc({ provider }),
			queued({ model, waitedMs, refused }) {
				if (refused) queueRefused.inc({ model, reason: refused });
				else if (waitedMs !== undefined) queueWait.observe({ model }, waitedMs / 1000);
			},
			callSettled(call) {
				if (inFlight > 0) inFlight--;
				calls.callSettled(call);
			},
		},
	};
}
