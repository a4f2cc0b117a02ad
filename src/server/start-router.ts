/** The router role. */

import { saysOpen } from "../accounts/auth/listen-policy.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import { keepRestartOnly } from "../config/restart-only.ts";
import type { Running } from "../running.ts";
import { startRole } from "./role.ts";
import { routerPlan } from "./router-plan.ts";
import { createRouterState } from "./router-state.ts";

/** Starts the router. Throws StartError (port taken, no key on a public address, a base URL that leads back here). */
export async function startRouter(loaded: Loaded, env: Environment): Promise<Running> {
	const house = createRouterState(loaded.config);
	let latest = loaded;
	return startRole(routerPlan(loaded.config, env, house), {
		file: loaded.watched,
		again(running) {
			const next = latest.again();
			const { config, waiting } = keepRestartOnly(running, next.config);
			const plan = routerPlan(config, env, house);
			latest = next;
			// Variables are as they were: the start has said what was mended in them.
			const warnings = next.warnings.filter(({ file }) => file !== undefined);
			return { plan, waiting, warnings, mayOpen: saysOpen(config, next.sources), locate: next.locate };
		},
	});
}
