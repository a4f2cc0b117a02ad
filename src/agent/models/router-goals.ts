/** What the router wants of on-demand models here, as its last heartbeat's answer said it. */
import { GOAL_MS, type ModelGoal } from "../../protocol/agent.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";

/** Holds it as long as the router says it: one that is away wants nothing any more. */
export class RouterGoals {
	#goals: ReadonlyMap<string, ModelGoal> = new Map();
	#until = 0;
	#text = "";

	/**
	 * @param tick notified when something else is wanted
	 * @param now a clock that never goes back, ms
	 */
	constructor(
		private readonly tick: Notifier,
		private readonly now = steadyTime,
	) {}

	/** An answer has come. Whatever it does not name is wanted neither way. */
	take(goals: readonly ModelGoal[] = []): void {
		this.#until = this.now() + GOAL_MS;
		const text = JSON.stringify(goals);
		if (text === this.#text) return;
		this.#text = text;
		this.#goals = new Map(goals.map((each) => [each.model, each]));
		this.tick.notify();
	}

	/** Undefined where nothing is wanted of it. */
	of(model: string): ModelGoal | undefined {
		return this.now() < this.#until ? this.#goals.get(model) : undefined;
	}
}
