/** Which endpoint an agent may register: the router will send calls there, with a secret. Pure. */
import { BlockList, isIP } from "node:net";
import { type AllowedHost, parseAllowedHost } from "../../config/allowed-host.ts";

/** Never an agent's, whoever says so: link-local (cloud metadata lives there), unspecified, broadcast, multicast. */
const NEVER = new BlockList();
for (const [net, prefix] of [
	["0.0.0.0", 8],
	["169.254.0.0", 16],
	["224.0.0.0", 4],
	["255.255.255.255", 32],
	// Alibaba Cloud's metadata, inside the addresses that Tailscale and carriers use.
	["100.100.100.200", 32],
] as const) {
	NEVER.addSubnet(net, prefix, "ipv4");
}
for (const [net, prefix] of [
	["::", 128],
	["fe80::", 10],
	["ff00::", 8],
	// Amazon's metadata over IPv6.
	["fd00:ec2::254", 128],
] as const) {
	NEVER.addSubnet(net, prefix, "ipv6");
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** What decides, besides the endpoint itself. */
export interface EndpointRules {
	/** The address the registration came from. */
	readonly peer: string;
	/** `agents.allow`. */
	readonly allow: readonly string[];
	/** This machine's own addresses: a caller on loopback may name any of them. */
	readonly own: readonly string[];
}

/** The endpoint as an origin, or why it is not taken, one sentence with what to do. */
export function checkEndpoint(endpoint: string, rules: EndpointRules): { origin: string } | { problem: string } {
	const url = URL.parse(endpoint);
	const shown = endpoint.slice(0, 100);
	if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "") {
		return { problem: `"${shown}" is no http(s) origin such as http://10.0.0.7:5000.` };
	}
	if (url.username || url.password) return { problem: "The endpoint must be an origin without user and password." };
	if (!/^\/(v1\/?)?$/.test(url.pathname) || url.search || url.hash) {
		return { problem: `"${shown}" must be an origin, without a path: ${url.origin}.` };
	}
	const host = plainHost(url.hostname);
	const isAddress = isIP(host) !== 0;
	if (isAddress && contains(NEVER, host)) {
		return { problem: `${url.host} is a link-local, unspecified or multicast address: no agent can be there.` };
	}
	const entries = rules.allow.flatMap((text) => parseAllowedHost(text) ?? []);
	if (entries.some((entry) => allows(entry, url.origin, host)) || isOwn(host, rules)) return { origin: url.origin };
	return {
		problem:
			`${url.host} is not where this registration came from (${plainHost(rules.peer)}): start the agent with ` +
			`--advertise and that address, or list "${host}" under agents.allow on the router.`,
	};
}

/** Whether an address is this machine's loopback. */
export function isLoopbackAddress(address: string): boolean {
	const host = plainHost(address);
	return isIP(host) !== 0 && contains(LOOPBACK, host);
}

function isOwn(host: string, { peer, own }: EndpointRules): boolean {
	if (host === plainHost(peer)) return true;
	if (!isLoopbackAddress(peer)) return false;
	return host === "localhost" || isLoopbackAddress(host) || own.some((address) => plainHost(address) === host);
}

function allows(entry: AllowedHost, origin: string, host: string): boolean {
	switch (entry.kind) {
		case "origin":
			return entry.origin === origin;
		case "host":
			return entry.host === host;
		case "block": {
			if (isIP(host) === 0) return false;
			const block = new BlockList();
			block.addSubnet(entry.address, entry.prefix, entry.family);
			return contains(block, host);
		}
	}
}

function contains(list: BlockList, address: string): boolean {
	return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** One form for each host: no brackets, no closing dot, IPv6 shortened, IPv4 inside IPv6 as IPv4. */
function plainHost(host: string): string {
	const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
	if (isIP(bare) !== 6) return bare.replace(/\.$/, "");
	const short = URL.parse(`http://[${bare}]/`)?.hostname.replace(/^\[|\]$/g, "") ?? bare;
	const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short) ?? [];
	if (high === undefined || low === undefined) return short;
	const bits = (Number.parseInt(high, 16) << 16) | Number.parseInt(low, 16);
	return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join(".");
}
