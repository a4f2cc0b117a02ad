/** How long a target takes: a peak-sensitive mean for the choice, percentiles for deadlines. Times in ms. */

/** How fast the mean follows better times, and how fast what was measured is forgotten, ms. */
const FOLLOW_MS = 10_000;
const FORGET_MS = 120_000;
/** Samples the percentiles are made of. */
const SAMPLES = 128;
/** Percentiles are sorted anew after this many further samples: sorting at each would cost every call. */
const STALE = 8;

/** One target's times, to be read. */
export interface LatencyView {
	/** Samples so far. */
	readonly count: number;
	/** What a call is likely to take; undefined where nothing was measured. */
	mean(now: number): number | undefined;
	/** The time that this share of the last 128 calls kept within (0.99: p99); undefined where nothing was measured. */
	percentile(share: number): number | undefined;
}

/**
 * One target's times. The mean is a peak EWMA (Finagle's): a worse time is believed at once, a better one little by little;
 * unused, it fades, so that a target that was once slow is tried again.
 */
export class Latency implements LatencyView {
	#mean = 0;
	#at = 0;
	#count = 0;
	/** Made with the first sample: most names are called once. */
	#ring: Float64Array | undefined;
	#sorted: Float64Array | undefined;
	#sortedAt = 0;

	get count(): number {
		return this.#count;
	}

	/** Takes a time that was measured at `now`. What is no time is passed over. */
	add(ms: number, now: number): void {
		if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) return;
		this.#mean = this.#count === 0 ? ms : meanAfter(this.#mean, this.#at, ms, now);
		this.#at = now;
		this.#ring ??= new Float64Array(SAMPLES);
		this.#ring[this.#count++ % SAMPLES] = ms;
	}

	mean(now: number): number | undefined {
		if (this.#count === 0) return undefined;
		return fadedMean(this.#mean, this.#at, now);
	}

	percentile(share: number): number | undefined {
		if (this.#count === 0) return undefined;
		if (!this.#sorted || isStale(this.#count, this.#sortedAt)) {
			this.#sorted = this.#ring!.slice(0, Math.min(this.#count, SAMPLES)).sort();
			this.#sortedAt = this.#count;
		}
		return percentileOf(this.#sorted, share);
	}
}

/** Cells that a `SharedLatency` needs: mean, when it was measured, how many samples, and the last of them. */
export const LATENCY_CELLS = 3 + SAMPLES;

/** One target's times in memory that threads share. The sorted samples are this thread's own. Times are on the clock of all threads but where it is said. */
export class SharedLatency implements LatencyView {
	#sorted: Float64Array | undefined;
	#sortedAt = 0;

	/**
	 * @param cells on shared memory
	 * @param at where its own begin, {@link LATENCY_CELLS} of them
	 * @param offset how far the clock of all threads is ahead of this thread's, ms
	 */
	constructor(
		private readonly cells: Float64Array<SharedArrayBuffer>,
		private readonly at: number,
		private readonly offset: number,
	) {}

	get count(): number {
		return this.cells[this.at + 2]!;
	}

	/** See `Latency.add`. To be called by whoever holds the lock of the target. */
	add(ms: number, now: number): void {
		if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) return;
		const { cells, at } = this;
		const count = cells[at + 2]!;
		cells[at] = count === 0 ? ms : meanAfter(cells[at]!, cells[at + 1]!, ms, now);
		cells[at + 1] = now;
		cells[at + 3 + (count % SAMPLES)] = ms;
		cells[at + 2] = count + 1;
	}

	/** @param now on this thread's clock */
	mean(now: number): number | undefined {
		const { cells, at } = this;
		if (cells[at + 2] === 0) return undefined;
		return fadedMean(cells[at]!, cells[at + 1]!, now + this.offset);
	}

	percentile(share: number): number | undefined {
		const { count } = this;
		if (count === 0) return undefined;
		// Fewer than before: they are another target's.
		if (!this.#sorted || count < this.#sortedAt || isStale(count, this.#sortedAt)) {
			const from = this.at + 3;
			this.#sorted = new Float64Array(this.cells.subarray(from, from + Math.min(count, SAMPLES))).sort();
			this.#sortedAt = count;
		}
		return percentileOf(this.#sorted, share);
	}
}

/** Forgets all samples: its cells are given to another target. */
export function clearLatency(cells: Float64Array, at: number): void {
	cells[at + 2] = 0;
}

function meanAfter(mean: number, measuredAt: number, ms: number, now: number): number {
	if (ms >= mean) return ms;
	// A tenth at least: where calls are many, each still counts.
	const weight = Math.max(0.1, 1 - Math.exp((measuredAt - now) / FOLLOW_MS));
	return mean + (ms - mean) * weight;
}

function fadedMean(mean: number, measuredAt: number, now: number): number {
	return mean * Math.exp(Math.min(0, measuredAt - now) / FORGET_MS);
}

function isStale(count: number, sortedAt: number): boolean {
	return count - sortedAt >= STALE || count <= STALE;
}

function percentileOf(sorted: Float64Array, share: number): number | undefined {
	const last = sorted.length - 1;
	return sorted[Math.min(last, Math.ceil(share * (last + 1)) - 1)];
}
