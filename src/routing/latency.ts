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
		if (this.#count === 0 || ms >= this.#mean) this.#mean = ms;
		else {
			// A tenth at least: where calls are many, each still counts.
			const weight = Math.max(0.1, 1 - Math.exp((this.#at - now) / FOLLOW_MS));
			this.#mean += (ms - this.#mean) * weight;
		}
		this.#at = now;
		this.#ring ??= new Float64Array(SAMPLES);
		this.#ring[this.#count++ % SAMPLES] = ms;
	}

	mean(now: number): number | undefined {
		if (this.#count === 0) return undefined;
		return this.#mean * Math.exp(Math.min(0, this.#at - now) / FORGET_MS);
	}

	percentile(share: number): number | undefined {
		if (this.#count === 0) return undefined;
		if (!this.#sorted || this.#count - this.#sortedAt >= STALE || this.#count <= STALE) {
			this.#sorted = this.#ring!.slice(0, Math.min(this.#count, SAMPLES)).sort();
			this.#sortedAt = this.#count;
		}
		const last = this.#sorted.length - 1;
		return this.#sorted[Math.min(last, Math.ceil(share * (last + 1)) - 1)];
	}
}
