/** What the worker threads of a router are made from. */
import type { Ledger } from "../../accounts/usage/ledger.ts";
import type { ResponseStore } from "../../api/response-writer.ts";
import type { SharedRow } from "../../store/shared-table.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import type { AgentNews } from "../agents/agent-replica.ts";
import type { TunnelHub } from "../agents/tunnels.ts";
import type { WorkerMessage } from "../redis-workers.ts";
import type { WorkerStart } from "./link.ts";
import type { SharedMemory } from "./shared-memory.ts";
import type { EventSinks } from "./worker-events.ts";
import type { WorkerReports } from "./worker-handle.ts";

/** All of it. */
export interface WorkerThreadsOptions {
	readonly count: number;
	readonly memory: SharedMemory;
	/** All that a worker is told at its start, as it is at that moment. */
	readonly start: (
		thread: number,
	) => Pick<
		WorkerStart,
		"config" | "env" | "certificate" | "generatedKey" | "keys" | "agents" | "objects" | "redis" | "writer"
	>;
	readonly log: Pick<Log, "logger" | "take" | "sink">;
	readonly metrics: Pick<Metrics, "values" | "workerEnded" | "workerHung" | "sink">;
	readonly ledger: Pick<Ledger, "attemptClosed" | "callSettled" | "takeRows" | "save">;
	readonly otel: EventSinks["otel"];
	readonly responses: ResponseStore;
	readonly tunnels: TunnelHub;
	/** A worker has changed whose files and batches there are. */
	readonly tookObjects: (rows: readonly SharedRow[]) => void;
	/** What has changed of agents since it was last asked for. */
	readonly agentNews: () => AgentNews;
	readonly agentFailed: WorkerReports["agentFailed"];
	readonly wake: WorkerReports["wake"];
	readonly served: WorkerReports["served"];
	/** Of a worker's: what its connection to Redis tells, and what other routers are to know. */
	readonly redis: (thread: number, message: WorkerMessage) => void;
	readonly limits: WorkerReports["limits"];
	readonly live: WorkerReports["live"];
}
