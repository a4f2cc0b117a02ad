/** Entries of `agents.allow`: hosts that the router may call although they are not the registering agent's own address. */
import { isIP } from "node:net";

/** An origin, a block of addresses (one address is a block of its own), or a host name. */
export type AllowedHost =
	| { readonly kind: "origin"; readonly origin: string }
	| { readonly kind: "block"; readonly address: string; readonly prefix: number; readonly family: "ipv4" | "ipv6" }
	| { readonly kind: "host"; readonly host: string };

/** Parses an entry; undefined where it is none of these. */
export function parseAllowedHost(text: string): AllowedHost | undefined {
	if (/^https?:\/\//i.test(text)) {
		const url = URL.parse(text);
		const isOrigin = url && url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password;
		return isOrigin ? { kind: "origin", origin: url.origin } : undefined;
	}
	const [, address = "", prefix] = /^\[?([0-9a-f.:]+)\]?(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
	const version = isIP(address);
	if (version !== 0) {
		const bits = version === 4 ? 32 : 128;
		const wanted = prefix === undefined ? bits : Number(prefix);
		if (wanted > bits) return undefined;
		return { kind: "block", address, prefix: wanted, family: version === 4 ? "ipv4" : "ipv6" };
	}
	// A last part of digits is a mistyped address: 10.0.0.
	const isName = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(text) && !/(^|\.)\d+$/.test(text);
	return isName ? { kind: "host", host: text.toLowerCase() } : undefined;
}
