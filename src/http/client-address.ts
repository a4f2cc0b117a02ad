/** The address of a request's client, as far as the network shows it. */
import { BlockList, isIP } from "node:net";
import { parseAllowedHost } from "../config/allowed-host.ts";

/** The part of Bun's server that is used here. */
export interface Peers {
	requestIP(request: Request): { readonly address: string } | null;
}

/** Finds a request's client. */
export interface ClientAddresses {
	/** The client's address; "" where the connection is gone. Of IPv6 the /64 that one subscriber has. */
	of(request: Request, server: Peers | null): string;
	/** Whether the request comes from this machine itself, not through a proxy on it. */
	isLocal(request: Request, server: Peers | null): boolean;
}

/** Headers in which proxies name their client. */
const FORWARDED = ["x-forwarded-for", "forwarded", "x-real-ip"];

/** @param trusted `server.trusted_proxies`: addresses and blocks */
export function clientAddresses(trusted: readonly string[]): ClientAddresses {
	const proxies = new BlockList();
	for (const text of trusted) {
		const block = parseAllowedHost(text);
		if (block?.kind === "block") proxies.addSubnet(block.address, block.prefix, block.family);
	}
	const isProxy = (address: string) => proxies.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
	const isTrusted = (peer: string) => trusted.length > 0 && peer !== "" && isProxy(peer);
	const peerOf = (request: Request, server: Peers | null) => plain(server?.requestIP(request)?.address ?? "");
	const client = (request: Request, server: Peers | null): string => {
		const peer = peerOf(request, server);
		if (!isTrusted(peer)) return peer;
		const forwarded = request.headers.get("x-forwarded-for")?.split(",") ?? [];
		// From the right: each proxy appends its peer, and entries further left may be anyone's invention.
		for (const entry of forwarded.reverse()) {
			const address = plain(entry.trim());
			if (isIP(address) === 0) return peer;
			if (!isProxy(address)) return address;
		}
		return peer;
	};
	return {
		of: (request, server) => subscriber(client(request, server)),
		isLocal(request, server) {
			if (!isLoopback(client(request, server))) return false;
			// A proxy on this machine that is not trusted: its clients may be anywhere.
			return isTrusted(peerOf(request, server)) || !FORWARDED.some((name) => request.headers.has(name));
		},
	};
}

/** IPv4 inside IPv6 as IPv4, without a port or brackets. */
function plain(address: string): string {
	const bare = /^\[(.+)\](?::\d+)?$/.exec(address)?.[1] ?? /^(\d+(?:\.\d+){3}):\d+$/.exec(address)?.[1] ?? address;
	return /^::ffff:(\d+(?:\.\d+){3})$/i.exec(bare)?.[1] ?? bare;
}

function isLoopback(address: string): boolean {
	return address === "::1" || /^127(?:\.\d+){3}$/.test(address);
}

/** The /64 of an IPv6 address: a single subscriber has all of its addresses. */
function subscriber(address: string): string {
	if (isIP(address) !== 6) return address;
	const full = URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1) ?? address;
	const [head = "", tail] = full.split("::");
	const first = head === "" ? [] : head.split(":");
	const last = tail ? tail.split(":") : [];
	const zeros = tail === undefined ? [] : new Array<string>(8 - first.length - last.length).fill("0");
	return `${[...first, ...zeros, ...last].slice(0, 4).join(":")}::/64`;
}
