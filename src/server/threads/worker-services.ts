/** What a worker has of a process's services: it counts for itself, logs to the main thread, and stops as that says. */
import type { EventEmitter } from "node:events";
import type { LedgerBounds } from "../../accounts/usage/ledger-bounds.ts";
import { EndUsers } from "../../accounts/usage/ledger-rows.ts";
import { RowMaker } from "../../accounts/usage/row-maker.ts";
import { sharedEndUsers } from "../../accounts/usage/shared-end-users.ts";
import { type AnswerCache, createAnswerCache } from "../../cache/cache.ts";
import type { SharedStore } from "../../cache/shared-store.ts";
import type { ClaimPort } from "../../cache/thread-store.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { Config } from "../../config/schema.ts";
import { createLifecycle } from "../../http/lifecycle.ts";
import { ProxyState } from "../../proxy/proxy-state.ts";
import { sharedQueues } from "../../proxy/shared-queues.ts";
import type { SharedSuspects } from "../../proxy/shared-suspects.ts";
import { EventQueue } from "../../telemetry/event-queue.ts";
import { createMetrics, type Metrics } from "../../telemetry/metrics.ts";
import { UnsettledCalls } from "../../telemetry/unsettled-calls.ts";
import { workerTracer } from "../otel.ts";
import { type RoleServices, StartProblems } from "../role.ts";
import type { ToMain, WorkerStart } from "./link.ts";
import { type RemoteLogFile, workerLog } from "./remote-log.ts";
import { proxyParts, type ThreadMemory } from "./shared-memory.ts";

/** Longer than any stop: the main thread says when a time is over. ms */
const NEVER_MS = 2 ** 31 - 1;

/** How long the main thread is waited for, which reads what calls have come to, ms. */
const MOST_READING_MS = 3_000;

/** What they are made from. */
export interface WorkerServicesOptions {
	readonly settings: Config["log"];
	readonly env: Environment;
	readonly memory: ThreadMemory;
	readonly logFile: RemoteLogFile;
	/** Says what the process was told by a signal. */
	readonly signals: EventEmitter;
	/** The target of this id, by the configuration in force. */
	readonly targetAt: SharedSuspects["targetAt"];
}

/** The thread's view of the cache; undefined where there is none. @param claims hears of calls that other workers make */
export function workerCache(
	config: Config,
	{ thread, memory: { answers, facts } }: ThreadMemory,
	claims: ClaimPort,
	shared: SharedStore | undefined,
): AnswerCache | undefined {
	if (!answers) return undefined;
	const view = { memory: answers, thread, threads: facts.workers, port: claims };
	return createAnswerCache(config, shared, view);
}

/** The services. */
export function workerServices(options: WorkerServicesOptions): RoleServices {
	const { settings, env, memory, logFile, signals, targetAt } = options;
	const metrics = createMetrics("router");
	// The main thread's metrics say of targets what all threads know.
	const parts = proxyParts(memory);
	parts.suspects.targetAt = targetAt;
	const upstreams = new ProxyState({ ...parts, queues: sharedQueues(memory.memory.queues, memory) });
	const log = workerLog(settings, logFile);
	// Goes as the main thread says, which alone hears signals, watches the time and logs how a stop goes.
	const quiet = { logger: log.logger.child({}, { level: "error" }), flush: () => log.flush() };
	const lifecycle = createLifecycle({ drainMs: NEVER_MS, shutdownMs: NEVER_MS, log: quiet, signals });
	return { log, problems: new StartProblems(log), metrics, lifecycle, upstreams, otel: { tracer: workerTracer(env) } };
}

/** What its calls come to, as the main thread and the ledger are told of it. */
export interface WorkerCalls {
	readonly unsettled: UnsettledCalls;
	readonly events: EventQueue;
	readonly rows: RowMaker;
}

/** @param bounds of the ledger, in force now */
export function workerCalls(
	{ events: memory }: Pick<WorkerStart, "events">,
	{ thread, offset, memory: { endUsers } }: ThreadMemory,
	metrics: Pick<Metrics, "ledgerLost">,
	bounds: () => LedgerBounds,
	send: (message: ToMain, transfer?: ArrayBuffer[]) => void,
): WorkerCalls {
	const unsettled = new UnsettledCalls(memory.unsettled, offset);
	const rows = new RowMaker({
		send(made) {
			send({ type: "rows", rows: made }, made.bytes ? [made.bytes] : []);
			events.looked();
		},
		position: () => events.position,
		bounds,
		users: new EndUsers(undefined, sharedEndUsers(endUsers, thread)),
	});
	const events = new EventQueue({
		memory: memory.events,
		unsettled,
		written: rows,
		onMany: () => send({ type: "events" }),
		onLost: () => metrics.ledgerLost("full", 1),
	});
	return { unsettled, events, rows };
}

/** Sends the main thread what was counted, and up to which call that goes. */
export async function sendMetrics(
	{ log, metrics }: Pick<RoleServices, "log" | "metrics">,
	events: EventQueue,
	send: (message: ToMain) => void,
): Promise<void> {
	await events.emptied(MOST_READING_MS);
	const read = async () => {
		// First the lines of all calls that are counted: of what is sent after this the main thread knows whether it had both.
		void log.flush();
		return JSON.stringify(await metrics.values());
	};
	await events.report(read, (values, position) => send({ type: "metrics", values, position }));
}
