/** Budgets of retries and hedges that threads spend together: as much as one alone may spend, and no more. */
import { describe, expect, test } from "bun:test";
import { HedgeBudget } from "../src/proxy/hedge-budget.ts";
import { RetryBudget } from "../src/proxy/retry.ts";
import { makeBudgets, SharedBudgets } from "../src/proxy/shared-budgets.ts";
import { runThreads, sharedTest } from "./kit/limits-threads.ts";
import { random } from "./kit/random.ts";

function views() {
	const memory = makeBudgets();
	return [0, 1, 2, 3].map((thread) => new SharedBudgets(memory, thread, 0));
}

describe("retries", () => {
	test("are as many as one thread alone may make, whichever makes them", () => {
		const { below, pick } = random(21);
		const all = views();
		const alone = new RetryBudget();
		let now = 0;
		let retries = 0;
		for (let step = 0; step < 100_000; step++) {
			// Often many a second, sometimes none for long.
			now += below(5_000) === 0 ? below(30_000) : below(8);
			const budget = pick(all).retries;
			if (below(4) > 0) {
				budget.call(now);
				alone.call(now);
				continue;
			}
			const has = alone.has(now);
			expect(budget.has(now)).toBe(has);
			expect([budget.spend(now), alone.spend(now)]).toEqual([has, has]);
			if (has) retries++;
		}
		expect(retries).toBeWithin(3_000, 20_000);
	});

	test("of four threads that make them at once are not one too many", async () => {
		const { shared } = sharedTest(4);
		const [made] = await runThreads(shared, { what: "retries", rounds: 1_000, max: 0 });
		expect(made).toBe(400);
	}, 60_000);

	test("are counted by one clock", () => {
		const memory = makeBudgets();
		const early = new SharedBudgets(memory, 1, 20_000).retries;
		const late = new SharedBudgets(memory, 2, 5_000).retries;
		for (let retry = 0; retry < 10; retry++) expect(early.spend(500)).toBe(true);
		expect([early.has(500), late.has(15_500), late.has(16_500)]).toEqual([false, false, true]);
	});

	test("that a thread has made are made, also when it has died", () => {
		const [main, one, two] = views();
		for (let retry = 0; retry < 10; retry++) one!.retries.spend(1_000);
		main!.freed(1);
		expect(two!.retries.has(1_000)).toBe(false);
		expect(two!.retries.has(2_000)).toBe(true);
	});
});

describe("hedges", () => {
	test.each([true, false])("are as many as one thread alone may send; full at first: %p", (isFull) => {
		const { below, pick } = random(22);
		const all = views().map((each) => each.hedges("fast", isFull));
		const alone = new HedgeBudget(isFull);
		let sent = 0;
		for (let step = 0; step < 50_000; step++) {
			const budget = pick(all);
			if (below(30) > 0) {
				budget.call();
				alone.call();
			} else {
				const has = alone.take();
				expect(budget.take()).toBe(has);
				if (has && below(10) === 0) {
					pick(all).giveBack();
					alone.giveBack();
				} else if (has) sent++;
			}
		}
		expect(sent).toBeGreaterThan(1_000);
	});

	test("of four threads that send them at once are every twentieth call, to the last one", async () => {
		const { shared } = sharedTest(4);
		const [sent] = await runThreads(shared, { what: "hedges", rounds: 10_000, max: 0 });
		expect(sent).toBe(2_000);
	}, 60_000);

	test("of one name are not those of another, and a thread that comes later finds what is left", () => {
		const [main, one, two] = views();
		const hedges = one!.hedges("a", true);
		for (let hedge = 0; hedge < 10; hedge++) expect(hedges.take()).toBe(true);
		main!.freed(1);
		expect([two!.hedges("a", true).take(), two!.hedges("b", true).take(), two!.hedges("c", false).take()]).toEqual([
			false,
			true,
			false,
		]);
	});

	test("of more names than there is room for are each thread's own", () => {
		const [, one] = views();
		for (let name = 0; name < 2_000; name++) expect(one!.hedges(String(name), true).take()).toBe(true);
	});
});
