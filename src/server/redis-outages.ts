/** What is said of Redis, whichever threads of the process have noticed: one line of the log an outage, and whether it is used. */
import type { RedisListener } from "../store/redis.ts";
import type { RedisState } from "../store/redis-state.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

const WITHOUT =
	"Redis can't be used: answers are kept in this process only, each process counts limits for itself (where Redis is only slow, it is still asked near a limit) and chooses targets by what it knows, keys, agents and what others took and spent stay as last known.";
const WITH =
	"Redis is used: answers, limits, keys, spend, agents and what targets are chosen by are shared with the other routers.";

/** The main thread, or the one that there is. */
const MAIN = 0;

/** What a worker's connection tells: a change of its state, and why; or the first word of the answer to a command that was refused. */
export type RedisNews =
	| { readonly state: RedisState; readonly reason: string | undefined }
	| { readonly refused: string };

/** Where outages are reported. */
interface OutageReports {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "redis">;
}

/**
 * The outages. Redis is used where the connection of each thread is up: one begins with the first that is lost, and is over with the last
 * that is back.
 */
export class RedisOutages {
	/** By thread. */
	readonly #states = new Map<number, RedisState>([[MAIN, "away"]]);
	/** Why it can't be used, as the log says; undefined: it says nothing of an outage. */
	#reported: string | undefined;
	/** The log says that it is used. */
	#saidUsed = false;
	readonly #refused = new Set<string>();

	constructor(private readonly reports: OutageReports) {}

	/** For the main thread's connection. */
	get listener(): RedisListener {
		return {
			changed: (state, reason) => this.take(MAIN, { state, reason }),
			refused: (refused) => this.take(MAIN, { refused }),
			failed: (why) => this.reports.metrics.redis.failed(why),
		};
	}

	/** A worker starts: it connects. */
	began(thread: number): void {
		this.#states.set(thread, "away");
		this.#count();
	}

	/** A worker has ended: its connection is no matter any more. */
	ended(thread: number): void {
		this.#states.delete(thread);
		this.#settle();
	}

	/** Takes what a thread's connection tells. */
	take(thread: number, news: RedisNews): void {
		if ("refused" in news) {
			this.#sayRefused(news.refused);
			return;
		}
		const { state, reason } = news;
		this.#states.set(thread, state);
		if (state === "up") this.#settle();
		else this.#sayAway(state, reason);
	}

	#sayRefused(answer: string): void {
		if (this.#refused.has(answer)) return;
		this.#refused.add(answer);
		this.reports.log.logger.warn({ answer }, "Redis refuses commands: what they were for is done without it.");
	}

	#sayAway(state: RedisState, reason: string | undefined): void {
		this.#count();
		// Between connecting and the first answer nothing is wrong yet.
		if (state === "unsure" && this.#reported === undefined && reason === "it has not answered yet") return;
		const isNew = this.#reported === undefined || (state === "unfit" && this.#reported !== reason);
		this.#reported = reason ?? "";
		this.#saidUsed = false;
		if (isNew) this.reports.log.logger.warn({ reason }, WITHOUT);
	}

	/** Where all are up nothing is wrong any more. */
	#settle(): void {
		if (!this.#count()) return;
		this.#reported = undefined;
		this.#refused.clear();
		if (this.#saidUsed) return;
		this.#saidUsed = true;
		this.reports.log.logger.info(WITH);
	}

	/** Says to whoever reads the metrics whether all are up. */
	#count(): boolean {
		const isUp = this.#states.values().every((state) => state === "up");
		this.reports.metrics.redis.up(isUp);
		return isUp;
	}
}
