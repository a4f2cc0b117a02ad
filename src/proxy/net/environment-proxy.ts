/** Which proxy the environment names for an address (the conventions of curl and most tools). */
import type { Environment } from "../../config/interpolate.ts";
import { isLocalHost } from "../../providers/locality.ts";
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

const withScheme = (text: string) => text.replace(/^(?!\w+:\/\/)/, "http://");

/**
 * Why a variable's value can't be a proxy, as `is …` with what to do; undefined where it can be one: a URL, `host:port`, and a bare
 * host name are. Repeats no part of it. Pure.
 */
export function whyNoProxy(text: string): string | undefined {
	const advice = "calls through it will fail; write http://host:port";
	const url = URL.parse(withScheme(text));
	if (!url) return `is no proxy's address; ${advice}`;
	if (url.protocol !== "http:" && url.protocol !== "https:") {
		return `names a proxy of a kind that is not supported (${url.protocol.slice(0, -1).slice(0, 20)}); ${advice}`;
	}
	// `http//proxy:3128`, `http:/proxy`: the scheme is taken for the host.
	return /^https?$/i.test(url.hostname) ? `is no proxy's address: its scheme lacks ":" or "//"; ${advice}` : undefined;
}

/**
 * `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, lower case first; `proxy:3128` without a scheme is an
 * HTTP proxy. What is local ({@link isLocalHost}) is never called through one: prompts for it must not leave the network.
 */
export function proxyFromEnvironment(env: Environment): ProxyChoice {
	const proxy = (name: string): NamedProxy | undefined => {
		const variable = [name.toLowerCase(), name].find((each) => env[each]);
		return variable === undefined ? undefined : { url: withScheme(env[variable]!), variable };
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
