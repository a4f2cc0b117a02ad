/** The router role, put together: log, store, accounts, fleet, catalog and app, in that order. */

import { Elysia } from "elysia";
import { agentSecrets } from "../accounts/auth/agent-secrets.ts";
import { askAddressedAgents } from "../api/model-list.ts";
import { ResponseWriter } from "../api/response-writer.ts";
import { StoredResponses } from "../api/stored-responses.ts";
import { type AnswerCache, createAnswerCache } from "../cache/cache.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { HealthNotes } from "../http/health.ts";
import { type Lifecycle, untilReplaced } from "../http/lifecycle.ts";
import type { AgentRegistrar } from "../protocol/agent.ts";
import type { Upstream } from "../providers/registry.ts";
import { readCa } from "../proxy/net/transport.ts";
import { LocalRoutingState } from "../routing/local-routing-state.ts";
import type { Running } from "../running.ts";
import type { DirectoryLock } from "../store/directory-lock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { adminRoutes } from "./admin/admin-routes.ts";
import type { Administrators } from "./admin/administrators.ts";
import { configurationRoutes } from "./admin/configuration-routes.ts";
import { PastCalls } from "./admin/past-calls.ts";
import { AgentAccess } from "./agents/agent-access.ts";
import { agentApiHandler, ownApiPlugin } from "./agents/agent-api-route.ts";
import { AgentPrefixes } from "./agents/agent-prefixes.ts";
import { AgentRegistry } from "./agents/agent-registry.ts";
import { admitTunnel, agentRoutes, inProcessRegistrar, namedAgent, replicaRoutes } from "./agents/agent-routes.ts";
import { AgentTransport } from "./agents/agent-transport.ts";
import { watchPower } from "./agents/engine-power.ts";
import { AgentFleet } from "./agents/fleet.ts";
import { HostWakes, WakingHosts } from "./agents/host-wakes.ts";
import { RefusedAgents } from "./agents/refused-agents.ts";
import { ReplicaScaler } from "./agents/replica-scaler.ts";
import { sharePrefixes } from "./agents/shared-agent-prefixes.ts";
import { shareAgents } from "./agents/shared-agents.ts";
import { scalingPeers } from "./agents/shared-goals.ts";
import { tunnelRoutes } from "./agents/tunnel-route.ts";
import { TunnelHub } from "./agents/tunnels.ts";
import { createConsole } from "./console/create-console.ts";
import { watchLifecycles } from "./lifecycle-watch.ts";
import { tracedKeys } from "./otel.ts";
import { type RedisFeatures, redisFeatures } from "./redis-features.ts";
import { LiveConfiguration, type ReloadedRouter, watchConfiguration } from "./reload.ts";
import {
	announce,
	callContext,
	createApp,
	createServices,
	type RoleAppOptions,
	type RoleServices,
	serve,
	startAuth,
	startLocked,
} from "./role.ts";
import { plannedEntries, type RolePlan } from "./role-plan.ts";
import { routerPlan } from "./router-plan.ts";
import { RouterState } from "./router-state.ts";
import { runawayGuard, spendingWatch } from "./runaway-report.ts";
import { agentUpstream, routerSnapshot } from "./snapshot.ts";
import { reportSuspect } from "./suspect-report.ts";
import { mainState, workerThreads } from "./threads/main-thread.ts";
import { createSharedMemory, proxyParts } from "./threads/shared-memory.ts";
import { spreadsConnections } from "./threads/worker-count.ts";
import { Takeover } from "./upgrade/takeover.ts";

/** How often it is looked which other routers there are, ms: agents open a tunnel to each. */
const OTHERS_MS = 1_000;
/** How often agents that are known by their addresses are asked for their models, ms. Registered ones say them about as often. */
const ASK_AGENTS_MS = 5_000;

/** The running router. */
export interface RunningRouter extends Running {
	/** Where the agent of this process registers. */
	readonly registrar: AgentRegistrar;
}

/**
 * Starts the router. Throws StartError (port taken, no key on a public address, a base URL that leads back here).
 * @param isSpread whether the system spreads the connections of a port over several workers; else the main thread does
 */
export async function startRouter(
	loaded: Loaded,
	env: Environment,
	isSpread: boolean = spreadsConnections(),
): Promise<RunningRouter> {
	const plan = routerPlan(loaded.config, env);
	return startLocked(plan, (lock) => createRouter(plan, loaded, lock, isSpread));
}

async function createRouter(
	plan: RolePlan,
	loaded: Loaded,
	lock: DirectoryLock,
	isSpread: boolean,
): Promise<RunningRouter> {
	const { config, env, workers } = plan;
	const takeover = await Takeover.of(plan, loaded.role, lock, isSpread);
	const memory = workers > 1 ? createSharedMemory(config, workers) : undefined;
	const services = createServices(plan, memory && proxyParts({ thread: 0, offset: 0, memory }));
	const { log, problems, metrics, lifecycle } = services;
	const redis = sharedRedis(config, services);
	const parts = memory && mainState(memory, workers);
	const state = new RouterState(config, { problem: (text) => problems.report(text), log, metrics }, redis, parts);
	const entries = plannedEntries(plan, state.keys, services.upstreams.thinking);
	const { secrets, ...ofAgents } = createAgents(config, services, state, redis, agentUpstream(config, entries));
	const { agents, fleet, hub, tunnels } = ofAgents;
	const { auth, generated } = startAuth(plan, { storedKeys: state.keys });
	const snapshot = routerSnapshot(config, entries, auth, { fleet, state, onRefused: metrics.refused });
	const { suspects, thinking, targets } = services.upstreams;
	watchSuspects(config, services, agents);
	const served = { ...ofAgents, suspects, thinking, generatedAuth: generated && auth };
	const router: ReloadedRouter = { snapshot, env, state, ...served, log, metrics };
	hub.onChange = (agent) => void agents.tunnelChanged(agent).then(() => router.onTunnel?.());
	const responses = responseWriter(router, redis, lifecycle);
	const counted = async () => [await metrics.values(), ...(threads?.counted() ?? [])];
	const shown = createConsole({ current: router, services, secrets, redis, counted });
	const shared = { memory, generatedKey: generated?.hash, responses, redis, isSpread, live: shown.feed.subscribe };
	const threads = workerThreads(plan, router, services, shared);
	const cache = threads?.cache ?? createAnswerCache(config, redis?.answers());
	watchCounts(metrics, state, cache);
	const access = agentAccess(router, shown.administrators);
	const options: RoleAppOptions = {
		current: router,
		routes: tunnelRoutes(tunnels, async (request, peer) => void (await admitTunnel(request, peer, agents, access))),
		responses: new StoredResponses(() => router.snapshot.config.server.body_limit, responses),
		sinks: [fleet.sink, state.ledger],
		...{ cache, objects: state.store, runaways: runawayGuard(state, services) },
		startPage: shown.startPage,
		pages: shown.pages,
		healthNotes: (): HealthNotes => (state.ledgerState === "ok" ? {} : { ledger: state.ledgerState }),
		...threads?.options,
	};
	const live = new LiveConfiguration(router, loaded);
	const routes = new Elysia({ name: "router" })
		.use(agentRoutes(agents, fleet, access, router))
		.use(replicaRoutes(replicaScaler(router, services, redis), access))
		.use(ownApiPlugin(agentApiHandler({ ...ofAgents, authenticate: shown.authenticate, log })))
		.use(administration(router, live, pastCalls(state, redis), shown.administrators))
		.use(shown.routes);
	const app = createApp(plan, services, callContext(plan, services, options), options).use(routes);
	const place = await takeover.place({ state, targets, agents, hub, hasRedis: redis !== undefined });
	const server = threads
		? await threads.serve(app, services, lock, place)
		: serve(app, plan, services, lock, tunnels, place);
	openRouter(router, live, lifecycle, redis);
	await takeover.opened({ router, services, server, hasRedis: redis !== undefined });
	const traced = tracedKeys(config, state.keys.list());
	return { ...announce(plan, services, server, lock, { generated, traced }), registrar: inProcessRegistrar(agents) };
}

/** Who may register agents; whoever may not is told in the log. */
function agentAccess(router: ReloadedRouter, administrators: Administrators): AgentAccess {
	const { agents, env, log, state } = router;
	const refused = new RefusedAgents(agents.agents, log);
	return new AgentAccess(env, state.store, router, administrators, (request, peer, why) =>
		refused.refused(namedAgent(request), peer, why),
	);
}

/** What may kill engines is refused, and told. */
function watchSuspects(config: Config, { upstreams, log, metrics }: RoleServices, agents: AgentRegistry): void {
	const { suspects } = upstreams;
	suspects.refuseMs = config.poisonous_requests;
	suspects.report = (event) => reportSuspect(event, log, metrics);
	agents.listeners.onReady((target, isAgain) => suspects.reportedReady(target, isAgain));
}

/** `/admin/…`. */
function administration(
	router: ReloadedRouter,
	live: LiveConfiguration,
	calls: PastCalls,
	administrators: Administrators,
) {
	return new Elysia({ name: "administration" })
		.use(adminRoutes(router.state, calls, router, administrators, router.log))
		.use(configurationRoutes(live, administrators, { ...router, keys: router.state.keys }));
}

/** What `/metrics` reads besides what it is told. */
function watchCounts(metrics: Metrics, state: RouterState, cache: AnswerCache | undefined): void {
	metrics.watchLedger(() => ({ state: state.ledgerState, waiting: state.ledger.waiting }));
	if (cache) metrics.watchCache(() => cache.stats);
	metrics.watchEnergy(() => state.energy.sums());
}

/** What the router has of agents. */
function createAgents(
	config: Config,
	{ log, problems, upstreams, metrics }: RoleServices,
	{ store }: RouterState,
	redis: RedisFeatures | undefined,
	upstream: Upstream,
) {
	const hub = new TunnelHub(redis?.router);
	const tunnels = hub.thread(0);
	const secrets = agentSecrets(config.data_dir, (sentence) => problems.report(sentence));
	const transport = new AgentTransport(readCa(config.ca_file), tunnels);
	const prefixes = new AgentPrefixes(upstreams.targets);
	const agents = new AgentRegistry({ upstream, transport, store, secrets, log, link: redis, tunnels: hub, prefixes });
	if (redis) {
		shareAgents(redis, agents, store, secrets);
		sharePrefixes(redis.channel("agent-prefixes"), agents.agents, prefixes);
	}
	const hostWakes = new HostWakes({ registry: agents, log, ended: metrics.hostWoken });
	const hosts = new WakingHosts(agents, (agent) => hostWakes.begin(agent));
	const fleet = new AgentFleet(agents, upstreams.targets, undefined, hosts);
	fleet.bounds = config.agents.replicas;
	fleet.router = () => hub.router;
	metrics.watchAgents(fleet.counts);
	agents.listeners.onLost((target) => upstreams.targets.restarted(target));
	return { hub, tunnels, agentTransport: transport, agents, fleet, hostWakes, secrets };
}

/** Begins to look after what the router has, until it stops. */
function openRouter(
	router: ReloadedRouter,
	live: LiveConfiguration,
	lifecycle: Pick<Lifecycle, "onStop" | "onDrain" | "state">,
	redis: RedisFeatures | undefined,
): void {
	const { state, agents, hostWakes, hub } = router;
	state.onSpent = spendingWatch(state.runaways, router, router.log);
	lifecycle.onStop(watchPower(agents, state.energy, hub.router));
	const closeState = state.open();
	// Agents speak to the process that has the place.
	const closeAgents = untilReplaced(lifecycle, agents.open());
	untilReplaced(lifecycle, () => hostWakes.replaced());
	lifecycle.onStop(hostWakes.open(() => router.snapshot.config.agents));
	const asking = setInterval(() => askAddressedAgents(router.snapshot.catalog), ASK_AGENTS_MS);
	lifecycle.onStop(() => clearInterval(asking));
	lifecycle.onStop(watchLifecycles(router, router));
	const telling = redis && setInterval(() => hub.know(redis.others()), OTHERS_MS);
	lifecycle.onStop(() => clearInterval(telling));
	let isReplaced = false;
	untilReplaced(lifecycle, () => {
		isReplaced = true;
	});
	lifecycle.onStop(async () => {
		await closeState();
		closeAgents();
		// Where another process has the place it writes, and would wait.
		if (!isReplaced) await state.store.finishLog();
		state.store.close();
	});
	lifecycle.onStop(watchConfiguration(live));
}

/**
 * The Redis of a configuration, over which targets are chosen by what all routers know; with worker threads these do the rest of that. Throws
 * what `redisFeatures` does.
 */
function sharedRedis(config: Config, services: RoleServices): RedisFeatures | undefined {
	const redis = redisFeatures(config, services);
	const { targets } = services.upstreams;
	if (targets instanceof LocalRoutingState) redis?.routing(targets);
	return redis;
}

/** Has replicas loaded and unloaded as the configuration in force says; of several routers one decides. */
function replicaScaler(
	router: ReloadedRouter,
	{ upstreams, log, lifecycle }: RoleServices,
	redis: RedisFeatures | undefined,
): ReplicaScaler {
	const scaler: ReplicaScaler = new ReplicaScaler({
		agents: router.agents,
		states: upstreams.targets,
		bounds: () => router.snapshot.config.agents.replicas,
		peers: redis && scalingPeers(redis, () => scaler, { now: () => router.agents.now(), log }),
		wake: (agent, why) => router.hostWakes.begin(agent, why),
		log,
	});
	lifecycle.onStop(untilReplaced(lifecycle, scaler.open()));
	return scaler;
}

/** The calls of the ledger, and of the other routers of the Redis. */
function pastCalls({ ledger, replica }: RouterState, redis: RedisFeatures | undefined): PastCalls {
	return new PastCalls(ledger, replica, redis && ((answer) => redis.questions("calls", answer)));
}

/** Responses that clients go on from, as long as the configuration in force says. What waits is written before the store is closed. */
function responseWriter(
	router: ReloadedRouter,
	redis: RedisFeatures | undefined,
	lifecycle: Pick<Lifecycle, "onStop">,
): ResponseWriter {
	const writer = new ResponseWriter({
		table: router.state.store.responses,
		shared: redis?.responses(),
		settings: () => router.snapshot.config.responses,
	});
	lifecycle.onStop(writer.open());
	return writer;
}
