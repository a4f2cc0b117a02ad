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
	/** See Situation. */
	readonly noWaiting?: boolean | undefined;
}
