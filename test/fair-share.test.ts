/** What routers let in of a limit while none of them can ask Redis: together no more than the limit, whatever came before. */
import { describe, expect, test } from "bun:test";
import { ALONE, fairShare, mostOwn, mostOwnAfter, sharingRouters } from "../src/accounts/limits/fair-share.ts";
import { type HeardLimit, HeardLimits, hear, hearTotal, mostAlone } from "../src/accounts/limits/heard-limits.ts";
import type { Limit } from "../src/accounts/limits/limiter.ts";
import { type Random, random } from "./kit/random.ts";

const WINDOW_MS = 60_000;
const LOOK_MS = 1_000;

/** What threads agree on where there is one. */
const ALONE_COUNTS = {
	agreed: (_limit: Limit, _heardAt: number, own: number): number => own,
	silentSince: (own: number): number => own,
};

/** A router as this test has it: what it has taken itself, and what it knows of the rest. */
class Router {
	readonly heard: HeardLimit;
	entries: { readonly at: number; readonly amount: number }[] = [];
	/** When it noticed that Redis is silent. */
	since = 0;
	toldAt = 0;
	/** What others have taken since it last heard of them. */
	unheard = 0;

	constructor(
		readonly rank: number,
		readonly limit: Limit,
	) {
		this.heard = new HeardLimits().of("a", limit);
	}

	used(now: number): number {
		this.entries = this.entries.filter(({ at }) => this.limit.unit === "usd" || at + WINDOW_MS > now);
		return this.entries.reduce((sum, { amount }) => sum + amount, 0);
	}

	takenBefore(moment: number): number {
		return this.entries.filter(({ at }) => at < moment).reduce((sum, { amount }) => sum + amount, 0);
	}

	/** The part of `RedisLimiter` that decides while Redis is silent. */
	takesAlone(amount: number, routers: number, now: number): boolean {
		const silence = {
			sharing: { routers, rank: this.rank },
			since: this.since,
			toldAt: this.toldAt,
			heardAt: 0,
			askingThreads: 1,
		};
		const used = this.used(now);
		const most = mostAlone(
			this.heard,
			{ limit: { ...this.limit, amount }, used, spentByOthers: 0, now },
			silence,
			// A router of one thread.
			{ ...ALONE_COUNTS, before: (_limit, moment) => this.takenBefore(moment) },
		);
		if (used + amount > most + 1e-9) return false;
		this.entries.push({ at: now, amount });
		return true;
	}
}

/** Routers that Redis counts together, until it falls silent. */
class Fleet {
	readonly routers: Router[];
	now = 1_000_000;

	constructor(
		readonly limit: Limit,
		count: number,
	) {
		this.routers = Array.from({ length: count }, (_, rank) => new Router(rank, limit));
	}

	total(): number {
		return this.routers.reduce((sum, router) => sum + router.used(this.now), 0);
	}

	/** A call while Redis answers. */
	take(router: Router, amount: number): void {
		const total = this.total();
		if (total + amount > this.limit.max) return;
		router.entries.push({ at: this.now, amount });
		const used = router.used(this.now);
		const { max } = this.limit;
		hear(router.heard, { own: max - used, all: max - total - amount, max, used }, this.now, false);
		router.unheard = 0;
		for (const other of this.routers) if (other !== router) other.unheard += amount;
	}

	look(): void {
		for (const router of this.routers) {
			hearTotal(router.heard, this.total(), router.used(this.now), this.now);
			router.unheard = 0;
			router.toldAt = this.now;
		}
	}

	/** Redis is silent from now on; each router notices that within a second. */
	silence(random: Random): void {
		for (const router of this.routers) router.since = this.now + random.below(LOOK_MS);
	}
}

const limitOf = (unit: Limit["unit"], max: number): Limit => ({
	id: "a",
	unit,
	max,
	windowMs: unit === "usd" ? 0 : WINDOW_MS,
	amount: 1,
});
/** Some calls while Redis answers, most of them at whichever routers it may be. */
function before(fleet: Fleet, random: Random, amountOf: () => number): void {
	const weights = fleet.routers.map(() => random.next() ** 3);
	const calls = random.below(2 * fleet.limit.max);
	const paceMs = random.next() * 400;
	let lookAt = fleet.now;
	for (let call = 0; call < calls; call++) {
		fleet.now += random.next() * paceMs;
		if (fleet.now >= lookAt) {
			fleet.look();
			lookAt = fleet.now + LOOK_MS;
		}
		const heaviest = weights.map((weight, at) => [weight * random.next(), at] as const).sort((a, b) => b[0] - a[0]);
		fleet.take(fleet.routers[heaviest[0]![1]]!, amountOf());
	}
}

describe("while Redis is silent", () => {
	test("a call of one thread that has no answer takes nothing of the share of one that has", () => {
		const limit = limitOf("requests", 90);
		const heard = new HeardLimits().of("a", limit);
		hearTotal(heard, 60, 20, 1_000);
		heard.unanswered = 1;
		const silence = { sharing: { routers: 3, rank: 0 }, since: 1_001, toldAt: 1_000, heardAt: 0, askingThreads: 2 };
		const unasked = { limit, used: 20, spentByOthers: 0, now: 1_060 };
		const count = { ...ALONE_COUNTS, before: () => 20 };
		// Of 30 that were left a third, on top of its own 20.
		expect(mostAlone(heard, unasked, silence, count)).toBe(30);
	});

	test("calls of another thread that have no answer either are no part of what the router had", () => {
		const limit = limitOf("requests", 90);
		const heard = new HeardLimits().of("a", limit);
		hearTotal(heard, 60, 20, 1_000);
		heard.unanswered = 1;
		const silence = { sharing: { routers: 3, rank: 0 }, since: 1_001, toldAt: 1_000, heardAt: 0, askingThreads: 2 };
		const unasked = { limit, used: 24, spentByOthers: 0, now: 1_060 };
		const count = { ...ALONE_COUNTS, before: () => 20 };
		expect(mostAlone(heard, unasked, silence, count)).toBe(30);
	});

	test("a limit below the number of routers is had by those with the highest names, and by no other", () => {
		const names = ["c", "a", "b"];
		expect(names.map((name) => fairShare(2, sharingRouters(names, name), false))).toEqual([1, 0, 1]);
		expect(
			names.map((name) => mostOwn(0, { own: 0, others: 0, isDivisible: false }, sharingRouters(names, name))),
		).toEqual([0, 0, 0]);
	});

	test("nothing is left of a limit that was passed, or made smaller", () => {
		expect(mostOwn(10, { own: 4, others: 9, isDivisible: false }, ALONE)).toBe(4);
		expect(mostOwn(10, { own: 4, others: 9, isDivisible: true }, ALONE)).toBe(4);
	});

	test("a router that is alone has the whole limit, at once and later", () => {
		const most = mostOwn(300, { own: 120, others: 0, isDivisible: false }, ALONE);
		const later = [0, 1, 2, 9].map((windows) =>
			mostOwnAfter(most, 300, ALONE, { silentMs: windows * WINDOW_MS, lastsMs: WINDOW_MS }),
		);
		expect(later).toEqual([300, 300, 300, 300]);
	});

	test("the shares of all routers are what was left, to the last call", () => {
		const source = random(3);
		for (let round = 0; round < 500; round++) {
			const routers = 1 + source.below(12);
			const left = source.below(1_000);
			const names = Array.from({ length: routers }, (_, at) => `${(at * 7919) % 13}-${at}`);
			const shares = names.map((name) => fairShare(left, sharingRouters(names, name), false));
			expect(shares.reduce((a, b) => a + b, 0)).toBe(left);
			expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
		}
	});

	test.each(["requests", "tokens"] as const)("%s never pass a limit, in no window and for however long", (unit) => {
		for (let seed = 0; seed < 30; seed++) {
			const source = random(seed);
			const fleet = new Fleet(limitOf(unit, 20 + source.below(200)), 1 + source.below(5));
			const amountOf = () => (unit === "tokens" ? 1 + source.below(9) : 1);
			before(fleet, source, amountOf);
			fleet.look();
			fleet.silence(source);
			const { routers, limit } = fleet;
			let letIn = 0;
			const begin = fleet.now;
			for (; fleet.now < begin + 5 * WINDOW_MS; fleet.now += source.next() * 300) {
				if (source.pick(routers).takesAlone(amountOf(), routers.length, fleet.now)) letIn++;
				expect(fleet.total()).toBeLessThanOrEqual(limit.max);
			}
			expect(letIn).toBeGreaterThan(0);
			// All of it is used in the end: what no call of this size fits in is lost.
			const lost = unit === "tokens" ? routers.length * 9 : 0;
			for (let at = 0; at < 8 * limit.max; at++) {
				routers[at % routers.length]!.takesAlone(amountOf(), routers.length, fleet.now);
			}
			expect(fleet.total()).toBeWithin(limit.max - lost, limit.max + 1);
		}
	});

	test("what was taken while a router heard nothing is passed by its share of that at most", () => {
		for (let seed = 0; seed < 100; seed++) {
			const source = random(seed);
			const fleet = new Fleet(limitOf("requests", 30 + source.below(300)), 2 + source.below(4));
			before(fleet, source, () => 1);
			for (const router of fleet.routers) router.since = fleet.now;
			const { routers, limit } = fleet;
			const unheard = routers.reduce((sum, router) => sum + router.unheard, 0);
			for (let at = 0; at < 3 * limit.max * routers.length; at++) {
				source.pick(routers).takesAlone(1, routers.length, fleet.now);
			}
			expect(fleet.total()).toBeLessThanOrEqual(limit.max + unheard / routers.length + 1);
		}
	});

	test("a budget is passed by nothing, and all of it can be spent", () => {
		for (let seed = 0; seed < 20; seed++) {
			const source = random(seed);
			const fleet = new Fleet(limitOf("usd", 10 + source.next() * 90), 1 + source.below(5));
			before(fleet, source, () => source.next());
			fleet.look();
			fleet.silence(source);
			const { routers, limit } = fleet;
			for (let at = 0; at < 2_000; at++) {
				fleet.now += source.next() * 60_000;
				source.pick(routers).takesAlone(source.next() ** 3, routers.length, fleet.now);
				expect(fleet.total()).toBeLessThanOrEqual(limit.max + 1e-6);
			}
			expect(fleet.total()).toBeGreaterThan(limit.max - routers.length);
		}
	});
});
