/** Which proxy the environment names for an address (the conventions of curl and most tools). */
import type { Environment } from "../config/interpolate.ts";
import { noProxy } from "./no-proxy.ts";

/**
 * `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, lower case first. The function gives a proxy URL or
 * undefined; `proxy:3128` without a scheme is an HTTP proxy.
 */
export function proxyFromEnvironment(env: Environment): (url: string) => string | undefined {
	const read = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
	const proxy = (name: string) => read(name)?.replace(/^(?!\w+:\/\/)/, "http://");
	const proxies = { "https:": proxy("HTTPS_PROXY"), "http:": proxy("HTTP_PROXY") };
	const all = proxy("ALL_PROXY");
	if (!proxies["https:"] && !proxies["http:"] && !all) return () => undefined;
	const isExempt = noProxy(read("NO_PROXY") ?? "");
	const known = new Map<string, string | undefined>();
	return (address) => {
		// A router has a handful of upstreams and thousands of calls a second.
		if (!known.has(address)) known.set(address, choose(new URL(address)));
		return known.get(address);
	};

	function choose(url: URL): string | undefined {
		return isExempt(url) ? undefined : (proxies[url.protocol as keyof typeof proxies] ?? all);
	}
}
