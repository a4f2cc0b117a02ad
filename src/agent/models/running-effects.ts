/** Effects in flight: at most one a replica. The loop begins them and collects what came of each. */
import type { Log } from "../../telemetry/log.ts";
import type { Notifier } from "../notify.ts";
import { type EffectResult, type EffectTools, performEffect } from "./effects.ts";
import type { InventoryItem } from "./inventory.ts";
import type { Action, Activity } from "./replica-state.ts";

/** An effect that has ended. */
export interface EndedEffect {
	readonly action: Action;
	readonly result: EffectResult;
}

/** All effects of an agent. */
export class RunningEffects {
	/** By replica key; an effect is in flight until a list of containers that was begun after its end has been read. */
	readonly inFlight = new Map<string, Activity>();
	/** Keys of effects that have ended; what they did shows in the next list. */
	readonly #ended = new Set<string>();
	#uncollected: EndedEffect[] = [];
	readonly #end = new AbortController();
	readonly #tools: EffectTools;

	constructor(
		tools: Omit<EffectTools, "signal">,
		private readonly log: Pick<Log, "logger">,
		/** Notified when an effect ends. */
		private readonly tick: Notifier,
	) {
		this.#tools = { ...tools, signal: this.#end.signal };
	}

	/** Begins one. `item`: the container that the action is about. */
	begin(action: Action, item: InventoryItem | undefined): void {
		const { key } = action;
		const { logger } = this.log;
		this.inFlight.set(key, action.do);
		if (action.do === "start") this.#tools.placer.reserve(key);
		logger.debug({ key, action: action.do }, "effect");
		const run = async () => this.#finish({ action, result: await performEffect(action, item, this.#tools) });
		run().catch((err) => {
			logger.error({ err, key, action: action.do }, "An effect failed by a fault of the agent's own.");
			const problem = { reason: "the agent failed on it", fix: "see agent.log" };
			this.#finish({ action, result: { ended: "failed", problem } });
		});
	}

	/** Those that have ended since the last call. */
	collect(): readonly EndedEffect[] {
		const ended = this.#uncollected;
		this.#uncollected = [];
		return ended;
	}

	/** Keys whose effects had ended before a list was begun; they go to `confirm` once it has been read. */
	endedKeys(): string[] {
		return [...this.#ended];
	}

	/** The list shows what these effects have done. */
	confirm(keys: readonly string[]): void {
		for (const key of keys) {
			this.#ended.delete(key);
			this.inFlight.delete(key);
			this.#tools.placer.release(key);
		}
	}

	/** Gives up pulls; other effects end by themselves. */
	end(): void {
		this.#end.abort();
	}

	#finish(ended: EndedEffect): void {
		this.#ended.add(ended.action.key);
		this.#uncollected.push(ended);
		this.tick.notify();
	}
}
