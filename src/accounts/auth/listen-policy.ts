/** Whether a role may listen where it is asked to, given the keys it has. Pure. */
import type { Loaded } from "../../config/load.ts";
import type { Config } from "../../config/schema.ts";

/** Addresses that only this machine reaches. */
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|::1|\[::1\])$/;

/** Whether a host is one that only this machine reaches. */
export function isLoopback(host: string): boolean {
	return LOOPBACK.test(host);
}

/** How the router gets a key. */
export const KEY_HINT = "set ROUTER_API_KEYS, add `keys:` to router.yaml or run `router keys create`";

/** What decides. */
export interface ListenRequest {
	readonly host: string;
	readonly hasKeys: boolean;
	/** `server.insecure`: the user has said that everyone may call. */
	readonly isInsecure: boolean;
	/** How a key is set, for the message: `set ROUTER_API_KEYS`. */
	readonly hint: string;
}

/** Why it may not, with what to do; undefined where it may. */
export function listenProblem({ host, hasKeys, isInsecure, hint }: ListenRequest): string | undefined {
	if (hasKeys || isInsecure || LOOPBACK.test(host)) return undefined;
	return `Listening on ${host} without a key would let everyone in: ${hint}, or pass --insecure.`;
}

/**
 * Whether a configuration has no key and means that everyone may call: its file says `keys: []`, and somebody said where that
 * is to be, by `server.insecure` or by naming a loopback address. Keys that are merely missing say nothing: a file may be half written.
 */
export function saysOpen({ server, keys }: Pick<Config, "server" | "keys">, sources: Loaded["sources"]): boolean {
	if (keys.length > 0 || sources.of(["keys"]).from !== "file") return false;
	return server.insecure || (sources.of(["server", "host"]).from !== "default" && LOOPBACK.test(server.host));
}
