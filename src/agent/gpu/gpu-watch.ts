/** The GPUs of this host, read at an interval. */
import type { Environment } from "../../config/interpolate.ts";
import { steadyTime } from "../../steady-time.ts";
import { type GpuReading, readGpus } from "./gpu.ts";

/** Time between two readings, ms. Each runs a process. */
const INTERVAL_MS = 15_000;
const DEADLINE_MS = 10_000;
const READ_SOON_MS = 1500;

/** The last reading. */
export class GpuWatch {
	reading: GpuReading = { gpus: [], problem: "not asked yet" };
	/** When that was requested, ms: memory that was freed later may not show in it. */
	requestedAt = 0;
	#timer: ReturnType<typeof setInterval> | undefined;
	#soonTimer: ReturnType<typeof setTimeout> | undefined;
	#isReading = false;
	/** Whether a reading has ended, well or not. */
	hasRead = false;

	/** @param ask how they are read: as NVIDIA's unless it says otherwise */
	constructor(
		private readonly env: Environment,
		private readonly ask: (env: Environment, deadlineMs: number) => Promise<GpuReading> = readGpus,
	) {
		const { promise, resolve } = Promise.withResolvers<GpuReading>();
		this.first = promise;
		this.#resolveFirst = resolve;
	}

	/** Resolves with the first reading. */
	readonly first: Promise<GpuReading>;
	#resolveFirst: (reading: GpuReading) => void;

	/** Reads once, then at the interval. Resolves with the first reading. */
	async start(): Promise<GpuReading> {
		await this.#read();
		// A host without GPUs is not read again: none appears at run time.
		if (this.reading.gpus.length > 0 || !this.hasNoGpus)
			this.#timer = setInterval(() => void this.#read(), INTERVAL_MS);
		return this.reading;
	}

	/** Reads again after a short while: freed memory shows a little later. */
	readSoon(): void {
		if (this.#timer === undefined || this.#soonTimer !== undefined) return;
		this.#soonTimer = setTimeout(() => {
			this.#soonTimer = undefined;
			void this.#read();
		}, READ_SOON_MS);
	}

	/** There is no program that reads them, or it lists no GPU; false for one that fails. */
	get hasNoGpus(): boolean {
		return /no (?:nvidia|amd)-smi|lists no GPU/.test(this.reading.problem ?? "");
	}

	end(): void {
		clearInterval(this.#timer);
		clearTimeout(this.#soonTimer);
	}

	async #read(): Promise<void> {
		if (this.#isReading) return;
		this.#isReading = true;
		const askedAt = steadyTime();
		const reading = await this.ask(this.env, DEADLINE_MS);
		this.#isReading = false;
		this.hasRead = true;
		// After a failed reading the last known GPUs stay.
		if (reading.gpus.length > 0 || this.reading.gpus.length === 0) {
			this.reading = reading;
			this.requestedAt = askedAt;
		}
		this.#resolveFirst(this.reading);
	}
}
