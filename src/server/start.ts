/** The router role. */
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import { startRole } from "../http/role.ts";
import type { Running } from "../running.ts";
import { routerPlan } from "./plan.ts";

/** Starts the router. Throws StartError (port taken, no key on a public address, a base URL that leads back here). */
export async function startRouter({ config }: Loaded, env: Environment): Promise<Running> {
	return startRole(routerPlan(config, env));
}
