/** What the router wants of on-demand models here, as its last heartbeat's answer said it. */
import { GOAL_MS, type ModelGoal } from "../../protocol/agent.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";

/** Holds it for 30 s from when a router last said it: one that is away for longer wants nothing any more. */
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

	/**
	 * An answer has come. Whatever its goals do not name is wanted neither way. Without any it comes from a router that has not decided yet, as after
	 * its restart, or does not decide: what another answer said holds on.
	 */
	take(goals: readonly ModelGoal[] | undefined): void {
		if (!goals) return;
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
