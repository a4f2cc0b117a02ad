/** What a role will be, decided before anything is opened: `router check` and a start make the same plan, and take the same checks. */
import { listenProblem } from "../accounts/auth/listen-policy.ts";
import type { KeyConfig } from "../config/access.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { readTls, type TlsFiles } from "../http/tls.ts";
import { providerOf } from "../providers/create.ts";
import { DUMMY_UPSTREAM, dummyTransport } from "../providers/dummy.ts";
import { isLocal } from "../providers/locality.ts";
import { openAiCompatible } from "../providers/openai/index.ts";
import { loopProblem, type Upstream } from "../providers/registry.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { mediaAccess } from "../proxy/net/media-fetch.ts";
import { requestInputsFor, type StoredThoughts } from "../proxy/net/request-inputs.ts";
import { fileFetch, httpTransport, readCa } from "../proxy/net/transport.ts";
import type { CatalogEntry } from "../routing/catalog.ts";

/** The variable by which a router takes the place of the one that runs on its data directory, as the flag `--replace` sets it. */
export const REPLACE = "ROUTER_REPLACE";

/** Plain data: how one role differs from the other. */
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
	/** Threads that answer calls; 1 is the main thread itself. */
	readonly workers: number;
	readonly upstreams: readonly Upstream[];
	/** Of the API's description. */
	readonly title: string;
	readonly description: string;
	/** Lines of the banner. */
	readonly lines: readonly string[];
}

/**
 * The upstreams of a plan that can be started, ready to be called; only the port is left to try. Asks no upstream.
 * @param storedKeys keys that were created at run time
 * @param thinking what outlives a reload of what upstreams have signed
 * @throws {StartError} for a base URL that leads back here, a public address without a key, unusable TLS or CA files
 */
export function plannedEntries(
	plan: RolePlan,
	storedKeys?: { readonly isEmpty: boolean },
	thinking?: StoredThoughts,
): CatalogEntry[] {
	const { config, env, host, port, keys, generatesKey, keyHint, upstreams, tls } = plan;
	const hasKeys = keys.length > 0 || generatesKey || storedKeys?.isEmpty === false;
	const { insecure: isInsecure } = config.server;
	const problem = loopProblem(upstreams, host, port) ?? listenProblem({ host, hasKeys, isInsecure, hint: keyHint });
	if (problem) throw new StartError(problem);
	if (tls) readTls(tls);
	return catalogEntries(upstreams, config, env, thinking);
}

/** Each upstream with its provider and transport, and `dummy`. Throws StartError where `ca_file` can't be read. */
export function catalogEntries(
	upstreams: readonly Upstream[],
	config: Config,
	env: Environment,
	thinking?: StoredThoughts,
): CatalogEntry[] {
	const proxyFor = proxyFromEnvironment(env);
	const ca = readCa(config.ca_file);
	const inputStoreOf = requestInputsFor(mediaAccess(fileFetch({ ca, proxyFor })), thinking);
	const entries = upstreams.map((upstream): CatalogEntry => {
		const transport = httpTransport({ ca, proxyFor: isLocal(upstream) ? undefined : proxyFor });
		return { upstream, provider: providerOf(upstream, transport, inputStoreOf(serverOf(upstream))) };
	});
	const dummy: Upstream = { ...DUMMY_UPSTREAM, timeouts: config.timeouts };
	return [...entries, { upstream: dummy, provider: openAiCompatible(dummy, dummyTransport) }];
}

/** What tells the server from another one that a reload may give the same name. */
const serverOf = ({ name, type, baseUrl }: Upstream): string => JSON.stringify([name, type, baseUrl ?? null]);
