/** May a role listen where it is asked to, given the keys it has? */

/** Addresses that only this machine reaches. */
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|::1|\[::1\])$/;

/** Whether a host is one that only this machine reaches. */
export function isLoopback(host: string): boolean {
	return LOOPBACK.test(host);
}

/** How the router gets a key. */
export const KEY_HINT = "set ROUTER_API_KEYS, add `keys:` to router.yaml or run `router keys create`";

/** What decides. */
export interface Door {
	readonly host: string;
	readonly hasKeys: boolean;
	/** `server.insecure`: the user has said that everyone may. */
	readonly isInsecure: boolean;
	/** How a key is set, for the message: `set ROUTER_API_KEYS`. */
	readonly hint: string;
}

/** Why it may not, with what to do; undefined where it may. */
export function openDoor({ host, hasKeys, isInsecure, hint }: Door): string | undefined {
	if (hasKeys || isInsecure || LOOPBACK.test(host)) return undefined;
	return `Listening on ${host} without a key would let everyone in: ${hint}, or pass --insecure.`;
}
