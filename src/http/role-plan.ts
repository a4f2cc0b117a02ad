/** What a role will be, decided before anything is opened: `router check` and a start make the same plan. */
import type { Environment } from "../config/interpolate.ts";
import type { Config, KeyConfig } from "../config/schema.ts";
import { openDoor } from "../gate/door.ts";
import { loopProblem, type Upstream } from "../providers/registry.ts";
import { catalogEntries } from "../proxy/catalog-entries.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import { StartError } from "../start-error.ts";
import { readTls, type TlsFiles } from "./tls.ts";

/** A catalog, and what has to run beside it while the role does. */
export interface RoleCatalog extends Catalog {
	/** Begins to keep it true; returns how to end that. Nothing runs before. */
	readonly watch?: () => () => void;
}

/** How one role differs from the other. */
export interface RolePlan {
	readonly role: "router" | "agent";
	readonly config: Config;
	readonly env: Environment;
	readonly host: string;
	readonly port: number;
	/** PEM files; absent for plain HTTP. */
	readonly tls?: TlsFiles | undefined;
	readonly keys: readonly KeyConfig[];
	/** No key is configured, and the start makes one (or takes the one it made before). */
	readonly generatesKey: boolean;
	/** How a key is set, for the refusal to listen beyond loopback. */
	readonly keyHint: string;
	readonly upstreams: readonly Upstream[];
	/** Asks no upstream. May throw StartError. */
	readonly catalogOf: (entries: readonly CatalogEntry[]) => RoleCatalog;
	readonly title: string;
	readonly description: string;
	/** Lines of the banner. */
	readonly lines: readonly string[];
}

/**
 * The catalog of a plan that can be started, as far as configuration and files tell; only the port is left to try.
 * @throws {StartError} for a base URL that leads back here, an open door, unusable TLS or CA files, a target of
 * `models:` that leads nowhere
 */
export function catalogOf(plan: RolePlan): RoleCatalog {
	const { config, env, host, port, keys, generatesKey, keyHint: hint, upstreams, tls } = plan;
	const hasKeys = keys.length > 0 || generatesKey;
	const problem =
		loopProblem(upstreams, host, port) ?? openDoor({ host, hasKeys, isInsecure: config.server.insecure, hint });
	if (problem) throw new StartError(problem);
	if (tls) readTls(tls);
	return plan.catalogOf(catalogEntries(upstreams, config, env));
}
