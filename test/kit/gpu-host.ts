/** A GPU host on a simulated clock, for the scheduler: models of one size, room for some of them, calls that come and go. */

import { type Capacity, type ModelDemand, type Residents, schedule } from "../../src/agent/models/scheduler.ts";
import type { LoadMode } from "../../src/protocol/agent.ts";

/** What it is made of. Times in ms. */
export interface HostOptions {
	/** Models that fit at a time. */
	readonly room: number;
	readonly models: readonly string[];
	readonly loadMs: number;
	readonly callMs: number;
	readonly switchAfterMs?: number;
	readonly load?: LoadMode;
	readonly ttl?: number;
	/** Models that host memory takes asleep. */
	readonly sleepers?: number;
}

interface Model {
	readonly name: string;
	readonly waiting: { at: number; done: (() => void) | undefined }[];
	ends: { at: number; done: (() => void) | undefined }[];
	usedAt: number;
	loadedAt: number | undefined;
	isReady: boolean;
}

/** The host. `step` moves its clock by `STEP` ms. */
export class GpuHost {
	static readonly STEP = 100;
	now = 0;
	loads = 0;
	wakes = 0;
	answered = 0;
	longestWait = 0;
	/** Models that were made to leave while calls ran. */
	readonly wronged: string[] = [];
	residents: Residents = { awake: new Set(), asleep: new Set() };
	readonly #models: Map<string, Model>;

	constructor(private readonly options: HostOptions) {
		this.#models = new Map(
			options.models.map((name) => [
				name,
				{ name, waiting: [], ends: [], usedAt: Number.NEGATIVE_INFINITY, loadedAt: undefined, isReady: false },
			]),
		);
	}

	/** A call comes now. */
	call(name: string, done?: () => void): void {
		this.#models.get(name)!.waiting.push({ at: this.now, done });
	}

	/** Calls that wait or run. */
	get open(): number {
		return [...this.#models.values()].reduce((sum, { waiting, ends }) => sum + waiting.length + ends.length, 0);
	}

	isBlocked(name: string): boolean {
		return this.#models.get(name)!.ends.length === 0;
	}

	step(): void {
		this.now += GpuHost.STEP;
		for (const model of this.#models.values()) {
			const over = model.ends.filter(({ at }) => at <= this.now);
			model.ends = model.ends.filter(({ at }) => at > this.now);
			for (const { done } of over) {
				this.answered++;
				model.usedAt = this.now;
				done?.();
			}
			if (model.loadedAt !== undefined && model.loadedAt <= this.now) model.isReady = true;
		}
		const { switchAfterMs = 30_000 } = this.options;
		const decision = schedule(this.#demands(), this.residents, this.#room(), { switchAfterMs }, this.now);
		for (const name of decision.evicted) if (this.#models.get(name)!.ends.length > 0) this.wronged.push(name);
		for (const model of this.#models.values()) {
			const isAwake = decision.awake.has(model.name);
			if (!isAwake) {
				model.isReady = false;
				model.loadedAt = undefined;
			} else if (model.loadedAt === undefined) {
				const wasAsleep = this.residents.asleep.has(model.name);
				if (wasAsleep) this.wakes++;
				else this.loads++;
				model.loadedAt = this.now + (wasAsleep ? 1000 : this.options.loadMs);
			}
			if (!model.isReady || decision.closed.has(model.name)) continue;
			for (const { at, done } of model.waiting.splice(0)) {
				this.longestWait = Math.max(this.longestWait, this.now - at);
				model.usedAt = this.now;
				model.ends.push({ at: this.now + this.options.callMs, done });
			}
		}
		this.residents = decision;
	}

	/** Until nothing waits or runs. Throws after three simulated hours. */
	drain(): void {
		for (const end = this.now + 3 * 3_600_000; this.open > 0; ) {
			if (this.now > end) throw new Error(`${this.open} calls are never answered`);
			this.step();
		}
	}

	#demands(): ModelDemand[] {
		const { load = "on-demand", ttl, loadMs } = this.options;
		return [...this.#models.values()].map(({ name, waiting, ends, usedAt, loadedAt, isReady }) => ({
			name,
			load,
			ttl,
			state: isReady ? "ready" : loadedAt === undefined ? "stopped" : "starting",
			waiting: waiting.length,
			oldestAt: waiting[0]?.at,
			running: ends.length,
			usedAt,
			readyAt: isReady ? loadedAt : undefined,
			loadMs,
		}));
	}

	#room(): Capacity {
		const { room, sleepers = 0 } = this.options;
		return {
			fits: (_, awake) => awake.size < room,
			canSleep: (_, asleep) => asleep.size < sleepers,
		};
	}
}
