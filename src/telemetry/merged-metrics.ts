/** One `/metrics` page of several threads, each of which counts for itself. */
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from "./prometheus.ts";

/** What a registry holds. */
export type MetricValues = readonly MetricObjectWithValues<MetricValue<string>>[];

/**
 * The sums. A metric says how it is merged by its `aggregator`: most are added up; what is the whole process's is the main thread's, which
 * comes `first`.
 */
export class MergedMetrics {
	/** The last values of each worker that runs, by its number. */
	readonly #workers = new Map<number, MetricValues>();
	/** Of workers that have ended: what only ever grows. */
	#ended: MetricValues = [];

	/** Takes the values of a worker as JSON. */
	take(worker: number, values: string): void {
		this.#workers.set(worker, JSON.parse(values) as MetricValues);
	}

	/** A worker has ended. What it counted stays in the sums; what it held is gone. */
	end(worker: number): void {
		const values = this.#workers.get(worker);
		if (!values) return;
		this.#workers.delete(worker);
		const counted = values.filter(({ type }) => GROWING.includes(String(type)));
		this.#ended = merged([this.#ended, counted]).getMetricsAsArray() as unknown as MetricValues;
	}

	/** What each thread but the main one has counted. */
	get counted(): readonly MetricValues[] {
		return [...this.#workers.values(), this.#ended];
	}

	/** The page in the Prometheus text format. @param main what the main thread has counted itself */
	text(main: MetricValues): Promise<string> {
		return merged([main, ...this.#workers.values(), this.#ended]).metrics();
	}
}

/** By what prom-client calls them, which its types say otherwise. */
const GROWING = ["counter", "histogram"];

function merged(all: readonly MetricValues[]) {
	return AggregatorRegistry.aggregate(all as unknown as object[]);
}
