/** Limits of routers of two workers each that a real Redis counts, while it hangs and where it loses all: what one worker has under way is known to the other. */
import { expect } from "bun:test";
import type { Limit, LimitDecision } from "../src/accounts/limits/limiter.ts";
import { RedisLimiter, type RedisLimiterOptions } from "../src/accounts/limits/redis-limiter.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import type { RedisAnswer, SharedRedis } from "../src/store/redis.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterEach, beforeEach, describe, test } = needing("redis");

/** So long that nothing leaves it while a test runs. */
const WINDOW_MS = 40_000_000;
const BLOCKS = 500;
const NO_SPENDER = { replica: "a", spent: () => 0 };

let server: RedisServer;
const ends: (() => void)[] = [];
beforeEach(async () => {
	server = await startRedis();
});
afterEach(async () => {
	for (const end of ends.splice(0)) end();
	await server.stop();
});

/** Two limiters that count in one memory, each with a connection of its own. @param timeoutsMs the deadlines of the two */
function workersOf(process: string, timeoutsMs: readonly [number, number], options: RedisLimiterOptions = {}) {
	const memory = makeBlocks(BLOCKS);
	return timeoutsMs.map((timeoutMs, at) => {
		const connected: Connected = connectRedis(server.url, { timeoutMs });
		const held = withheld(connected.redis);
		const limiter = new RedisLimiter(
			held.redis,
			new SharedLimiter(new SharedBlocks(memory, BLOCKS, at + 1), 0),
			`${process}-${at}`,
			NO_SPENDER,
			{ isOneOfSeveral: true, process, lookMs: 20, ...options },
		);
		const close = limiter.open();
		ends.push(() => {
			close();
			connected.close();
		});
		const take = (limit: Limit): Promise<LimitDecision> => limiter.take([limit], performance.now());
		return { connected, take, withhold: held.withhold };
	});
}
/** A connection of which scripts can be held back on their way to Redis. */
function withheld(real: SharedRedis) {
	let held: Promise<void> | undefined;
	const redis: Pick<SharedRedis, "key" | "ask" | "isUp" | "isAlive" | "onAlive"> = {
		key: (name) => real.key(name),
		onAlive: (listener) => real.onAlive(listener),
		get isUp() {
			return real.isUp;
		},
		get isAlive() {
			return real.isAlive;
		},
		ask(...asked): RedisAnswer | undefined {
			if (!held) return real.ask(...asked);
			const sent = held.then(() => real.ask(...asked));
			return { soon: sent.then((each) => each?.soon), whole: sent.then((each) => each?.whole), isRefused: false };
		},
	};
	/** From here on, until what it returns is called. */
	const withhold = (): (() => void) => {
		const { promise, resolve } = Promise.withResolvers<void>();
		held = promise;
		return () => {
			held = undefined;
			resolve();
		};
	};
	return { redis, withhold };
}
const requests = (max: number): Limit => ({ id: "key:a", unit: "requests", max, windowMs: WINDOW_MS, amount: 1 });
/** How many of so many calls a worker lets in. */
async function letIn({ take }: ReturnType<typeof workersOf>[number], count: number, limit: Limit): Promise<number> {
	let allowed = 0;
	for (let call = 0; call < count; call++) if ((await take(limit)).isAllowed) allowed++;
	return allowed;
}
const counted = async (): Promise<number> => Number(await server.client.hget(`t:{limits}:r:${WINDOW_MS}:key:a`, "s"));

describe("while Redis hangs", () => {
	test("a worker that gives up first takes no call of the other one's, which has no answer, for one that Redis has counted", async () => {
		const routers = [0, 1, 2].map((at) => workersOf(`router-${at}`, [400, 60]));
		await Promise.all(routers.flat().map(({ connected }) => connected.up()));
		const found = async () => (await server.client.zcard("t:{limits}:routers")) === routers.length;
		await until(found, "the routers");
		// Each of their threads has looked since.
		await Bun.sleep(100);
		server.hang();
		const shares: number[] = [];
		for (const [first, second] of routers) {
			const waiting = [first!.take(requests(40)), first!.take(requests(40))];
			await Bun.sleep(2);
			let count = await letIn(second!, 30, requests(40));
			for (const decision of await Promise.all(waiting)) if (decision.isAllowed) count++;
			count += await letIn(first!, 30, requests(40));
			shares.push(count);
		}
		expect(shares).toEqual([13, 13, 14]);
	}, 60_000);
});

describe("where Redis has lost all", () => {
	/** No look: what a call finds is what is tested. */
	const never = { lookMs: 3_600_000 };

	test("a call on its way to it is counted once, though another worker has put back what was counted here", async () => {
		const [one, two] = workersOf("router", [5_000, 5_000], never);
		await Promise.all([one!, two!].map(({ connected }) => connected.up()));
		expect(await letIn(one!, 5, requests(100))).toBe(5);
		expect(await letIn(two!, 5, requests(100))).toBe(5);
		const send = two!.withhold();
		const late = [two!.take(requests(100)), two!.take(requests(100))];
		await server.client.flushall();
		expect(await letIn(one!, 1, requests(100))).toBe(1);
		send();
		expect((await Promise.all(late)).map(({ isAllowed }) => isAllowed)).toEqual([true, true]);
		await until(async () => (await counted()) === 13, "all calls, each once");
		expect(await letIn(two!, 1, requests(100))).toBe(1);
		expect(await counted()).toBe(14);
	}, 30_000);

	test("a call that it had counted is put back, though the one that found the loss was sent before it", async () => {
		const [one, two] = workersOf("router", [5_000, 5_000], never);
		await Promise.all([one!, two!].map(({ connected }) => connected.up()));
		expect(await letIn(two!, 1, requests(100))).toBe(1);
		const send = two!.withhold();
		const late = two!.take(requests(100));
		await Bun.sleep(2);
		expect(await letIn(one!, 3, requests(100))).toBe(3);
		await server.client.flushall();
		send();
		expect((await late).isAllowed).toBe(true);
		expect(await letIn(one!, 1, requests(100))).toBe(1);
		await until(async () => (await counted()) === 6, "all calls, each once");
	}, 30_000);

	test("a call that it refuses then takes nothing, though it was put back", async () => {
		const [one, two] = workersOf("router", [5_000, 5_000], never);
		await Promise.all([one!, two!].map(({ connected }) => connected.up()));
		expect(await letIn(two!, 2, requests(6))).toBe(2);
		const send = two!.withhold();
		const late = two!.take(requests(6));
		await server.client.flushall();
		expect(await letIn(one!, 1, requests(6))).toBe(1);
		await until(async () => (await counted()) === 4, "what was put back, and the call that found it");
		// Another router, which begins now, takes what is left.
		const [stranger] = workersOf("other", [5_000, 5_000], never);
		await stranger!.connected.up();
		expect(await letIn(stranger!, 2, requests(6))).toBe(2);
		send();
		expect((await late).isAllowed).toBe(false);
		await until(async () => (await counted()) === 5, "the calls that were let in");
	}, 30_000);
});
