/** What is known of one container: how its vLLM answers, how far its start is, whether its engine still moves. */

import { steadyTime } from "../../steady-time.ts";
import type { Docker } from "../docker/docker.ts";
import { cachedBytes } from "../gpu/cache-growth.ts";
import type { Health, Reason } from "../models/supervisor.ts";
import type { Traffic } from "../models/traffic.ts";
import { type LoadProgress, progressOf } from "./vllm-log.ts";
import type { VllmMetrics } from "./vllm-metrics.ts";
import { askHealth, askMetrics, askModels, askSleeping, type Vllm } from "./vllm-probe.ts";

/** How often it is asked, ms: while it starts, and once it is up. */
const STARTING_MS = 500;
const UP_MS = 5000;
/** How often the download's growth is looked at, ms. */
const GROWTH_MS = 10_000;
/** Probes in a row without an answer until one that was up counts as dead. */
const MOST_SILENT = 3;
/** A log that can't be followed is tried again so much later, ms. */
const LOG_AGAIN_MS = 2000;
/** While bytes still come a probe without an answer says that it is busy, ms. */
const ALIVE_MS = 10_000;

/** What is watched, and who is told. */
export interface MonitorOptions {
	readonly id: string;
	/** What it serves. */
	readonly model: string;
	/** Where its weights come from. */
	readonly weights: string;
	readonly vllm: Vllm;
	/** It was started with sleep mode. */
	readonly sleeps: () => boolean;
	readonly docker: Pick<Docker, "logs">;
	readonly traffic: Pick<Traffic, "quietSince" | "doubtedAt" | "trust">;
	readonly cacheDir: string;
	/** How long calls may run without a byte or a token, ms. */
	readonly stallMs: number;
	/** When Docker started it; the agent may have come later. */
	readonly startedAt: number;
	/** Something changed: somebody should look. */
	readonly onNews: () => void;
	/** The engine is away, and with it perhaps its proxy: silence is no sign of illness. */
	readonly isEngineAway: () => boolean;
}

/** One container's. Inert until `look` is called. */
export class Monitor {
	health: Health = "unknown";
	/** Why it is dead or hung. */
	why: Reason | undefined;
	/** Of this agent: when it first saw it. */
	seenAt = steadyTime();
	progressAt = this.seenAt;
	progress: LoadProgress | undefined;
	/** Bytes of weights that lie in the cache, while they grow. */
	downloaded: number | undefined;
	/** Since when it is up, and how long that took; the latter only where this agent saw the start. */
	readyAt: number | undefined;
	loadMs: number | undefined;
	metrics: VllmMetrics | undefined;
	maxModelLen: number | undefined;
	#tokensAt = 0;
	#nextAt = 0;
	#askedAt = 0;
	#growthAt = 0;
	#isAsking = false;
	#silent = 0;
	#log: AbortController | undefined;

	constructor(private readonly options: MonitorOptions) {}

	/** Asks it how it is, if that is due. */
	look(now = steadyTime()): void {
		const isDue = now >= this.#nextAt || (this.options.traffic.doubtedAt(this.options.id) ?? 0) > this.#askedAt;
		if (this.#isAsking || !isDue) return;
		this.#askedAt = now;
		this.#isAsking = true;
		void this.#ask().finally(() => {
			this.#isAsking = false;
			const isOpen = this.health === "unknown" || this.#silent > 0;
			const upMs = Math.min(UP_MS, Math.max(STARTING_MS, this.options.stallMs / 2));
			this.#nextAt = steadyTime() + (isOpen ? STARTING_MS : upMs);
		});
		if (this.health === "unknown") {
			this.#follow();
			if (now - this.#growthAt >= GROWTH_MS) void this.#grow(now);
		}
	}

	/** Asks it at the next look, however short ago it was asked. */
	hurry(): void {
		this.#nextAt = 0;
	}

	/** It was sent to sleep or woken. */
	became(health: "asleep" | "up"): void {
		this.health = health;
		this.readyAt = health === "up" ? steadyTime() : this.readyAt;
		this.hurry();
	}

	/** It failed in a way that no probe sees. */
	fail(why: Reason): void {
		this.health = "dead";
		this.why = why;
	}

	end(): void {
		this.#log?.abort();
	}

	async #ask(): Promise<void> {
		const { vllm, model, sleeps, onNews } = this.options;
		const before = this.health;
		const health = await askHealth(vllm);
		if (health === "up") {
			this.#silent = 0;
			if (before === "unknown" && !(await this.#serves(vllm, model))) return;
			const isAsleep = sleeps() && before !== "up" && (await askSleeping(vllm));
			// What was done to it meanwhile counts.
			if (this.health === before) this.health = isAsleep ? "asleep" : "up";
			if (before === "unknown") this.#arrived();
			if (this.health === "up") this.options.traffic.trust(model, this.options.id);
			await this.#measure(vllm);
		} else if (before === "up" || before === "asleep") this.#missing(health);
		if (this.health !== before) onNews();
	}

	/** Whether it lists the model: it answers `/health` a moment before it takes calls. */
	async #serves(vllm: Vllm, model: string): Promise<boolean> {
		const answer = await askModels(vllm);
		if (answer?.status === 401) {
			this.fail({
				reason: "its container was started with another VLLM_API_KEY than this agent has",
				fix: "nothing: it is replaced; keep the agent's data directory, where the key lies, to avoid that",
			});
			this.options.onNews();
			return false;
		}
		const served = answer?.models?.find(({ id }) => id === model);
		this.maxModelLen = served?.maxModelLen;
		return served !== undefined;
	}

	#arrived(): void {
		const now = steadyTime();
		const { startedAt } = this.options;
		this.readyAt = now;
		// Found running: how long its start took is not known.
		if (this.seenAt - startedAt < 5000) this.loadMs = now - startedAt;
		this.#log?.abort();
		this.#log = undefined;
	}

	async #measure(vllm: Vllm): Promise<void> {
		const { id, traffic, stallMs } = this.options;
		const now = steadyTime();
		const answer = await askMetrics(vllm);
		if (answer) {
			if (answer.metrics.tokens !== this.metrics?.tokens) this.#tokensAt = now;
			this.metrics = answer.metrics;
		}
		const quietSince = traffic.quietSince(id);
		if (this.health !== "up" || quietSince === undefined) return;
		const quietMs = now - Math.max(quietSince, this.#tokensAt);
		if (quietMs < stallMs) return;
		this.health = "hung";
		this.why = {
			reason: `its engine hung: for ${Math.round(quietMs / 1000)} s calls ran without a byte or a token, while /health said 200`,
			fix: "it is restarted; if it comes again, see its log and vLLM's issues, or raise agent.stall for very long prompts",
		};
	}

	#missing(health: "ill" | "silent"): void {
		if (health === "ill") {
			this.fail({ reason: "its engine died: /health says 503", fix: "it is restarted; its log says what it died of" });
			return;
		}
		const quietSince = this.options.traffic.quietSince(this.options.id);
		if (quietSince !== undefined && steadyTime() - quietSince < ALIVE_MS) return;
		if (++this.#silent < MOST_SILENT) return;
		if (this.options.isEngineAway()) {
			this.health = "unknown";
			this.#silent = 0;
			this.seenAt = steadyTime();
			this.progressAt = this.seenAt;
			return;
		}
		this.fail({
			reason: `it does not answer /health, ${MOST_SILENT} times in a row`,
			fix: "it is restarted; its log may say why",
		});
	}

	/** Reads the log while it starts: what it says is progress. */
	#follow(): void {
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
				// Docker is away, or the container: the next look tells, and begins again.
			}
			await Bun.sleep(LOG_AGAIN_MS);
			if (!signal.aborted) this.#log = undefined;
		};
		void read();
	}

	async #grow(now: number): Promise<void> {
		this.#growthAt = now;
		const bytes = await cachedBytes(this.options.cacheDir, this.options.weights);
		if (this.downloaded !== undefined && bytes > this.downloaded) this.progressAt = now;
		this.downloaded = bytes;
	}
}
