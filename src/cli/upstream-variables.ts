/** Environment variables about upstreams, read besides those of the configuration: providers' keys and addresses, and proxies. */
import type { Variable } from "../config/variables.ts";
import { whyNoProxy } from "../proxy/net/environment-proxy.ts";
import { VENDORS } from "../vendors.ts";

const PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/** All of them. */
export const UPSTREAM_VARIABLES: readonly Variable[] = [
	...Object.values(VENDORS).flatMap(({ keyVariables, baseUrlVariable }): Variable[] => [
		...keyVariables.map((name): Variable => ({ name, kind: "secret" })),
		...(baseUrlVariable === undefined ? [] : [{ name: baseUrlVariable, kind: "address" } as const]),
	]),
	...PROXIES.flatMap((name) => [name, name.toLowerCase()]).map(
		(name): Variable => ({ name, kind: "address", doubt: whyNoProxy }),
	),
];
