/** What a role will be, decided before anything is opened: `router check` and a start make the same plan. */
import type { AnyElysia } from "elysia";
import type { AgentCredential, FoundKeys, Gate } from "../accounts/auth/keys.ts";
import { openDoor } from "../accounts/auth/listen-policy.ts";
import type { Accounts } from "../api/call-context.ts";
import type { AnswerCache } from "../cache/cache.ts";
import type { KeyConfig } from "../config/access.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { type RouterError, StartError } from "../errors.ts";
import type { HealthNotes } from "../http/health.ts";
import type { PageAccess } from "../http/page-access.ts";
import { readTls, type TlsFiles } from "../http/tls.ts";
import { loopProblem, type Upstream } from "../providers/registry.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import type { Sink } from "../telemetry/events.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { catalogEntries } from "./catalog-entries.ts";

/** A catalog, and what has to run beside it while the role does. */
export interface RoleCatalog extends Catalog {
	/** Begins to keep it true, once the port is the role's; returns how to end that. Nothing runs before. */
	readonly watch?: (site: RoleSite) => () => void | Promise<void>;
	/** The same for another configuration, with the same agents. Absent where a role takes none. May throw StartError. */
	readonly renewed?: (config: Config, entries: readonly CatalogEntry[]) => Catalog;
	/** What the role serves and hears besides the OpenAI API. Opens nothing. */
	readonly extension?: (tools: RoleTools) => RoleExtension;
}

/** Where a role has come up. */
export interface RoleSite {
	/** The port it got. */
	readonly port: number;
	readonly log: Pick<Log, "logger">;
	/** Runs once the process is told to stop, while calls are still taken. */
	readonly onDrain: (hook: () => unknown) => void;
}

/** What a role's own part may use. */
export interface RoleTools {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Metrics;
	readonly gate: Gate;
	/** Why a request is refused that a web page may have made by stealth; see `refuseStealth`. */
	readonly refuse: (request: Request) => RouterError | undefined;
}

/** What a role adds to what both share. */
export interface RoleExtension {
	/** Put behind the OpenAI routes. */
	readonly routes: AnyElysia;
	readonly sink?: Partial<Sink>;
	/** Limits, budgets and prices as a configuration says; asked anew after each reload. */
	readonly accountsOf?: (config: Config, catalog: Catalog) => Accounts;
	/** Why a request for metrics or Swagger is refused, besides `RoleTools.refuse`. */
	readonly refusePage?: PageAccess;
	/** Further metrics, as text. */
	readonly metrics?: () => Promise<string>;
	/** What `/health/ready` says besides. */
	readonly healthNotes?: () => HealthNotes;
	readonly cache?: AnswerCache | undefined;
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
	/** Keys that were made at run time. */
	readonly made?: FoundKeys;
	/** No key is configured, and the start makes one (or takes the one it made before). */
	readonly generatesKey: boolean;
	/** How a key is set, for the refusal to listen beyond loopback. */
	readonly keyHint: string;
	/** A further secret that is let in, where keys are asked for. */
	readonly guest?: AgentCredential;
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
 * @throws {StartError} as {@link entriesOf} does, and for a target of `models:` that leads nowhere
 */
export function catalogOf(plan: RolePlan): RoleCatalog {
	return plan.catalogOf(entriesOf(plan));
}

/**
 * The upstreams of a plan, ready to be called.
 * @throws {StartError} for a base URL that leads back here, an open door, unusable TLS or CA files
 */
export function entriesOf({
	config,
	env,
	host,
	port,
	keys,
	made,
	generatesKey,
	keyHint,
	upstreams,
	tls,
}: RolePlan): CatalogEntry[] {
	const hasKeys = keys.length > 0 || generatesKey || made?.isEmpty === false;
	const { insecure: isInsecure } = config.server;
	const problem = loopProblem(upstreams, host, port) ?? openDoor({ host, hasKeys, isInsecure, hint: keyHint });
	if (problem) throw new StartError(problem);
	if (tls) readTls(tls);
	return catalogEntries(upstreams, config, env);
}
