/** Which of the routers of a Redis decides how many replicas there are: by what each of them says every second. No clock and no Redis of its own. */
import type { ModelGoal } from "../../protocol/agent.ts";

/** How long a router counts that is not heard of, ms: four of the messages that it sends each second may be lost. */
const HEARD_MS = 5_000;

/** What agents are to do, by model and agent. */
export type FleetGoals = Readonly<Record<string, Readonly<Record<string, Omit<ModelGoal, "model">>>>>;

/** What a router is to do now. */
export interface ElectionResult {
	readonly isDecider: boolean;
	/** What the one that decides has decided; undefined where that is this one, or nobody that is heard of. */
	readonly told: FleetGoals | undefined;
}

/**
 * One router's view. Whoever decides goes on with that: a router that comes follows it, whatever its name. Where nobody decides the one with the
 * least name of those that can begins; of two that decide the one with the greater name stops.
 */
export class ScalingElection {
	readonly #heard = new Map<string, { readonly at: number; readonly goals: FleetGoals | undefined }>();
	#isDecider = false;

	/** @param router names this router */
	constructor(private readonly router: string) {}

	/** Another router, one that can decide, has said that it is there. @param goals what it has decided; undefined: it does not @param now ms */
	hear(from: string, goals: FleetGoals | undefined, now: number): void {
		this.#heard.set(from, { at: now, goals });
	}

	/** @param canDecide this router has the setting, and has listened for long enough @param now on a clock that never goes back, ms */
	result(canDecide: boolean, now: number): ElectionResult {
		for (const [name, { at }] of this.#heard) if (now - at > HEARD_MS) this.#heard.delete(name);
		const others = [...this.#heard.keys()].sort();
		const decider = others.find((name) => this.#heard.get(name)!.goals);
		const isLed = decider !== undefined && !(canDecide && this.#isDecider && this.router < decider);
		const isOutranked = !this.#isDecider && others.some((name) => name < this.router);
		this.#isDecider = canDecide && !isLed && !isOutranked;
		return { isDecider: this.#isDecider, told: isLed ? this.#heard.get(decider)!.goals : undefined };
	}
}
