/** Budgets that several routers keep together: what runs anywhere is reserved everywhere, and given back once. */
import { expect } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { needing } from "./kit/needing.ts";
import { random as seeded } from "./kit/random.ts";
import { limiterOf, limitingRouters, reservationOf, retryOf } from "./kit/redis-limits.ts";
import type { Connected } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const needs = needing("redis");
const { test } = needs;

const PERIOD = "2026-03";
const KEY = "config:a";
const places: Limit = { id: KEY, unit: "concurrency", max: 1, windowMs: 60_000, amount: 1 };

/** A router: its limiter, and what it has spent itself, which the others have not heard of yet. */
function router(connected: Connected, index: number) {
	const spend = new LocalSpend({ spent: () => 0, spenders: () => [] });
	const limiter = limiterOf(connected, index, (key, period) => spend.spent(key, period));
	const budget = (max: number, amount: number): Limit => ({
		id: KEY,
		unit: "usd",
		max,
		windowMs: 0,
		amount,
		spending: { key: KEY, period: PERIOD, usd: spend.spent(KEY, PERIOD) },
	});
	return {
		connected,
		limiter,
		take: (max: number, amount: number, further: Limit[] = []): Promise<LimitDecision> =>
			limiter.take([budget(max, amount), ...further], 0),
		settle(reservation: Reservation, cost: number) {
			spend.add(KEY, PERIOD, cost);
			limiter.settle(reservation, 0, 0);
		},
	};
}

const fleet = limitingRouters(needs, router);
const { done } = fleet;

test("of 50 calls at once at two routers as many are let in as the budget has room for", async () => {
	const decisions = await Promise.all(Array.from({ length: 50 }, (_, index) => fleet.routers[index % 2]!.take(1, 0.1)));
	expect(decisions.filter(({ isAllowed }) => isAllowed).length).toBe(10);
	expect(decisions.filter((each) => !each.isAllowed).map(retryOf)).toEqual(Array(40).fill(1000));
});

test("whatever calls cost and however they end, at two routers they pass a budget by one call at most", async () => {
	const { next: random } = seeded(7);
	const limit = 20;
	const running: { at: number; reservation: Reservation; amount: number }[] = [];
	let spent = 0;
	let largest = 0;
	for (let step = 0; step < 600; step++) {
		const at = step % 2;
		const isEnd = running.length > 0 && random() < 0.45;
		if (!isEnd) {
			const amount = random() ** 4 * 3;
			const decision = await fleet.routers[at]!.take(limit, amount);
			if (!decision.isAllowed) continue;
			const reserved = running.reduce((sum, each) => sum + each.amount, spent + amount);
			if (running.length > 0) expect(reserved).toBeLessThanOrEqual(limit + 1e-6);
			largest = Math.max(largest, amount);
			running.push({ at, reservation: decision.reservation, amount });
			continue;
		}
		const [ended] = running.splice(Math.floor(random() * running.length), 1);
		const { at: where, reservation, amount } = ended!;
		if (random() < 0.3) fleet.routers[where]!.limiter.cancel(reservation, 0);
		else {
			const cost = amount * random();
			spent += cost;
			fleet.routers[where]!.settle(reservation, cost);
		}
		await done();
	}
	expect(spent).toBeWithin(limit * 0.9, limit + largest);
	const held = running.reduce((sum, each) => sum + each.amount, 0);
	expect(Number(await fleet.server.client.get("t:{limits}:sum:config:a")) / 1e9).toBeCloseTo(held, 6);
});

test("what one has spent the other knows at once, also what had not been reserved", async () => {
	const [one, other] = fleet.routers;
	one.settle(reservationOf(await one.take(1, 0.1)), 0.85);
	await done();
	const next = reservationOf(await other.take(1, 0.15));
	expect(retryOf(await one.take(1, 0.01))).toBe(1000);
	other.settle(next, 0.2);
	await done();
	// 1.05 are spent.
	expect(retryOf(await one.take(1, 0.01))).toBe(Number.POSITIVE_INFINITY);
	expect(retryOf(await other.take(1, 0.01))).toBe(Number.POSITIVE_INFINITY);
});

test("a call that needs more than is left is let in alone, wherever it comes", async () => {
	const [one, other] = fleet.routers;
	const alone = reservationOf(await one.take(1, 5));
	expect(retryOf(await other.take(1, 5))).toBe(1000);
	expect(retryOf(await other.take(1, 0.01))).toBe(1000);
	one.settle(alone, 0.2);
	await done();
	reservationOf(await other.take(1, 5));
});

test("a call that another limit keeps out reserves nothing, nor one that is cancelled", async () => {
	const [one, other] = fleet.routers;
	const limit: Limit = { id: "key:a", unit: "requests", max: 1, windowMs: 60_000, amount: 1 };
	one.limiter.cancel(reservationOf(await one.take(1, 0.9, [limit])), 0);
	await done();
	const first = reservationOf(await other.take(1, 0.1, [limit]));
	expect((await one.take(1, 0.8, [limit])).isAllowed).toBe(false);
	reservationOf(await other.take(1, 0.9));
	// Said twice it is given back once.
	other.settle(first, 0);
	other.settle(first, 0);
	await done();
	expect(await fleet.server.client.get("t:{limits}:sum:config:a")).toBe("900000000");
});

test("what was reserved by a router that died is free when it lapses", async () => {
	const [one, other] = fleet.routers;
	await one.take(1, 0.9);
	const member = (await fleet.server.client.zrange("t:{limits}:held:config:a", "0", "-1"))[0]!;
	expect(member).toEndWith(" 900000000");
	await fleet.server.client.zadd("t:{limits}:held:config:a", "1", member);
	reservationOf(await other.take(1, 0.9));
	expect(await fleet.server.client.get("t:{limits}:sum:config:a")).toBe("900000000");
});

test("what a call that runs for long has reserved is renewed, its place too", async () => {
	const { connected } = fleet.routers[0]!;
	const limiter = limiterOf(connected, 2, undefined, { renewMs: 20 });
	const close = limiter.open();
	const budget: Limit = { ...places, unit: "usd", amount: 0.5, spending: { key: KEY, period: PERIOD, usd: 0 } };
	await limiter.take([budget, places], 0);
	const sets = ["t:{limits}:held:config:a", "t:{limits}:c:60000:config:a"];
	const soon = Date.now() + 5_000;
	for (const name of sets)
		await fleet.server.client.zadd(name, String(soon), (await fleet.server.client.zrange(name, "0", "-1"))[0]!);
	await fleet.server.client.pexpire("t:{limits}:sum:config:a", 5_000);
	await until(async () => {
		const ends = await Promise.all(
			sets.map(async (name) => (await fleet.server.client.zrange(name, "0", "-1", "WITHSCORES"))[1]),
		);
		const left = await fleet.server.client.pttl("t:{limits}:sum:config:a");
		return ends.every((end) => Number(end) > soon) && left > 5_000;
	}, "the renewal");
	close();
});

test("a Redis that was flushed is told anew what was spent", async () => {
	const [one, other] = fleet.routers;
	one.settle(reservationOf(await one.take(1, 0.1)), 0.5);
	other.settle(reservationOf(await other.take(1, 0.1)), 0.5);
	await done();
	await fleet.server.client.flushall();
	await one.take(1, 0.2);
	expect(retryOf(await other.take(1, 0.01))).toBe(Number.POSITIVE_INFINITY);
});

test("while Redis is away each counts for itself, and what ended meanwhile is given back and spent once", async () => {
	const [one, other] = fleet.routers;
	const before = reservationOf(await one.take(1, 0.6));
	await fleet.server.kill();
	await until(() => fleet.routers.every(({ connected }) => !connected.redis.isUp), "the outage");
	// In vain, but answered.
	expect(retryOf(await one.take(1, 0.6))).toBe(1000);
	reservationOf(await other.take(1, 0.6));
	one.settle(before, 0.5);
	one.settle(reservationOf(await one.take(1, 0.4)), 0.4);
	expect(retryOf(await other.take(1, 0.6))).toBe(1000);
	await fleet.server.restart();
	await until(() => fleet.routers.every(({ connected }) => connected.redis.isUp), "Redis");
	await one.take(1, 0.05);
	await done();
	expect(await fleet.server.client.hget("t:{limits}:b:2026-03:config:a", "s")).toBe("900000000");
	expect(await fleet.server.client.get("t:{limits}:sum:config:a")).toBe("50000000");
});
