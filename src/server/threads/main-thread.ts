/** What the main thread of a router with several workers does besides: it answers no calls, and has what is one for the process. */
import type { AnyElysia } from "elysia";
import type { StoredKey } from "../../accounts/auth/key-store.ts";
import type { LimitsOwner } from "../../accounts/limits/handed-limits.ts";
import type { ResponseStore } from "../../api/response-writer.ts";
import { type AnswerCache, createAnswerCache } from "../../cache/cache.ts";
import { type AbandonedCalls, claimPort } from "../../cache/thread-store.ts";
import type { Config } from "../../config/schema.ts";
import type { Listening, PortPlace } from "../../http/listen.ts";
import { readTls, type TlsFiles, type TlsPair, watchTls } from "../../http/tls.ts";
import type { SharedKeyRotation } from "../../proxy/shared-key-rotation.ts";
import { sharedQueues } from "../../proxy/shared-queues.ts";
import type { SharedRoutingState } from "../../routing/shared-routing-state.ts";
import type { DirectoryLock } from "../../store/directory-lock.ts";
import type { Log } from "../../telemetry/log.ts";
import { AgentChanges } from "../agents/agent-replica.ts";
import type { RedisFeatures } from "../redis-features.ts";
import type { RedisWorkers } from "../redis-workers.ts";
import type { ReloadedRouter } from "../reload.ts";
import { beginServing, type RoleAppOptions, type RoleServices } from "../role.ts";
import type { RolePlan } from "../role-plan.ts";
import type { RouterState, StateParts } from "../router-state.ts";
import { giveBackMemory } from "../start-memory.ts";
import { takeObjects } from "./remote-objects.ts";
import { accountParts, proxyParts, type SharedMemory } from "./shared-memory.ts";
import type { WorkerReports } from "./worker-handle.ts";
import { BalancedPort, SharedPort } from "./worker-port.ts";
import { WorkerThreads } from "./worker-threads.ts";

/** How often workers are told what has changed of agents, and that their leases age, ms. */
const TELL_MS = 1_000;

/** The workers of a router that is being started. */
export interface MainThread {
	/** The cache of all threads, for what is said of it. */
	readonly cache: AnswerCache | undefined;
	/** For the main thread's app: it speaks for all threads. */
	readonly options: Pick<RoleAppOptions, "metricsText" | "instance">;
	/** What each worker has counted. */
	readonly counted: WorkerThreads["counted"];
	/**
	 * Starts the workers. From then on the process hears signals and crashes.
	 * @param app answers what is no call
	 * @param place where others listen, too
	 * @throws {StartError} as `listen` does
	 */
	serve(app: AnyElysia, services: RoleServices, lock: DirectoryLock, place: PortPlace): Promise<Listening>;
}

/** What the main thread has and workers use. */
interface MainParts {
	/** Made where there are several workers. */
	readonly memory: SharedMemory | undefined;
	/** SHA-256 of the key that the start made. */
	readonly generatedKey: Buffer | undefined;
	readonly responses: ResponseStore;
	/** Where the configuration has a Redis. */
	readonly redis: RedisFeatures | undefined;
	/** Whether the system spreads the connections of a port over workers; else this thread does. */
	readonly isSpread: boolean;
	/** Tells the console's figures. */
	readonly live: WorkerReports["live"];
}

/** What the main thread's state shares with those of workers. */
export const mainState = (memory: SharedMemory, threads: number): StateParts => ({
	threads,
	...accountParts({ thread: 0, offset: 0, memory }),
});

/** Undefined where one thread does it all. */
export function workerThreads(
	{ config, env, host, port, tls }: RolePlan,
	router: ReloadedRouter,
	{ log, metrics, upstreams, otel }: RoleServices,
	{ memory, generatedKey, responses, redis: features, isSpread, live }: MainParts,
): MainThread | undefined {
	if (!memory) return undefined;
	const redis = features?.workers(upstreams.targets as SharedRoutingState);
	const { state, agents } = router;
	const changes = new AgentChanges(agents);
	const certificate = new SharedCertificate(tls);
	const threads = new WorkerThreads({
		count: memory.facts.workers,
		memory,
		start: (thread) => ({
			...startOf(router, changes),
			env: { ...env },
			certificate: certificate.inUse,
			generatedKey: generatedKey?.toString("hex"),
			redis: redis && { name: redis.begin(thread), router: features!.router, replica: state.replica },
		}),
		log,
		metrics,
		ledger: state.ledger,
		otel: otel?.sinks ?? [],
		responses,
		tunnels: router.hub,
		tookObjects: (rows) => takeObjects(state.store, rows),
		agentNews: () => changes.next(),
		agentFailed: (agent, failure) => agents.callFailed(agent, failure),
		wake: (agent) => router.hostWakes.begin(agent),
		served: (names) => agents.servedNames.add(names),
		redis: (thread, message) => redis?.take(thread, message),
		...{ live, limits: ownerOf(state) },
	});
	countTogether(threads, state, memory);
	metrics.watchWorkers(() => threads.running);
	const cache = sharedCache(config, memory, threads, redis);
	// Last: what was claimed at Redis is given back by the worker's name there.
	if (redis) threads.onEnded((thread) => redis.ended(thread));
	tellChanges(threads, router);
	router.onReload = reconfigure(config, memory, threads, upstreams.keys as SharedKeyRotation);
	return {
		cache,
		options: { metricsText: () => threads.metricsText(), instance: memory.facts.instance },
		counted: threads.counted,
		async serve(app, services, lock, place) {
			// Before the first call: what agents have served goes nowhere else.
			agents.restore();
			const opened = isSpread ? new SharedPort(place) : new BalancedPort(host, port, tls !== undefined);
			const server = await threads.listen(app, opened);
			beginServing(server, services, lock);
			giveBackMemory();
			lookAfter(threads, services, certificate);
			return server;
		},
	};
}

/** The process that has taken over what all threads count of limits, if one has. */
const ownerOf = (state: RouterState): LimitsOwner => ({
	take: async (limits) => await state.limitsOwner?.take(limits),
	end: (end) => state.limitsOwner?.end(end),
});

/** Tells workers what changes from now on, and ends them with the process. */
function lookAfter(
	threads: WorkerThreads,
	{ lifecycle, log }: Pick<RoleServices, "lifecycle" | "log">,
	certificate: SharedCertificate,
): void {
	lifecycle.onDrain(() => threads.drain(lifecycle.state === "replaced"));
	const telling = setInterval(() => threads.tellAgents(), TELL_MS);
	lifecycle.onStop(() => clearInterval(telling));
	// Another one would have workers listen anew, also where another process has the port.
	lifecycle.onDrain(certificate.watch(threads, log));
	// A second signal ends the process at once.
	void lifecycle.finished.then(() => threads.terminate());
}

/** The certificate that all workers show. */
class SharedCertificate {
	/** Undefined for plain HTTP. */
	inUse: TlsPair | undefined;

	/** @throws {StartError} where the files hold none */
	constructor(private readonly files: TlsFiles | undefined) {
		this.inUse = files && readTls(files);
	}

	/** Has workers show another one that the files hold. Returns how to end that. */
	watch(workers: Pick<WorkerThreads, "changeCertificate">, { logger }: Pick<Log, "logger">): () => void {
		if (!this.files || !this.inUse) return () => {};
		return watchTls(this.files, this.inUse, logger, async (pair) => {
			await workers.changeCertificate(pair);
			this.inUse = pair;
		});
	}
}

/** What a worker that starts is to know, as it is at this moment. */
function startOf({ snapshot, state: { keys, store } }: ReloadedRouter, agents: AgentChanges) {
	return {
		config: snapshot.config,
		keys: keys.list().map((key) => JSON.stringify(key)),
		agents: agents.all(),
		objects: store.problem === undefined ? [] : store.objectRows(),
		writer: store.writerId,
	};
}

/** What workers are told of as soon as it has changed: keys, also those that other routers have changed, files and batches, agents. */
function tellChanges(threads: WorkerThreads, router: ReloadedRouter): void {
	const { state, agents } = router;
	const tell = (changed: readonly StoredKey[]) =>
		threads.tell({ type: "keys", keys: changed.map((key) => JSON.stringify(key)) });
	state.keys.onChange((key) => tell([key]));
	state.keys.onMerge(tell);
	state.onObjects = (rows) => threads.tell({ type: "objects", rows });
	router.onTunnel = () => threads.tellAgents();
	agents.listeners.onAdopted(afterAll(() => threads.tellAgents()));
}

/** Has limits, spending, clocks and what is known of upstreams be whole again when a worker has ended. */
function countTogether(threads: WorkerThreads, state: RouterState, memory: SharedMemory): void {
	const view = { thread: 0, offset: 0, memory };
	const { clocks, energy, endUsers, learned } = accountParts(view);
	const parts = [clocks, energy, endUsers, learned, ...Object.values(proxyParts(view))];
	threads.onEnded((thread) => {
		state.workerEnded(thread);
		for (const part of parts) part.freed(thread);
	});
}

/**
 * What a reload does to workers: queues are held to another configuration before a call comes that knows it. They are whole again when a
 * worker has ended.
 * @param config that of the start
 */
function reconfigure(
	config: Config,
	{ queues: memory }: SharedMemory,
	threads: WorkerThreads,
	keys: Pick<SharedKeyRotation, "forget">,
) {
	const queues = sharedQueues(memory, { thread: 0, offset: 0 });
	threads.onEnded((thread) => queues.freed(thread));
	queues.configure(config.models);
	return (changed: Config) => {
		queues.configure(changed.models);
		// Attempts of the configuration before may find a key refused until then.
		void threads.changeConfig(changed).then(() => keys.forget());
	};
}

/**
 * The main thread's view of the cache; undefined where there is none. It looks for nothing there, but gives back what a dead worker held of what
 * is shared of answers.
 */
function sharedCache(
	config: Config,
	{ answers, facts }: SharedMemory,
	workers: Pick<WorkerThreads, "post" | "onEnded">,
	redis: RedisWorkers | undefined,
): AnswerCache | undefined {
	if (!answers) return undefined;
	const port = claimPort((thread, message) => workers.post(thread, message));
	const abandoned: AbandonedCalls = (thread, keys) => redis?.abandoned(thread, keys);
	const view = { memory: answers, thread: 0, threads: facts.workers, port, abandoned };
	const cache = createAnswerCache(config, undefined, view);
	workers.onEnded((thread) => cache?.freed(thread));
	return cache;
}

/** Calls it once after all that is done at a time. */
function afterAll(done: () => void): () => void {
	let isDue = false;
	return () => {
		if (isDue) return;
		isDue = true;
		queueMicrotask(() => {
			isDue = false;
			done();
		});
	};
}
