/** What this router shares with others through Redis, put together: one connection, and each thing that uses it. */
import { randomBytes } from "node:crypto";
import { mirrorKeys } from "../accounts/auth/key-mirror.ts";
import type { KeyStore } from "../accounts/auth/key-store.ts";
import type { Limiter } from "../accounts/limits/limiter.ts";
import { RedisLimiter, type Spender } from "../accounts/limits/redis-limiter.ts";
import { type OwnSpend, SharedSpend } from "../accounts/usage/shared-spend.ts";
import { SharedUsage } from "../accounts/usage/shared-usage.ts";
import type { SpendStore, UsageExchange } from "../accounts/usage/spend.ts";
import { redisLevel } from "../cache/redis-store.ts";
import type { SecondLevel } from "../cache/shared-store.ts";
import { parseRedisUrl } from "../config/redis-url.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { readCa } from "../proxy/net/transport.ts";
import type { UsageRow } from "../store/ledger-table.ts";
import { SharedRedis } from "../store/redis.ts";
import { RedisBus } from "../store/redis-bus.ts";
import type { RedisState } from "../store/redis-state.ts";
import { type SharedRow, SharedTable, type TableHolder } from "../store/shared-table.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What is said when Redis can't be used: every feature's behaviour then, in one line of the log an outage. */
const WITHOUT =
	"Redis can't be used: answers are kept in this process only, each process counts limits for itself, keys, agents and what others spent stay as last known.";
const WITH = "Redis is used: answers, limits, keys, spend and agents are shared with the other routers.";

/** Things to share. All of them are to be asked for before `open`. */
export interface Sharing {
	/** Names this process among those that share the Redis; another one after a restart. */
	readonly router: string;
	/** Whether Redis answers. */
	readonly isUp: boolean;
	answers(): SecondLevel;
	limiter(own: Limiter, spender: Spender): Limiter;
	keys(store: KeyStore): void;
	/** @param replica names this replica's ledger; the same after a restart */
	spend(replica: string, own: OwnSpend): SpendStore;
	/** @param days the ledger's rows, a day each, the latest first */
	usage(replica: string, days: () => Iterable<readonly UsageRow[]>): UsageExchange;
	/** A table of the caller's own. Returns how to tell of its rows. */
	table(name: string, ttlMs: number, holder: TableHolder): (rows: readonly SharedRow[]) => void;
	/** Begins to connect. Returns how to end it. */
	open(): () => void;
}

/** What it tells of itself. */
export interface SharingTools {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "redis">;
}

/** Undefined where no Redis is configured. Connects to nothing. Throws StartError where its CA file can't be read. */
export function sharingOf({ redis: config }: Config, tools: () => SharingTools | undefined): Sharing | undefined {
	if (config.url === undefined) return undefined;
	const address = parseRedisUrl(config.url);
	if (typeof address === "string") throw new StartError(`redis.url ${address}.`);
	const router = randomBytes(6).toString("hex");
	const redis = new SharedRedis({
		address,
		ca: readCa(config.ca_file, "redis.ca_file"),
		prefix: config.prefix,
		timeoutMs: config.timeout,
		listener: { ...outageLog(tools), failed: (why) => tools()?.metrics.redis.failed(why) },
	});
	const bus = new RedisBus(redis);
	const opening: (() => () => void)[] = [() => bus.open(), () => redis.open()];
	return {
		router,
		get isUp() {
			return redis.isUp;
		},
		answers: () => redisLevel(redis, bus, router),
		limiter(own, spender) {
			const limiter = new RedisLimiter(redis, own, router, spender);
			opening.push(() => limiter.open());
			return limiter;
		},
		keys: (store) => void opening.push(mirrorKeys(redis, bus, store)),
		spend(replica, own) {
			const board = new SharedSpend(redis, bus, replica, own);
			opening.push(() => board.open());
			return board;
		},
		usage(replica, days) {
			const usage = new SharedUsage(redis, replica, days);
			opening.push(() => usage.open());
			return usage;
		},
		table(name, ttlMs, holder) {
			const table = new SharedTable(redis, bus, name, ttlMs, holder);
			opening.push(() => table.open());
			return (rows) => void table.put(rows);
		},
		open() {
			const closing = opening.map((open) => open());
			// The connection, which was opened first, is closed last: what is told at the end goes over it.
			return () => {
				for (const close of closing.reverse()) close();
			};
		},
	};
}

/** Says once that an outage began, with its reason, and once that it is over. */
function outageLog(tools: () => SharingTools | undefined) {
	let told: string | undefined;
	const refused = new Set<string>();
	return {
		changed(state: RedisState, reason: string | undefined) {
			const { log, metrics } = tools() ?? {};
			metrics?.redis.up(state === "up");
			if (state === "up") {
				log?.logger.info(WITH);
				told = undefined;
				refused.clear();
				return;
			}
			// Between connecting and the first answer nothing is wrong yet.
			if (state === "unsure" && told === undefined && reason === "it has not answered yet") return;
			const isNew = told === undefined || (state === "unfit" && told !== reason);
			told = reason ?? "";
			if (isNew) log?.logger.warn({ reason }, WITHOUT);
		},
		refused(word: string) {
			if (refused.has(word)) return;
			refused.add(word);
			tools()?.log.logger.warn({ answer: word }, "Redis refuses commands: what they were for is done without it.");
		},
	};
}
