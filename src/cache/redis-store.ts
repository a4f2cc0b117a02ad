/** Answers in Redis, and the claims by which several routers make the same call once. */
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
	const waiting = new Map<string, Set<() => void>>();
	const held = new Set<string>();
	let renewing: ReturnType<typeof setInterval> | undefined;
	bus.listen(CHANNEL, (name) => {
		for (const wake of waiting.get(name) ?? []) wake();
	});

	// One slot for both keys of an answer: the braces are the hash tag.
	const nameOf = (key: Uint8Array) => redis.key(`cache:{${Buffer.from(key).toString("hex")}}`);
	const claimOf = (name: string) => `${name}:by`;

	async function claim(key: Uint8Array): Promise<CallClaim> {
		const name = nameOf(key);
		const answer = await redis.scriptBuffer(CLAIM, [name, claimOf(name)], [router, CLAIM_MS]);
		if (answer === undefined) return { is: "unavailable" };
		if (answer instanceof Uint8Array) return { is: "found", bytes: answer };
		if (answer !== 1) return { is: "elsewhere" };
		hold(name);
		return { is: "ours", release: (kept) => release(name, kept) };
	}

	const release = (name: string, kept: Parameters<Release>[0]): void => {
		held.delete(name);
		const isShared = kept && kept.ttlMs > 0 && kept.bytes.length <= LARGEST;
		const value = isShared ? [Buffer.from(kept.bytes), Math.ceil(kept.ttlMs)] : [];
		void redis.script(RELEASE, [name, claimOf(name)], [router, redis.key(CHANNEL), ...value]);
	};

	/** A long call keeps its claim for as long as it runs. */
	function hold(name: string): void {
		held.add(name);
		renewing ??= setInterval(() => {
			for (const each of held) void redis.script(RENEW, [claimOf(each)], [router, CLAIM_MS]);
			if (held.size > 0) return;
			clearInterval(renewing);
			renewing = undefined;
		}, RENEW_MS);
		renewing.unref();
	}

	async function wait(key: Uint8Array, signal: AbortSignal): Promise<CallClaim> {
		const name = nameOf(key);
		for (;;) {
			const told = listenFor(name);
			try {
				// Asked before the first wait, too: the answer may have come since the last look.
				const found = await claim(key);
				if (found.is !== "elsewhere" || signal.aborted) return found;
				await told.next(signal);
			} finally {
				told.stop();
			}
		}
	}

	/** Hears when that call is over. */
	function listenFor(name: string) {
		const { promise, resolve } = Promise.withResolvers<void>();
		const wakes = waiting.get(name) ?? new Set();
		waiting.set(name, wakes.add(resolve));
		return {
			async next(signal: AbortSignal): Promise<void> {
				const timer = setTimeout(resolve, LOOK_MS);
				const wake = () => resolve();
				signal.addEventListener("abort", wake);
				await promise;
				signal.removeEventListener("abort", wake);
				clearTimeout(timer);
			},
			stop(): void {
				wakes.delete(resolve);
				if (wakes.size === 0) waiting.delete(name);
			},
		};
	}

	return {
		claim,
		wait,
		put: (key, bytes, ttlMs) => release(nameOf(key), { bytes, ttlMs }),
	};
}
