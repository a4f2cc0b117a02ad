/** Where the servers of this machine answer, as a client on it calls them. */
import { isIPv6 } from "node:net";
import type { Environment } from "../config/interpolate.ts";

/**
 * The environment of a router whose agent runs in the same process: that agent is the local one, on whatever port it got, unless the
 * user named another.
 */
export function withAgentUrl(env: Environment, url: string | undefined): Environment {
	return url === undefined || env["LOCAL_AGENT_URL"] ? env : { ...env, LOCAL_AGENT_URL: url };
}

/** The URL of a server that listens, or will listen, on this address of this machine: `http://127.0.0.1:5000`. */
export function localUrl({ host, port }: { host: string; port: number }): string {
	const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
	return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}
