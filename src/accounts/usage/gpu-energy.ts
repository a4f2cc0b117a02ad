/**
 * The energy that one GPU draws, and the engines that get it. While calls run in engines that are on it these have what it draws, in equal parts
 * at each moment; while none runs all that are on it have, as idle energy. So what its engines get is exactly its power times the time, however
 * often they take turns. Plain arithmetic on numbers that several threads may share: the caller keeps others away.
 */
import { EnergyNumbers } from "./energy-numbers.ts";

/** Numbers of a GPU. */
export const GPU_NUMBERS = 6;
const AT = 0;
const WATTS = 1;
/** Engines that are on it, and how many of them have calls. */
const ENGINES = 2;
const BUSY = 3;
/** J: what one engine would have that always had calls; and one that never had any. */
const BUSY_SHARE = 4;
const IDLE_SHARE = 5;

/** One GPU, where it stands. Times in ms; they may go back a little between threads. */
export class GpuEnergy extends EnergyNumbers {
	/** @param numbers zero at first @param from where the {@link GPU_NUMBERS} of the GPU begin */
	constructor(numbers: Float64Array, from = 0) {
		super(numbers, from);
	}

	/** From now on it draws so much, W. */
	setPower(watts: number, now: number): void {
		this.advance(now);
		this.set(WATTS, watts);
	}

	/** From now on an engine is on it. @param isBusy calls run there */
	join(isBusy: boolean, now: number): void {
		this.advance(now);
		this.add(ENGINES, 1);
		if (isBusy) this.add(BUSY, 1);
	}

	/** It is not any more. */
	leave(isBusy: boolean, now: number): void {
		this.advance(now);
		this.add(ENGINES, -1);
		if (isBusy) this.add(BUSY, -1);
	}

	/** No engine is on it. */
	get isEmpty(): boolean {
		return this.get(ENGINES) === 0;
	}

	/** In an engine that is on it the first call has begun, or the last one ended. */
	setBusy(isBusy: boolean, now: number): void {
		this.advance(now);
		this.add(BUSY, isBusy ? 1 : -1);
	}

	/** Counts engines with calls anew: a thread has died, perhaps half way. */
	recount(busy: number): void {
		this.set(BUSY, busy);
	}

	/** J: grows by what an engine with calls gets. */
	get busyShare(): number {
		return this.get(BUSY_SHARE);
	}

	/** J: grows by what an engine gets while no engine here has calls. */
	get idleShare(): number {
		return this.get(IDLE_SHARE);
	}

	/** Counts up to now. */
	advance(now: number): void {
		const before = this.get(AT);
		if (before !== 0 && now <= before) return;
		this.set(AT, now);
		// The first look: nothing is known of what was before.
		if (before === 0) return;
		const joules = (this.get(WATTS) * (now - before)) / 1_000;
		const busy = this.get(BUSY);
		const engines = this.get(ENGINES);
		if (busy > 0) this.add(BUSY_SHARE, joules / busy);
		else if (engines > 0) this.add(IDLE_SHARE, joules / engines);
	}
}
