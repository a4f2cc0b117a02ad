/** What follows a failed attempt: the table row by row, and what holds whatever upstreams do, over simulated time. */
import { describe, expect, test } from "bun:test";
import { FAILURES, type FailureKind } from "../src/providers/failure.ts";
import {
	budgetedStep,
	FIRST_RETRY_MS,
	hasOthers,
	LONGEST_WAIT_MS,
	MOST_TRIES,
	nextStep,
	RetryBudget,
	type RetryStep,
	SILENT_MS,
	type Situation,
	type Tried,
} from "../src/proxy/retry.ts";
import { random as seeded } from "./kit/random.ts";

const FRESH: Tried = { tries: 0, failedAt: 0, waitedMs: 0 };
const failed = (kind: FailureKind, more: Partial<Tried> & { retryAfterMs?: number } = {}): Tried => {
	const { retryAfterMs, ...rest } = more;
	return { tries: 1, failure: { kind, retryAfterMs }, failedAt: 0, waitedMs: 0, ...rest };
};
const after = (targets: readonly Tried[], more: Partial<Situation> = {}): RetryStep | undefined =>
	nextStep({ targets, last: 0, now: 0, until: 600_000, hasBudget: true, random: 1, ...more });
const again = (waitMs = 0): RetryStep => ({ target: 0, waitMs, isRetry: true });
const elsewhere: RetryStep = { target: 1, waitMs: 0, isRetry: false };

describe("with another target left", () => {
	const rows: [FailureKind, RetryStep | undefined][] = [
		["caller", undefined],
		["unsupported", elsewhere],
		["not_found", elsewhere],
		["auth", elsewhere],
		["quota", elsewhere],
		["rate", elsewhere],
		["context_length", elsewhere],
		["content_filter", undefined],
		["overloaded", elsewhere],
		["busy", elsewhere],
		["evicted", elsewhere],
		["transport", again()],
		["timeout", elsewhere],
		["truncated", elsewhere],
		["engine_died", elsewhere],
		["poisonous", undefined],
		["cancelled", undefined],
		["internal", undefined],
	];
	test("every kind has its row", () =>
		expect(rows.map(([kind]) => kind).sort()).toEqual(Object.keys(FAILURES).sort() as FailureKind[]));
	test.each(rows)("%s", (kind, step) => expect(after([failed(kind), FRESH])).toEqual(step));

	test("of an agent an engine that died is not left by a call of a router's; a client's own call is made once more, unless the last engine could die of it", () => {
		const dead = (tries = 1) => failed("engine_died", { tries });
		const agent = { noWaiting: true };
		expect(after([dead(), FRESH, FRESH], { ...agent, isRouted: true })).toBeUndefined();
		expect(after([dead()], agent)).toEqual(again());
		expect(after([dead(2)], agent)).toBeUndefined();
		expect(after([dead(), FRESH], agent)).toBeUndefined();
		expect(after([dead(), FRESH, FRESH], agent)).toEqual(again());
		expect(after([dead(2), FRESH, FRESH], agent)).toBeUndefined();
	});

	test("one that is under way is not left to ask", () => {
		expect(after([failed("not_found"), { ...FRESH, isRunning: true }])).toBeUndefined();
		expect(hasOthers([FRESH, { ...FRESH, isRunning: true }], 0)).toBe(false);
	});

	test("the queue behind replicas is asked when they fail, and is no other place that a late one could be left for", () => {
		expect(after([failed("overloaded"), { ...FRESH, isQueue: true }])).toEqual(elsewhere);
		expect(hasOthers([FRESH, { ...FRESH, isQueue: true }], 0)).toBe(false);
	});

	test("a model that is being started is waited for only where nothing that is ready could take the call in a moment", () => {
		const starting = { ...FRESH, isStarting: true };
		expect(hasOthers([FRESH, starting], 0)).toBe(false);
		expect(after([failed("overloaded"), starting])).toEqual(again(FIRST_RETRY_MS));
		expect(after([failed("overloaded"), starting, FRESH])).toEqual({ ...elsewhere, target: 2 });
		expect(after([failed("transport"), starting])).toEqual(again());
		for (const over of [
			failed("not_found"),
			failed("rate", { retryAfterMs: 60_000 }),
			failed("overloaded", { tries: MOST_TRIES }),
			{ ...failed("timeout", { tookMs: SILENT_MS }), failure: { kind: "timeout", isOurs: true } as const },
		]) {
			expect(after([over, starting])).toEqual(elsewhere);
		}
		expect(after([failed("overloaded"), starting], { hasBudget: false })).toEqual(elsewhere);
		expect(after([failed("content_filter"), starting])).toBeUndefined();
	});

	test("one that was silent for long is not asked again; one that was cut off soon, or is all there is, may be", () => {
		const silent = (tookMs: number) => ({
			...failed("timeout", { tookMs }),
			failure: { kind: "timeout", isOurs: true } as const,
		});
		expect(after([failed("not_found"), silent(SILENT_MS)], { now: 10_000 })).toBeUndefined();
		expect(after([failed("not_found"), silent(SILENT_MS - 1)], { now: 10_000 })).toEqual({
			target: 1,
			waitMs: 0,
			isRetry: true,
		});
		expect(after([silent(SILENT_MS)], { now: 10_000 })).toEqual(again());
	});

	test("a second reset goes elsewhere", () => {
		expect(after([failed("transport", { tries: 2 }), FRESH])).toEqual(elsewhere);
	});

	test("a reset of a target that is out of order anyway goes elsewhere at once; where nothing is left, it is asked again", () => {
		expect(after([failed("transport", { isUnhealthy: true }), FRESH])).toEqual(elsewhere);
		expect(after([failed("transport", { isUnhealthy: true })])).toEqual(again());
		expect(after([failed("transport", { isUnhealthy: true }), failed("not_found")])).toEqual(again());
	});

	test.each([
		[1_000, again(1_000)],
		[5_000, again(5_000)],
		[5_001, elsewhere],
		[0, again()],
	] as const)("a Retry-After of %d ms", (retryAfterMs, step) => {
		expect(after([failed("rate", { retryAfterMs }), FRESH])).toEqual(step);
	});

	test("a target is waited for 5 s in all, then the call goes elsewhere", () => {
		expect(after([failed("rate", { retryAfterMs: 3_000, waitedMs: 3_000, tries: 2 }), FRESH])).toEqual(elsewhere);
	});

	test("an overloaded target's Retry-After is not waited for", () => {
		expect(after([failed("overloaded", { retryAfterMs: 100 }), FRESH])).toEqual(elsewhere);
	});
});

describe("alone", () => {
	test.each([
		["overloaded", 1, again(FIRST_RETRY_MS)],
		["overloaded", 2, again(FIRST_RETRY_MS * 2)],
		["overloaded", 3, undefined],
		["busy", 1, again(FIRST_RETRY_MS)],
		["busy", 3, undefined],
		["evicted", 1, undefined],
		["rate", 1, again(FIRST_RETRY_MS)],
		["rate", 3, undefined],
		["timeout", 1, again(FIRST_RETRY_MS)],
		["timeout", 2, undefined],
		["transport", 1, again()],
		["transport", 2, undefined],
		["truncated", 1, undefined],
		["auth", 1, undefined],
		["not_found", 1, undefined],
	] as const)("%s, after try %d", (kind, tries, step) => expect(after([failed(kind, { tries })])).toEqual(step));

	test("a pause is between half and the whole of its length", () => {
		const waits = [0, 0.5, 1].map((random) => after([failed("overloaded")], { random })?.waitMs);
		expect(waits).toEqual([FIRST_RETRY_MS / 2, FIRST_RETRY_MS * 0.75, FIRST_RETRY_MS]);
	});

	test("an overloaded target is waited for as long as it says, if that is short", () => {
		expect(after([failed("overloaded", { retryAfterMs: 2_000 })])).toEqual(again(2_000));
		expect(after([failed("overloaded", { retryAfterMs: 6_000 })])).toBeUndefined();
		expect(after([failed("rate", { retryAfterMs: 6_000 })])).toBeUndefined();
	});
});

describe("time and budget", () => {
	test("nothing begins after the call's time, nor waits beyond it", () => {
		expect(after([failed("transport"), FRESH], { now: 600_000 })).toBeUndefined();
		expect(after([failed("rate", { retryAfterMs: 2_000 })], { until: 1_000 })).toBeUndefined();
		expect(after([failed("rate", { retryAfterMs: 2_000 }), FRESH], { until: 1_000 })).toEqual(elsewhere);
	});

	test("without budget the same target is not tried again, and another one is", () => {
		expect(after([failed("transport"), FRESH], { hasBudget: false })).toEqual(elsewhere);
		expect(after([failed("transport")], { hasBudget: false })).toBeUndefined();
		expect(after([failed("rate", { retryAfterMs: 10 })], { hasBudget: false })).toBeUndefined();
	});
});

describe("another key", () => {
	test.each(["auth", "quota", "rate"] as const)("is tried at once after %s, and costs no budget", (kind) => {
		const step = after([failed(kind, { hasOtherKey: true }), FRESH], { hasBudget: false });
		expect(step).toEqual({ target: 0, waitMs: 0, isRetry: false });
	});

	test("changes nothing for other failures, nor after three tries", () => {
		expect(after([failed("overloaded", { hasOtherKey: true }), FRESH])).toEqual(elsewhere);
		expect(after([failed("auth", { hasOtherKey: true, tries: 3 }), FRESH])).toEqual(elsewhere);
	});
});

describe("a prompt that was too long", () => {
	const tooLong = failed("context_length", { context: 8_000 });
	test.each([
		["less", 4_000, undefined],
		["as much", 8_000, undefined],
		["more", 32_000, elsewhere],
		["nobody knows how much", undefined, elsewhere],
	])("goes to a target that takes it: %s", (_, context, step) => {
		expect(after([tooLong, { ...FRESH, context }])).toEqual(step);
	});

	test("of a target whose context nobody knows goes to any other", () => {
		expect(after([failed("context_length"), { ...FRESH, context: 1 }])).toEqual(elsewhere);
	});

	test("leaves smaller targets out of what counts as another place to go", () => {
		expect(hasOthers([tooLong, { ...FRESH, context: 4_000 }], 0)).toBe(false);
		expect(hasOthers([tooLong, { ...FRESH, context: 9_000 }], 0)).toBe(true);
	});
});

test("when all were tried, the one whose time comes first is tried again", () => {
	const targets = [
		failed("overloaded", { failedAt: 1_000, retryAfterMs: 4_000 }),
		failed("overloaded", { failedAt: 900, retryAfterMs: 500 }),
		failed("not_found"),
	];
	expect(after(targets, { last: 2, now: 1_000 })).toEqual({ target: 1, waitMs: 400, isRetry: true });
});

test("behind a router a busy target is not waited for, and one that broke off is asked once more", () => {
	const step = (tried: Tried, others: Tried[] = []) => after([tried, ...others], { noWaiting: true });
	expect(step(failed("rate", { retryAfterMs: 10 }))).toBeUndefined();
	expect(step(failed("overloaded"))).toBeUndefined();
	expect(step(failed("timeout"))).toBeUndefined();
	expect(step(failed("transport"))).toEqual(again());
	expect(step(failed("overloaded"), [FRESH])).toEqual(elsewhere);
});

/** What an upstream does: each attempt in turn, then the last for ever. */
type Script = readonly { readonly kind?: FailureKind; readonly retryAfterMs?: number; readonly ms: number }[];

/** Runs one call over simulated time. */
function simulate(scripts: readonly Script[], random: () => number, budget?: RetryBudget, start = 0) {
	const targets = scripts.map(() => ({ ...FRESH })) as { -readonly [Field in keyof Tried]: Tried[Field] }[];
	const until = start + 600_000;
	let now = start;
	let waited = 0;
	let attempts = 0;
	budget?.call(now);
	for (let at = 0; attempts < 1_000; ) {
		const target = targets[at]!;
		const script = scripts[at]!;
		const { kind, retryAfterMs, ms } = script[Math.min(target.tries, script.length - 1)]!;
		attempts++;
		now += ms;
		target.tries++;
		if (kind === undefined) return { answered: true, attempts, now, waited, targets };
		target.failure = { kind, retryAfterMs };
		target.failedAt = now;
		const step = nextStep({ targets, last: at, now, until, hasBudget: budget?.has(now) ?? true, random: random() });
		if (!step) return { answered: false, attempts, now, waited, targets, last: kind };
		if (step.isRetry) budget?.spend(now);
		now += step.waitMs;
		waited += step.waitMs;
		targets[step.target]!.waitedMs += step.waitMs;
		at = step.target;
	}
	throw new Error("a call that never ends");
}

describe("whatever upstreams do", () => {
	const kinds = Object.keys(FAILURES) as FailureKind[];
	const pick = <T>(random: () => number, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
	const script = (random: () => number, among: readonly (FailureKind | undefined)[]): Script =>
		Array.from({ length: 1 + Math.floor(random() * 4) }, () => {
			const kind = pick(random, among);
			const wait = random() < 0.3 ? { retryAfterMs: Math.floor(random() * 8_000) } : {};
			return { ...(kind ? { kind } : {}), ...wait, ms: Math.floor(random() * 200) };
		});

	test("a call ends after three attempts a target at most, and waits 5 s at most between two of them", () => {
		const random = seeded(1).next;
		for (let round = 0; round < 5_000; round++) {
			const scripts = Array.from({ length: 1 + Math.floor(random() * 5) }, () => script(random, [...kinds, undefined]));
			const { targets, attempts, waited } = simulate(scripts, random);
			for (const { tries } of targets) expect(tries).toBeLessThanOrEqual(MOST_TRIES);
			expect(waited).toBeLessThanOrEqual(attempts * LONGEST_WAIT_MS);
		}
	});

	test("a call that may go elsewhere is answered if any target answers at its first attempt", () => {
		const random = seeded(2).next;
		const harmless = kinds.filter((kind) => FAILURES[kind].elsewhere);
		for (let round = 0; round < 5_000; round++) {
			const scripts = Array.from({ length: 1 + Math.floor(random() * 5) }, () => script(random, harmless));
			scripts[Math.floor(random() * scripts.length)] = [{ ms: 5 }];
			expect(simulate(scripts, random).answered).toBe(true);
		}
	});

	test("a call alone with a target that is well again by its third attempt is answered", () => {
		for (const kind of ["rate", "overloaded"] as const) {
			const { answered, attempts } = simulate([[{ kind, ms: 1 }, { kind, ms: 1 }, { ms: 1 }]], seeded(3).next);
			expect([answered, attempts]).toEqual([true, 3]);
		}
	});

	test("a failure of the caller's making ends it wherever it comes", () => {
		const random = seeded(4).next;
		for (const kind of kinds.filter((each) => !FAILURES[each].elsewhere)) {
			const { attempts, last } = simulate([[{ kind: "not_found", ms: 1 }], [{ kind, ms: 1 }], [{ ms: 1 }]], random);
			expect([attempts, last]).toEqual([2, kind]);
		}
	});
});

describe("the budget for retries", () => {
	/** Calls at this rate for some seconds, each of which wants to be made again without end. */
	function storm(perSecond: number, seconds: number, budget = new RetryBudget(), from = 0): number[] {
		return Array.from({ length: seconds }, (_, second) => {
			let spent = 0;
			for (let call = 0; call < perSecond; call++) {
				const now = from + second * 1_000 + (call * 1_000) / perSecond;
				budget.call(now);
				if (!budget.has(now)) continue;
				budget.spend(now);
				spent++;
			}
			return spent;
		});
	}

	test("is ten a second where calls are few, in every second", () => {
		expect(storm(20, 15)).toEqual(Array(15).fill(10));
	});

	test("is a tenth of the calls of the last ten seconds where they are many", () => {
		const spent = storm(1_000, 40);
		for (let end = 10; end <= 40; end++) {
			const window = spent.slice(end - 10, end).reduce((sum, each) => sum + each, 0);
			expect(window).toBeLessThanOrEqual(1_000 + 100);
			if (end > 20) expect(window).toBeGreaterThanOrEqual(900);
		}
	});

	test("never latches: after a storm, and after a long silence, there is room", () => {
		const budget = new RetryBudget();
		storm(500, 5, budget);
		expect(budget.has(6_000)).toBe(true);
		storm(500, 5, budget, 100_000);
		expect(budget.has(1e9)).toBe(true);
	});

	test("keeps upstreams from more than a tenth of further attempts while all of them fail", () => {
		const budget = new RetryBudget();
		const random = seeded(5).next;
		let calls = 0;
		let attempts = 0;
		for (let now = 0; now < 30_000; now += 2) {
			calls++;
			attempts += simulate([[{ kind: "transport", ms: 1 }]], random, budget, now).attempts;
		}
		expect(attempts - calls).toBeLessThanOrEqual(calls * 0.1 + 110);
		expect(attempts - calls).toBeGreaterThan(calls * 0.08);
	});

	test("that another thread spends at the last moment lets the call go on without it", () => {
		const situation = { targets: [failed("transport"), FRESH], last: 0, now: 0, until: 9, random: 1 };
		const spent: boolean[] = [];
		const budget = (has: boolean, isLeft: boolean) => ({
			has: () => has,
			spend: () => Boolean(spent.push(isLeft) && isLeft),
		});
		expect(budgetedStep(situation, budget(true, true))).toEqual({ step: again(), isRefused: false });
		expect(budgetedStep(situation, budget(true, false))).toEqual({ step: elsewhere, isRefused: true });
		expect(budgetedStep(situation, budget(false, false))).toEqual({ step: elsewhere, isRefused: true });
		expect(spent).toEqual([true, false]);
	});

	test("does not stand in the way elsewhere", () => {
		const budget = new RetryBudget();
		storm(1_000, 3, budget);
		const { answered } = simulate([[{ kind: "transport", ms: 1 }], [{ ms: 1 }]], seeded(6).next, budget, 3_000);
		expect(answered).toBe(true);
	});
});
