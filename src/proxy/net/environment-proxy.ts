/** Which proxy the environment names for an address (the conventions of curl and most tools). */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import type { Environment } from "../../config/interpolate.ts";
import { isLocalHost } from "../../providers/locality.ts";

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

/**
 * `NO_PROXY`, which addresses are called directly: the predicate for a list such as `localhost,.example.com,10.0.0.0/8`, separated by commas or spaces: `*`, a host name (its
 * subdomains, too, with or without `.` or `*.` before it), an IP address, a block of them, each with or without `:port`.
 * What is none of these exempts nothing. Never throws.
 */
function noProxy(list: string): (url: URL) => boolean {
	const entries = list
		.toLowerCase()
		.split(/[\s,]+/)
		.filter(Boolean)
		.map(entryOf);
	return (url) => {
		const host = url.hostname.replace(/^\[|\]$/g, "");
		const port = url.port || (url.protocol === "https:" ? "443" : "80");
		return entries.some((entry) => (entry.port === undefined || entry.port === port) && entry.covers(host));
	};
}

interface NoProxyEntry {
	/** Undefined: every port. */
	readonly port: string | undefined;
	covers(host: string): boolean;
}

function entryOf(text: string): NoProxyEntry {
	if (text === "*") return { port: undefined, covers: () => true };
	// A bare IPv6 address is full of colons, none of them before a port.
	const [, bracketed, plain, port] = (isIPv6(text) ? null : /^(?:\[(.*)\]|([^\]]*?))(?::(\d+))?$/.exec(text)) ?? [];
	const name = bracketed ?? plain ?? text;
	const [address = "", bits] = name.split("/");
	if (bits !== undefined) return { port, covers: inBlock(address, Number(bits)) };
	const domain = name.replace(/^\*?\./, "");
	return { port, covers: (host) => host === domain || host.endsWith(`.${domain}`) };
}

function inBlock(address: string, bits: number): (host: string) => boolean {
	const family = isIPv4(address) ? "ipv4" : isIPv6(address) ? "ipv6" : undefined;
	if (!family || !(bits >= 0 && bits <= (family === "ipv4" ? 32 : 128))) return () => false;
	const block = new BlockList();
	block.addSubnet(address, bits, family);
	return (host) => (family === "ipv4" ? isIPv4(host) : isIPv6(host)) && block.check(host, family);
}

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
 * The error of a call through `proxy`, as it is reported: where no connection to the proxy came about, or it opened no tunnel, that.
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
