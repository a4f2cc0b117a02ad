/** What `/metrics` shows of calls and of their attempts. */

import type { AttemptClosed, AttemptStep, CallSettled, Queued, ShadowOutcome, Sink } from "./events.ts";
import { boundedLabels, statusLabel } from "./labels.ts";
import { Counter, Gauge, Histogram, type Registry } from "./prometheus.ts";
import { ShadowMetrics } from "./shadow-metrics.ts";

/** Seconds. From 10 ms (an embedding, a cached answer) to the 10 min a long generation may take. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
/** Seconds in line before a model. */
const QUEUE_BUCKETS = [0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Models that have a label of their own. */
const MOST_MODELS = 500;

/** Times of calls, by bucket. */
class Latencies {
	/** One a bucket, and one for all above. */
	readonly counts = new Float64Array(LATENCY_BUCKETS.length + 1);
	/** Seconds. */
	sum = 0;
}

/** What is observed of calls of one model and provider, whatever their status. */
interface Series {
	readonly model: string;
	readonly provider: string;
	readonly duration: Latencies;
	readonly firstToken: Latencies;
}

/** Calls whose labels are the same, since the registry was last read. */
interface Sums {
	readonly status: string;
	readonly series: Series;
	calls: number;
	input: number;
	output: number;
	cached: number;
	reasoning: number;
	cost: number;
	unpriced: number;
}

const NOTHING = { calls: 0, input: 0, output: 0, cached: 0, reasoning: 0, cost: 0, unpriced: 0 };

/**
 * Counts calls and attempts. Never throws: a number that is none is left out. Each call is added to plain numbers, which become
 * prom-client's when the registry is read: that hashes the labels at every `inc`, and its cached children save nothing.
 */
export class CallMetrics implements Sink {
	readonly #metrics: ReturnType<typeof callMetrics>;
	readonly #modelLabel = boundedLabels(MOST_MODELS);
	readonly #series = new Map<string, Series>();
	readonly #sums = new Map<string, Sums>();
	/** What the call before was added to, and what that was for: neighbours are mostly alike. */
	#last: Sums | undefined;
	#lastModel = "";
	#lastStatus = 0;
	/** Attempts by provider, and of the provider of the one before. */
	readonly #attempts = new Map<string, { readonly provider: string; count: number }>();
	#lastAttempts: { readonly provider: string; count: number } | undefined;
	#inFlight = 0;
	#hits = 0;
	#misses = 0;
	readonly #shadows: ShadowMetrics;

	/** Adds them to a registry. @param routers where metrics of routers alone go */
	constructor(registry: Registry, routers: Registry = registry) {
		this.#shadows = new ShadowMetrics(routers);
		this.#metrics = callMetrics(
			registry,
			() => this.#inFlight,
			() => this.#series.values(),
		);
	}

	callStarted(): void {
		this.#inFlight++;
	}

	attemptClosed({ provider, failure, isUnused, isUnbilled, cost }: AttemptClosed): void {
		let attempts = this.#lastAttempts;
		if (attempts?.provider !== provider) {
			attempts = this.#attempts.get(provider) ?? { provider, count: 0 };
			this.#attempts.set(provider, attempts);
			this.#lastAttempts = attempts;
		}
		attempts.count++;
		if (failure) this.#metrics.failures.inc({ provider, kind: failure });
		if (!(isUnused || isUnbilled) || counted(cost) === 0) return;
		(isUnused ? this.#metrics.hedgeCost : this.#metrics.failedCost).inc({ provider }, cost);
	}

	attemptFollowed({ how, provider }: AttemptStep): void {
		this.#metrics.steps[how].inc({ provider });
	}

	queued({ model, waitedMs, refused }: Queued): void {
		if (refused) this.#metrics.queueRefused.inc({ model, reason: refused });
		else if (waitedMs !== undefined) this.#metrics.queueWait.observe({ model }, waitedMs / 1000);
	}

	callSettled(call: CallSettled): void {
		if (this.#inFlight > 0) this.#inFlight--;
		const { tokens, firstTokenMs, dropped, cache } = call;
		let sums = this.#last;
		if (sums?.series.provider !== call.provider || this.#lastModel !== call.model || this.#lastStatus !== call.status) {
			sums = this.#sumsOf(call);
		}
		sums.calls++;
		if (tokens) {
			sums.input += counted(tokens.input);
			sums.output += counted(tokens.output);
			if (tokens.cached) sums.cached += counted(tokens.cached);
			if (tokens.reasoning) sums.reasoning += counted(tokens.reasoning);
		}
		if (call.cost) sums.cost += counted(call.cost);
		if (call.bill?.source === "none") sums.unpriced++;
		observe(sums.series.duration, call.ms);
		if (firstTokenMs !== undefined) observe(sums.series.firstToken, firstTokenMs);
		if (dropped) this.#metrics.dropped.inc(counted(dropped));
		if (cache === "hit") this.#hits++;
		else if (cache === "miss") this.#misses++;
	}

	shadowSettled(call: CallSettled): void {
		this.#shadows.settled(call);
	}

	shadowDropped(model: string, to: string, why: ShadowOutcome): void {
		this.#shadows.dropped(model, to, why);
	}

	/** A limit or a budget refused a call. @param by whose it is @param counts of what */
	refused(by: string, counts: string): void {
		this.#metrics.limited.inc({ by, counts });
	}

	/** A call of an agent that has run away. @param kind what was seen @param action what was done */
	runaway(kind: string, action: string): void {
		this.#metrics.runaways.inc({ kind, action });
	}

	/** Hands all that was counted to prom-client: to be called before the registry is read. */
	count(): void {
		const { requests, tokens, cacheHits, cacheMisses, cost, unpriced, attempts } = this.#metrics;
		for (const sums of this.#sums.values()) {
			if (sums.calls === 0) continue;
			const { status } = sums;
			const { model, provider } = sums.series;
			requests.inc({ model, provider, status }, sums.calls);
			for (const direction of ["input", "output", "cached", "reasoning"] as const) {
				const count = counted(sums[direction]);
				if (count > 0) tokens.inc({ direction, model, provider }, count);
			}
			if (sums.unpriced > 0) unpriced.inc({ model, provider }, sums.unpriced);
			const usd = counted(sums.cost);
			if (usd > 0) cost.inc({ model, provider }, usd);
			Object.assign(sums, NOTHING);
		}
		for (const of of this.#attempts.values()) {
			if (of.count > 0) attempts.inc({ provider: of.provider }, of.count);
			of.count = 0;
		}
		cacheHits.inc(this.#hits);
		cacheMisses.inc(this.#misses);
		this.#hits = 0;
		this.#misses = 0;
	}

	/** What a call is added to. */
	#sumsOf(call: CallSettled): Sums {
		const { provider } = call;
		const model = this.#modelLabel(call.model);
		const status = statusLabel(call.status);
		const ofModel = `${provider}\n${model}`;
		const name = `${status}\n${ofModel}`;
		let series = this.#series.get(ofModel);
		if (!series) {
			series = { model, provider, duration: new Latencies(), firstToken: new Latencies() };
			this.#series.set(ofModel, series);
		}
		let sums = this.#sums.get(name);
		if (!sums) {
			sums = { status, series, ...NOTHING };
			this.#sums.set(name, sums);
		}
		this.#last = sums;
		this.#lastModel = call.model;
		this.#lastStatus = call.status;
		return sums;
	}
}

/** prom-client throws on what is no number, and an upstream's usage is not to be trusted. */
function counted(count: number | undefined): number {
	return count !== undefined && count > 0 && count < Number.POSITIVE_INFINITY ? count : 0;
}

function observe(latencies: Latencies, ms: number): void {
	if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) return;
	const seconds = ms / 1000;
	let at = 0;
	while (at < LATENCY_BUCKETS.length && seconds > LATENCY_BUCKETS[at]!) at++;
	latencies.counts[at]!++;
	latencies.sum += seconds;
}

/** A histogram as prom-client's registry reads it: names its values, cumulative by bucket, as its own class does. */
function histogramOf(
	registry: Registry,
	name: string,
	help: string,
	read: () => Iterable<readonly [labels: { readonly model: string; readonly provider: string }, Latencies]>,
): void {
	const metric = {
		name,
		get() {
			const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
			for (const [labels, { counts, sum }] of read()) {
				let count = 0;
				const buckets = Array.from(counts, (each, at) => {
					count += each;
					const le = LATENCY_BUCKETS[at] ?? "+Inf";
					return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
				});
				if (count === 0) continue;
				values.push(...buckets);
				values.push({ metricName: `${name}_sum`, labels, value: sum });
				values.push({ metricName: `${name}_count`, labels, value: count });
			}
			return { name, help, type: "histogram", values, aggregator: "sum" };
		},
	};
	// Of a metric the registry uses the name and `get` alone.
	registry.registerMetric(metric as unknown as Histogram);
}

/** The table of them. @param inFlight asked at each scrape @param series likewise */
function callMetrics(registry: Registry, inFlight: () => number, series: () => Iterable<Series>) {
	const registers = [registry];
	const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
		new Counter({ name: `router_${name}`, help, labelNames, registers });
	const latencies = (name: string, help: string, of: (series: Series) => Latencies) =>
		histogramOf(registry, `router_${name}`, help, function* () {
			for (const each of series()) yield [{ model: each.model, provider: each.provider }, of(each)];
		});
	new Gauge({
		name: "router_in_flight_requests",
		help: "Calls that have arrived and are not settled.",
		registers,
		collect() {
			this.set(inFlight());
		},
	});
	const requests = counter("requests_total", "Calls settled, by what the client saw (499: it left).", [
		"model",
		"provider",
		"status",
	]);
	const ofModel: ("model" | "provider")[] = ["model", "provider"];
	latencies(
		"request_duration_seconds",
		"From the call's arrival to the end of its answer.",
		({ duration }) => duration,
	);
	latencies(
		"time_to_first_token_seconds",
		"From the call's arrival to its first token.",
		({ firstToken }) => firstToken,
	);
	const tokens = counter(
		"tokens_total",
		"Tokens as upstreams count them. cached is part of input, reasoning of output: do not sum over direction.",
		["direction", "model", "provider"],
	);
	const cost = counter(
		"cost_usd_total",
		"What calls have cost, USD; calls whose price nobody knows are not in it.",
		ofModel,
	);
	const unpriced = counter("unpriced_calls_total", "Calls that were answered and whose price nobody knows.", ofModel);
	const limited = counter(
		"limited_calls_total",
		"Calls kept out by a limit (of requests, tokens, concurrency) or a budget (by its period).",
		["by", "counts"],
	);
	const runaways = counter(
		"runaway_calls_total",
		"Calls of agents that have run away, by what was seen (loop, spending) and what was done (warn, slow, stop).",
		["kind", "action"],
	);
	const attempts = counter("attempts_total", "Attempts at upstreams, retries and failovers included.", ["provider"]);
	const failures = counter("upstream_failures_total", "Attempts that failed, by kind of failure.", [
		"provider",
		"kind",
	]);
	const steps: Readonly<Record<AttemptStep["how"], Counter<"provider">>> = {
		retry: counter("retries_total", "Attempts made again at the same target.", ["provider"]),
		refused: counter(
			"retries_refused_total",
			"Attempts not made again because all calls together had been tried again too often.",
			["provider"],
		),
		failover: counter("failovers_total", "Calls that went on elsewhere, by the provider that failed.", ["provider"]),
		hedge: counter("hedges_total", "Calls sent to a second target, by the provider that was late.", ["provider"]),
		"hedge-won": counter("hedges_won_total", "Those of them that the second target answered.", ["provider"]),
		resume: counter(
			"resumes_total",
			"Answers that had begun and went on elsewhere, by the provider that broke them off.",
			["provider"],
		),
	};
	const hedgeCost = counter(
		"hedge_cost_usd_total",
		"USD that answers cost which were not used, since another target was faster; counted to no key.",
		["provider"],
	);
	const failedCost = counter(
		"failed_cost_usd_total",
		"USD that attempts cost which failed after their upstream had answered; counted to no key.",
		["provider"],
	);
	const queueWait = new Histogram({
		name: "router_queue_wait_seconds",
		help: "Time in line before a model, of calls that had their turn.",
		labelNames: ["model"],
		buckets: QUEUE_BUCKETS,
		registers,
	});
	const queueRefused = counter("queue_refused_total", "Calls not let into the line, or too late for their turn.", [
		"model",
		"reason",
	]);
	const dropped = counter("dropped_events_total", "Events of upstream streams that were no JSON and were dropped.");
	const cacheHits = counter("cache_hits_total", "Calls answered from the cache.");
	const cacheMisses = counter("cache_misses_total", "Calls the cache was asked for in vain.");
	return {
		...{ requests, tokens, cost, unpriced, limited, runaways, attempts, failures, steps, hedgeCost, failedCost },
		...{ queueWait, queueRefused, dropped, cacheHits, cacheMisses },
	};
}
