/** A proxy of the environment that did not let a call through, told with its variable: people look at the upstream else. */
import type { NamedProxy } from "./net/environment-proxy.ts";

/** Bun's code for a proxy that opened no tunnel. Its message ends with the proxy's status. */
const NO_TUNNEL = "ERR_PROXY_TUNNEL";

/** Why the proxy gave no connection, in words for a person; never with its user and password. */
export class ProxyTrouble extends Error {
	constructor(proxy: NamedProxy, what: string) {
		super(`the proxy ${shown(proxy.url)} (${proxy.variable}) ${what}`);
	}
}

/** What a 407 means: of the proxy, whether it opens a tunnel or passes requests on itself. */
export function unauthorized(proxy: NamedProxy): ProxyTrouble {
	const what = /^\w+:\/\/[^/]*@/.test(proxy.url)
		? `refuses the user and password in ${proxy.variable} (407): correct them`
		: `wants a user and password (407): put them into ${proxy.variable}, as in http://user:password@host:port`;
	return new ProxyTrouble(proxy, what);
}

/**
 * The error of a call through `proxy`, as it is told: where no connection to the proxy came about, or it opened no tunnel, that.
 * All other errors are the upstream's, and come back as they were.
 */
export function behindProxy(thrown: unknown, proxy: NamedProxy): unknown {
	const { code, message } = (thrown instanceof Error ? thrown : {}) as { code?: unknown; message?: string };
	switch (code) {
		case NO_TUNNEL: {
			const status = /: (\d{3})\b/.exec(message ?? "")?.[1];
			if (status === "407") return unauthorized(proxy);
			return new ProxyTrouble(proxy, `opened no tunnel${status ? ` (${status})` : ""}: may it reach that host?`);
		}
		case "ECONNREFUSED":
		case "ConnectionRefused":
			return new ProxyTrouble(proxy, "can't be reached: nothing listens there (connection refused)");
		case "ENOTFOUND":
		case "FailedToOpenSocket":
			return new ProxyTrouble(proxy, "can't be reached: its host name is not known (DNS)");
		case "ETIMEDOUT":
			return new ProxyTrouble(proxy, "can't be reached: no connection came about in time");
		case "ERR_INVALID_ARG_VALUE":
			return new ProxyTrouble(proxy, "is no valid address: http://host:port");
		case "UnsupportedProxyProtocol":
			return new ProxyTrouble(proxy, "must be http:// or https://");
		default:
			return thrown;
	}
}

/** Scheme, host and port. */
function shown(url: string): string {
	return URL.canParse(url) ? new URL(url).href.replace(/^(\w+:\/\/)(?:[^/@]*@)?([^/]*).*$/, "$1$2") : "named there";
}
