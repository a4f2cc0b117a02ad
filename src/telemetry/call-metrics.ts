/** What `/metrics` shows of settled calls and closed attempts. */
import { Counter, Histogram, type Registry } from "prom-client";
import { addAccountMetrics } from "./account-metrics.ts";
import type { AttemptClosed, CallSettled } from "./events.ts";
import { boundedLabels, statusLabel } from "./labels.ts";

/** Seconds. From 10 ms (an embedding, a cached answer) to the 10 min a long generation may take. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/** Calls, or attempts, that wait to be counted: more would keep others waiting for longer than 1 ms. */
const MOST_WAITING = 250;

/** The hands that write to it. Never throw: a number that is none is left out. */
export interface CallMetrics {
	callSettled(call: CallSettled): void;
	attemptClosed(attempt: AttemptClosed): void;
	/** Counts all that waits: to be called before the registry is read. */
	count(): void;
	/** A limit or a budget kept a call out: whose it is, and of what. */
	refused(by: string, counts: string): void;
}

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

/**
 * Adds them to a registry. Measured on Bun 1.4.5: prom-client's `inc` with a label object takes 156 ns, `observe` 258 ns, and cached
 * `.labels(…)` children save nothing, since they hash their labels at every call. That is in a loop: between all else that a call does,
 * whatever is not in the processor's caches makes it 7 µs a call. So calls are counted many in one go, and one `inc` tells of all that
 * have the same labels.
 */
export function addCallMetrics(registry: Registry): CallMetrics {
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
	const dropped = counter("dropped_events_total", "Events of upstream streams that were no JSON and were dropped.");
	const cacheHits = counter("cache_hits_total", "Calls answered from the cache.");
	const cacheMisses = counter("cache_misses_total", "Calls the cache was asked for in vain.");
	const accounts = addAccountMetrics(registry);

	const modelLabel = boundedLabels(500);
	let settled: CallSettled[] = [];
	let closed: AttemptClosed[] = [];

	/** @param last what the call before was added to: neighbours are mostly alike */
	const sumsOf = (groups: Map<string, Sums>, call: CallSettled, last: Sums | undefined) => {
		const model = modelLabel(call.model);
		const { provider } = call;
		const status = statusLabel(call.status);
		if (last?.model === model && last.provider === provider && last.status === status) return last;
		const name = `${status}\n${provider}\n${model}`;
		let sums = groups.get(name);
		if (!sums) {
			sums = { model, provider, status, calls: 0, ...NOTHING };
			groups.set(name, sums);
		}
		return sums;
	};

	const addCall = (sums: Sums, call: CallSettled) => {
		const { model, provider } = sums;
		sums.calls++;
		const { tokens: used } = call;
		if (used) {
			sums.input += counted(used.input);
			sums.output += counted(used.output);
			sums.cached += counted(used.cached);
			sums.reasoning += counted(used.reasoning);
		}
		sums.cost += counted(call.cost);
		if (call.bill?.source === "none") sums.unpriced++;
		observeMs(duration, model, provider, call.ms);
		observeMs(firstToken, model, provider, call.firstTokenMs);
		if (call.dropped) dropped.inc(counted(call.dropped));
		if (call.cache === "hit") sums.hits++;
		else if (call.cache === "miss") sums.misses++;
	};

	const countCalls = (calls: readonly CallSettled[]) => {
		const groups = new Map<string, Sums>();
		let sums: Sums | undefined;
		for (const call of calls) {
			sums = sumsOf(groups, call, sums);
			addCall(sums, call);
		}
		for (const { model, provider, status, ...sums } of groups.values()) {
			requests.inc({ model, provider, status }, sums.calls);
			for (const direction of ["input", "output", "cached", "reasoning"] as const) {
				const sum = counted(sums[direction]);
				if (sum > 0) tokens.inc({ direction, model, provider }, sum);
			}
			if (sums.hits > 0) cacheHits.inc(sums.hits);
			if (sums.misses > 0) cacheMisses.inc(sums.misses);
			accounts.settled(model, provider, { cost: counted(sums.cost), unpriced: sums.unpriced });
		}
	};

	const countAttempts = (ended: readonly AttemptClosed[]) => {
		const groups = new Map<string, number>();
		for (const { provider, failure } of ended) {
			groups.set(provider, (groups.get(provider) ?? 0) + 1);
			if (failure) failures.inc({ provider, kind: failure });
		}
		for (const [provider, count] of groups) attempts.inc({ provider }, count);
	};

	const count = () => {
		const [calls, ended] = [settled, closed];
		settled = [];
		closed = [];
		countCalls(calls);
		countAttempts(ended);
	};

	return {
		count,
		refused: accounts.refused,
		callSettled(call) {
			settled.push(call);
			if (settled.length >= MOST_WAITING) count();
		},
		attemptClosed(attempt) {
			closed.push(attempt);
			if (closed.length >= MOST_WAITING) count();
		},
	};
}

const NOTHING = { input: 0, output: 0, cached: 0, reasoning: 0, cost: 0, unpriced: 0, hits: 0, misses: 0 };

/** prom-client throws on what is no number, and an upstream's usage is not ours to trust. */
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
