/** What requests are answered by, made of one configuration. Immutable: a reload makes another, and a call keeps the one it began with. */

import { type AdminAccess, createAdminAccess } from "../accounts/auth/admin-access.ts";
import type { KeyStore } from "../accounts/auth/key-store.ts";
import type { KeyAuth } from "../accounts/auth/keys.ts";
import { AdmissionControl, type AdmissionOptions } from "../accounts/limits/admission.ts";
import type { Runaways } from "../accounts/runaway/runaways.ts";
import type { UsageServices } from "../accounts/usage/call-cost.ts";
import { PriceBook } from "../accounts/usage/price-book.ts";
import type { Accounts, CallSnapshot } from "../api/call-context.ts";
import type { Config } from "../config/schema.ts";
import { clientAddresses } from "../http/client-address.ts";
import { type PageAccess, pageAccess } from "../http/page-access.ts";
import { configureUpstreams, type Upstream } from "../providers/registry.ts";
import type { Fleet } from "../routing/agent-targets.ts";
import { type CatalogEntry, createCatalog } from "../routing/catalog.ts";

/** Holds the snapshot in force. A request reads it once; a reload puts another in its place. */
export interface CurrentSnapshot<S extends CallSnapshot = CallSnapshot> {
	readonly snapshot: S;
}

/** What the router answers by. */
export interface RouterSnapshot extends CallSnapshot {
	readonly accounts: Accounts;
	readonly admin: AdminAccess;
	/** Who may see `/metrics` and `/swagger`. */
	readonly pages: PageAccess;
	/** What all agents have in common: the provider `local`. */
	readonly agentUpstream: Upstream;
}

/** What outlives a snapshot, and what it is made with. */
export interface SnapshotServices {
	readonly fleet: Fleet;
	readonly state: AdmissionOptions["counters"] &
		Pick<UsageServices, "learned" | "clocks" | "energy"> & {
			readonly runaways?: Pick<Runaways, "overspent">;
			/** Made at run time: some are viewers'. */
			readonly keys?: Pick<KeyStore, "find" | "list">;
		};
	readonly onRefused: AdmissionOptions["onRefused"];
}

/** The snapshot of a configuration. Opens nothing. Throws FindingsError with each target of `models:` that leads nowhere. */
export function routerSnapshot(
	config: Config,
	entries: readonly CatalogEntry[],
	auth: KeyAuth,
	{ fleet, state, onRefused }: SnapshotServices,
): RouterSnapshot {
	const prices = new PriceBook(config.prices);
	const catalog = createCatalog(config, entries, fleet, prices);
	const admin = createAdminAccess(config.admin.keys, state.keys);
	const addresses = clientAddresses(config.server.trusted_proxies);
	return {
		config,
		catalog,
		auth,
		accounts: {
			admission: new AdmissionControl({
				limits: config.limits,
				counters: state,
				onSessionSpent: (spent) => state.runaways?.overspent(spent),
				...(onRefused ? { onRefused } : {}),
			}),
			usage: { prices, learned: state.learned, clocks: state.clocks, energy: state.energy },
			addresses,
		},
		admin,
		pages: pageAccess(config.server, admin, addresses),
		agentUpstream: agentUpstream(config, entries),
	};
}

/** What the configuration says of `local`, its deadlines for one, holds for every agent. */
export function agentUpstream(config: Config, entries: readonly CatalogEntry[]): Upstream {
	const configured = entries.map(({ upstream }) => upstream).find(isAgents);
	return (configured ?? configureUpstreams({ ...config, providers: {} }, {}).find(isAgents))!;
}

function isAgents({ name, type }: { name: string; type: string }): boolean {
	return name === "local" && type === "local";
}
