/** The agent role. */
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import type { Running } from "../running.ts";
import { startRole } from "../server/role.ts";
import { agentPlan } from "./agent-plan.ts";

/** Starts the agent. Throws StartError as the router does. */
export async function startAgent(loaded: Loaded, env: Environment): Promise<Running> {
	return startRole(agentPlan(loaded, env));
}
