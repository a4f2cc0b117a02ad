/** Which addresses are on the public internet: an address that a caller names must not reach what only this machine can. */
import { BlockList, isIPv4, isIPv6 } from "node:net";

/** IPv4 blocks that are not (IANA, special-purpose registry). */
const PRIVATE_4 = blocks("ipv4", [
	["0.0.0.0", 8],
	["10.0.0.0", 8],
	["100.64.0.0", 10],
	["127.0.0.0", 8],
	["169.254.0.0", 16],
	["172.16.0.0", 12],
	["192.0.0.0", 24],
	["192.0.2.0", 24],
	["192.88.99.0", 24],
	["192.168.0.0", 16],
	["198.18.0.0", 15],
	["198.51.100.0", 24],
	["203.0.113.0", 24],
	["224.0.0.0", 3],
]);
/** IPv6: only 2000::/3 is given out, and of that not these (Teredo and the like, documentation, 6to4). */
const GLOBAL_6 = blocks("ipv6", [["2000::", 3]]);
const PRIVATE_6 = blocks("ipv6", [
	["2001::", 23],
	["2001:db8::", 32],
	["2002::", 16],
	["3fff::", 20],
]);
/** IPv6 forms of IPv4 addresses: mapped, and NAT64. */
const EMBEDDED = blocks("ipv6", [
	["::ffff:0:0", 96],
	["64:ff9b::", 96],
]);

function blocks(family: "ipv4" | "ipv6", list: readonly (readonly [string, number])[]): BlockList {
	const made = new BlockList();
	for (const [address, bits] of list) made.addSubnet(address, bits, family);
	return made;
}

/** Whether the address is public. False for what is no address. */
export function isPublic(address: string): boolean {
	if (isIPv4(address)) return !PRIVATE_4.check(address, "ipv4");
	if (!isIPv6(address) || address.includes("%")) return false;
	if (EMBEDDED.check(address, "ipv6")) return isPublic(lastFour(address));
	return GLOBAL_6.check(address, "ipv6") && !PRIVATE_6.check(address, "ipv6");
}

/** The IPv4 address in the last 32 bits. */
function lastFour(address: string): string {
	const dotted = /[\d.]+$/.exec(address)?.[0] ?? "";
	if (isIPv4(dotted)) return dotted;
	// The URL parser writes every form the same way: `::ffff:7f00:1`.
	const groups = new URL(`http://[${address}]`).hostname.slice(1, -1).split(":");
	const [high = 0, low = 0] = groups.slice(-2).map((group) => Number.parseInt(group || "0", 16));
	return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
