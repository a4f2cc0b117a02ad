/** `NO_PROXY`: which addresses are called directly. */
import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * The predicate for a list such as `localhost,.example.com,10.0.0.0/8`, separated by commas or spaces: `*`, a host name (its
 * subdomains, too, with or without `.` or `*.` before it), an IP address, a block of them, each with or without `:port`.
 * What is none of these exempts nothing. Never throws.
 */
export function noProxy(list: string): (url: URL) => boolean {
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

interface Entry {
	/** Undefined: every port. */
	readonly port: string | undefined;
	covers(host: string): boolean;
}

function entryOf(text: string): Entry {
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
