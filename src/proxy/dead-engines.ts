/** Engines that died: when, by which target they were reached, and whether they are back. What calls of theirs have to do with it is in `suspects.ts`. */
import type { RouteTarget } from "../routing/route.ts";
import type { SuspectedEngine, SuspectState } from "./suspect-step.ts";

/** How long other calls are kept from an engine for suspected ones, ms: an answer that takes longer is not waited for. */
export const ALONE_MS = 30_000;
/** How long suspected calls wait for an engine whose restart has never been seen, ms; else twice as long as that took, if that is longer. */
const LOST_MS = 120_000;
/** What an agent says of an engine is newer than its death, of which the agent hears first, when it comes so long after it, ms. */
const REPORT_MS = 2_000;

/** All of them, by their ids. */
export class DeadEngines {
	/** An engine has died lately. Until then nobody need ask. */
	hasAny = false;
	#change = Promise.withResolvers<void>();

	/** @param time a clock that never goes back, ms: the one of attempts */
	constructor(
		readonly time: () => number,
		protected readonly engines: SuspectState["engines"],
	) {}

	/** Resolves when anything has changed that suspected calls wait for. */
	get change(): Promise<void> {
		return this.#change.promise;
	}

	/** Whether an attempt that broke without a word was at an engine that has died since it began. */
	diedSince(engine: string, startedAt: number): boolean {
		const death = this.engines.get(engine)?.death;
		return death !== undefined && startedAt < death.at;
	}

	/** It has died, and nobody has found it to be back. */
	isDead(id: string): boolean {
		const engine = this.engines.get(id);
		return engine?.death !== undefined && engine.backAt === undefined;
	}

	/** It has been dead for so long that it may never be back. */
	isLost(id: string): boolean {
		const { death, restartMs = 0 } = this.engines.get(id) ?? {};
		return death !== undefined && this.isDead(id) && this.time() - death.at >= Math.max(LOST_MS, 2 * restartMs);
	}

	/** It serves again. */
	cameBack(id: string): void {
		const engine = this.engines.get(id);
		if (!engine?.death || engine.backAt !== undefined) return;
		const backAt = this.time();
		Object.assign(engine, { backAt, restartMs: backAt - engine.death.at, reservedUntil: backAt + ALONE_MS });
		this.changed();
	}

	/**
	 * Its agent says that it is ready.
	 * @param isAgain the agent's last report said that it was not
	 */
	reportedReady(id: string, isAgain: boolean): void {
		const death = this.engines.get(id)?.death;
		if (death && (isAgain || this.time() - death.lastAt >= REPORT_MS)) this.cameBack(id);
	}

	/** It has answered a call that came at this time: after its death only one that is back does. */
	hasAnswered(id: string, cameAt: number): void {
		if (cameAt >= (this.lastDead(id) ?? Number.POSITIVE_INFINITY)) this.cameBack(id);
	}

	/** By which it was reached when it died. */
	targetOf(id: string): RouteTarget | undefined {
		return this.engines.get(id)?.target;
	}

	/** Its server says so again. */
	staysDead(id: string): void {
		const death = this.engines.get(id)?.death;
		if (death) death.lastAt = this.time();
	}

	/** When its server last said that it is dead, on the clock; undefined where it never did. */
	lastDead(id: string): number | undefined {
		return this.engines.get(id)?.death?.lastAt;
	}

	/** How long it will take to be back, ms, where it has been away before. */
	backInMs(id: string): number | undefined {
		const { death, restartMs } = this.engines.get(id) ?? {};
		return death && restartMs !== undefined ? Math.max(0, death.at + restartMs - this.time()) : undefined;
	}

	/** Whatever is known of it from now on. */
	protected engine(id: string): SuspectedEngine {
		let engine = this.engines.get(id);
		if (!engine) {
			const unknown = { death: undefined, target: undefined, backAt: undefined, restartMs: undefined };
			engine = { ...unknown, trial: undefined, reservedUntil: 0 };
			this.engines.set(id, engine);
		}
		this.hasAny = true;
		return engine;
	}

	/** Whoever waits looks again. */
	protected changed(): void {
		this.#change.resolve();
		this.#change = Promise.withResolvers<void>();
	}
}
