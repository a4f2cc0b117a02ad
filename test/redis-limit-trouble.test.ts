/** Limits of several routers while Redis is slow, hangs, is away, or has lost what it counted: exact where it answers, never forgotten. */
import { expect } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { RedisLimiter } from "../src/accounts/limits/redis-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis");

/** So long that nothing leaves it, nor lapses, while a test runs. */
const WINDOW_MS = 40_000_000;
const ROUTERS = 3;
let server: RedisServer;
let proxy: ReturnType<typeof slowProxy>;
let connected: Connected[];
let limiters: RedisLimiter[];
let close: (() => void)[];
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
	await server.empty();
	proxy = slowProxy(server.port);
	connected = Array.from({ length: ROUTERS }, () => connectRedis(`redis://127.0.0.1:${proxy.port}/0`));
	limiters = connected.map(({ redis }, at) => {
		return new RedisLimiter(redis, new SlidingWindowLimiter(), `router-${at}`, { replica: "r", spent: () => 0 });
	});
	close = limiters.map((limiter) => limiter.open());
	await Promise.all(connected.map((each) => each.up()));
});
afterEach(() => {
	for (const end of close) end();
	for (const each of connected) each.close();
	proxy.stop();
});

const requests = (max: number, id = "key:a"): Limit => ({ id, unit: "requests", max, windowMs: WINDOW_MS, amount: 1 });
const places = (max: number): Limit => ({ ...requests(max), unit: "concurrency" });
const tokens = (max: number, amount: number): Limit => ({ ...requests(max), unit: "tokens", amount });
const take = (router: number, ...limits: Limit[]): Promise<LimitDecision> =>
	limiters[router]!.take(limits, performance.now());
/** How many of so many calls in turn are let in. */
async function letIn(count: number, limit: Limit, routers = [0, 1, 2]): Promise<number> {
	let allowed = 0;
	for (let call = 0; call < count; call++) {
		if ((await take(routers[call % routers.length]!, limit)).isAllowed) allowed++;
	}
	return allowed;
}
/** The same by as many clients at once. */
async function letInAtOnce(count: number, limit: Limit, clients: number): Promise<number> {
	let [allowed, next] = [0, 0];
	const client = async () => {
		for (let call = next++; call < count; call = next++) {
			if ((await take(call % ROUTERS, limit)).isAllowed) allowed++;
		}
	};
	await Promise.all(Array.from({ length: clients }, client));
	return allowed;
}
const reservationOf = (decision: LimitDecision): Reservation => {
	if (!decision.isAllowed) throw new Error("it was refused");
	return decision.reservation;
};
/** What Redis has counted. */
const counted = async (unit: "r" | "t", id = "key:a"): Promise<number> =>
	Number(await server.client.hget(`t:{limits}:${unit}:${WINDOW_MS}:${id}`, "s"));
const becomes = (unit: "r" | "t", count: number) =>
	until(async () => (await counted(unit)) === count, `${count} counted in Redis`);
/** A router's connection hears nothing, and knows. */
const isDeaf = (router: number) => until(() => !connected[router]!.redis.isAlive, "the outage");

describe("a Redis that answers late", () => {
	test("lets in exactly as many calls as a limit says, of three routers at once", async () => {
		expect(await letIn(3, requests(300))).toBe(3);
		proxy.delayMs = 100;
		expect(await letInAtOnce(700, requests(300), 60)).toBe(297);
		expect(await counted("r")).toBe(300);
	}, 60_000);

	test("is not waited for by a call far from its limits, and is by one that is near", async () => {
		const [far, near] = [requests(1_000, "key:far"), requests(2, "key:near")];
		await take(0, far, near);
		await take(1, near);
		proxy.delayMs = Number.POSITIVE_INFINITY;
		expect((await take(0, far)).isAllowed).toBe(true);
		let isDecided = false;
		const waits = take(0, near).then((decision) => {
			isDecided = true;
			return decision;
		});
		// One that comes later is done sooner.
		expect((await take(0, far)).isAllowed).toBe(true);
		expect(isDecided).toBe(false);
		proxy.delayMs = 0;
		expect((await waits).isAllowed).toBe(false);
		await until(async () => (await counted("r", "key:far")) === 3, "the calls that did not wait");
	});

	test("counts what calls have really taken that were over before its answer", async () => {
		await take(0, tokens(100_000, 10));
		proxy.delayMs = Number.POSITIVE_INFINITY;
		const call = reservationOf(await take(0, tokens(100_000, 500)));
		limiters[0]!.settle(call, 20, performance.now());
		proxy.delayMs = 0;
		await becomes("t", 30);
	});

	test("is told of a call that it refused when it had long been let in", async () => {
		await take(0, tokens(1_000, 10));
		proxy.delayMs = Number.POSITIVE_INFINITY;
		// The other router takes what this one believes to be left.
		await server.client.hset(`t:{limits}:t:${WINDOW_MS}:key:a`, "s", 990);
		expect((await take(0, tokens(1_000, 50))).isAllowed).toBe(true);
		proxy.delayMs = 0;
		await becomes("t", 1_040);
	});
});

describe("a Redis that hangs or is away", () => {
	test("leaves standing what other routers had taken", async () => {
		expect(await letIn(60, requests(100))).toBe(60);
		server.hang();
		try {
			await Promise.all([0, 1, 2].map((router) => take(router, requests(1_000, "key:b"))));
			await Promise.all([0, 1, 2].map((router) => take(router, requests(1_000, "key:b"))));
			await Promise.all([0, 1, 2].map((router) => take(router, requests(1_000, "key:b"))));
			await isDeaf(0);
			// Forty at least, and as many more as they would take by now.
			expect(await letIn(50, requests(100), [0])).toBeLessThanOrEqual(42);
		} finally {
			server.resume();
		}
	});

	test("is told of what was let in meanwhile, and of what that came to", async () => {
		await take(0, requests(100), tokens(1_000, 100));
		server.hang();
		try {
			for (let call = 0; call < 3; call++) await take(0, requests(1_000, "key:b"));
			await isDeaf(0);
			const [first] = [await take(0, requests(100), tokens(1_000, 100)), await take(0, requests(100))];
			limiters[0]!.settle(reservationOf(first), 30, performance.now());
			limiters[0]!.cancel(reservationOf(await take(0, requests(100))), performance.now());
		} finally {
			server.resume();
		}
		await becomes("r", 3);
		await becomes("t", 130);
	});

	test("frees a place in time that was given back while it hung", async () => {
		const call = reservationOf(await take(0, places(1)));
		server.hang();
		limiters[0]!.settle(call, 0, performance.now());
		server.resume();
		await until(async () => (await take(1, places(1))).isAllowed, "the place");
	});
});

describe("a Redis that has lost what it counted", () => {
	test("by a flush lets nobody use a limit once more, whoever is asked first", async () => {
		expect(await letIn(90, requests(100))).toBe(90);
		// What is under way at that very moment may count twice.
		await Bun.sleep(20);
		await server.client.flushall();
		expect(await letIn(60, requests(100))).toBe(10);
		await becomes("r", 100);
		expect(await letIn(30, requests(100))).toBe(0);
	});

	test("gets back what a router has counted that is asked for nothing more", async () => {
		expect(await letIn(60, requests(100))).toBe(60);
		await server.client.flushall();
		await becomes("r", 60);
		// Once.
		expect(await letIn(3, requests(100))).toBe(3);
		expect(await counted("r")).toBe(63);
	});

	test("gets back the places of calls that run, and they end", async () => {
		const calls = [await take(0, places(3)), await take(1, places(3))].map(reservationOf);
		await server.client.flushall();
		const key = `t:{limits}:c:${WINDOW_MS}:key:a`;
		await until(async () => (await server.client.zcard(key)) === 2, "the places");
		reservationOf(await take(2, places(3)));
		expect((await take(2, places(3))).isAllowed).toBe(false);
		limiters[0]!.settle(calls[0]!, 0, performance.now());
		await until(async () => (await take(2, places(3))).isAllowed, "the place that is free");
	});

	test("since it died gets back all, also what was let in without it", async () => {
		expect(await letIn(60, requests(200))).toBe(60);
		await server.kill();
		await Promise.all([0, 1, 2].map(isDeaf));
		expect(await letIn(9, requests(200))).toBe(9);
		await server.restart();
		await Promise.all(connected.map((each) => each.up()));
		await becomes("r", 69);
		expect(await letIn(150, requests(200))).toBe(131);
	});

	test("counts tokens as they were settled, before and after", async () => {
		const [over, runs] = [await take(0, tokens(1_000, 400)), await take(1, tokens(1_000, 300))].map(reservationOf);
		limiters[0]!.settle(over!, 100, performance.now());
		await becomes("t", 400);
		await server.client.flushall();
		await becomes("t", 400);
		limiters[1]!.settle(runs!, 50, performance.now());
		await becomes("t", 150);
	});
});
