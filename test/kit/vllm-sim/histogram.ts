/** Counts of durations, in seconds. */

/** Upper bounds. */
export const BUCKETS: readonly number[] = [
	0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];

/** One histogram. */
export class Histogram {
	count = 0;
	sum = 0;
	/** Values up to each bound, cumulative as Prometheus wants them. */
	readonly below: number[] = BUCKETS.map(() => 0);

	/** Adds a value. */
	observe(seconds: number): void {
		this.count++;
		this.sum += seconds;
		for (let at = BUCKETS.length - 1; at >= 0 && seconds <= BUCKETS[at]!; at--) this.below[at]!++;
	}
}
