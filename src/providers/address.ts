/** Where an upstream is called. */
import { RouterError } from "../errors.ts";
import type { Upstream } from "./registry.ts";

/** Its base URL. Throws `provider_key_missing` naming the variable that would give the key or the address it lacks. */
export function addressOf({ state, baseUrl, row, variable }: Upstream): string {
	if (state !== "no-key" && baseUrl) return baseUrl;
	const what = state === "no-key" ? "key" : "address";
	throw new RouterError("provider_key_missing", `No ${what} for ${row.title}: set ${variable} and restart the router.`);
}
