/** What a worker has of a process's services: it counts for itself, logs to the main thread, and stops as that says. */
import type { EventEmitter } from "node:events";
import type { Environment } from "../../config/interpolate.ts";
import type { Config } from "../../config/schema.ts";
import { createLifecycle } from "../../http/lifecycle.ts";
import { ProxyState } from "../../proxy/proxy-state.ts";
import { sharedQueues } from "../../proxy/shared-queues.ts";
import type { SharedSuspects } from "../../proxy/shared-suspects.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { workerTracer } from "../otel.ts";
import { type RoleServices, StartProblems } from "../role.ts";
import { type RemoteLogFile, workerLog } from "./remote-log.ts";
import { proxyParts, type ThreadMemory } from "./shared-memory.ts";

/** Longer than any stop: the main thread says when a time is over. ms */
const NEVER_MS = 2 ** 31 - 1;

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
