/** What the attempts of a call are made by. */
import type { ModelConfig } from "../config/schema.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { Work } from "../routing/target-state.ts";

/** Where a call may run, and under which terms. */
export interface CallPlan {
	/** In the order to try. */
	readonly targets: readonly RouteTarget[];
	/** What it brings to whichever it goes to; absent where there was nothing to choose. */
	readonly work?: Work | undefined;
	/** What `models:` says of the name besides. */
	readonly alias?: ModelConfig | undefined;
	/** From the call's arrival: how long attempts may be begun, ms. */
	readonly attemptsMs: number;
	/**
	 * What routing has for this call now, of its agents, in the order to try: targets of before among it. Asked where all that the call knew have failed.
	 * Absent where nobody can have come. Throws nothing.
	 */
	readonly replan?: (() => readonly RouteTarget[]) | undefined;
	/** See Situation. */
	readonly noWaiting?: boolean | undefined;
}
