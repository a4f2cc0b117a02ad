/** Environment variables about upstreams, read besides those of the configuration: providers' keys and addresses, and proxies. */
import type { Variable } from "../config/variables.ts";
import { whyNoProxy } from "../proxy/net/environment-proxy.ts";
import { VENDORS, type Vendors } from "../vendors.ts";

const PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/** All of them. */
export function upstreamVariables(vendors: Vendors = VENDORS): readonly Variable[] {
	return [
		...Object.values(vendors).flatMap(({ keyVariables, baseUrlVariable }): Variable[] => [
			...keyVariables.map((name): Variable => ({ name, kind: "secret" })),
			...(baseUrlVariable === undefined ? [] : [{ name: baseUrlVariable, kind: "address" } as const]),
		]),
		...PROXIES.flatMap((name) => [name, name.toLowerCase()]).map(
			(name): Variable => ({ name, kind: "address", doubt: whyNoProxy }),
		),
	];
}

/** The variables that a router's unit or container hands on: all of keys, and of the addresses that stand for a key. */
export function handedOnVariables(vendors: Vendors = VENDORS): readonly string[] {
	const rows = Object.values(vendors);
	return [
		...rows.flatMap(({ keyVariables }) => keyVariables),
		...rows.flatMap(({ needsKey, baseUrlVariable }) => (needsKey ? [] : (baseUrlVariable ?? []))),
	];
}
