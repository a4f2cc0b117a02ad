/**
 * The recorded exchanges, which live beside the repository (`../shared/wire`) and
 * not in it. A clone without them tests the same behaviours on our own fixtures.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Exchange } from "./exchange.ts";

const DIRECTORY = join(import.meta.dir, "../../../shared/wire");

/** A recording; some kept no request body. */
export type Recording = Exchange & { readonly features: readonly string[] };

/**
 * Whether the recordings are there. Says in one line when they are not, and throws
 * when `CI=true`: CI must not pass by skipping.
 */
export function haveRecordings(): boolean {
	if (existsSync(DIRECTORY)) return true;
	const absent = "the recorded exchanges (../shared/wire) are not beside this clone";
	if (process.env["CI"] === "true") throw new Error(`${absent}: put them there, CI may not skip them`);
	console.log(`skipped: ${absent}; the fixtures in test/kit cover the same behaviours`);
	return false;
}

/** Every recording of one provider, by name. Throws when the directory is missing: ask `haveRecordings` first. */
export function recordings(provider: string): Recording[] {
	const folder = join(DIRECTORY, provider);
	return readdirSync(folder)
		.filter((name) => name.endsWith(".json"))
		.sort()
		.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
}
