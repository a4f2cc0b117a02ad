/**
 * What `/metrics` shows: every call counted into a Prometheus registry of this
 * process's own role. Several registries live side by side in one process
 * (`--standalone`, tests), so nothing is kept in prom-client's global one.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type AccountMetrics, addAccountMetrics } from "./account-metrics.ts";
import type { AttemptClosed, CallSettled, Sink } from "./events.ts";
import { boundedLabels, statusLabel } from "./labels.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import { addRoutingMetrics, type RoutingMetrics } from "./routing-metrics.ts";

/** Seconds. From 10 ms (an embedding, a cached answer) to the 10 min a long generation may take. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/** Calls, or attempts, that wait to be counted: more would keep others waiting for longer than 1 ms. */
const MOST_UNCOUNTED = 250;

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
export interface Metrics extends RoutingMetrics, AccountMetrics {
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
	const latency = (name: string, help: string) =>
		new Histogram({
			name: `router_${name}`,
			help,
			labelNames: ["model", "provider"],
			buckets: LATENCY_BUCKETS,
			registers,
		});

	const requests = counter("requests_total", "Calls settled, by what the client saw (499: it left).", [
		"model",
		"provider",
		"status",
	]);
	const duration = latency("request_duration_seconds", "From the call's arrival to the end of its answer.");
	const firstToken = latency("time_to_first_token_seconds", "From the call's arrival to its first token.");
	const tokens = counter(
		"tokens_total",
		"Tokens as upstreams count them. cached is part of input, reasoning of output: do not sum over direction.",
		["direction", "model", "provider"],
	);
	const attempts = counter("attempts_total", "Attempts at upstreams, retries and failovers included.", ["provider"]);
	const failures = counter("upstream_failures_total", "Attempts that failed, by kind of failure.", [
		"provider",
		"kind",
	]);
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
	const dropped = counter("dropped_events_total", "Events of upstream streams that were no JSON and were dropped.");
	const cacheHits = counter("cache_hits_total", "Calls answered from the cache.");
	const cacheMisses = counter("cache_misses_total", "Calls the cache was asked for in vain.");
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
	const accounts = addAccountMetrics(registry);
	addProcessMetrics(registry);

	const modelLabel = boundedLabels(500);
	const steps = {
		retry: retries,
		refused: refusedRetries,
		failover: failovers,
		hedge: hedges,
		"hedge-won": hedgesWon,
		resume: resumes,
	};

	// Measured on Bun 1.4.5: inc with a label object 156 ns, observe 258 ns; through cached `.labels(…)` children
	// 161 and 241 ns, since a child hashes its labels again at every call. That is in a loop: between all else that a call
	// does, whatever is not in the processor's caches makes it 7 µs a call. So calls are counted many in one go.
	const settled: CallSettled[] = [];
	const attempted: AttemptClosed[] = [];
	const count = () => {
		for (const call of settled) settle(call);
		for (const { provider, failure } of attempted) {
			attempts.inc({ provider });
			if (failure) failures.inc({ provider, kind: failure });
		}
		settled.length = 0;
		attempted.length = 0;
	};
	const settle = (call: CallSettled) => {
		const model = modelLabel(call.model);
		const { provider } = call;
		requests.inc({ model, provider, status: statusLabel(call.status) });
		observeMs(duration, model, provider, call.ms);
		observeMs(firstToken, model, provider, call.firstTokenMs);
		if (call.tokens) {
			add(tokens, { direction: "input", model, provider }, call.tokens.input);
			add(tokens, { direction: "output", model, provider }, call.tokens.output);
			add(tokens, { direction: "cached", model, provider }, call.tokens.cached);
			add(tokens, { direction: "reasoning", model, provider }, call.tokens.reasoning);
		}
		accounts.settled(call, model);
		if (call.dropped) add(dropped, {}, call.dropped);
		if (call.cache === "hit") cacheHits.inc();
		else if (call.cache === "miss") cacheMisses.inc();
	};

	return {
		...routing,
		refused: accounts.refused,
		contentType: registry.contentType,
		text() {
			count();
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
				attempted.push(attempt);
				if (attempted.length >= MOST_UNCOUNTED) count();
			},
			attemptFollowed: ({ how, provider }) => steps[how].inc({ provider }),
			queued({ model, waitedMs, refused }) {
				if (refused) queueRefused.inc({ model, reason: refused });
				else if (waitedMs !== undefined) queueWait.observe({ model }, waitedMs / 1000);
			},
			callSettled(call) {
				if (inFlight > 0) inFlight--;
				settled.push(call);
				if (settled.length >= MOST_UNCOUNTED) count();
			},
		},
	};
}

/** prom-client throws on what is no number, and an upstream's usage is not ours to trust. */
function add<L extends string>(counter: Counter<L>, labels: Partial<Record<L, string>>, count: number | undefined) {
	if (count !== undefined && count > 0 && Number.isFinite(count)) counter.inc(labels, count);
}

function observeMs(
	histogram: Histogram<"model" | "provider">,
	model: string,
	provider: string,
	ms: number | undefined,
) {
	if (ms !== undefined && ms >= 0 && Number.isFinite(ms)) histogram.observe({ model, provider }, ms / 1000);
}
