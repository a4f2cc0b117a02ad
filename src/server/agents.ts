/** The router's agents, put together: their catalog, their routes, and what is kept of them. */
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { type AgentSecrets, agentSecrets } from "../gate/agent-secrets.ts";
import type { RoleCatalog } from "../http/role-plan.ts";
import type { Transport } from "../providers/provider.ts";
import { configureUpstreams, type Upstream } from "../providers/registry.ts";
import { http1Transport } from "../proxy/http1-transport.ts";
import { httpTransport } from "../proxy/transport.ts";
import { type CatalogEntry, createCatalog } from "../routing/catalog.ts";
import { sqliteStore } from "../store/sqlite.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { agentDoor } from "./agent-door.ts";
import { agentRoutes } from "./agent-routes.ts";
import { answersOf } from "./answers.ts";
import { AgentFleet } from "./fleet.ts";
import { shareAgents } from "./shared-agents.ts";
import { sharingOf } from "./sharing.ts";

/** The catalog of the configuration and of the agents that register. Opens nothing. Throws what createCatalog does. */
export function routerCatalog(config: Config, env: Environment, entries: readonly CatalogEntry[]): RoleCatalog {
	let log: Pick<Log, "logger"> | undefined;
	let secrets: AgentSecrets | undefined;
	let live = config;
	let { allow } = config.agents;
	let metrics: Metrics | undefined;
	const store = sqliteStore(config.data_dir, (problem) => log?.logger.error(problem));
	const sharing = sharingOf(config, () => (log && metrics ? { log, metrics } : undefined));
	const secretsOf = () => {
		if (!secrets) {
			secrets = agentSecrets(config.data_dir);
			if (secrets.problem) log?.logger.error(secrets.problem);
		}
		return secrets;
	};
	const fleet = new AgentFleet({
		upstream: upstreamOf(config, entries),
		transport: agentTransport(),
		store,
		secrets: secretsOf,
		...(sharing ? { isCutOff: () => !sharing.isUp } : {}),
	});
	if (sharing) shareAgents(sharing, fleet, store, secretsOf);
	return {
		...createCatalog(config, entries, fleet),
		renewed(next, nextEntries) {
			const catalog = createCatalog(next, nextEntries, fleet);
			live = next;
			({ allow } = next.agents);
			fleet.callAs(upstreamOf(next, nextEntries));
			return catalog;
		},
		watch() {
			const close = fleet.open(log!);
			const closeSharing = sharing?.open();
			return () => {
				closeSharing?.();
				close();
			};
		},
		extension(tools) {
			({ log, metrics } = tools);
			tools.metrics.watchAgents(fleet.counts);
			const admit = agentDoor({
				token: env["ROUTER_AGENT_TOKEN"],
				store,
				gate: tools.gate,
				host: config.server.host,
				refuse: tools.refuse,
			});
			const cache = answersOf(() => live, sharing?.answers());
			if (cache) tools.metrics.watchCache(() => cache.stats);
			return { routes: agentRoutes(fleet, admit, () => allow), sink: fleet.sink, cache };
		},
	};
}

/**
 * Plain addresses are called over connections of our own, whole answers too: a host that lost its power is told from a model
 * that thinks after 5 s, where fetch waits for minutes.
 */
function agentTransport(): Transport {
	const plain = http1Transport();
	const other = httpTransport({ isInternal: true, proxyFor: () => undefined });
	return { send: (request, signal) => (request.url.startsWith("http:") ? plain : other).send(request, signal) };
}

/** What the configuration says of `local`, its deadlines for one, holds for every agent. */
function upstreamOf(config: Config, entries: readonly CatalogEntry[]): Upstream {
	const own = entries.map(({ upstream }) => upstream).find(isLocal);
	return (own ?? configureUpstreams({ ...config, providers: {} }, {}).find(isLocal))!;
}

function isLocal({ name, type }: { name: string; type: string }): boolean {
	return name === "local" && type === "local";
}
