/** Connections to a single Redis, Sentinel or a Cluster. By ioredis: Bun's own client knows neither Sentinel nor Cluster. */

import type * as Ioredis from "ioredis";
import type { RedisAddress } from "../config/redis-url.ts";
import { publicAuthorities } from "../public-authorities.ts";

/** A client. Commands fail at once while there is no connection; it reconnects without end. */
export type RedisClient = Ioredis.Redis | Ioredis.Cluster;

/** Longest pause between two tries to connect, ms. */
const RETRY_MS = 1_000;
const CONNECT_MS = 2_000;

/** Creates a client, which begins to connect. @param ca PEM with further authorities */
export function redisClient(address: RedisAddress, ca: string | undefined): RedisClient {
	// Loaded where there is a Redis: it takes some MB.
	const { Cluster, Redis }: typeof Ioredis = require("ioredis");
	const { kind, nodes, tls, username, password, database, master, sentinelPassword } = address;
	const secure = tls ? { tls: ca === undefined ? {} : { ca: [...publicAuthorities(), ca] } } : {};
	const common = {
		...secure,
		...(username === undefined ? {} : { username }),
		...(password === undefined ? {} : { password }),
		// RESP3 needs one more answer before the first command, and nothing here uses it.
		protocol: 2 as const,
		enableOfflineQueue: false,
		autoResendUnfulfilledCommands: false,
		// The bus subscribes at each `ready`. ioredis's own try, made where the connection is lost again, rejects a promise that nobody has.
		autoResubscribe: false,
		maxRetriesPerRequest: 0,
		connectTimeout: CONNECT_MS,
		connectionName: "router",
		retryStrategy,
		// After a failover the old master is a replica and answers READONLY.
		reconnectOnError: ({ message }: Error) => message.startsWith("READONLY"),
	};
	if (kind === "cluster") {
		return new Cluster([...nodes], {
			redisOptions: common,
			enableOfflineQueue: false,
			clusterRetryStrategy: retryStrategy,
			clusterNodeRetryStrategy: retryStrategy,
			slotsRefreshTimeout: CONNECT_MS,
			// Certificates have host names: addresses that the cluster lists would not match.
			...(tls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
		});
	}
	if (kind === "single") return new Redis({ ...common, ...nodes[0], db: database });
	return new Redis({
		...common,
		db: database,
		sentinels: [...nodes],
		name: master!,
		sentinelRetryStrategy: retryStrategy,
		...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: secure.tls! } : {}),
		...(sentinelPassword === undefined ? {} : { sentinelPassword }),
	});
}

function retryStrategy(times: number): number {
	return Math.min(times * 50, RETRY_MS);
}
