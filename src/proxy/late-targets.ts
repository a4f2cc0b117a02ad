/**
 * Targets that came while a call ran: where all that it knew have failed the routing is asked again, and the call goes on with what is new. No call
 * that succeeds at the targets of its plan comes by here.
 */
import type { RouteTarget } from "../routing/route.ts";
import type { CallPlan } from "./call-plan.ts";
import type { ProxyState } from "./proxy-state.ts";
import { TriedTarget } from "./retry.ts";

/** How often one call asks. */
const MOST_ASKED = 8;

/** Those of one call. */
export class LateTargets {
	#asked = 0;
	/** Targets that the call tries anew, by their place: once each. */
	readonly #renewed = new Set<number>();

	/** @param tried the call's, behind which those that came are put */
	constructor(
		private readonly plan: Pick<CallPlan, "replan">,
		private readonly tried: TriedTarget[],
		private readonly state: Pick<ProxyState, "keys" | "retries" | "targets">,
	) {}

	/** Adds the targets that the call does not know, in the order to try. None where it has asked too often, or nobody came. */
	add(): readonly RouteTarget[] {
		return this.#ask().filter((target) => {
			if (this.#placeOf(target) !== -1) return false;
			this.tried.push(new TriedTarget(target, this.state.keys));
			return true;
		});
	}

	/** Adds those, and has the call try anew each that has failed it and was started again since, as far as the budget of retries allows. */
	addOrRenew(): void {
		for (const target of this.#ask()) {
			const at = this.#placeOf(target);
			if (at === -1) this.tried.push(new TriedTarget(target, this.state.keys));
			else if (this.#isStartedAnew(at, target) && this.state.retries.spend(performance.now())) {
				this.#renewed.add(at);
				this.tried[at]!.renew(target);
			}
		}
	}

	#ask(): readonly RouteTarget[] {
		return this.plan.replan && this.#asked++ < MOST_ASKED ? this.plan.replan() : [];
	}

	#placeOf({ id }: RouteTarget): number {
		return this.tried.findIndex(({ target }) => target.id === id);
	}

	/** Its agent has registered anew, or it is known to be well again since it failed. */
	#isStartedAnew(at: number, target: RouteTarget): boolean {
		const { tries, isRunning, failedAt, target: before } = this.tried[at]!;
		if (tries === 0 || isRunning || this.#renewed.has(at)) return false;
		const { targets } = this.state;
		const { breaker } = targets.of(target.id);
		// The two clocks begin at different times.
		const failed = targets.now() - (performance.now() - failedAt);
		return target.provider !== before.provider || (breaker.state === "closed" && breaker.closedAt > failed);
	}
}
