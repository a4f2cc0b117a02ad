/** The GPUs of this host, read now and then. */
import type { Environment } from "../../config/interpolate.ts";
import { steadyTime } from "../../steady-time.ts";
import { type GpuReading, readGpus } from "./gpu.ts";

/** How often, ms. A reading is a process: some 30 ms of CPU where the driver is kept loaded. */
const EVERY_MS = 15_000;
const DEADLINE_MS = 10_000;
const SOON_MS = 1500;

/** The last reading. */
export class GpuWatch {
	reading: GpuReading = { gpus: [], problem: "not asked yet" };
	/** When that was asked for, ms: what was freed later may not show in it. */
	askedAt = 0;
	#timer: ReturnType<typeof setInterval> | undefined;
	#soon: ReturnType<typeof setTimeout> | undefined;
	#isReading = false;
	/** It has answered, or failed to, once. */
	isAsked = false;

	constructor(private readonly env: Environment) {
		const { promise, resolve } = Promise.withResolvers<GpuReading>();
		this.first = promise;
		this.#tellFirst = resolve;
	}

	/** The first reading, once it is there. */
	readonly first: Promise<GpuReading>;
	#tellFirst: (reading: GpuReading) => void;

	/** Reads once, then every so often. Resolves with the first reading. */
	async start(): Promise<GpuReading> {
		await this.#read();
		// A host without GPUs is not asked again: one does not appear.
		if (this.reading.gpus.length > 0 || !this.isAbsent) this.#timer = setInterval(() => void this.#read(), EVERY_MS);
		return this.reading;
	}

	/** Reads again in a moment: what was freed shows a little later. */
	soon(): void {
		if (this.#timer === undefined || this.#soon !== undefined) return;
		this.#soon = setTimeout(() => {
			this.#soon = undefined;
			void this.#read();
		}, SOON_MS);
	}

	/** There is no `nvidia-smi`, or it lists none: as against one that fails. */
	get isAbsent(): boolean {
		return /no nvidia-smi|lists no GPU/.test(this.reading.problem ?? "");
	}

	end(): void {
		clearInterval(this.#timer);
		clearTimeout(this.#soon);
	}

	async #read(): Promise<void> {
		if (this.#isReading) return;
		this.#isReading = true;
		const askedAt = steadyTime();
		const reading = await readGpus(this.env, DEADLINE_MS);
		this.#isReading = false;
		this.isAsked = true;
		// A driver that hiccups has not lost its GPUs: the last known ones stay.
		if (reading.gpus.length > 0 || this.reading.gpus.length === 0) {
			this.reading = reading;
			this.askedAt = askedAt;
		}
		this.#tellFirst(this.reading);
	}
}
