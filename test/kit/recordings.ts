/**
 * The recorded exchanges, which live beside the repository (`../shared/wire`) and
 * not in it. A clone without them tests the same behaviours on our own fixtures.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Exchange } from "./exchange.ts";

/** Where they are. */
export const RECORDINGS = join(import.meta.dir, "../../../shared/wire");

/** A recording; some kept no request body. */
export type Recording = Exchange & { readonly features: readonly string[] };

/**
 * Every recording of one provider, by name; none where they are not beside the clone. The tests of them are declared by
 * `needing("recordings")`, which says so. Throws where `CI=true` and they are missing.
 */
export function recordings(provider: string): Recording[] {
	const folder = join(RECORDINGS, provider);
	if (!existsSync(RECORDINGS) && process.env["CI"] !== "true") return [];
	return readdirSync(folder)
		.filter((name) => name.endsWith(".json"))
		.sort()
		.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
}
