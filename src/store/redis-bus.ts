/** Messages between replicas: published to all, lost for a replica that is not connected. */
import type { SharedRedis } from "./redis.ts";
import type { RedisClient } from "./redis-client.ts";

/** Called with each message of a channel. */
export type BusMessage = (text: string) => void;

/** Channels of one Redis. Connects when `open` is called. */
export class RedisBus {
	readonly #listeners = new Map<string, Set<BusMessage>>();
	readonly #resumed = new Set<() => void>();
	#client: RedisClient | undefined;

	constructor(private readonly redis: SharedRedis) {}

	/** Listens to a channel. To be called before `open`. */
	listen(channel: string, listener: BusMessage): void {
		const name = this.redis.key(channel);
		const listeners = this.#listeners.get(name) ?? new Set();
		this.#listeners.set(name, listeners.add(listener));
	}

	/** Calls the listener each time that messages may have been missed: after a subscription began, or began again. */
	onResumed(listener: () => void): void {
		this.#resumed.add(listener);
	}

	/** Sends a message: whether Redis took it in time. Who gets it is not confirmed. Never rejects. */
	async publish(channel: string, text: string): Promise<boolean> {
		const receivers = await this.redis.run((client) => client.publish(this.redis.key(channel), text));
		return receivers !== undefined;
	}

	/** Subscribes, and tries until it succeeds. Returns a function that ends it. */
	open(): () => void {
		const client = this.redis.subscriber();
		this.#client = client;
		const channels = [...this.#listeners.keys()];
		client.on("message", (channel: string, text: string) => {
			for (const listener of this.#listeners.get(channel) ?? []) listener(text);
		});
		client.on("ready", () => {
			client.subscribe(...channels).then(
				() => {
					for (const listener of this.#resumed) listener();
				},
				// The connection was lost again: its next `ready` subscribes.
				() => undefined,
			);
		});
		return () => this.#client?.disconnect();
	}
}
