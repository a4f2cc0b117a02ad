/** Limits that several routers count together: exact whoever asks first, and none is held up or let through by an outage. */
import { expect } from "bun:test";
import { type Limit, type LimitDecision, LONGEST_WINDOW_MS, type Reservation } from "../src/accounts/limits/limiter.ts";
import { RedisLimiter } from "../src/accounts/limits/redis-limiter.ts";
import { SETTLE } from "../src/accounts/limits/redis-script.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import type { SharedRedis } from "../src/store/redis.ts";
import { needing } from "./kit/needing.ts";
import { type OpenLimiter, openLimiter } from "./kit/open-limiter.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis");

const MINUTE = 60_000;
/** A replica that has spent nothing. */
const NOBODY = { replica: "nobody", spent: () => 0 };
let server: RedisServer;
let connected: Connected[];
let own: OpenLimiter[];
let limiters: RedisLimiter[];
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
	await server.empty();
	// Two routers. The deadline is not what is tested here, and the machine may be busy.
	connected = [1, 2].map(() => connectRedis(server.url, { timeoutMs: 5000 }));
	await Promise.all(connected.map((each) => each.up()));
	own = connected.map(() => openLimiter());
	limiters = connected.map(({ redis }, index) => new RedisLimiter(redis, own[index]!, `router-${index}`, NOBODY));
});
afterEach(() => {
	for (const each of connected) each.close();
});

const requests = (limit: number, over: Partial<Limit> = {}): Limit => ({
	id: "key:a",
	unit: "requests",
	max: limit,
	windowMs: MINUTE,
	amount: 1,
	...over,
});
const tokens = (limit: number, amount: number, over: Partial<Limit> = {}): Limit => ({
	...requests(limit, over),
	unit: "tokens",
	amount,
});
const leases = (limit: number, over: Partial<Limit> = {}): Limit => ({
	...requests(limit, over),
	unit: "concurrency",
});
const take = async (limits: Limit[], router = 0): Promise<LimitDecision> => limiters[router]!.take(limits, 0);
const reservationOf = (decision: LimitDecision): Reservation => {
	if (!decision.isAllowed) throw new Error("it was refused");
	return decision.reservation;
};
/** Resolves once Redis has done all that it was sent before. */
const settled = () => Promise.all(connected.map(({ redis }) => redis.run((client) => client.ping())));

test("two routers racing for one limit let exactly as many in as it says", async () => {
	const decisions = await Promise.all(Array.from({ length: 500 }, (_, index) => take([requests(100)], index % 2)));
	expect(decisions.filter(({ isAllowed }) => isAllowed).length).toBe(100);
	const left = decisions.flatMap((each) => (each.isAllowed ? each.statuses[0]!.remaining : []));
	expect(left.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index));
});

test("a guess that does not fit keeps no call out, unless another call with one is under way at any router", async () => {
	const guess = () => ({ ...tokens(5_000, 4_196), certain: 100 });
	const [first, second] = [await take([guess()], 0), await take([guess()], 1)];
	expect([first, second].map(({ isAllowed }) => isAllowed)).toEqual([true, false]);
	limiters[0]!.settle(reservationOf(first), 1_000, 0);
	await settled();
	const alone = await take([guess()], 1);
	expect(alone.statuses).toMatchObject([{ limit: { unit: "tokens", amount: 100 }, remaining: 3_900 }]);
	expect((await take([guess()], 0)).isAllowed).toBe(false);
	limiters[1]!.cancel(reservationOf(alone), 0);
	await settled();
	reservationOf(await take([guess()], 0));
	expect((await take([tokens(5_000, 3_900)], 1)).isAllowed).toBe(true);
});

test("a guess that its own process has no room for is left out once among all routers, not once a router", async () => {
	limiters = connected.map(
		({ redis }, index) => new RedisLimiter(redis, new SlidingWindowLimiter(), `router-${index}`, NOBODY),
	);
	const guess = (certain = 100) => ({ ...tokens(500, 4_196), certain });
	const first = await take([guess()], 0);
	expect(first).toMatchObject({ isAllowed: true, statuses: [{ limit: { amount: 100 } }] });
	// Worth another try: it is admitted once the first is over.
	expect(await take([guess()], 1)).toMatchObject({ isAllowed: false, retryAfterMs: 1_000 });
	expect(await take([guess(501)], 1)).toMatchObject({ isAllowed: false, retryAfterMs: Number.POSITIVE_INFINITY });
	limiters[0]!.settle(reservationOf(first), 150, 0);
	await settled();
	expect((await take([guess()], 1)).statuses).toMatchObject([{ limit: { amount: 100 }, remaining: 250 }]);
});

test("20,000 calls from 50 keys over their limits, by three routers in turn: every limit exact", async () => {
	const third = connectRedis(server.url, { timeoutMs: 5000 });
	connected.push(third);
	await third.up();
	limiters.push(new RedisLimiter(third.redis, openLimiter(), "router-2", NOBODY));
	const limitOf = (key: number) => 20 + key * 5;
	const letIn = Array<number>(50).fill(0);
	let next = 0;
	await Promise.all(
		Array.from({ length: 60 }, async () => {
			for (let call = next++; call < 20_000; call = next++) {
				const key = call % 50;
				const limits = [requests(limitOf(key), { id: `key:${key}` }), requests(1_000_000, { id: "model:m" })];
				if ((await take(limits, call % 3)).isAllowed) letIn[key]!++;
			}
		}),
	);
	expect(letIn).toEqual(letIn.map((_, key) => limitOf(key)));
	// What was refused by its key has taken nothing of its model.
	const used = letIn.reduce((sum, each) => sum + each, 0);
	const [model] = (await take([requests(1_000_000, { id: "model:m" })])).statuses;
	expect(1_000_000 - model!.remaining).toBe(used + 1);
}, 60_000);

test("a refusal says which limit, and when: the oldest call has left the window by then", async () => {
	const short = requests(3, { windowMs: 1200 });
	for (let call = 0; call < 3; call++) await take([short]);
	const refused = await take([requests(100, { id: "model:m" }), short], 1);
	if (refused.isAllowed) throw new Error("it was admitted");
	expect(refused.refused).toEqual(short);
	expect(refused.statuses.map(({ remaining }) => remaining)).toEqual([100, 0]);
	expect(refused.retryAfterMs).toBeGreaterThan(0);
	expect(refused.retryAfterMs).toBeLessThanOrEqual(1205);
	await Bun.sleep(refused.retryAfterMs);
	expect((await take([short], 1)).isAllowed).toBe(true);
});

test("a window slides: what was admitted late leaves late", async () => {
	const short = requests(2, { windowMs: 2400 });
	await take([short]);
	await Bun.sleep(1200);
	await take([short]);
	const refused = await take([short]);
	if (refused.isAllowed) throw new Error("it was admitted");
	await Bun.sleep(refused.retryAfterMs);
	// Room for the first only.
	expect((await take([short])).isAllowed).toBe(true);
	expect((await take([short])).isAllowed).toBe(false);
});

test("all limits or none: what one refuses consumes nothing of the others", async () => {
	const key = requests(10);
	const model = requests(1, { id: "model:m" });
	expect((await take([key, tokens(100, 30), model])).isAllowed).toBe(true);
	for (let call = 0; call < 5; call++) expect((await take([key, tokens(100, 30), model], 1)).isAllowed).toBe(false);
	const after = await take([key, tokens(100, 1)]);
	expect(after.statuses.map(({ remaining }) => remaining)).toEqual([8, 69]);
	// Nor in the process.
	expect(own[1]!.taken.get("requests key:a")).toBe(0);
});

test("of several limits in the way the one that frees up last is named", async () => {
	const soon = requests(1, { windowMs: 1200 });
	const late = requests(1, { id: "model:m" });
	await take([soon, late]);
	const refused = await take([soon, late, tokens(5, 1)]);
	if (refused.isAllowed) throw new Error("it was admitted");
	expect(refused.refused).toEqual(late);
	expect(refused.retryAfterMs).toBeGreaterThan(50_000);
});

test("what asks for more than the limit will never find room", async () => {
	const refused = await take([tokens(100, 101), requests(1)]);
	if (refused.isAllowed) throw new Error("it was admitted");
	expect([refused.retryAfterMs, refused.refused.unit]).toEqual([Number.POSITIVE_INFINITY, "tokens"]);
});

describe("tokens", () => {
	test("the estimate is reserved, and what was really taken stands in its place", async () => {
		const first = reservationOf(await take([tokens(1000, 400)]));
		const second = reservationOf(await take([tokens(1000, 400)], 1));
		expect((await take([tokens(1000, 400)])).isAllowed).toBe(false);
		limiters[0]!.settle(first, 100, 0);
		limiters[1]!.settle(second, 700, 0);
		await settled();
		const after = await take([tokens(1000, 200)]);
		expect([after.isAllowed, after.statuses[0]!.remaining]).toEqual([true, 0]);
		expect(own[0]!.taken.get("tokens key:a")).toBe(300);
	});

	test("a cancelled call has taken nothing", async () => {
		const call = reservationOf(await take([tokens(1000, 400), requests(2), leases(1)]));
		limiters[0]!.cancel(call, 0);
		await settled();
		const after = await take([tokens(1000, 1000), requests(2), leases(1)], 1);
		expect([after.isAllowed, after.statuses.map(({ remaining }) => remaining)]).toEqual([true, [0, 1, 0]]);
	});

	test("what settles after its window, or after a flush, changes nothing", async () => {
		const short = tokens(100, 100, { windowMs: 2_000 });
		const call = reservationOf(await take([short]));
		await Bun.sleep(2_050);
		expect((await take([short])).isAllowed).toBe(true);
		limiters[0]!.settle(call, 0, 0);
		await settled();
		expect((await take([short])).isAllowed).toBe(false);
		const other = reservationOf(await take([tokens(100, 50, { id: "b" })]));
		await server.client.flushall();
		limiters[0]!.settle(other, 10, 0);
		await settled();
		expect((await take([tokens(100, 1, { id: "b" })])).statuses[0]!.remaining).toBe(99);
	});
});

describe("calls at once", () => {
	test("are counted over all routers, and free when they settle", async () => {
		const calls = await Promise.all([take([leases(2)]), take([leases(2)], 1)]);
		expect((await take([leases(2)])).isAllowed).toBe(false);
		limiters[1]!.settle(reservationOf(calls[1]!), 0, 0);
		await settled();
		expect((await take([leases(2)])).isAllowed).toBe(true);
	});

	test("of a router that died are free after half a minute; those of one that lives are not", async () => {
		const key = "t:{limits}:c:60000:key:a";
		await take([leases(2)]);
		await take([leases(2)], 1);
		const [dead] = await server.client.zrange(key, "0", "0");
		expect(await server.client.pttl(key)).toBeGreaterThan(20_000);
		await server.client.call("ZADD", key, "1", dead!);
		expect((await take([leases(2)])).isAllowed).toBe(true);
		expect((await take([leases(2)])).isAllowed).toBe(false);
	});
});

describe("while Redis", () => {
	test("is away, each process counts for itself", async () => {
		connected[0]!.close();
		const decision = await take([requests(1)]);
		expect(decision).toMatchObject({ isAllowed: true, statuses: [{ remaining: 7, resetMs: 70 }] });
		own[0]!.refuses.add("key:a");
		expect(await take([requests(1)])).toMatchObject({ isAllowed: false, retryAfterMs: 5 });
		limiters[0]!.settle(reservationOf(decision), 3, 0);
	});

	test("is there, what the process alone has used up needs no question", async () => {
		own[0]!.refuses.add("key:a");
		expect((await take([requests(10)])).isAllowed).toBe(false);
		expect((await take([requests(10)], 1)).statuses[0]!.remaining).toBe(9);
	});

	test("hangs, what ended meanwhile is given back once it answers: nobody is refused for calls that are over", async () => {
		const short = connectRedis(server.url, { timeoutMs: 50 });
		await short.up();
		const limiter = new RedisLimiter(short.redis, openLimiter(), "router-2", NOBODY);
		const limits = [leases(3), tokens(1000, 300)];
		const before = reservationOf(await limiter.take(limits, 0));
		server.hang();
		// Redis carries them out when it goes on, and nobody hears the answers.
		const unheard = reservationOf(await limiter.take(limits, 0));
		const left = reservationOf(await limiter.take(limits, 0));
		limiter.cancel(left, 0);
		await until(async () => {
			await short.redis.run((client) => client.ping());
			return !short.redis.isUp;
		}, "the outage");
		limiter.settle(before, 10, 0);
		limiter.settle(unheard, 10, 0);
		server.resume();
		await short.up();
		await short.redis.run((client) => client.ping());
		expect(await server.client.zcard("t:{limits}:c:60000:key:a")).toBe(0);
		const after = await limiter.take([tokens(1000, 1)], 0);
		expect(after.statuses[0]!.remaining).toBe(1000 - 10 - 10 - 1);
		short.close();
	});

	test("misses one command, a place that it did not give back is given back a second later", async () => {
		const short = connectRedis(server.url, { timeoutMs: 50 });
		await short.up();
		const limiter = new RedisLimiter(short.redis, openLimiter(), "router-2", NOBODY);
		const call = reservationOf(await limiter.take([leases(1)], 0));
		await server.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		limiter.settle(call, 0, 0);
		await short.up();
		await until(async () => (await server.client.zcard("t:{limits}:c:60000:key:a")) === 0, "the place");
		expect((await limiter.take([leases(1)], 0)).isAllowed).toBe(true);
		short.close();
	});

	test("refuses a change each time, it is told until the place has lapsed by itself, and no longer", async () => {
		let told = 0;
		let goesUp: (() => void) | undefined;
		const refusing = {
			isUp: true,
			isAlive: true,
			onAlive: (listener: () => void) => {
				goesUp = listener;
			},
			key: (name: string) => name,
			ask: ({ name }: { name: string }) => {
				if (name === SETTLE.name) told++;
				return { soon: Promise.resolve(), whole: Promise.resolve() };
			},
		};
		const limiter = new RedisLimiter(refusing as unknown as SharedRedis, openLimiter(), "router-2", NOBODY);
		limiter.settle(reservationOf(await limiter.take([leases(1)], 0)), 0, 0);
		for (let second = 0; second < 100; second++) {
			for (let turn = 0; turn < 5; turn++) await Promise.resolve();
			goesUp!();
		}
		expect(told).toBe(31);
	});

	test("is flushed, each process goes on with what it counted", async () => {
		expect((await take([requests(1)])).isAllowed).toBe(true);
		await server.client.flushall();
		own[0]!.refuses.add("key:a");
		expect((await take([requests(1)])).isAllowed).toBe(false);
	});
});

test("every key it leaves in Redis ends by itself", async () => {
	await take([requests(5), tokens(5, 1), leases(5)]);
	const since = "t:{limits}:since";
	expect(await server.client.pttl(since)).toBeWithin(LONGEST_WINDOW_MS, 2 * LONGEST_WINDOW_MS + 1);
	const keys = (await server.client.keys("*")).filter((key) => key !== since);
	// Of each limit one, and which have changed.
	expect(keys.length).toBe(4);
	for (const key of keys) {
		expect(key).toStartWith("t:{limits}:");
		expect(await server.client.pttl(key)).toBeGreaterThan(0);
		expect(await server.client.pttl(key)).toBeLessThanOrEqual(61_000);
	}
});

test("against a model of a sliding window: random calls of random sizes, none too many, none refused without need", async () => {
	// Redis counts in steps of 10 ms here: what is due in the step that ends now may go either way.
	const windowMs = 2400;
	const limit = 50;
	// When each was let in is known but to lie between two looks at the clock.
	const let_in: { from: number; to: number; amount: number }[] = [];
	const clock = async () => {
		const [seconds, micros] = await server.client.time();
		return Number(seconds) * 1000 + Number(micros) / 1000;
	};
	const stepMs = 10;
	const sumOf = (those: typeof let_in) => those.reduce((sum, { amount }) => sum + amount, 0);
	const surelyWithin = (now: number) => sumOf(let_in.filter(({ from }) => from > now - windowMs + stepMs));
	const maybeWithin = (now: number) => sumOf(let_in.filter(({ to }) => to > now - windowMs - stepMs));
	let refused = 0;
	// A machine that is slow or fast sees more or less of the window in so many calls.
	for (let call = 0; call < 600 || (let_in.length <= 20 && call < 6000); call++) {
		const amount = 1 + ((call * 7) % 9);
		const before = await clock();
		const decision = await take([tokens(limit, amount, { windowMs })], call % 2);
		const after = await clock();
		if (decision.isAllowed) {
			expect(surelyWithin(after) + amount).toBeLessThanOrEqual(limit);
			let_in.push({ from: before, to: after, amount });
		} else {
			refused++;
			expect(maybeWithin(before) + amount).toBeGreaterThan(limit);
		}
		await Bun.sleep(call % 5 === 0 ? 20 : 1);
	}
	expect(refused).toBeGreaterThan(50);
	expect(let_in.length).toBeGreaterThan(20);
}, 60_000);
