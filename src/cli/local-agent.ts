/** In a standalone process the router's local agent is the one beside it. */
import { isIPv6 } from "node:net";
import type { Environment } from "../config/interpolate.ts";

/** The agent of the same process is the local one, on whatever port it got, unless the user named another. */
export function withAgentUrl(env: Environment, url: string | undefined): Environment {
	return url === undefined || env["LOCAL_AGENT_URL"] ? env : { ...env, LOCAL_AGENT_URL: url };
}

/** Where the agent of a standalone process will answer, as far as that is known before it listens. */
export function agentUrl({ host, port }: { host: string; port: number }): string {
	const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
	return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}
