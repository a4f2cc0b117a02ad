/** Messages between replicas: published to all, lost for a replica that is not connected. */
import { setTimeout as pause } from "node:timers/promises";
import type { SharedRedis } from "./redis.ts";
import { type RedisSubscriber, retryPause } from "./redis-client.ts";

/** How often a subscription that was refused is tried again, and one that stands is asked for a sign of life, ms. */
const LOOK_MS = 1_000;

/** Called with each message of a channel. */
export type BusMessage = (text: string) => void;

/** Channels of one Redis. Connects when `open` is called. */
export class RedisBus {
	readonly #listeners = new Map<string, Set<BusMessage>>();
	readonly #resumed = new Set<() => void>();
	/** Undefined before `open`, and once it is ended. */
	#subscriber: RedisSubscriber | undefined;
	/** Connections that were lost since a subscription began last. */
	#tries = 0;
	#retry: ReturnType<typeof setTimeout> | undefined;

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

	/** Subscribes, and tries until it succeeds; again wherever that ends. Returns a function that ends it. */
	open(): () => void {
		this.#connect();
		return () => {
			const subscriber = this.#subscriber;
			this.#subscriber = undefined;
			clearTimeout(this.#retry);
			subscriber?.disconnect();
		};
	}

	#connect(): void {
		const subscriber = this.redis.subscriber();
		this.#subscriber = subscriber;
		subscriber.on("message", (channel: string, text: string) => {
			for (const listener of this.#listeners.get(channel) ?? []) listener(text);
		});
		subscriber.on("ready", () => void this.#keep(subscriber));
		subscriber.on("end", () => {
			if (this.#subscriber !== subscriber) return;
			this.#retry = setTimeout(() => this.#connect(), retryPause(++this.#tries));
		});
	}

	/**
	 * Subscribes, again and again until the server takes it; then has it answer a `PING` now and then, without which nothing would show that the
	 * connection leads nowhere: it is given up where no answer comes (`SILENT_MS`). Resolves when it is lost.
	 */
	async #keep(subscriber: RedisSubscriber): Promise<void> {
		let isSubscribed = false;
		while (subscriber.status === "ready") {
			// To refuse this is a sign of life, too.
			if (isSubscribed) await subscriber.ping().catch(() => undefined);
			else isSubscribed = await this.#subscribe(subscriber);
			await pause(LOOK_MS, undefined, { ref: false });
		}
	}

	/** Whether the server has taken it. */
	async #subscribe(subscriber: RedisSubscriber): Promise<boolean> {
		try {
			await subscriber.subscribe(...this.#listeners.keys());
		} catch (error) {
			this.redis.reportRefused(error as Error);
			return false;
		}
		this.#tries = 0;
		for (const listener of this.#resumed) listener();
		return true;
	}
}
