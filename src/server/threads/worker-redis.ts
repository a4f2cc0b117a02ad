/**
 * A worker's own connection to Redis, for what its calls ask there: limits and answers. All else is exchanged by the main thread, which
 * alone says what becomes of Redis.
 */
import type { Limiter, LocalLimiter } from "../../accounts/limits/limiter.ts";
import { RedisLimiter } from "../../accounts/limits/redis-limiter.ts";
import type { Spender } from "../../accounts/limits/redis-reservations.ts";
import { redisStore } from "../../cache/redis-store.ts";
import type { SharedStore } from "../../cache/shared-store.ts";
import { NotedRouting } from "../../routing/exchanged-threads.ts";
import { SharedRoutingState } from "../../routing/shared-routing-state.ts";
import { SharedRedis } from "../../store/redis.ts";
import { RedisBus } from "../../store/redis-bus.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import { type RedisServer, redisServer } from "../redis-features.ts";
import type { RoleServices } from "../role.ts";
import type { ToMain, WorkerStart } from "./link.ts";

/** What a worker is told of the Redis at its start. */
type RedisStart = NonNullable<WorkerStart["redis"]>;

/** A worker's; undefined where the configuration has no Redis. Its calls tell of targets from now on. Connects to nothing. */
export function workerRedis(
	{ config, redis }: WorkerStart,
	send: (message: ToMain) => void,
	{ metrics, upstreams }: Pick<RoleServices, "metrics" | "upstreams">,
): WorkerRedis | undefined {
	const server = redis && redisServer(config);
	if (!server) return undefined;
	const made = new WorkerRedis(server, redis, send, metrics);
	if (upstreams.targets instanceof SharedRoutingState) upstreams.targets.listener = made.routing.listener;
	return made;
}

/** One worker's. Each part is asked for before `open`. */
export class WorkerRedis {
	/** What this worker's calls have other routers know of targets. */
	readonly routing: NotedRouting;
	readonly #redis: SharedRedis;
	readonly #bus: RedisBus;
	#isClosing = false;
	/** What `open` opens, in this order. */
	readonly #parts: (() => () => void)[];

	/** Connects to nothing. */
	constructor(
		server: RedisServer,
		private readonly start: RedisStart,
		send: (message: ToMain) => void,
		metrics: Pick<Metrics, "redis">,
	) {
		this.routing = new NotedRouting((batch) => send({ type: "routing", batch }));
		const listener = {
			changed: (state, reason) => {
				if (!this.#isClosing) send({ type: "redis", news: { state, reason } });
			},
			refused: (refused) => send({ type: "redis", news: { refused } }),
			failed: (why) => metrics.redis.failed(why),
		} satisfies ConstructorParameters<typeof SharedRedis>[0]["listener"];
		this.#redis = new SharedRedis({ ...server, listener });
		this.#bus = new RedisBus(this.#redis);
		this.#parts = [() => this.#redis.open()];
	}

	/** The second level of the cache. */
	answers(): SharedStore {
		this.#parts.unshift(() => this.#bus.open());
		return redisStore(this.#redis, this.#bus, this.start.name);
	}

	/** @param own counts for this router @param spent what this router has spent, USD */
	limiter(own: LocalLimiter, spent: Spender["spent"]): Limiter {
		const { name, router, replica } = this.start;
		const options = { isOneOfSeveral: true, process: router };
		const limiter = new RedisLimiter(this.#redis, own, name, { replica, spent }, options);
		this.#parts.push(() => limiter.open());
		return limiter;
	}

	/** Begins to connect. Returns how to end it. */
	open(): () => void {
		const closing = this.#parts.map((open) => open());
		return () => {
			// That a worker ends is no outage.
			this.#isClosing = true;
			this.routing.flush();
			for (const close of closing.reverse()) close();
		};
	}
}
