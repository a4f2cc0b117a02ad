/** Connections to a single Redis, Sentinel or a Cluster. By ioredis: Bun's own client knows neither Sentinel nor Cluster. */

import type * as Ioredis from "ioredis";
import type { RedisAddress } from "../config/redis-url.ts";
import { publicAuthorities } from "../public-authorities.ts";

/** A client. Commands fail at once while there is no connection; it reconnects without end. */
export type RedisClient = Ioredis.Redis | Ioredis.Cluster;

/** One connection, for subscriptions. It has ended once it is lost: whoever has it makes another one. */
export type RedisSubscriber = Ioredis.Redis;

/** Longest pause between two tries to connect, ms. */
const RETRY_MS = 1_000;
const CONNECT_MS = 2_000;
/** A connection that brings nothing for so long while an answer is waited for may lead to a machine that is gone, ms: it is given up. */
const SILENT_MS = 5_000;

/** The pause before a try to connect, ms. @param tries in vain before it, from 1 */
export const retryPause = (tries: number): number => Math.min(tries * 50, RETRY_MS);

/** For a connection that is not made anew. */
const NEVER = () => null;

// Loaded where there is a Redis: it takes some MB.
const ioredis = (): typeof Ioredis => require("ioredis");

/** Creates a client, which begins to connect. @param ca PEM with further authorities */
export function redisClient(address: RedisAddress, ca: string | undefined): RedisClient {
	const { kind, nodes, tls } = address;
	if (kind !== "cluster") return singleClient(address, ca, retryPause);
	const { Cluster } = ioredis();
	return new Cluster([...nodes], {
		redisOptions: connectionOptions(address, ca),
		enableOfflineQueue: false,
		clusterRetryStrategy: retryPause,
		clusterNodeRetryStrategy: retryPause,
		slotsRefreshTimeout: CONNECT_MS,
		// Certificates have host names: addresses that the cluster lists would not match.
		...(tls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
	});
}

/**
 * Creates a connection for subscriptions, which begins to connect. Of a Cluster it goes to one node or another, as each passes on what is published at
 * any: ioredis's own for that goes on without an end after a subscription that failed.
 * @param client knows the nodes that a Cluster has by now
 */
export function redisSubscriber(
	address: RedisAddress,
	ca: string | undefined,
	client: RedisClient | undefined,
): RedisSubscriber {
	if (address.kind !== "cluster") return singleClient(address, ca, NEVER);
	const { Redis } = ioredis();
	const known =
		client && "nodes" in client
			? client.nodes().map(({ options: { host, port } }) => ({ host: host!, port: port! }))
			: [];
	const nodes = known.length > 0 ? known : address.nodes;
	const node = nodes[Math.floor(Math.random() * nodes.length)]!;
	return new Redis({ ...connectionOptions(address, ca), ...node, retryStrategy: NEVER });
}

function singleClient(
	address: RedisAddress,
	ca: string | undefined,
	retryStrategy: typeof retryPause | typeof NEVER,
): Ioredis.Redis {
	const { Redis } = ioredis();
	const { kind, nodes, database, master, sentinelPassword } = address;
	const common = { ...connectionOptions(address, ca), retryStrategy, db: database };
	if (kind === "single") return new Redis({ ...common, ...nodes[0] });
	return new Redis({
		...common,
		sentinels: [...nodes],
		name: master!,
		sentinelRetryStrategy: retryPause,
		sentinelCommandTimeout: CONNECT_MS,
		...(common.tls ? { enableTLSForSentinelMode: true, sentinelTLS: common.tls } : {}),
		...(sentinelPassword === undefined ? {} : { sentinelPassword }),
	});
}

/** What all connections have in common. */
function connectionOptions({ tls, username, password }: RedisAddress, ca: string | undefined) {
	return {
		...(tls ? { tls: ca === undefined ? {} : { ca: [...publicAuthorities(), ca] } } : {}),
		...(username === undefined ? {} : { username }),
		...(password === undefined ? {} : { password }),
		// RESP3 needs one more answer before the first command, and nothing here uses it.
		protocol: 2 as const,
		enableOfflineQueue: false,
		autoResendUnfulfilledCommands: false,
		maxRetriesPerRequest: 0,
		connectTimeout: CONNECT_MS,
		socketTimeout: SILENT_MS,
		connectionName: "router",
		// After a failover the old master is a replica and answers READONLY.
		reconnectOnError: ({ message }: Error) => message.startsWith("READONLY"),
	};
}
