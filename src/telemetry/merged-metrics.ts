/** One `/metrics` page of several threads, each of which counts for itself. */
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from "./prometheus.ts";

/** What a registry holds. */
export type MetricValues = readonly MetricObjectWithValues<MetricValue<string>>[];

/**
 * The sums. A metric says how it is merged by its `aggregator`: most are added up; what is the whole process's is the main thread's, which
 * comes `first`.
 */
export class MergedMetrics {
	/** The last values of each worker that runs, by its number, as JSON: they come each second, and are read far less often. */
	readonly #workers = new Map<number, string>();
	/** Of workers that have ended: what only ever grows. */
	#ended: MetricValues = [];

	/** Takes the values of a worker as JSON. */
	take(worker: number, values: string): void {
		this.#workers.set(worker, values);
	}

	/** A worker has ended. What it counted stays in the sums; what it held is gone. */
	end(worker: number): void {
		const values = this.#workers.get(worker);
		if (values === undefined) return;
		this.#workers.delete(worker);
		const counted = parsed(values).filter(({ type }) => GROWING.includes(String(type)));
		this.#ended = merged([this.#ended, counted]).getMetricsAsArray() as unknown as MetricValues;
	}

	/** What each thread but the main one has counted. */
	get counted(): readonly MetricValues[] {
		return [...[...this.#workers.values()].map(parsed), this.#ended];
	}

	/** The page in the Prometheus text format. @param main what the main thread has counted itself */
	text(main: MetricValues): Promise<string> {
		return merged([main, ...this.counted]).metrics();
	}
}

/** By what prom-client calls them, which its types say otherwise. */
const GROWING = ["counter", "histogram"];

const parsed = (values: string): MetricValues => JSON.parse(values);

function merged(all: readonly MetricValues[]) {
	return AggregatorRegistry.aggregate(all as unknown as object[]);
}
