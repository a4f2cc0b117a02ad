/** What the main thread does about Redis for its workers, each of which has a connection of its own for what its calls ask. */
import { DeadLeases } from "../accounts/limits/dead-leases.ts";
import { abandonCalls } from "../cache/redis-store.ts";
import type { RingKey } from "../memory/ring.ts";
import type { ExchangedThreads } from "../routing/exchanged-threads.ts";
import type { RoutingBatch } from "../routing/routing-notes.ts";
import type { SharedRedis } from "../store/redis.ts";
import type { RedisNews, RedisOutages } from "./redis-outages.ts";

/** What it goes over. */
interface RedisWorkersOptions {
	readonly redis: SharedRedis;
	/** Names this process among those that share the Redis. */
	readonly router: string;
	readonly outages: RedisOutages;
	/** What targets are chosen by. */
	readonly targets: ExchangedThreads;
}

/** What its connection tells; what its calls have other routers know of targets. */
export type WorkerMessage =
	| { readonly type: "redis"; readonly news: RedisNews }
	| { readonly type: "routing"; readonly batch: RoutingBatch };

/** All workers, as Redis knows them. */
export class RedisWorkers {
	/** By the number of the thread: what the worker is called at Redis, another name each time that one starts. */
	readonly #names = new Map<number, string>();
	#started = 0;
	readonly #leases: DeadLeases;

	constructor(private readonly options: RedisWorkersOptions) {
		this.#leases = new DeadLeases(options.redis);
	}

	/** A worker starts. What it is to be called at Redis. */
	begin(thread: number): string {
		const name = `${this.options.router}-${++this.#started}`;
		this.#names.set(thread, name);
		this.options.outages.began(thread);
		return name;
	}

	/** A worker that has ended was making these calls: others may, who wait for them. */
	abandoned(thread: number, keys: readonly RingKey[]): void {
		const name = this.#names.get(thread);
		if (name !== undefined) abandonCalls(this.options.redis, name, keys);
	}

	/** A worker has ended: what it held at Redis is given back. */
	ended(thread: number): void {
		const name = this.#names.get(thread);
		this.#names.delete(thread);
		this.options.outages.ended(thread);
		if (name !== undefined) this.#leases.free(name);
	}

	/** Takes what a worker tells. */
	take(thread: number, message: WorkerMessage): void {
		if (message.type === "routing") this.options.targets.take(message.batch);
		else if (this.#names.has(thread)) this.options.outages.take(thread, message.news);
	}
}
