/** Which page is shown: the part of the address behind `#`, so that it works under whatever path a proxy puts the router. */
import { useEffect, useState } from "preact/hooks";

/** An address within the console. */
export interface Address {
	readonly path: string;
	readonly rest: readonly string[];
	readonly query: URLSearchParams;
}

/** Reads it. @param hash `#/calls/req_1?from=2026-08-01` */
export function addressIn(hash: string): Address {
	const [way = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
	const [path = "", ...rest] = way.split("/").map(decoded);
	return { path, rest, query: new URLSearchParams(query) };
}

/** The `href` of a page. */
export function hrefOf(path: string, rest: readonly string[] = [], query?: Readonly<Record<string, string>>): string {
	const way = [path, ...rest].map(encodeURIComponent).join("/");
	const asked = query && Object.keys(query).length > 0 ? `?${new URLSearchParams(query)}` : "";
	return `#/${way}${asked}`;
}

/** Goes there. */
export function goTo(href: string): void {
	location.hash = href;
}

/** The address that is shown. */
export function useAddress(): Address {
	const [address, setAddress] = useState(() => addressIn(location.hash));
	useEffect(() => {
		const changed = () => setAddress(addressIn(location.hash));
		addEventListener("hashchange", changed);
		return () => removeEventListener("hashchange", changed);
	}, []);
	return address;
}

function decoded(part: string): string {
	try {
		return decodeURIComponent(part);
	} catch {
		return part;
	}
}
