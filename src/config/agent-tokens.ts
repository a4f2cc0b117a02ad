/** `ROUTER_AGENT_TOKEN`: the tokens with which agents and their router authenticate to each other. */
import type { Environment } from "./interpolate.ts";

/** The variable that holds them. */
export const AGENT_TOKEN = "ROUTER_AGENT_TOKEN";

/** The accepted tokens, comma separated in the variable: two while one replaces the other. The first is the one that is sent. */
export function agentTokens(env: Environment): string[] {
	return (env[AGENT_TOKEN] ?? "")
		.split(",")
		.map((token) => token.trim())
		.filter((token) => token !== "");
}
