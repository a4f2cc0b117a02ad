/** Which proxy the environment names for an address (the conventions of curl and most tools). */
import type { Environment } from "../config/interpolate.ts";
import { isLocalHost } from "../providers/locality.ts";
import { noProxy } from "./no-proxy.ts";

/** A proxy, and which variable names it. */
export interface NamedProxy {
	/** With the user and password that the variable has. */
	readonly url: string;
	/** As it is set: `HTTPS_PROXY` or `https_proxy`. */
	readonly variable: string;
}

/** The proxy for an address; undefined where it is called directly. */
export type ProxyChoice = (url: string) => NamedProxy | undefined;

/** Addresses whose answer is remembered. Upstreams are few; files that calls name are not. */
const MOST_KNOWN = 1000;

/**
 * `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, lower case first; `proxy:3128` without a scheme is an
 * HTTP proxy. What is local ({@link isLocalHost}) is never called through one: prompts for it must not leave the network.
 */
export function proxyFromEnvironment(env: Environment): ProxyChoice {
	const proxy = (name: string): NamedProxy | undefined => {
		const variable = [name.toLowerCase(), name].find((each) => env[each]);
		return variable === undefined ? undefined : { url: env[variable]!.replace(/^(?!\w+:\/\/)/, "http://"), variable };
	};
	const proxies = { "https:": proxy("HTTPS_PROXY"), "http:": proxy("HTTP_PROXY") };
	const all = proxy("ALL_PROXY");
	if (!proxies["https:"] && !proxies["http:"] && !all) return () => undefined;
	const isExempt = noProxy(env["no_proxy"] || env["NO_PROXY"] || "");
	const known = new Map<string, NamedProxy | undefined>();
	return (address) => {
		// A router has a handful of upstreams and thousands of calls a second.
		if (!known.has(address)) {
			if (known.size >= MOST_KNOWN) known.clear();
			known.set(address, choose(new URL(address)));
		}
		return known.get(address);
	};

	function choose(url: URL): NamedProxy | undefined {
		if (isLocalHost(url.hostname) || isExempt(url)) return undefined;
		return proxies[url.protocol as keyof typeof proxies] ?? all;
	}
}
