/** From what the threads of a router have counted to what its console shows: pure. */
import type { MetricValues } from "../../telemetry/merged-metrics.ts";
import type { LiveSample, ModelSample, Quantiles } from "./live-sample.ts";

/** Models that one sample names. */
const MOST_MODELS = 20;
const NO_LABELS = {};

/** What one model's calls have come to since the process began. */
interface ModelTotals {
	calls: number;
	errors: number;
	input: number;
	output: number;
	usd: number;
	/** Answers that had begun within so many seconds, by that bound. */
	readonly firstToken: Map<number, number>;
}

/** All that was counted so far. */
export interface LiveTotals {
	/** On a clock that never goes back, ms. */
	readonly time: number;
	inFlight: number;
	waiting: number;
	readonly models: Map<string, ModelTotals>;
	readonly statuses: Map<string, number>;
	readonly failures: Map<string, number>;
}

/** The sums over threads. @param time on a clock that never goes back, ms */
export function totalsOf(threads: Iterable<MetricValues>, time: number): LiveTotals {
	const totals: LiveTotals = {
		time,
		inFlight: 0,
		waiting: 0,
		models: new Map(),
		statuses: new Map(),
		failures: new Map(),
	};
	for (const metrics of threads) {
		for (const { name, values } of metrics) {
			const read = READERS[name];
			if (!read) continue;
			for (const { value, labels = NO_LABELS, ...rest } of values) {
				read(totals, value, labels as Labels, (rest as { metricName?: string }).metricName ?? name);
			}
		}
	}
	return totals;
}

type Labels = Readonly<Record<string, string | number>>;
type Read = (totals: LiveTotals, value: number, labels: Labels, sample: string) => void;

/** What is read, by the metric's name. */
const READERS: Readonly<Record<string, Read>> = {
	router_in_flight_requests: (totals, value) => {
		totals.inFlight += value;
	},
	router_queue_waiting: (totals, value) => {
		totals.waiting += value;
	},
	router_requests_total(totals, value, labels) {
		const status = String(labels["status"]);
		const model = modelIn(totals, labels);
		model.calls += value;
		if (!isError(status)) return;
		model.errors += value;
		add(totals.statuses, status, value);
	},
	router_tokens_total(totals, value, labels) {
		const model = modelIn(totals, labels);
		if (labels["direction"] === "input") model.input += value;
		else if (labels["direction"] === "output") model.output += value;
	},
	router_cost_usd_total: (totals, value, labels) => {
		modelIn(totals, labels).usd += value;
	},
	router_upstream_failures_total: (totals, value, labels) => add(totals.failures, String(labels["kind"]), value),
	router_time_to_first_token_seconds(totals, value, labels, sample) {
		if (!sample.endsWith("_bucket")) return;
		const bound = labels["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels["le"]);
		add(modelIn(totals, labels).firstToken, bound, value);
	},
};

const isError = (status: string): boolean => !(Number(status) < 400) && status !== "499";

function modelIn({ models }: LiveTotals, labels: Labels): ModelTotals {
	const name = String(labels["model"]);
	let model = models.get(name);
	if (!model) {
		model = { calls: 0, errors: 0, input: 0, output: 0, usd: 0, firstToken: new Map() };
		models.set(name, model);
	}
	return model;
}

function add<Key>(sums: Map<Key, number>, key: Key, value: number): void {
	sums.set(key, (sums.get(key) ?? 0) + value);
}

/**
 * What came between.
 * @param now the newest totals
 * @param before those of a second or two before
 * @param earlier those of some seconds before, by which models and times to first tokens go: one second has too few of them
 * @param at of `now`, Unix time, ms
 */
export function sampleOf(now: LiveTotals, before: LiveTotals, earlier: LiveTotals, at: number): LiveSample {
	const second = secondsBetween(before, now);
	const rate = (read: (model: ModelTotals) => number) =>
		sum([...now.models].map(([name, model]) => grown(read(model), read(before.models.get(name) ?? NONE)))) / second;
	return {
		at,
		calls: rate(({ calls }) => calls),
		errors: rate(({ errors }) => errors),
		statuses: rates(now.statuses, before.statuses, second),
		failures: rates(now.failures, before.failures, second),
		tokens: { input: rate(({ input }) => input), output: rate(({ output }) => output) },
		usd: rate(({ usd }) => usd),
		firstToken: quantilesOf(
			[...now.models].map(([name, { firstToken }]) => [firstToken, (earlier.models.get(name) ?? NONE).firstToken]),
		),
		inFlight: now.inFlight,
		waiting: now.waiting,
		models: modelSamples(now, earlier),
	};
}

const NONE: ModelTotals = { calls: 0, errors: 0, input: 0, output: 0, usd: 0, firstToken: new Map() };

function modelSamples(now: LiveTotals, earlier: LiveTotals): ModelSample[] {
	const seconds = secondsBetween(earlier, now);
	const samples = [...now.models].map(([model, totals]): ModelSample => {
		const then = earlier.models.get(model) ?? NONE;
		return {
			model,
			calls: grown(totals.calls, then.calls) / seconds,
			errors: grown(totals.errors, then.errors) / seconds,
			tokens: grown(totals.output, then.output) / seconds,
			usd: grown(totals.usd, then.usd) / seconds,
			firstToken: quantilesOf([[totals.firstToken, then.firstToken]]),
		};
	});
	return samples
		.filter(({ calls, tokens }) => calls > 0 || tokens > 0)
		.sort((a, b) => b.calls - a.calls || (a.model < b.model ? -1 : 1))
		.slice(0, MOST_MODELS);
}

function rates(now: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>, seconds: number) {
	const found: Record<string, number> = {};
	for (const [name, value] of now) {
		const rate = grown(value, before.get(name) ?? 0) / seconds;
		if (rate > 0) found[name] = rate;
	}
	return found;
}

/** Two readings may be closer than timers promise; no rate is made of less than a tenth of a second. */
const secondsBetween = (before: LiveTotals, now: LiveTotals): number => Math.max(0.1, (now.time - before.time) / 1000);

/** What is lost with a worker thread that ended is no negative rate. */
const grown = (now: number, before: number): number => Math.max(0, now - before);

const sum = (values: readonly number[]): number => values.reduce((all, each) => all + each, 0);

/** Of histograms that are counted together; null where nothing came between. */
function quantilesOf(
	histograms: readonly (readonly [now: ReadonlyMap<number, number>, before: ReadonlyMap<number, number>])[],
): Quantiles | null {
	const within = new Map<number, number>();
	for (const [now, before] of histograms) {
		for (const [bound, count] of now) add(within, bound, grown(count, before.get(bound) ?? 0));
	}
	const buckets = [...within].sort(([a], [b]) => a - b);
	const count = buckets.at(-1)?.[1] ?? 0;
	return count > 0 ? { p50: quantile(buckets, 0.5 * count), p95: quantile(buckets, 0.95 * count) } : null;
}

/**
 * As Prometheus' `histogram_quantile` has it: linear within the bucket in which the wanted one lies; of the last, which has no upper bound,
 * its lower one. In ms.
 * @param buckets bounds in seconds, and how many lie at or below each
 */
function quantile(buckets: readonly (readonly [bound: number, count: number])[], wanted: number): number {
	let lower = 0;
	let below = 0;
	for (const [bound, count] of buckets) {
		if (count >= wanted) {
			if (bound === Number.POSITIVE_INFINITY) return lower * 1000;
			const part = count > below ? (wanted - below) / (count - below) : 1;
			return (lower + (bound - lower) * part) * 1000;
		}
		lower = bound;
		below = count;
	}
	return lower * 1000;
}
