/** What both roles do to come up, step by step: log and metrics, the HTTP app, the port, the banner. Each step is given finished objects. */
import type { AnyElysia, Elysia } from "elysia";
import { crossSiteRefusal } from "../accounts/auth/csrf.ts";
import { type GeneratedKey, generatedKey } from "../accounts/auth/generated-key.ts";
import { type AgentCredential, createKeyAuth, type KeyAuth, type StoredKeyLookup } from "../accounts/auth/keys.ts";
import type { CallContext } from "../api/call-context.ts";
import { OpenConnections } from "../api/open-connections.ts";
import { apiRoutes, callHandlers, directRoutes } from "../api/routes.ts";
import { ShadowCalls } from "../api/shadow/shadow-calls.ts";
import { StoredResponses } from "../api/stored-responses.ts";
import { onCrash } from "../crash.ts";
import { type HttpBaseOptions, httpBase } from "../http/app.ts";
import type { Peers } from "../http/client-address.ts";
import { createLifecycle, type Lifecycle, type Stoppable } from "../http/lifecycle.ts";
import { type BoundServer, type Listening, type ListenOptions, listen, type PortPlace } from "../http/listen.ts";
import type { PageAccess, SignedInPageAccess } from "../http/page-access.ts";
import { refusingStrangers, routesForPassed } from "../http/passed-connections.ts";
import { requestGuard } from "../http/request-guard.ts";
import { type ProxyParts, ProxyState } from "../proxy/proxy-state.ts";
import { keyedHash } from "../routing/keyed-hash.ts";
import type { Running } from "../running.ts";
import { type DirectoryLock, lockDirectory } from "../store/directory-lock.ts";
import { unwritable } from "../store/private-file.ts";
import { snapshotKey } from "../store/snapshot-key.ts";
import type { Sink } from "../telemetry/events.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import type { ThreadTunnels } from "./agents/tunnels.ts";
import { createOtel, type OtelExport, otelLines } from "./otel.ts";
import { REPLACE, type RolePlan } from "./role-plan.ts";
import type { CurrentSnapshot } from "./snapshot.ts";
import { giveBackMemory } from "./start-memory.ts";

/** How often it is looked whether a server that stops has had its last call, ms. */
const DRAIN_POLL_MS = 20;

/** Of WebSockets: one whose client gives no sign of life for so long, s, is closed. Compressing each takes memory for as long as it is open. */
const SOCKETS = { idleTimeout: 120, perMessageDeflate: false } as const;

/** What a process has of either role, whatever is loaded meanwhile. */
export interface RoleServices {
	/** Its file is opened at the first line. */
	readonly log: Log;
	/** Reports what may go wrong before the port is this process's: it is logged once it is. */
	readonly problems: StartProblems;
	readonly metrics: Metrics;
	readonly lifecycle: Lifecycle;
	/** What is known of upstreams. */
	readonly upstreams: ProxyState;
	/** What is sent of calls to an OpenTelemetry collector; absent where nothing is. A worker thread has what its calls need alone. */
	readonly otel?: Pick<OtelExport, "tracer"> & Partial<OtelExport>;
}

/** The app, and whose it is. */
export interface RoleAppOptions {
	/** Where calls are answered by. */
	readonly current: CurrentSnapshot;
	/** Hear of calls, besides metrics and log. */
	readonly sinks: readonly Partial<Sink>[];
	readonly cache?: CallContext["cache"];
	readonly objects?: CallContext["objects"];
	/** Responses that are stored; those of a connection alone unless given. */
	readonly responses?: StoredResponses;
	/** Why a request for metrics or Swagger is refused, besides cross-site requests. */
	readonly pages?: SignedInPageAccess;
	/** The text of `/metrics`; that of the services unless given. */
	readonly metricsText?: () => Promise<string>;
	readonly runaways?: CallContext["runaways"];
	readonly healthNotes?: HttpBaseOptions["healthNotes"];
	/** Answers `GET /` of a browser. */
	readonly startPage?: CallContext["startPage"];
	/** Further routes of Bun's router, by path and method. */
	readonly routes?: Readonly<Record<string, Readonly<Record<string, BunRoute>>>>;
	/** The server among routers; another at each start unless given. */
	readonly instance?: string;
	/** Another thread accepts the connections: nobody else's are answered. */
	readonly isPassed?: boolean;
}

/** Answers a request without Elysia. Never rejects. */
type BunRoute = (request: Request, server: Peers) => Response | Promise<Response>;

/**
 * Starts a role while no other process of it has its data directory.
 * @param start gets the lock, and gives it up as soon as the process no longer wants calls; what it throws gives it up, too
 * @throws {StartError} naming the holder
 */
export async function startLocked<R extends Running>(
	{ config, role, env }: RolePlan,
	start: (lock: DirectoryLock) => R | Promise<R>,
): Promise<R> {
	const isSuccessor = env["ROUTER_SUCCESSOR"] === "1" || env[REPLACE] === "1";
	const lock = lockDirectory(config.data_dir, role, isSuccessor);
	try {
		return await start(lock);
	} catch (error) {
		lock.release();
		throw error;
	}
}

/**
 * Opens nothing yet: a second instance that fails on the port must neither touch nor rotate the log file of the first.
 * @param parts what several threads know together
 */
export function createServices(plan: RolePlan, parts?: ProxyParts): RoleServices {
	const { role, config } = plan;
	const metrics = createMetrics(role);
	const log = createLog({ ...config.log, role, onFailure: metrics.logFailure });
	const { drain: drainMs, shutdown_timeout: shutdownMs } = config.server;
	const upstreams = new ProxyState(parts);
	metrics.watchTargets(upstreams.targets);
	const lifecycle = createLifecycle({ drainMs, shutdownMs, log });
	const otel = createOtel(plan, { log, metrics });
	return { log, problems: new StartProblems(log), metrics, lifecycle, upstreams, ...(otel && { otel }) };
}

/** Problems of a start: held until the log may be written. */
export class StartProblems {
	#held: string[] | undefined = [];

	constructor(private readonly log: Pick<Log, "logger">) {}

	/** Logs a sentence, now or once the port is bound. */
	report(sentence: string): void {
		if (this.#held) this.#held.push(sentence);
		else this.log.logger.error(sentence);
	}

	/** The log may be written from now on. */
	release(): void {
		const held = this.#held ?? [];
		this.#held = undefined;
		for (const sentence of held) this.report(sentence);
	}
}

/** Who may call from the start on, and the key that was made for it where none is configured. */
export function startAuth(
	{ config, keys, generatesKey }: RolePlan,
	{ storedKeys, agent }: { readonly storedKeys?: StoredKeyLookup; readonly agent?: AgentCredential },
): { readonly auth: KeyAuth; readonly generated?: GeneratedKey } {
	if (!generatesKey) return { auth: createKeyAuth(keys, undefined, agent, storedKeys) };
	const generated = generatedKey(config.data_dir);
	return { auth: createKeyAuth([], generated.hash, undefined, storedKeys), generated };
}

/** Why a cross-site request of a web page is refused where there are no keys, by the snapshot in force. */
export function crossSiteRule(current: CurrentSnapshot): PageAccess {
	return (request) => {
		const { auth, config } = current.snapshot;
		return crossSiteRefusal(auth, request, config);
	};
}

/** What the API's routes work with. */
export function callContext({ role, config }: RolePlan, services: RoleServices, options: RoleAppOptions): CallContext {
	const { metrics, log, upstreams, lifecycle, otel } = services;
	const { current, sinks, cache, objects, runaways, startPage, instance = crypto.randomUUID().slice(0, 8) } = options;
	const { responses = new StoredResponses(() => current.snapshot.config.server.body_limit) } = options;
	const connections = new OpenConnections();
	lifecycle.onDrain(() => connections.drain(lifecycle.state === "replaced"));
	const onFault = (id: string, error: unknown) => log.logger.error({ id, err: error }, "the router failed on a call");
	const all = [metrics.sink, log.sink, ...(otel?.sinks ?? []), ...sinks];
	const shadows = role === "router" ? new ShadowCalls({ state: upstreams, sinks: all, onFault }) : undefined;
	if (shadows) lifecycle.onDrain(() => shadows.drain());
	return {
		...{ current, objects, shadows, instance, cache, responses, connections, runaways, startPage, onFault },
		sinks: all,
		tracer: otel?.tracer,
		state: upstreams,
		isBehindRouter: role === "agent",
		onPlanned: metrics.planned,
		snapshotHash: role === "router" ? keyedHash(() => snapshotKey(config.data_dir)) : undefined,
	};
}

/** The app of a role with all that both serve. The role adds its own routes. */
export function createApp(
	{ role, config, title, description }: RolePlan,
	{ metrics, log, lifecycle, upstreams }: RoleServices,
	context: CallContext,
	{ current, pages, metricsText = metrics.text, healthNotes, routes = {}, isPassed = false }: RoleAppOptions,
): Elysia {
	metrics.watchProxy({
		waiting: () => upstreams.waiting(),
		keysOut: () => upstreams.keysOut(current.snapshot.catalog.entries),
	});
	const crossSite = crossSiteRule(current);
	const open = requestGuard(config.server.cors_origins, lifecycle);
	const guard = isPassed ? refusingStrangers(open) : open;
	const app = httpBase({
		role,
		version: VERSION,
		guard,
		metrics: { contentType: metrics.contentType, text: metricsText },
		log,
		lifecycle,
		isTls: config.server.tls !== undefined,
		title,
		description,
		healthNotes,
		refuse: (request, server) => crossSite(request, server) ?? pages?.(request, server),
	});
	const calls = callHandlers(context);
	app.use(apiRoutes(context, undefined, calls));
	app.config.serve = { routes: { ...directRoutes(calls, guard), ...(isPassed ? routesForPassed(routes) : routes) } };
	app.config.websocket = { ...SOCKETS, maxPayloadLength: config.server.body_limit };
	return app;
}

/**
 * Makes the app listen. From then on the process hears signals and crashes, and its log may be written.
 * @param place where others listen, too, or may later, or a socket besides; the plan's port alone unless given
 * @throws {StartError} as `listen` does
 */
export function serve(
	app: AnyElysia,
	plan: RolePlan,
	services: RoleServices,
	lock: DirectoryLock,
	tunnels?: DrainListener,
	place?: Partial<PortPlace> & Pick<ListenOptions, "socket">,
): BoundServer {
	const server = bindApp(app, plan, services, place);
	services.lifecycle.onDrain(() => server.keepCertificate());
	beginServing(tunnels ? drainingTunnels(server, tunnels) : server, services, lock);
	return server;
}

/** Who wants to know that a server which stops has had its last call; WebSockets of its own are no calls. */
type DrainListener = Pick<ThreadTunnels, "drained" | "size">;

/** What is asked of one that stops. */
type DrainingServer = Pick<BoundServer, "stop" | "pendingRequests" | "pendingWebSockets">;

/** A server that waits for its calls when it stops, and then for its agents' tunnels, which end only once they are told of that. */
export function drainingTunnels(server: DrainingServer, tunnels: DrainListener): Stoppable {
	return {
		async stop(isCut) {
			const timer = setInterval(() => {
				const { pendingRequests, pendingWebSockets } = server;
				if (pendingRequests === 0 && pendingWebSockets <= tunnels.size) tunnels.drained();
			}, DRAIN_POLL_MS);
			await server.stop(isCut);
			clearInterval(timer);
			tunnels.drained();
		},
	};
}

/** Makes the app listen. @param place what is another way than planned: in a worker thread, or where others listen @throws {StartError} as `listen` does */
export function bindApp(
	app: AnyElysia,
	{ host, port, tls, config }: RolePlan,
	{ log }: Pick<RoleServices, "log">,
	place?: Partial<Pick<ListenOptions, "host" | "port" | "sharing" | "passed" | "certificate" | "socket" | "inherited">>,
): BoundServer {
	const server = listen(app, { host, port, tls, bodyLimit: config.server.body_limit, log, ...place });
	giveBackMemory(() => server.pendingRequests === 0);
	return server;
}

/** The port is this process's: hears signals and crashes. @param lock given up once calls are no longer wanted */
export function beginServing(
	server: Stoppable,
	{ log, problems, metrics, lifecycle }: RoleServices,
	lock?: Pick<DirectoryLock, "release">,
): void {
	problems.release();
	lifecycle.started(server);
	// Whoever starts from now on takes this one's place.
	lifecycle.onDrain(() => lock?.release());
	lifecycle.onStop(
		onCrash((_kind, line) => {
			metrics.crash();
			log.logger.error(line);
		}),
	);
}

/** Logs that the role listens, and puts its banner together. A key that was made now is kept, and shown this once. */
export function announce(
	plan: RolePlan,
	{ log, lifecycle, otel }: RoleServices,
	{ url }: Listening,
	lock: DirectoryLock,
	{
		generated,
		traced = [],
	}: { readonly generated?: GeneratedKey | undefined; readonly traced?: readonly string[] } = {},
): Running {
	const { role, config, env, workers } = plan;
	// Kept once the port is ours: a start that fails must not use up the one time that the key is shown.
	const keyLines = generated ? keyBanner(generated) : [];
	log.logger.info({ url, version: VERSION, role, ...(role === "router" && { workers }) }, "listening");
	logLock(lock, plan, log);
	// Last: a collector that is away takes no time from the ledger.
	if (otel?.open) lifecycle.onStop(otel.open());
	const { file, problem } = log.open();
	const files = [
		file ? `log      ${file}` : `log      stdout only: ${problem}`,
		...(role === "router" ? [`data     ${config.data_dir}${unwritableNote(config.data_dir)}`] : []),
		...otelLines(env, traced).map(([word, text]) => `${word.padEnd(8)} ${text}`),
	];
	return {
		role,
		url,
		lines: [...plan.lines, ...files, ...keyLines],
		stop: () => lifecycle.stop(),
		finished: lifecycle.finished,
	};
}

/** Says who else may write to the data directory. */
function logLock(
	{ waitsFor, problem, onEnd }: DirectoryLock,
	{ config, role, env }: RolePlan,
	{ logger }: Pick<Log, "logger">,
): void {
	const unlockable = (why: string) =>
		logger.info(`${config.data_dir} can't be locked (${why}): no other ${role} is kept from using it`);
	if (problem !== undefined) unlockable(problem);
	if (waitsFor === undefined) return;
	if (env[REPLACE] !== "1")
		logger.warn(
			`another ${role} still holds ${config.data_dir} (${waitsFor}); this one waits for it (ROUTER_SUCCESSOR=1), and both write until then`,
		);
	onEnd((why) => {
		if (why === undefined) logger.info(`${config.data_dir} is held by this ${role} now`);
		else unlockable(why);
	});
}

/** Keeps a new key, and says in the banner what it is. */
function keyBanner({ secret, keep }: GeneratedKey): string[] {
	if (!secret) return [];
	const problem = keep();
	const shown = `API key  ${secret}   (made now, shown only this once)`;
	return problem ? [shown, `         it can't be kept (${problem}): the next start makes another`] : [shown];
}

/** What the banner adds where a directory, or the nearest one above it, can't be written; "" where it can. */
function unwritableNote(directory: string): string {
	const code = unwritable(directory);
	return code ? `   (can't be written: ${code}; what is new waits in memory until it can)` : "";
}
