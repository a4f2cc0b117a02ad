/**
 * What is local, decided once: whether a call stays within the user's own network. Routing (own machines come first and cost
 * nothing) and the proxies of the environment (never for own machines) both ask here.
 */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import type { Site, VendorRow } from "../vendors.ts";

/** Ends of names that no public host has: RFC 6761, 6762, 8375, ICANN's `.internal`, and what clusters, routers and offices use. */
const LOCAL_NAME =
	/^[^.]+$|\.(?:localhost|local|internal|intranet|private|lan|home|home\.arpa|corp|svc|cluster\.local)$/i;

/** This machine, private networks (RFC 1918), link-local, carrier-grade NAT (Tailscale's, too), unique local IPv6. */
const LOCAL_ADDRESSES = new BlockList();
for (const [address, bits] of [
	["0.0.0.0", 8],
	["10.0.0.0", 8],
	["100.64.0.0", 10],
	["127.0.0.0", 8],
	["169.254.0.0", 16],
	["172.16.0.0", 12],
	["192.168.0.0", 16],
] as const) {
	LOCAL_ADDRESSES.addSubnet(address, bits, "ipv4");
	// As IPv6 writes them, too: `::ffff:10.0.0.7`.
	LOCAL_ADDRESSES.addSubnet(`::ffff:${address}`, bits + 96, "ipv6");
}
for (const [address, bits] of [
	["::", 127],
	["fc00::", 7],
	["fe80::", 10],
] as const) {
	LOCAL_ADDRESSES.addSubnet(address, bits, "ipv6");
}

/**
 * Whether a URL's host is in the user's own network: by its address, or by a name that no public host has (one label, `.local`,
 * `.internal` and the like). Names are not looked up: what a name means differs by machine and hour, and where a prompt goes
 * must not. `host` is a URL's `hostname`, lower case or not, IPv6 with or without brackets, with or without a closing dot.
 */
export function isLocalHost(host: string): boolean {
	const bare = host.replace(/^\[|\]$/g, "").replace(/(?<=.)\.$/, "");
	if (isIPv4(bare)) return LOCAL_ADDRESSES.check(bare, "ipv4");
	if (isIPv6(bare)) return LOCAL_ADDRESSES.check(bare, "ipv6");
	return LOCAL_NAME.test(bare);
}

/** Whether what runs there is the user's own whatever its address is: agents, vLLM, llm-d, this process. */
export function isOwnSite(site: Site): boolean {
	return site === "replica" || site === "cluster" || site === "process";
}

/** Whether an upstream is in the user's own network: by its site, else by its address. */
export function isLocal({ row, baseUrl }: { readonly row: VendorRow; readonly baseUrl?: string | undefined }): boolean {
	return (
		isOwnSite(row.site) || (baseUrl !== undefined && URL.canParse(baseUrl) && isLocalHost(new URL(baseUrl).hostname))
	);
}
