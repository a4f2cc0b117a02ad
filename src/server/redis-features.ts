/** What this router shares with others through Redis: one connection, and each feature that uses it. */
import { randomBytes } from "node:crypto";
import { mirrorKeys } from "../accounts/auth/key-mirror.ts";
import type { KeyStore } from "../accounts/auth/key-store.ts";
import type { Limit, Limiter, LocalLimiter } from "../accounts/limits/limiter.ts";
import { RedisLimiter } from "../accounts/limits/redis-limiter.ts";
import type { Spender } from "../accounts/limits/redis-reservations.ts";
import { limitTotals } from "../accounts/limits/redis-totals.ts";
import { SharedSpend } from "../accounts/usage/shared-spend.ts";
import { SharedUsage, type UsageExchange } from "../accounts/usage/shared-usage.ts";
import type { PublishedSpend } from "../accounts/usage/spend.ts";
import { redisStore } from "../cache/redis-store.ts";
import type { SharedStore } from "../cache/shared-store.ts";
import { parseRedisUrl } from "../config/redis-url.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { readCa } from "../proxy/net/transport.ts";
import { ExchangedThreads } from "../routing/exchanged-threads.ts";
import { type ExchangedTargets, RoutingExchange } from "../routing/routing-exchange.ts";
import type { SharedRoutingState } from "../routing/shared-routing-state.ts";
import type { UsageRow } from "../store/ledger-batch.ts";
import { type RedisOptions, SharedRedis } from "../store/redis.ts";
import { RedisBus } from "../store/redis-bus.ts";
import { type AnswerQuestion, RedisQuestions } from "../store/redis-questions.ts";
import { redisResponses, type SharedResponses } from "../store/redis-responses.ts";
import { type SharedRow, SharedTable, type TableHolder } from "../store/shared-table.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { RouterChannel } from "./agents/router-channel.ts";
import { RedisOutages } from "./redis-outages.ts";
import { RedisWorkers } from "./redis-workers.ts";

/** What routers share through one Redis. Each feature is asked for before `open`. */
export interface RedisFeatures {
	/** Names this process among those that share the Redis; another one after a restart. */
	readonly router: string;
	/** The names of the other processes that were heard of within the last 3 s. */
	others(): readonly string[];
	/** Whether Redis answers. */
	readonly isUp: boolean;
	/** The second level of the cache. */
	answers(): SharedStore;
	/** Stored responses. */
	responses(): SharedResponses;
	limiter(own: LocalLimiter, spender: Spender): Limiter;
	/** See `limitTotals`. */
	limitTotals(limits: readonly Limit[]): Promise<readonly number[] | undefined>;
	keys(store: KeyStore): void;
	/** @param replica names this replica's ledger; the same after a restart */
	spend(replica: string, own: PublishedSpend): SharedSpend;
	/** @param days the ledger's rows, a day each, the latest first */
	usage(replica: string, days: () => Iterable<readonly UsageRow[]>): UsageExchange;
	/** What targets are chosen by. */
	routing(state: ExchangedTargets): void;
	/** The same where several threads answer calls, and all else that is done for those. */
	workers(state: SharedRoutingState): RedisWorkers;
	/** Questions to the other routers, of one kind. @param answer what this router says to theirs */
	questions(kind: string, answer: AnswerQuestion): RedisQuestions;
	/** Messages of the caller's own to all routers. */
	channel(name: string): RouterChannel;
	/** A table of the caller's own. Returns how to publish its rows. */
	table(name: string, ttlMs: number, holder: TableHolder): (rows: readonly SharedRow[]) => void;
	/** Begins to connect. Returns how to end it. */
	open(): () => void;
}

/** Where it reports outages. */
export interface RedisReports {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "redis">;
}

/** How the Redis of a configuration is reached. */
export type RedisServer = Omit<RedisOptions, "listener">;

/** Undefined where none is configured. Reads the CA file, connects to nothing. Throws StartError for an address that is none, and where the file can't be read. */
export function redisServer({ redis: { url, ca_file, prefix, timeout } }: Config): RedisServer | undefined {
	if (url === undefined) return undefined;
	const address = parseRedisUrl(url);
	if (typeof address === "string") throw new StartError(`redis.url ${address}.`);
	return { address, ca: readCa(ca_file, "redis.ca_file"), prefix, timeoutMs: timeout };
}

/** The features of the Redis of a configuration; undefined where none is configured. Connects to nothing. Throws what `redisServer` does. */
export function redisFeatures(config: Config, reports: RedisReports): RedisFeatures | undefined {
	const server = redisServer(config);
	if (server === undefined) return undefined;
	const router = randomBytes(6).toString("hex");
	const outages = new RedisOutages(reports);
	const redis = new SharedRedis({ ...server, listener: outages.listener });
	const bus = new RedisBus(redis);
	/** What `open` opens, in this order. */
	const parts: (() => () => void)[] = [() => bus.open(), () => redis.open()];
	const opened = <Part extends { open(): () => void }>(part: Part): Part => {
		parts.push(() => part.open());
		return part;
	};
	const exchanges: RoutingExchange[] = [];
	const routing = (state: ExchangedTargets) => {
		exchanges.push(opened(new RoutingExchange(redis, bus, router, state)));
	};
	return {
		router,
		others: () => exchanges.flatMap(({ others }) => others),
		get isUp() {
			return redis.isUp;
		},
		answers: () => redisStore(redis, bus, router),
		responses: () => redisResponses(redis),
		limiter: (own, spender) => opened(new RedisLimiter(redis, own, router, spender)),
		limitTotals: (limits) => limitTotals(redis, limits),
		keys: (store) => void parts.push(mirrorKeys(redis, bus, store)),
		spend: (replica, own) => opened(new SharedSpend(redis, bus, replica, own)),
		usage: (replica, days) => opened(new SharedUsage(redis, replica, days)),
		routing,
		workers(state) {
			const targets = new ExchangedThreads(state);
			routing(targets);
			return new RedisWorkers({ redis, router, outages, targets });
		},
		questions: (kind, answer) => new RedisQuestions(redis, bus, router, kind, answer),
		channel: (name) => channelOf(bus, router, name),
		table(name, ttlMs, holder) {
			const table = new SharedTable(redis, bus, name, ttlMs, holder);
			parts.push(() => table.open());
			return (rows) => void table.put(rows);
		},
		open() {
			const closing = parts.map((open) => open());
			// The connection, which was opened first, is closed last: what is published at the end goes over it.
			return () => {
				for (const close of closing.reverse()) close();
			};
		},
	};
}

const channelOf = (bus: RedisBus, router: string, name: string): RouterChannel => ({
	router,
	listen: (receive) => bus.listen(name, receive),
	publish: (text) => void bus.publish(name, text),
});
