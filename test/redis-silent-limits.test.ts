/** Limits of several routers while a real Redis is stopped, or killed: together they let in exactly what was left, each its share. */
import { expect } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { RedisLimiter } from "../src/accounts/limits/redis-limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterEach, beforeEach, describe, test } = needing("redis");

/** So long that nothing leaves it while a test runs. */
const WINDOW_MS = 40_000_000;
const LOOK_MS = 20;

/** One router: its limiter, its connection, and what it has spent. */
function routerOf(url: string, name: string) {
	const connected: Connected = connectRedis(url, { timeoutMs: 200 });
	const spend = new LocalSpend({ spent: () => 0, spenders: () => [] });
	const spender = { replica: name, spent: (key: string, period: string) => spend.spent(key, period) };
	const limiter = new RedisLimiter(connected.redis, new SlidingWindowLimiter(), name, spender, { lookMs: LOOK_MS });
	const close = limiter.open();
	const take = (...limits: Limit[]): Promise<LimitDecision> => limiter.take(limits, performance.now());
	return {
		connected,
		take,
		/** A call that has cost so much. */
		async spends(limit: Limit, usd: number): Promise<boolean> {
			const { spending } = limit;
			const decision = await take({ ...limit, spending: { ...spending!, usd: spend.spent("a", "total") } });
			if (!decision.isAllowed) return false;
			spend.add("a", "total", usd);
			limiter.settle(decision.reservation, 0, performance.now());
			return true;
		},
		settle: (reservation: Reservation, tokens = 0) => limiter.settle(reservation, tokens, performance.now()),
		leave() {
			close();
			connected.close();
		},
	};
}

let server: RedisServer;
let routers: ReturnType<typeof routerOf>[];
beforeEach(async () => {
	server = await startRedis();
	routers = [0, 1, 2].map((at) => routerOf(server.url, `router-${at}`));
	await Promise.all(routers.map(({ connected }) => connected.up()));
	await told();
});
afterEach(async () => {
	for (const router of routers) router.leave();
	await server.stop();
});

const requests = (max: number, id = "key:a"): Limit => ({ id, unit: "requests", max, windowMs: WINDOW_MS, amount: 1 });
const tokens = (max: number, amount: number, certain?: number): Limit => ({
	...requests(max),
	unit: "tokens",
	amount,
	certain,
});
const places = (max: number): Limit => ({ ...requests(max), unit: "concurrency" });
const budget = (max: number, amount: number): Limit => ({
	...requests(max),
	unit: "usd",
	amount,
	spending: { key: "a", period: "total", usd: 0 },
});
/** Each router has heard of all that was taken before: it has looked twice since. */
async function told(count = routers.length): Promise<void> {
	for (let round = 0; round < 3; round++) {
		const before = new Map(await present());
		await until(async () => {
			const now = await present();
			return now.length === count && now.every(([name, at]) => at > (before.get(name) ?? 0));
		}, "a look of each router");
	}
}
/** The routers that are there, and until when. */
async function present(): Promise<[name: string, until: number][]> {
	const flat = await server.client.zrange("t:{limits}:routers", "0", "-1", "WITHSCORES");
	return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, Number(flat[at + 1])] as [string, number]] : []));
}
/** How many of so many calls one router lets in. */
async function letIn(router: number, count: number, limit: Limit): Promise<number> {
	let allowed = 0;
	for (let call = 0; call < count; call++) if ((await routers[router]!.take(limit)).isAllowed) allowed++;
	return allowed;
}
/** The same of each router. */
const letInByEach = async (count: number, limit: Limit): Promise<number[]> => {
	const counts: number[] = [];
	for (const router of routers.keys()) counts.push(await letIn(router, count, limit));
	return counts;
};
const isDeaf = () => Promise.all(routers.map(({ connected }) => until(() => !connected.redis.isAlive, "the outage")));
const hears = () => Promise.all(routers.map(({ connected }) => connected.up()));
const counted = async (letter: string): Promise<number> =>
	Number(await server.client.hget(`t:{limits}:${letter}:${WINDOW_MS}:key:a`, "s"));

/** Redis can't be asked, and can be again. */
const OUTAGES = [
	["stopped", async () => server.hang(), async () => server.resume()],
	["killed", () => server.kill(), () => server.restart()],
] as const;
/** Has each router find out. */
const notice = async () => {
	for (let call = 0; call < 3; call++) await Promise.all(routers.map(({ take }) => take(requests(1e6, "key:other"))));
	await isDeaf();
};

describe.each(OUTAGES)("while Redis is %s", (_, begin, end) => {
	test("requests are let in to the last one that was left, whoever had taken the others, and none more when it is back", async () => {
		// Two of the routers were never asked.
		expect(await letIn(0, 60, requests(100))).toBe(60);
		await told();
		await begin();
		await notice();
		const shares = await letInByEach(100, requests(100));
		// What others may have taken between the last word and the outage each may have left to them.
		for (const [router, count] of shares.entries()) expect(count).toBeWithin(12, router === 2 ? 15 : 14);
		await end();
		await hears();
		expect(await letInByEach(10, requests(100))).toEqual([0, 0, 0]);
		const letInAlone = shares.reduce((sum, count) => sum + count);
		await until(async () => (await counted("r")) === 60 + letInAlone, "all that was counted");
		// Once each has told, the rest of it is anybody's.
		let rest = 0;
		await until(async () => {
			rest += await letIn(0, 1, requests(100));
			return letInAlone + rest === 40;
		}, "the rest");
		expect(await letInByEach(10, requests(100))).toEqual([0, 0, 0]);
	}, 30_000);

	test("a limit of which nobody had taken anything is divided", async () => {
		await begin();
		await notice();
		expect(await letInByEach(20, requests(20))).toEqual([6, 7, 7]);
		expect(await letInByEach(5, requests(2, "key:few"))).toEqual([0, 1, 1]);
	}, 30_000);

	test("tokens are, and a guess that is more than a share is let in once", async () => {
		expect(await letIn(1, 1, tokens(10_000, 4_000))).toBe(1);
		await told();
		await begin();
		await notice();
		expect(await letInByEach(100, tokens(10_000, 100))).toEqual([20, 20, 20]);
		const guess = { ...tokens(9_000, 4_096, 10), id: "key:guess" };
		const first = await routers[0]!.take(guess);
		expect((await routers[0]!.take(guess)).isAllowed).toBe(false);
		if (!first.isAllowed) throw new Error("it was refused");
		routers[0]!.settle(first.reservation, 50);
		expect((await routers[0]!.take(guess)).isAllowed).toBe(true);
	}, 30_000);

	test("no more calls run at once than may, and places that are free are taken anew", async () => {
		expect(await letIn(2, 4, places(10))).toBe(4);
		await told();
		await begin();
		await notice();
		const first = await routers[0]!.take(places(10));
		if (!first.isAllowed) throw new Error("it was refused");
		expect(await letInByEach(10, places(10))).toEqual([1, 2, 2]);
		routers[0]!.settle(first.reservation);
		expect(await letInByEach(10, places(10))).toEqual([1, 0, 0]);
	}, 30_000);

	test("a budget is spent to the end, and not beyond", async () => {
		let spent = 0;
		for (let call = 0; call < 4; call++) spent += Number(await routers[0]!.spends(budget(10, 1), 1));
		expect(spent).toBe(4);
		// One that another router has asked for is known there.
		expect(await routers[1]!.spends(budget(10, 0.5), 0)).toBe(true);
		await told();
		await begin();
		await notice();
		const counts: number[] = [];
		for (const router of [0, 1]) {
			let count = 0;
			for (let call = 0; call < 20; call++) count += Number(await routers[router]!.spends(budget(10, 0.5), 0.5));
			counts.push(count);
		}
		expect(counts).toEqual([4, 4]);
	}, 30_000);

	test("a router that is alone keeps its whole limits", async () => {
		for (const router of routers.splice(1)) router.leave();
		expect(await letIn(0, 30, requests(100))).toBe(30);
		await told(1);
		await begin();
		await notice();
		expect(await letIn(0, 100, requests(100))).toBe(70);
		expect(await letIn(0, 9, places(7))).toBe(7);
		expect(await letIn(0, 9, { ...tokens(1_000, 200), id: "key:b" })).toBe(5);
	}, 30_000);
});
