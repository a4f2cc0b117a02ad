/** Which of the routers of a Redis decides how many replicas there are: by what each of them says every second. No clock and no Redis of its own. */
import type { ModelGoal } from "../../protocol/agent.ts";

/** How long a router counts that is not heard of, ms: four of the messages that it sends each second may be lost. */
export const HEARD_MS = 5_000;

/** What agents are to do, by model and agent. */
export type FleetGoals = Readonly<Record<string, Readonly<Record<string, Omit<ModelGoal, "model">>>>>;

/** What a router that can decide says of itself. `goals` of a decider is undefined where that is too long for a message. */
export type ScalingClaim =
	| { readonly role: "candidate" }
	| { readonly role: "decider"; readonly goals: FleetGoals | undefined };

/** What a router is to do now. */
export interface ElectionResult {
	readonly isDecider: boolean;
	/** Another one decides. */
	readonly isLed: boolean;
	/** What that one has decided; undefined where it is too long for a message. */
	readonly told: FleetGoals | undefined;
}

/**
 * One router's view. Whoever decides goes on with that: a router that comes follows it, whatever its name. Where nobody decides the one with the
 * least name of those that can begins; of two that decide the one with the greater name stops.
 */
export class ScalingElection {
	readonly #heard = new Map<string, { at: number; readonly claim: ScalingClaim }>();
	#isDecider = false;

	/** @param router names this router */
	constructor(private readonly router: string) {}

	/** Whether this router decided when it last could. */
	get isDecider(): boolean {
		return this.#isDecider;
	}

	/** Another router has said that it is there. @param now ms */
	hear(from: string, claim: ScalingClaim, now: number): void {
		this.#heard.set(from, { at: now, claim });
	}

	/** For a time when nobody could be heard: who was heard of before is as if heard of now. @param now ms */
	keep(now: number): void {
		for (const each of this.#heard.values()) each.at = now;
	}

	/** For a time when the others heard each other, and not this one: it decides no more, and knows of nobody. */
	leave(): void {
		this.#isDecider = false;
		this.#heard.clear();
	}

	/** @param canDecide this router has the setting, and has listened for long enough @param now on a clock that never goes back, ms */
	result(canDecide: boolean, now: number): ElectionResult {
		for (const [name, { at }] of this.#heard) if (now - at > HEARD_MS) this.#heard.delete(name);
		const others = [...this.#heard].sort(([a], [b]) => (a < b ? -1 : 1));
		const isOutranked = !this.#isDecider && others.some(([name]) => name < this.router);
		const decider = others.find(([, { claim }]) => claim.role === "decider");
		const isLed = decider !== undefined && !(canDecide && this.#isDecider && this.router < decider[0]);
		this.#isDecider = canDecide && !isLed && !isOutranked;
		const claim = isLed ? decider[1].claim : undefined;
		return { isDecider: this.#isDecider, isLed, told: claim?.role === "decider" ? claim.goals : undefined };
	}
}
