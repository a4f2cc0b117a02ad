/** How long an agent that is not heard of still counts. Pure. */

/** Up to this age an agent is fresh, ms: two heartbeats may be lost. */
export const FRESH_MS = 15_000;
/** Up to this age it is suspect: five may be. */
export const SUSPECT_MS = 30_000;

/** `suspect`: used only where nothing else serves. `gone`: not used. */
export type Lease = "fresh" | "suspect" | "gone";

/** `asleep`: a call would have its host woken. `waking`: one has. */
export type WakeState = "asleep" | "waking";

/** How long an agent that is not heard of is remembered, ms. */
const FORGET_MS = 7 * 86_400_000;

/** What was last heard of one. */
interface LastHeard {
	readonly loggedLease: Lease;
	readonly canWake: boolean;
	/** Unix time, ms. */
	readonly heardAtTime: number;
}

/** Whether it was not heard of for so long that it is forgotten; one whose host may be woken is not. @param now Unix time, ms */
export const isForgotten = ({ loggedLease, canWake, heardAtTime }: LastHeard, now: number): boolean =>
	loggedLease === "gone" && !canWake && now - heardAtTime > FORGET_MS;

/** The lease of an agent that was last heard of at `heardAt`. Both on the clock below, ms. */
export function leaseAt(heardAt: number, now: number): Lease {
	const age = now - heardAt;
	if (age <= FRESH_MS) return "fresh";
	return age <= SUSPECT_MS ? "suspect" : "gone";
}

/**
 * When an agent counts as last heard of that a restarted router knows from before: suspect, and gone after 15 s. By then
 * it has been heard of, or it is not there.
 */
export function heardBeforeRestart(now: number): number {
	return now - FRESH_MS - 1;
}

/** Longest step the clock below takes, ms. It is wound every second. */
const LONGEST_STEP_MS = 2_000;

/**
 * A clock of the time in which this process was there to hear heartbeats. A router that was stopped for a minute (a debugger,
 * a suspended machine, a full disk) has heard of nobody, and that is no agent's fault: by the wall clock all of them
 * would be gone at once. So a step longer than 2 s counts as 2 s. To be wound at least every second.
 */
export class LeaseClock {
	#now = 0;
	#seen: number;

	/**
	 * @param time a clock that never goes back, ms
	 * @param link to the routers that share the agents: while it is not up the clock stands still, since others may hear of agents and can't pass that on
	 */
	constructor(
		private readonly time: () => number,
		private readonly link?: { readonly isUp: boolean },
	) {
		this.#seen = time();
	}

	/** The time now, ms from the start. Reading it winds it. */
	now(): number {
		const seen = this.time();
		if (this.link?.isUp !== false) this.#now += Math.max(0, Math.min(seen - this.#seen, LONGEST_STEP_MS));
		this.#seen = seen;
		return this.#now;
	}
}
