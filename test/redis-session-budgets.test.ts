/** Sessions' budgets that several routers keep together: what a session spends anywhere counts everywhere. */
import { expect } from "bun:test";
import type { Limit, LimitDecision, Reservation } from "../src/accounts/limits/limiter.ts";
import { unitsOf } from "../src/accounts/usage/spend.ts";
import { needing } from "./kit/needing.ts";
import { limiterOf, limitingRouters, reservationOf } from "./kit/redis-limits.ts";
import type { Connected } from "./kit/shared-redis.ts";

const needs = needing("redis");
const { test } = needs;

const DAY_MS = 86_400_000;
const budget = (usd: number, amount: number, id = "session:one"): Limit => ({
	id,
	unit: "spend",
	max: unitsOf(usd),
	windowMs: DAY_MS,
	amount: unitsOf(amount),
	certain: 1,
});
function router(connected: Connected, index: number) {
	const limiter = limiterOf(connected, index);
	return {
		take: (...limits: Limit[]): Promise<LimitDecision> => limiter.take(limits, performance.now()),
		settle: (reservation: Reservation, usd: number) => limiter.settle(reservation, 0, performance.now(), unitsOf(usd)),
	};
}
const fleet = limitingRouters(needs, router);
const { done } = fleet;

test("of 40 calls at once at two routers as many are let in as the session's budget has room for", async () => {
	const decisions = await Promise.all(
		Array.from({ length: 40 }, (_, at) => fleet.routers[at % 2]!.take(budget(1, 0.1))),
	);
	expect(decisions.filter(({ isAllowed }) => isAllowed)).toHaveLength(10);
});

test("what a session has spent at one router is gone at the other, and what it did not spend is there again", async () => {
	const [one, other] = fleet.routers;
	one.settle(reservationOf(await one.take(budget(5, 4))), 3.25);
	await done();
	const next = await other.take(budget(5, 1));
	expect(next).toMatchObject({ isAllowed: true, statuses: [{ remaining: unitsOf(0.75) }] });
	other.settle(reservationOf(next), 1.75);
	await done();
	const spent = await one.take(budget(5, 0.5));
	expect(spent.isAllowed).toBe(false);
	// No sooner than what was spent has left.
	expect(spent.isAllowed || spent.retryAfterMs).toBeGreaterThan(DAY_MS / 2);
	expect((await one.take(budget(5, 1, "session:two"))).isAllowed).toBe(true);
});

test("one call alone may pass what is left, wherever it comes; beside another one it waits", async () => {
	const [one, other] = fleet.routers;
	const first = await one.take(budget(1, 3));
	expect(first.isAllowed).toBe(true);
	const second = await other.take(budget(1, 3));
	expect(second.isAllowed || second.retryAfterMs).toBe(1_000);
	one.settle(reservationOf(first), 0.5);
	await done();
	expect((await other.take(budget(1, 3))).isAllowed).toBe(true);
});

test("what calls under way hold of a session to the last is not spent", async () => {
	const [one, other] = fleet.routers;
	const first = [reservationOf(await one.take(budget(1, 0.5))), reservationOf(await other.take(budget(1, 0.5)))];
	const held = await other.take(budget(1, 0.5));
	expect(held.isAllowed || held.retryAfterMs).toBe(1_000);
	one.settle(first[0]!, 0.5);
	other.settle(first[1]!, 0.5);
	await done();
	const spent = await other.take(budget(1, 0.5));
	expect(spent.isAllowed || spent.retryAfterMs).toBeGreaterThan(DAY_MS / 2);
});

test("a Redis that has forgotten since when it lost nothing, and has lost nothing, is told nothing twice", async () => {
	const [one] = fleet.routers;
	one.settle(reservationOf(await one.take(budget(5, 1))), 1);
	await done();
	expect(await fleet.server.client.del("t:{limits}:since")).toBe(1);
	// One that finds that out, and one after what it says then.
	await one.take(budget(5, 0, "session:two"));
	await done();
	expect(await one.take(budget(5, 0))).toMatchObject({ statuses: [{ remaining: unitsOf(4) }] });
	// What it has lost it is told all the same.
	await fleet.server.client.flushall();
	await one.take(budget(5, 0, "session:two"));
	await done();
	expect(await one.take(budget(5, 0))).toMatchObject({ statuses: [{ remaining: unitsOf(4) }] });
});
