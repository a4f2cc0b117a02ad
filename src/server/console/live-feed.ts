/** The console's figures, made once a second for all who watch, and only while somebody does. */
import type { MetricValues } from "../../telemetry/merged-metrics.ts";
import { type LiveTotals, sampleOf, totalsOf } from "./live-figures.ts";
import type { LiveHistory, LiveSample } from "./live-sample.ts";

/** How often, ms. */
const EVERY_MS = 1_000;
/** Samples that are kept: ten minutes. */
const MOST_SAMPLES = 600;
/** Totals that are kept for figures over ten seconds: so many, and the newest. */
const MOST_TOTALS = 11;
/** Totals that are older have nothing to do with the newest, ms: nobody watched in between. */
const OLD_MS = 15_000;

/** Hears of each sample as JSON. */
export type LiveListener = (sample: string) => void;

/** What it reads, and by which clocks. */
export interface LiveFeedOptions {
	/** What all threads have counted. */
	readonly read: () => Promise<Iterable<MetricValues>>;
	/** A clock that never goes back, ms. */
	readonly time?: () => number;
	/** Unix time, ms. */
	readonly wall?: () => number;
	/** How often it looks, ms. */
	readonly everyMs?: number;
	/** Hears why it could not be read: once until it can be again. */
	readonly onProblem: (error: unknown) => void;
}

/** One for the process: the main thread's. */
export class LiveFeed {
	readonly #listeners = new Set<LiveListener>();
	readonly #samples: LiveSample[] = [];
	#totals: LiveTotals[] = [];
	#timer: ReturnType<typeof setInterval> | undefined;
	#isReading = false;
	#hasTold = false;

	constructor(private readonly options: LiveFeedOptions) {}

	/** Samples so far. */
	get history(): LiveHistory {
		return { samples: this.#samples };
	}

	/** Calls `listener` with each sample. Returns how to end that. */
	readonly subscribe = (listener: LiveListener): (() => void) => {
		this.#listeners.add(listener);
		if (this.#timer === undefined) {
			this.#timer = setInterval(() => void this.look(), this.options.everyMs ?? EVERY_MS);
			// The first totals: the first sample is what comes after them.
			void this.look();
		}
		return () => {
			this.#listeners.delete(listener);
			if (this.#listeners.size > 0) return;
			clearInterval(this.#timer);
			this.#timer = undefined;
		};
	};

	/** Reads what was counted, and tells it. Never rejects. */
	async look(): Promise<void> {
		// A look may take longer than the time between two.
		if (this.#isReading) return;
		this.#isReading = true;
		try {
			const { read, time = () => performance.now(), wall = Date.now } = this.options;
			const threads = await read();
			this.#take(totalsOf(threads, time()), wall());
			this.#hasTold = false;
		} catch (error) {
			if (!this.#hasTold) this.options.onProblem(error);
			this.#hasTold = true;
		} finally {
			this.#isReading = false;
		}
	}

	#take(now: LiveTotals, at: number): void {
		this.#totals = this.#totals.filter(({ time }) => now.time - time < OLD_MS).slice(-(MOST_TOTALS - 1));
		// Workers tell what they have counted as often as it is read: of one reading to the next there may be nothing, or twice as much.
		const before = this.#totals.at(-2) ?? this.#totals.at(-1);
		const earlier = this.#totals[0];
		this.#totals.push(now);
		if (!before || !earlier) return;
		const sample = sampleOf(now, before, earlier, at);
		this.#samples.push(sample);
		if (this.#samples.length > MOST_SAMPLES) this.#samples.shift();
		const text = JSON.stringify(sample);
		for (const listener of this.#listeners) listener(text);
	}
}
