/** The router's agents, put together: their catalog, their routes, and what is kept of them. */

import { Elysia } from "elysia";
import { createAdminAccess } from "../accounts/auth/admin-access.ts";
import { type AgentSecrets, agentSecrets } from "../accounts/auth/agent-secrets.ts";
import { AdmissionControl } from "../accounts/limits/admission.ts";
import { createBiller } from "../accounts/usage/pricing.ts";
import { answersOf } from "../cache/cache-settings.ts";
import { agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { clientAddresses } from "../http/client-address.ts";
import type { HealthNotes } from "../http/health.ts";
import { pageAccess } from "../http/page-access.ts";
import type { Transport } from "../providers/provider.ts";
import { configureUpstreams, type Upstream } from "../providers/registry.ts";
import { http1Transport } from "../proxy/net/http1.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import { type CatalogEntry, createCatalog } from "../routing/catalog.ts";
import type { Log } from "../telemetry/log.ts";
import { sinkOf } from "../telemetry/sinks.ts";
import { adminRoutes } from "./admin/admin-routes.ts";
import { agentDoor } from "./agents/agent-auth.ts";
import { agentRoutes } from "./agents/agent-routes.ts";
import { AgentFleet } from "./agents/fleet.ts";
import { shareAgents } from "./agents/shared-agents.ts";
import type { RoleCatalog } from "./role-plan.ts";
import type { RouterState } from "./router-state.ts";

/** The catalog of the configuration and of the agents that register. Opens nothing. Throws what createCatalog does. */
export function routerCatalog(
	config: Config,
	env: Environment,
	entries: readonly CatalogEntry[],
	house: RouterState,
): RoleCatalog {
	let log: Pick<Log, "logger"> | undefined;
	let secrets: AgentSecrets | undefined;
	const { store, sharing } = house;
	/** What of the configuration is asked at each request; a reload puts another in its place. */
	let desk = deskOf(config);
	const secretsOf = () => {
		if (!secrets) {
			secrets = agentSecrets(config.data_dir);
			if (secrets.problem) log?.logger.error(secrets.problem);
		}
		return secrets;
	};
	const reach = agentTransport(config);
	const fleet = new AgentFleet({
		upstream: upstreamOf(config, entries),
		transport: reach,
		store,
		secrets: secretsOf,
		...(sharing ? { isCutOff: () => !sharing.isUp } : {}),
	});
	if (sharing) shareAgents(sharing, fleet, store, secretsOf);
	return {
		...createCatalog(config, entries, fleet),
		renewed(next, nextEntries) {
			const catalog = createCatalog(next, nextEntries, fleet);
			reach.trust(next);
			desk = deskOf(next);
			fleet.setUpstream(upstreamOf(next, nextEntries));
			return catalog;
		},
		watch() {
			const close = house.open();
			// Closes the store.
			const leave = fleet.open(log!);
			return async () => {
				await close();
				leave();
			};
		},
		extension(tools) {
			({ log } = tools);
			const { metrics } = tools;
			house.tell({ log, metrics });
			metrics.watchAgents(fleet.counts);
			metrics.watchLedger(() => ({ state: house.ledgerState, waiting: house.ledger.waiting }));
			const admit = agentDoor({
				tokens: agentTokens(env),
				store,
				gate: tools.gate,
				host: config.server.host,
				refuse: tools.refuse,
			});
			const door = { admit, isAdmin: (request: Request) => desk.admin.find(request.headers) !== undefined };
			const cache = answersOf(() => desk.config, sharing?.answers());
			if (cache) metrics.watchCache(() => cache.stats);
			return {
				routes: new Elysia({ name: "router" })
					.use(agentRoutes(fleet, door, () => desk.config.agents.allow))
					.use(adminRoutes(house, () => desk, log)),
				sink: sinkOf([fleet.sink, house.ledger.sink]),
				cache,
				healthNotes: (): HealthNotes => (house.ledgerState === "ok" ? {} : { ledger: house.ledgerState }),
				accountsOf(current, catalog) {
					house.use(current);
					return {
						turnstile: new AdmissionControl({ limits: current.limits, counts: house, onRefused: metrics.refused }),
						biller: createBiller((target) => catalog.listed!(target), house.clocks),
						addresses: desk.addresses,
					};
				},
				refusePage: (request, server) => desk.refusePage(request, server),
			};
		},
	};
}

/** The part of a configuration that requests meet at the doors. */
function deskOf(config: Config) {
	const admin = createAdminAccess(config.admin.keys);
	const addresses = clientAddresses(config.server.trusted_proxies);
	return { config, admin, addresses, refusePage: pageAccess(config.server, admin, addresses) };
}

/**
 * Plain addresses are called over connections of our own, whole answers too: a host that lost its power is told from a model
 * that thinks after 5 s, where fetch waits for minutes.
 */
function agentTransport(config: Config): Transport & { trust(config: Config): void } {
	const plain = http1Transport();
	let ca = readCa(config.ca_file);
	let other = httpTransport({ ca });
	return {
		send: (request, signal) => (request.url.startsWith("http:") ? plain : other).send(request, signal),
		trust({ ca_file }) {
			// A file that is renewed in its place keeps its name.
			const next = readCa(ca_file);
			if (next === ca) return;
			ca = next;
			other = httpTransport({ ca });
		},
	};
}

/** What the configuration says of `local`, its deadlines for one, holds for every agent. */
function upstreamOf(config: Config, entries: readonly CatalogEntry[]): Upstream {
	const own = entries.map(({ upstream }) => upstream).find(isLocal);
	return (own ?? configureUpstreams({ ...config, providers: {} }, {}).find(isLocal))!;
}

function isLocal({ name, type }: { name: string; type: string }): boolean {
	return name === "local" && type === "local";
}
