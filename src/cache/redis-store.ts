/** Answers in Redis, and the claims by which several routers make the same call once. */
import type { RingKey } from "../memory/ring.ts";
import type { SharedRedis } from "../store/redis.ts";
import type { RedisBus } from "../store/redis-bus.ts";
import type { CallClaim, Release, SharedStore } from "./shared-store.ts";

/** How long a claim lasts that is not renewed, ms: a router that dies keeps the others waiting for so long. */
const CLAIM_MS = 5_000;
const RENEW_MS = 1_500;
/** How often a waiting call looks, ms. It is told at once; this finds what was told to nobody. */
const LOOK_MS = 500;
/** Larger values are not shared, bytes: to move one takes longer than a call may wait. */
const LARGEST = 1024 * 1024;
const CHANNEL = "answered";

/** The answer, 1 for a claim that was given, 0 for one that another has. */
const CLAIM = {
	name: "routerClaim",
	lua: `
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0`,
};

/** Keeps an answer, where there is one, and gives back the claim, where it is this router's. */
const RELEASE = {
	name: "routerRelease",
	lua: `
if ARGV[3] then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
redis.call('PUBLISH', ARGV[2], KEYS[1])
return 1`,
};

const RENEW = {
	name: "routerRenew",
	lua: `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`,
};

/** The shared store in a Redis. @param router names this router among those that share it */
export function redisStore(redis: SharedRedis, bus: RedisBus, router: string): SharedStore {
	return new RedisStore(redis, bus, router);
}

/**
 * Gives back claims of a worker that has died, so that whoever waits for these calls makes them.
 * @param worker as its store named it
 */
export function abandonCalls(redis: SharedRedis, worker: string, keys: readonly RingKey[]): void {
	const channel = redis.key(CHANNEL);
	for (const name of keys.map((key) => nameOf(redis, key))) {
		void redis.script(RELEASE, [name, claimOf(name)], [worker, channel]);
	}
}

/** One slot for both keys of an answer: the braces are the hash tag. */
const nameOf = (redis: SharedRedis, key: RingKey): string => redis.key(`cache:{${Buffer.from(key).toString("hex")}}`);

class RedisStore implements SharedStore {
	/** By name of an answer: who waits for its call to be over. */
	readonly #waiting = new Map<string, Set<() => void>>();
	/** Names whose claims this router has. */
	readonly #held = new Set<string>();
	#renewing: ReturnType<typeof setInterval> | undefined;

	constructor(
		private readonly redis: SharedRedis,
		bus: RedisBus,
		private readonly router: string,
	) {
		bus.listen(CHANNEL, (name) => {
			for (const wake of this.#waiting.get(name) ?? []) wake();
		});
	}

	async claim(key: Uint8Array): Promise<CallClaim> {
		const name = nameOf(this.redis, key);
		const answer = await this.redis.scriptBuffer(CLAIM, [name, claimOf(name)], [this.router, CLAIM_MS]);
		if (answer === undefined) return { is: "unavailable" };
		if (answer instanceof Uint8Array) return { is: "found", bytes: answer };
		if (answer !== 1) return { is: "elsewhere" };
		this.#hold(name);
		return { is: "ours", release: (result) => this.#release(name, result) };
	}

	async wait(key: Uint8Array, signal: AbortSignal): Promise<CallClaim> {
		const name = nameOf(this.redis, key);
		for (;;) {
			const end = this.#listenFor(name);
			try {
				// Claimed before the first wait, too: the answer may have come since the last try.
				const found = await this.claim(key);
				if (found.is !== "elsewhere" || signal.aborted) return found;
				await end.next(signal);
			} finally {
				end.stop();
			}
		}
	}

	put(key: Uint8Array, bytes: Uint8Array, ttlMs: number): void {
		this.#release(nameOf(this.redis, key), { bytes, ttlMs });
	}

	#release(name: string, result: Parameters<Release>[0]): void {
		this.#held.delete(name);
		const isShared = result && result.ttlMs > 0 && result.bytes.length <= LARGEST;
		const value = isShared ? [Buffer.from(result.bytes), Math.ceil(result.ttlMs)] : [];
		void this.redis.script(RELEASE, [name, claimOf(name)], [this.router, this.redis.key(CHANNEL), ...value]);
	}

	/** A long call has its claim renewed for as long as it runs. */
	#hold(name: string): void {
		this.#held.add(name);
		this.#renewing ??= setInterval(() => {
			for (const each of this.#held) void this.redis.script(RENEW, [claimOf(each)], [this.router, CLAIM_MS]);
			if (this.#held.size > 0) return;
			clearInterval(this.#renewing);
			this.#renewing = undefined;
		}, RENEW_MS);
		this.#renewing.unref();
	}

	/** Listens for the end of that call. */
	#listenFor(name: string) {
		const { promise, resolve } = Promise.withResolvers<void>();
		const wakes = this.#waiting.get(name) ?? new Set();
		this.#waiting.set(name, wakes.add(resolve));
		return {
			async next(signal: AbortSignal): Promise<void> {
				const timer = setTimeout(resolve, LOOK_MS);
				const wake = () => resolve();
				signal.addEventListener("abort", wake);
				await promise;
				signal.removeEventListener("abort", wake);
				clearTimeout(timer);
			},
			stop: (): void => {
				wakes.delete(resolve);
				if (wakes.size === 0) this.#waiting.delete(name);
			},
		};
	}
}

const claimOf = (name: string): string => `${name}:by`;
