/** The router's connection to a Redis of a test's own, and what it says of it. */
import { parseRedisUrl } from "../../src/config/redis-url.ts";
import { type RedisFailure, SharedRedis } from "../../src/store/redis.ts";
import type { RedisState } from "../../src/store/redis-state.ts";
import { until } from "./until.ts";

/** It, with what it told. */
export interface Connected {
	readonly redis: SharedRedis;
	readonly states: RedisState[];
	readonly reasons: (string | undefined)[];
	readonly failures: RedisFailure[];
	/** Words of what the server refused. */
	readonly refused: string[];
	/** Resolves once commands are sent. */
	up(): Promise<void>;
	/** Resolves once they are not. */
	down(): Promise<void>;
	close(): void;
}

/** Connects. @param url in any form that `REDIS_URL` may have */
export function connectRedis(
	url: string,
	{ timeoutMs = 50, ca, prefix = "t:" }: { timeoutMs?: number; ca?: string; prefix?: string } = {},
): Connected {
	const address = parseRedisUrl(url);
	if (typeof address === "string") throw new Error(address);
	const told = {
		states: [] as RedisState[],
		reasons: [] as (string | undefined)[],
		failures: [] as RedisFailure[],
		refused: [] as string[],
	};
	const redis = new SharedRedis({
		address,
		ca,
		prefix,
		timeoutMs,
		listener: {
			changed(state, reason) {
				told.states.push(state);
				told.reasons.push(reason);
			},
			failed: (why) => void told.failures.push(why),
			refused: (word) => void told.refused.push(word),
		},
	});
	const close = redis.open();
	return {
		redis,
		...told,
		up: () => until(() => redis.isUp, `Redis (${told.reasons.join("; ")})`),
		down: () => until(() => !redis.isUp, "the outage"),
		close,
	};
}
