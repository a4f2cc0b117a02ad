/** Watches one container: its health, how far its start is, whether its engine makes progress. */

import { steadyTime } from "../../steady-time.ts";
import type { Docker } from "../docker/docker.ts";
import { cachedBytes } from "../gpu/model-files.ts";
import type { Health } from "../models/replica-state.ts";
import type { Traffic } from "../models/traffic.ts";
import type { Notifier } from "../notify.ts";
import type { Problem } from "../problem.ts";
import { type LoadProgress, progressOf } from "./vllm-log.ts";
import type { VllmMetrics } from "./vllm-metrics.ts";
import { probeHealth, probeMetrics, probeModels, probeSleeping, type VllmEndpoint } from "./vllm-probe.ts";

/** Time between two probes, ms: while it starts, and once it is up. */
const STARTING_INTERVAL_MS = 500;
const UP_INTERVAL_MS = 5000;
/** Time between two measurements of the download, ms. */
const DOWNLOAD_INTERVAL_MS = 10_000;
/** Probes in a row without an answer until a container that was up counts as dead. */
const MAX_SILENT_PROBES = 3;
/** Wait before a log that can't be followed is tried again, ms. */
const LOG_RETRY_MS = 2000;
/** Where bytes came within this time, ms, a probe without an answer means a busy API server, not a dead one. */
const RECENT_BYTES_MS = 10_000;

/** What is watched, and with what. */
export interface MonitorOptions {
	readonly id: string;
	/** The name of the model that it serves. */
	readonly model: string;
	/** Where its weights come from. */
	readonly weights: string;
	readonly vllm: VllmEndpoint;
	/** It may be given LoRA adapters while it runs: what it serves is asked for again and again. */
	readonly mayHaveAdapters: boolean;
	/** It was started with sleep mode. */
	readonly canSleep: () => boolean;
	readonly docker: Pick<Docker, "logs">;
	readonly traffic: Pick<Traffic, "quietSince" | "suspectSince" | "confirmHealthy">;
	readonly cacheDir: string;
	/** How long calls may run without a byte or a token, ms. */
	readonly stallMs: number;
	/** When Docker started it; the agent may have come later. */
	readonly startedAt: number;
	/** Notified when its health changes. */
	readonly tick: Notifier;
	/** Has a problem while Docker is away, and with it perhaps the proxy of the port: an unanswered probe then proves nothing. */
	readonly engine: { readonly problem: Problem | undefined };
}

/** The monitor of one container. Inert until `check` is called. */
export class Monitor {
	health: Health = "unknown";
	/** Why it is dead or hung. */
	problem: Problem | undefined;
	/** When this agent first saw it. */
	firstSeenAt = steadyTime();
	progressAt = this.firstSeenAt;
	progress: LoadProgress | undefined;
	/** Bytes of its weights in the model cache, while it starts. */
	downloaded: number | undefined;
	/** Since when it is up, and how long that took; the latter only where this agent saw the start. */
	readyAt: number | undefined;
	loadMs: number | undefined;
	metrics: VllmMetrics | undefined;
	maxModelLen: number | undefined;
	/** The LoRA adapters that it serves; undefined until it has said so. */
	adapters: readonly string[] | undefined;
	#tokensAt = 0;
	#nextAt = 0;
	#probedAt = 0;
	#measuredAt = 0;
	#isProbing = false;
	#silentProbes = 0;
	/** How often its health was set from outside: what was asked before that is out of date. */
	#timesSet = 0;
	#log: AbortController | undefined;

	constructor(private readonly options: MonitorOptions) {}

	/** Probes it where that is due. */
	check(now = steadyTime()): void {
		const isDue = now >= this.#nextAt || (this.options.traffic.suspectSince(this.options.id) ?? 0) > this.#probedAt;
		if (this.#isProbing || !isDue) return;
		this.#probedAt = now;
		this.#isProbing = true;
		void this.#probe().finally(() => {
			this.#isProbing = false;
			const isOpen = this.health === "unknown" || this.#silentProbes > 0;
			const upMs = Math.min(UP_INTERVAL_MS, Math.max(STARTING_INTERVAL_MS, this.options.stallMs / 2));
			this.#nextAt = steadyTime() + (isOpen ? STARTING_INTERVAL_MS : upMs);
		});
		if (this.health === "unknown") {
			this.#followLog();
			if (now - this.#measuredAt >= DOWNLOAD_INTERVAL_MS) void this.#measureDownload(now);
		}
	}

	/** Makes the next check probe it. */
	checkNext(): void {
		this.#nextAt = 0;
	}

	/** It was put to sleep or woken. */
	setHealth(health: "asleep" | "up"): void {
		this.#timesSet++;
		this.health = health;
		this.readyAt = health === "up" ? steadyTime() : this.readyAt;
		this.checkNext();
	}

	/** It failed in a way that no probe sees. */
	markDead(problem: Problem): void {
		this.health = "dead";
		this.problem = problem;
	}

	end(): void {
		this.#log?.abort();
	}

	async #probe(): Promise<void> {
		const { vllm, model, canSleep, mayHaveAdapters, tick } = this.options;
		const before = this.health;
		const health = await probeHealth(vllm);
		if (health === "up") {
			this.#silentProbes = 0;
			if (before === "unknown" && !(await this.#listsModel(vllm, model))) return;
			const isAsleep = canSleep() && before !== "up" && (await probeSleeping(vllm));
			// It may have been put to sleep or woken meanwhile: that counts.
			if (this.health === before) this.health = isAsleep ? "asleep" : "up";
			if (before === "unknown") this.#markReady();
			if (this.health === "up") this.options.traffic.confirmHealthy(model, this.options.id);
			await this.#readMetrics(vllm);
			await this.#noticeSleep(vllm);
			if (mayHaveAdapters && before !== "unknown") await this.#listsModel(vllm, model);
		} else if (before === "up" || before === "asleep") this.#probeFailed(health);
		if (this.health !== before) tick.notify();
	}

	/** Whether it lists the model: `/health` is 200 a little before it takes calls. */
	async #listsModel(vllm: VllmEndpoint, model: string): Promise<boolean> {
		const answer = await probeModels(vllm);
		if (answer?.status === 401) {
			this.markDead({
				reason: "its container was started with another key than this agent knows",
				fix: "nothing: it is replaced; keep the agent's data directory, which holds the key, to avoid that",
			});
			this.options.tick.notify();
			return false;
		}
		const served = answer?.models?.find(({ id }) => id === model);
		if (!served) return false;
		this.maxModelLen = served.maxModelLen;
		this.adapters = answer!.models!.filter(({ parent }) => parent !== undefined).map(({ id }) => id);
		return true;
	}

	#markReady(): void {
		const now = steadyTime();
		const { startedAt } = this.options;
		this.readyAt = now;
		// Where it was running before this agent the duration of its start is not known.
		if (this.firstSeenAt - startedAt < 5000) this.loadMs = now - startedAt;
		this.#log?.abort();
		this.#log = undefined;
	}

	async #readMetrics(vllm: VllmEndpoint): Promise<void> {
		const { id, traffic, stallMs } = this.options;
		const now = steadyTime();
		const answer = await probeMetrics(vllm);
		if (answer) {
			if (answer.metrics.tokens !== this.metrics?.tokens) this.#tokensAt = now;
			this.metrics = answer.metrics;
		}
		const quietSince = traffic.quietSince(id);
		if (this.health !== "up" || quietSince === undefined) return;
		const quietMs = now - Math.max(quietSince, this.#tokensAt);
		if (quietMs < stallMs) return;
		this.health = "hung";
		this.problem = {
			reason: `its engine hung: for ${Math.round(quietMs / 1000)} s calls ran without a byte or a token, while /health said 200`,
			fix: "it is restarted; if it comes again, see its log and vLLM's issues, or raise agent.stall for very long prompts",
		};
	}

	/** Somebody else may have put it to sleep: a call would find no weights there. */
	async #noticeSleep(vllm: VllmEndpoint): Promise<void> {
		if (this.health !== "up" || !this.metrics?.isAsleep || !this.options.canSleep()) return;
		const timesSet = this.#timesSet;
		if ((await probeSleeping(vllm)) && timesSet === this.#timesSet && this.health === "up") this.health = "asleep";
	}

	#probeFailed(health: "unhealthy" | "unreachable"): void {
		if (health === "unhealthy") {
			this.markDead({
				reason: "its engine died: /health says 503",
				fix: "it is restarted; its log says what it died of",
			});
			return;
		}
		const quietSince = this.options.traffic.quietSince(this.options.id);
		if (quietSince !== undefined && steadyTime() - quietSince < RECENT_BYTES_MS) return;
		if (++this.#silentProbes < MAX_SILENT_PROBES) return;
		if (this.options.engine.problem !== undefined) {
			this.health = "unknown";
			this.#silentProbes = 0;
			this.firstSeenAt = steadyTime();
			this.progressAt = this.firstSeenAt;
			return;
		}
		this.markDead({
			reason: `it does not answer /health, ${MAX_SILENT_PROBES} times in a row`,
			fix: "it is restarted; its log may say why",
		});
	}

	/** Follows the log while it starts: each line is progress. */
	#followLog(): void {
		if (this.#log) return;
		this.#log = new AbortController();
		const { signal } = this.#log;
		const { id, docker } = this.options;
		const read = async () => {
			try {
				for await (const line of docker.logs(id, { follow: true, tail: 200, signal })) {
					const progress = progressOf(line);
					if (progress) this.progress = progress;
					this.progressAt = steadyTime();
				}
			} catch {
				// Docker or the container is gone: a later check follows the log again.
			}
			await Bun.sleep(LOG_RETRY_MS);
			if (!signal.aborted) this.#log = undefined;
		};
		void read();
	}

	async #measureDownload(now: number): Promise<void> {
		this.#measuredAt = now;
		const bytes = await cachedBytes(this.options.cacheDir, this.options.weights);
		if (this.downloaded !== undefined && bytes > this.downloaded) this.progressAt = now;
		this.downloaded = bytes;
	}
}
