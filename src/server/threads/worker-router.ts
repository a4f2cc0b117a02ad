/** The router of a worker thread: all that a call needs. What is one for the process is the main thread's, and asked for over the link. */
import { EventEmitter } from "node:events";
import { createKeyAuth, type KeyAuth } from "../../accounts/auth/keys.ts";
import { keyIn } from "../../accounts/auth/stored-keys.ts";
import { askAddressedAgents } from "../../api/model-list.ts";
import { StoredResponses } from "../../api/stored-responses.ts";
import { type ClaimPort, claimPort } from "../../cache/thread-store.ts";
import type { Config } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";
import type { BoundServer } from "../../http/listen.ts";
import { PASSING_HOST } from "../../http/passed-connections.ts";
import { PeerAddresses } from "../../http/peer-addresses.ts";
import { clockOffset } from "../../memory/shared-clock.ts";
import { agentApiHandler, agentApiRoutes } from "../agents/agent-api-route.ts";
import { tunnelRoutes } from "../agents/tunnel-route.ts";
import { watchLifecycles } from "../lifecycle-watch.ts";
import {
	beginServing,
	bindApp,
	callContext,
	createApp,
	drainingTunnels,
	type RoleAppOptions,
	type RoleServices,
} from "../role.ts";
import { plannedEntries, type RolePlan } from "../role-plan.ts";
import { workerPlan } from "../router-plan.ts";
import { RouterState, type StateParts } from "../router-state.ts";
import { runawayGuard } from "../runaway-report.ts";
import { agentUpstream, type RouterSnapshot, routerSnapshot } from "../snapshot.ts";
import { reportSuspect } from "../suspect-report.ts";
import {
	type Forward,
	forwardedMethods,
	forwardedMetrics,
	forwardedRoutes,
	onLeft,
	refusedTunnel,
} from "./forwarding.ts";
import {
	type ForwardedAnswer,
	Questions,
	type ResponseAnswer,
	type ToMain,
	type ToWorker,
	type WorkerStart,
} from "./link.ts";
import { RemoteLimits } from "./remote-limits.ts";
import { RemoteLogFile } from "./remote-log.ts";
import { tellObjects } from "./remote-objects.ts";
import { remoteResponses } from "./remote-responses.ts";
import { takeTunnelNews } from "./remote-tunnels.ts";
import { accountParts, type ThreadMemory } from "./shared-memory.ts";
import { WorkerAgents } from "./worker-agents.ts";
import { WorkerConsole } from "./worker-console.ts";
import { type WorkerRedis, workerRedis } from "./worker-redis.ts";
import { sendMetrics, type WorkerCalls, workerCache, workerCalls, workerServices } from "./worker-services.ts";

/** How often the main thread gets what was counted, ms: a worker that dies takes with it what came since. */
const METRICS_MS = 1_000;
/** How often agents that are known by their addresses are asked for their models, ms. */
const ASK_AGENTS_MS = 5_000;
/** How often a change of the database that could not be made is tried again, ms. */
const RECOVERY_MS = 5_000;
/** After connections were cut, how long their streams get to settle and log, ms. */
const SETTLE_MS = 100;

/** Sends a message to the main thread. */
type Send = (message: ToMain, transfer?: ArrayBuffer[]) => void;

type AskedOfWorker = "keys" | "agents" | "objects" | "config" | "certificate" | "confirm" | "flush" | "rows";

/** A worker's router, as its thread has it. */
export interface WorkerRouter {
	/** Takes a message of the main thread. */
	take(message: Exclude<ToWorker, WorkerStart>): void;
}

/** Makes the router, and makes it listen. @throws {StartError} where it can't */
export function startWorker(start: WorkerStart, send: Send): WorkerRouter {
	return new ThreadRouter(start, send);
}

class ThreadRouter implements WorkerRouter {
	/** The thread, as what it shares sees it. */
	readonly memory: ThreadMemory;
	readonly #requests: Questions<ToMain, ForwardedAnswer>;
	readonly #responses: Questions<ToMain, ResponseAnswer>;
	readonly #objects: Questions<ToMain, true>;
	readonly #limits = new RemoteLimits((message) => this.send(message));
	readonly #env: WorkerStart["env"];
	readonly #generated: KeyAuth | undefined;
	readonly #agents: WorkerAgents;
	readonly #state: RouterState;
	/** What calls come to. */
	readonly #calls: WorkerCalls;
	readonly #services: RoleServices;
	readonly #redis: WorkerRedis | undefined;
	readonly #forward: Forward = (request, client) =>
		this.#requests.ask({ type: "forward", request }, [], (id) => onLeft(client, () => this.send({ type: "left", id })));
	readonly #console = new WorkerConsole(
		this.#forward,
		() => this.snapshot.admin,
		(each) => this.send(each),
	);
	/** Hears of calls that other workers make. */
	readonly #claims: ClaimPort = claimPort((to, message) => this.send({ type: "claim", to, message }));
	readonly #logFile = new RemoteLogFile((lines) => this.send({ type: "lines", lines }));
	/** Says what the process was told by a signal. */
	readonly #signals = new EventEmitter();
	readonly #server: BoundServer;
	/** Ends when calls that were cut have settled. */
	#settled: Promise<unknown> = Promise.resolve();
	snapshot: RouterSnapshot;

	constructor(
		start: WorkerStart,
		private readonly send: Send,
	) {
		const { thread, config, env, memory, generatedKey, keys } = start;
		this.memory = { thread, offset: clockOffset(start.clock, () => send({ type: "clock" })), memory };
		this.#env = env;
		this.#requests = new Questions(send);
		this.#responses = new Questions(send);
		this.#objects = new Questions(send);
		const plan = { ...workerPlan(config, env), port: start.port };
		this.#services = workerServices({
			...{ settings: config.log, env },
			memory: this.memory,
			logFile: this.#logFile,
			signals: this.#signals,
			targetAt: (id) => this.snapshot.catalog.find(id)?.targets.find((target) => target.id === id),
		});
		this.#redis = workerRedis(start, send, this.#services);
		const bounds = () => this.snapshot.config.usage;
		this.#calls = workerCalls(start, this.memory, this.#services.metrics, bounds, send);
		this.#state = this.#createState(config, start.writer);
		this.#takeKeys(keys);
		// Before it is told of some: those need not be in the database.
		this.#state.store.lookForObjects();
		tellObjects(this.#state.store, start.objects, (row) => this.#objects.ask({ type: "objects", rows: [row] }));
		const { keys: stored } = this.#state;
		if (generatedKey !== undefined) {
			this.#generated = createKeyAuth([], Buffer.from(generatedKey, "hex"), undefined, stored);
		}
		const { log, metrics, upstreams, lifecycle } = this.#services;
		const upstream = agentUpstream(config, plannedEntries(plan, stored, upstreams.thinking));
		this.#agents = new WorkerAgents(start, upstream, upstreams.targets, send);
		this.snapshot = this.#snapshotOf(plan);
		lifecycle.onDrain(() => this.#console.drain());
		upstreams.suspects.refuseMs = config.poisonous_requests;
		upstreams.suspects.report = (event) => reportSuspect(event, log, metrics);
		// The main thread says how the ledger stands.
		metrics.watchLedger(() => ({ state: "ok", waiting: this.#calls.events.waiting }));
		const server = this.#listen(plan, start);
		this.#server = server;
		lifecycle.onStop(this.#open());
		void lifecycle.finished.then(() => send({ type: "stopped" }));
		send({ type: "listening", url: server.url, port: server.port });
	}

	take(message: Exclude<ToWorker, WorkerStart>): void {
		switch (message.type) {
			case "synced":
				this.#objects.answered(message.id, true);
				return;
			case "taken":
				this.#logFile.taken(message.length);
				return;
			case "response":
				this.#responses.answered(message.id, message);
				return;
			case "answered":
				this.#requests.answered(message.id, message.answer);
				return;
			case "keys":
			case "agents":
			case "objects":
			case "config":
			case "certificate":
			case "confirm":
			case "flush":
			case "rows":
				this.#takeAsked(message);
				return;
			case "claim":
				this.#claims.onMessage?.(message.message);
				return;
			case "live":
				this.#console.take(message.sample);
				return;
			case "drain":
				this.#signals.emit("SIGTERM", "SIGTERM");
				return;
			case "cut":
				this.#settled = this.#server.stop(true).then(() => Bun.sleep(SETTLE_MS));
				void this.#services.lifecycle.stop();
				return;
			case "stop":
				void this.#services.lifecycle.stop();
				return;
			default:
				if (message.type === "limits-decided") this.#limits.decided(message);
				else takeTunnelNews(this.#agents.tunnels, message);
		}
	}

	/** What the main thread waits for: it is told once that is done. */
	#takeAsked(message: Extract<ToWorker, { readonly type: AskedOfWorker }>): void {
		switch (message.type) {
			case "keys":
				this.#takeKeys(message.keys);
				this.#done(message.id);
				return;
			case "agents":
				this.#agents.replica.take(message.news);
				this.#done(message.id);
				return;
			case "objects":
				this.#state.store.takeObjects(message.rows);
				this.#done(message.id);
				return;
			case "config":
				this.#try(message.id, () => this.#reload(message.config));
				return;
			case "certificate":
				this.#try(message.id, () => this.#server.useCertificate(message.pair));
				return;
			case "confirm":
				this.#done(message.id);
				return;
			case "flush":
				void this.#sendMetrics().then(() => this.#done(message.id));
				return;
			case "rows":
				this.#calls.rows.send();
				this.#done(message.id);
				return;
		}
	}

	readonly #done = (id: number, problem?: string) => this.send({ type: "done", id, problem });

	/** Does what was asked; or says what keeps it from that. */
	#try(id: number, step: () => void): void {
		try {
			step();
			this.#done(id);
		} catch (error) {
			this.#done(id, error instanceof StartError ? error.message : String(error));
		}
	}

	#takeKeys(keys: readonly string[]): void {
		this.#state.keys.take(keys.flatMap((text) => keyIn(text) ?? []));
	}

	/** Reads the database; what is wrong with that the main thread says. */
	#createState(config: Config, writer: string): RouterState {
		const { log, metrics } = this.#services;
		const limiter: StateParts["limiter"] = (own, spent) =>
			this.#redis?.limiter(own, spent) ?? this.#limits.limiter(own);
		const parts: StateParts = { writer, ...accountParts(this.memory), limiter };
		return new RouterState(config, { problem: () => {}, log, metrics }, undefined, parts);
	}

	#snapshotOf(plan: RolePlan): RouterSnapshot {
		const { keys: stored } = this.#state;
		const auth = plan.generatesKey ? this.#generated! : createKeyAuth(plan.keys, undefined, undefined, stored);
		const { metrics, upstreams } = this.#services;
		const services = { fleet: this.#agents.fleet, state: this.#state, onRefused: metrics.refused };
		return routerSnapshot(plan.config, plannedEntries(plan, stored, upstreams.thinking), auth, services);
	}

	/** Uses another configuration, which the main thread has checked. Throws where it can't; the one before stays. */
	#reload(config: Config): void {
		const snapshot = this.#snapshotOf(workerPlan(config, this.#env));
		this.#agents.use(config, snapshot.agentUpstream);
		this.snapshot = snapshot;
		this.#services.upstreams.suspects.refuseMs = config.poisonous_requests;
	}

	#listen(plan: RolePlan, { isFirst, certificate, peers, inherited }: WorkerStart): BoundServer {
		const { log } = this.#services;
		const { tunnels, transport, replica, fleet } = this.#agents;
		const { authenticate, startPage, routes } = this.#console;
		const stored = remoteResponses(this.#responses, this.send, () => this.snapshot.config.responses);
		const options: RoleAppOptions = {
			current: this,
			sinks: [fleet.sink, this.#calls.events, this.#calls.unsettled],
			cache: workerCache(plan.config, this.memory, this.#claims, this.#redis?.answers()),
			objects: this.#state.store,
			runaways: runawayGuard(this.#state, this.#services),
			startPage,
			responses: new StoredResponses(() => this.snapshot.config.server.body_limit, stored),
			pages: (request, server) => {
				const refusal = this.snapshot.pages(request, server);
				return refusal && this.#console.isAdministrators(request, server).then((is) => (is ? undefined : refusal));
			},
			metricsText: () => forwardedMetrics(this.#forward),
			routes: {
				...forwardedRoutes(this.#forward),
				...routes,
				...agentApiRoutes(agentApiHandler({ agents: replica, agentTransport: transport, authenticate, log })),
				...tunnelRoutes(tunnels, (request, peer) => refusedTunnel(this.#forward, request, peer)),
			},
			instance: this.memory.memory.facts.instance,
			isPassed: peers !== undefined,
		};
		const app = createApp(plan, this.#services, callContext(plan, this.#services, options), options);
		app.onRequest(forwardedMethods(this.#forward));
		const moved = (port: number) => this.send({ type: "moved", port });
		const passed = peers && { peers: new PeerAddresses(peers), moved };
		const place = passed
			? { host: PASSING_HOST, port: 0, passed }
			: { sharing: isFirst ? ("first" as const) : ("further" as const), inherited };
		const server = bindApp(app, plan, this.#services, { ...place, certificate });
		const draining = drainingTunnels(server, tunnels);
		const stoppable = {
			stop: async () => {
				await draining.stop();
				await this.#settled;
			},
		};
		beginServing(stoppable, this.#services);
		return server;
	}

	/** Begins to look after what it has. Returns how to end that. */
	#open(): () => Promise<void> {
		const { keys, store } = this.#state;
		const closings = [this.#redis?.open(), keys.watch(), watchLifecycles(this)];
		const counting = setInterval(() => void this.#sendMetrics(), METRICS_MS);
		const asking = setInterval(() => askAddressedAgents(this.snapshot.catalog), ASK_AGENTS_MS);
		const recovery = setInterval(() => store.recover(), RECOVERY_MS);
		return async () => {
			clearInterval(counting);
			clearInterval(asking);
			clearInterval(recovery);
			for (const close of closings.reverse()) close?.();
			await this.#sendMetrics();
			this.#calls.rows.send();
			store.close();
		};
	}

	#sendMetrics(): Promise<void> {
		return sendMetrics(this.#services, this.#calls.events, this.send);
	}
}
