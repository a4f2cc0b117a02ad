/** What `/metrics` shows of calls and of their attempts. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { AttemptClosed, AttemptStep, CallSettled, Queued, Sink } from "./events.ts";
import { boundedLabels, statusLabel } from "./labels.ts";

/** Seconds. From 10 ms (an embedding, a cached answer) to the 10 min a long generation may take. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
/** Seconds in line before a model. */
const QUEUE_BUCKETS = [0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Calls, or attempts, that wait to be counted: more would keep others waiting for longer than 1 ms. */
const MOST_WAITING = 250;
/** Models that have a label of their own. */
const MOST_MODELS = 500;

/** Sums over calls whose labels are the same. */
interface Sums {
	readonly model: string;
	readonly provider: string;
	readonly status: string;
	calls: number;
	input: number;
	output: number;
	cached: number;
	reasoning: number;
	cost: number;
	unpriced: number;
	hits: number;
	misses: number;
}

const NOTHING = { calls: 0, input: 0, output: 0, cached: 0, reasoning: 0, cost: 0, unpriced: 0, hits: 0, misses: 0 };

/**
 * Counts calls and attempts. Never throws: a number that is none is left out. They are counted many in one go, and one `inc` counts all
 * that have the same labels: prom-client hashes the labels at every `inc`, and its cached children save nothing.
 */
export class CallMetrics implements Sink {
	readonly #metrics: ReturnType<typeof callMetrics>;
	readonly #modelLabel = boundedLabels(MOST_MODELS);
	#inFlight = 0;
	#settled: CallSettled[] = [];
	#closed: AttemptClosed[] = [];

	/** Adds them to a registry. */
	constructor(registry: Registry) {
		this.#metrics = callMetrics(registry, () => this.#inFlight);
	}

	callStarted(): void {
		this.#inFlight++;
	}

	attemptClosed(attempt: AttemptClosed): void {
		this.#closed.push(attempt);
		if (this.#closed.length >= MOST_WAITING) this.count();
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
		this.#settled.push(call);
		if (this.#settled.length >= MOST_WAITING) this.count();
	}

	/** A limit or a budget refused a call. @param by whose it is @param counts of what */
	refused(by: string, counts: string): void {
		this.#metrics.limited.inc({ by, counts });
	}

	/** Counts all that waits: to be called before the registry is read. */
	count(): void {
		const [calls, attempts] = [this.#settled, this.#closed];
		this.#settled = [];
		this.#closed = [];
		this.#countCalls(calls);
		this.#countAttempts(attempts);
	}

	#countCalls(calls: readonly CallSettled[]): void {
		const groups = new Map<string, Sums>();
		let sums: Sums | undefined;
		for (const call of calls) {
			sums = this.#sumsOf(groups, call, sums);
			this.#addCall(sums, call);
		}
		const { requests, tokens, cacheHits, cacheMisses, cost, unpriced } = this.#metrics;
		for (const { model, provider, status, ...sum } of groups.values()) {
			requests.inc({ model, provider, status }, sum.calls);
			for (const direction of ["input", "output", "cached", "reasoning"] as const) {
				const count = counted(sum[direction]);
				if (count > 0) tokens.inc({ direction, model, provider }, count);
			}
			if (sum.hits > 0) cacheHits.inc(sum.hits);
			if (sum.misses > 0) cacheMisses.inc(sum.misses);
			if (sum.unpriced > 0) unpriced.inc({ model, provider }, sum.unpriced);
			const usd = counted(sum.cost);
			if (usd > 0) cost.inc({ model, provider }, usd);
		}
	}

	/** @param last what the call before was added to: neighbours are mostly alike */
	#sumsOf(groups: Map<string, Sums>, call: CallSettled, last: Sums | undefined): Sums {
		const model = this.#modelLabel(call.model);
		const { provider } = call;
		const status = statusLabel(call.status);
		if (last?.model === model && last.provider === provider && last.status === status) return last;
		const name = `${status}\n${provider}\n${model}`;
		let sums = groups.get(name);
		if (!sums) {
			sums = { model, provider, status, ...NOTHING };
			groups.set(name, sums);
		}
		return sums;
	}

	#addCall(sums: Sums, call: CallSettled): void {
		const { model, provider } = sums;
		const { tokens, firstTokenMs, ms, dropped } = call;
		sums.calls++;
		if (tokens) {
			sums.input += counted(tokens.input);
			sums.output += counted(tokens.output);
			sums.cached += counted(tokens.cached);
			sums.reasoning += counted(tokens.reasoning);
		}
		sums.cost += counted(call.cost);
		if (call.bill?.source === "none") sums.unpriced++;
		observeMs(this.#metrics.duration, model, provider, ms);
		observeMs(this.#metrics.firstToken, model, provider, firstTokenMs);
		if (dropped) this.#metrics.dropped.inc(counted(dropped));
		if (call.cache === "hit") sums.hits++;
		else if (call.cache === "miss") sums.misses++;
	}

	#countAttempts(attempts: readonly AttemptClosed[]): void {
		const groups = new Map<string, number>();
		for (const { provider, failure, isUnused, isUnbilled, cost } of attempts) {
			groups.set(provider, (groups.get(provider) ?? 0) + 1);
			if (failure) this.#metrics.failures.inc({ provider, kind: failure });
			if (!(isUnused || isUnbilled) || counted(cost) === 0) continue;
			(isUnused ? this.#metrics.hedgeCost : this.#metrics.failedCost).inc({ provider }, cost);
		}
		for (const [provider, count] of groups) this.#metrics.attempts.inc({ provider }, count);
	}
}

/** prom-client throws on what is no number, and an upstream's usage is not to be trusted. */
function counted(count: number | undefined): number {
	return count !== undefined && count > 0 && Number.isFinite(count) ? count : 0;
}

function observeMs(
	histogram: Histogram<"model" | "provider">,
	model: string,
	provider: string,
	ms: number | undefined,
) {
	if (ms !== undefined && ms >= 0 && Number.isFinite(ms)) histogram.observe({ model, provider }, ms / 1000);
}

/** The table of them. @param inFlight asked at each scrape */
function callMetrics(registry: Registry, inFlight: () => number) {
	const registers = [registry];
	const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
		new Counter({ name: `router_${name}`, help, labelNames, registers });
	const histogram = <L extends string>(name: string, help: string, labelNames: L[], buckets = LATENCY_BUCKETS) =>
		new Histogram({ name: `router_${name}`, help, labelNames, buckets, registers });
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
	const duration = histogram("request_duration_seconds", "From the call's arrival to the end of its answer.", ofModel);
	const firstToken = histogram("time_to_first_token_seconds", "From the call's arrival to its first token.", ofModel);
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
	const queueWait = histogram(
		"queue_wait_seconds",
		"Time in line before a model, of calls that had their turn.",
		["model"],
		QUEUE_BUCKETS,
	);
	const queueRefused = counter("queue_refused_total", "Calls not let into the line, or too late for their turn.", [
		"model",
		"reason",
	]);
	const dropped = counter("dropped_events_total", "Events of upstream streams that were no JSON and were dropped.");
	const cacheHits = counter("cache_hits_total", "Calls answered from the cache.");
	const cacheMisses = counter("cache_misses_total", "Calls the cache was asked for in vain.");
	return {
		...{
			requests,
			duration,
			firstToken,
			tokens,
			cost,
			unpriced,
			limited,
			attempts,
			failures,
			steps,
			hedgeCost,
			failedCost,
		},
		...{ queueWait, queueRefused, dropped, cacheHits, cacheMisses },
	};
}
