/** Loads a configuration from files in a directory of their own. */

import { ConfigError } from "../../src/config/config-error.ts";
import { type Loaded, load } from "../../src/config/load.ts";
import type { Flags, Role } from "../../src/config/overlay.ts";
import type { Variable } from "../../src/config/variables.ts";
import { directory } from "./cli.ts";

/** What it is loaded from; by default nothing, for the router. */
export interface ConfigInput {
	/** Name in the directory → text. */
	files?: Record<string, string>;
	/** `router.yaml`, for the many that have no other file. */
	yaml?: string;
	flags?: Flags;
	env?: Record<string, string>;
	role?: Role;
	/** Variables of others that are looked at, too. */
	variables?: readonly Variable[];
}

/** What was loaded, and the directory (gone by now) it came from. Throws what `load` throws. */
export function configure(input: ConfigInput): Loaded & { home: string } {
	const { yaml, files = yaml === undefined ? {} : { "router.yaml": yaml } } = input;
	const { flags = {}, env = {}, role = "router", variables = [] } = input;
	using home = directory(files);
	return { home: home.path, ...load({ flags, env, cwd: home.path, role, variables }) };
}

/** The message of its refusal. Throws where the configuration was taken. */
export function refusal(input: ConfigInput): string {
	try {
		configure(input);
	} catch (error) {
		if (error instanceof ConfigError) return error.message;
		throw error;
	}
	throw new Error("the configuration was taken");
}
