/** `ROUTER_AGENT_TOKEN`: what agents and their router show each other. */
import type { Environment } from "./interpolate.ts";

/** Where they are set. */
export const AGENT_TOKEN = "ROUTER_AGENT_TOKEN";

/**
 * The tokens that are good, comma separated in the variable: two for as long as one takes the other's place. The first is the one
 * that is shown.
 */
export function agentTokens(env: Environment): string[] {
	return (env[AGENT_TOKEN] ?? "")
		.split(",")
		.map((token) => token.trim())
		.filter((token) => token !== "");
}
