/** The admission of calls: whose limits count, budgets, and what clients are told. */
import { describe, expect, test } from "bun:test";
import type { Caller } from "../src/accounts/auth/keys.ts";
import { type Admission, AdmissionControl, type AdmissionRequest } from "../src/accounts/limits/admission.ts";
import { limitHeaders, resetText } from "../src/accounts/limits/limit-headers.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import type { CallReserve, ReserveNeeds } from "../src/accounts/usage/call-cost.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { RouterError } from "../src/errors.ts";

const caller = (rest: Partial<Caller> = {}): Caller => ({
	id: "config:a",
	name: "a",
	isRestricted: false,
	limits: {},
	mayUse: () => true,
	...rest,
});
const used = (input: number, usd: number) => ({ tokens: { input, output: 0 }, usd, isConclusive: true });

/** A call, and what is reserved for it where its limits need that. */
interface RequestOptions extends Partial<Omit<AdmissionRequest, "cost">>, Partial<CallReserve> {
	readonly reserve?: (needs: ReserveNeeds) => CallReserve;
}
const asked = ({
	prompt = 100,
	answer = 0,
	isAnswerLimited = true,
	usd = 0,
	reserve,
	...rest
}: RequestOptions): AdmissionRequest => ({
	caller: undefined,
	names: ["fast", "fast"],
	address: "10.0.0.7",
	cost: { learned: undefined, learn: () => {}, reserve: reserve ?? (() => ({ prompt, answer, isAnswerLimited, usd })) },
	...rest,
});

function admission(
	limits: ConstructorParameters<typeof AdmissionControl>[0]["limits"] = { models: {} },
	onSessionSpent: () => void = () => {},
) {
	const clock = { now: 0, wall: Date.parse("2026-03-10T12:00:00Z") };
	const refusals: string[] = [];
	const ledger = { spent: () => 0, spenders: () => [] };
	const made = new AdmissionControl({
		limits,
		counters: { limiter: new SlidingWindowLimiter(), spend: new LocalSpend(ledger) },
		onRefused: (by, counts) => refusals.push(`${by} ${counts}`),
		onSessionSpent,
		time: () => clock.now,
		wall: () => clock.wall,
	});
	const enter = (call: RequestOptions) => made.enter(asked(call)) as Admission | undefined;
	const refusal = (call: RequestOptions): RouterError => {
		try {
			enter(call);
		} catch (thrown) {
			if (thrown instanceof RouterError) return thrown;
			throw thrown;
		}
		throw new Error("it was admitted");
	};
	return { clock, refusals, enter, refusal };
}

describe("limits", () => {
	test("none applies unless it is set: nothing is counted, estimated or asked", () => {
		const { enter } = admission();
		const never = () => {
			throw new Error("asked for nothing");
		};
		const call = { reserve: never };
		for (let at = 0; at < 1_000; at++) expect(enter({ ...call, caller: caller() })?.headers).toBeUndefined();
		expect(enter(call)).toBeUndefined();
	});

	test("of a key are its own, also when its secret is replaced and it is another object", () => {
		const { enter, refusal } = admission();
		const limits = { rpm: 2 };
		enter({ caller: caller({ limits }) });
		enter({ caller: caller({ limits }) });
		expect(refusal({ caller: caller({ limits }) }).errorCode).toBe("rate_limit_exceeded");
		enter({ caller: caller({ id: "config:b", limits }) });
	});

	test("of a model count all callers, by the name that was asked for or where that leads", () => {
		const { enter, refusal, refusals } = admission({ models: { "gpt-5*": { rpm: 2 }, other: { rpm: 1 } } });
		enter({ names: ["gpt-5-mini", "gpt-5-mini"] });
		enter({ names: ["my-alias", "gpt-5"], caller: caller() });
		expect(refusal({ names: ["gpt-5-nano", "gpt-5-nano"] }).message).toContain(
			"this model may take 2 requests a minute",
		);
		enter({ names: ["fast", "fast"] });
		expect(refusals).toEqual(["model requests"]);
	});

	test("of an address are for calls without a key", () => {
		const { enter, refusal } = admission({ models: {}, address: { rpm: 1 } });
		enter({});
		expect(refusal({}).message).toContain("your address");
		enter({ address: "10.0.0.8" });
		enter({ caller: caller() });
	});

	test("reserve the prompt and the longest answer, and settle with what was used", () => {
		const { enter, refusal } = admission();
		const key = caller({ limits: { tpm: 1_000 } });
		const first = enter({ caller: key, answer: 700 });
		expect(first?.headers?.["x-ratelimit-remaining-tokens"]).toBe("200");
		expect(refusal({ caller: key, answer: 200 }).message).toContain("The call may take 300.");
		first?.settle(used(150, 0));
		expect(enter({ caller: key, answer: 700 })?.headers?.["x-ratelimit-remaining-tokens"]).toBe("50");
	});

	test("of input refuse a prompt that is too long, before anything is counted", () => {
		const { enter, refusal } = admission();
		const key = caller({ limits: { rpm: 1, input: 99 } });
		const error = refusal({ caller: key });
		expect([error.errorCode, error.status]).toEqual(["input_too_large", 413]);
		expect(error.message).toContain("about 100 tokens; this key may send 99");
		enter({ caller: key, prompt: 99 });
	});

	test("of calls at once are given back when the call is over", () => {
		const { enter, refusal } = admission();
		const key = caller({ limits: { concurrency: 1 } });
		const pass = enter({ caller: key });
		expect(refusal({ caller: key }).headers["retry-after"]).toBe("1");
		pass?.settle(used(0, 0));
		enter({ caller: key });
	});

	test("are told in OpenAI's words, also to a call that is admitted", () => {
		const { clock, enter, refusal } = admission({ models: { fast: { rpm: 100 } } });
		const key = caller({ limits: { rpm: 2, tpm: 1_000 } });
		expect(enter({ caller: key })?.headers).toEqual({
			"x-ratelimit-limit-requests": "2",
			"x-ratelimit-remaining-requests": "1",
			"x-ratelimit-reset-requests": "1m0s",
			"x-ratelimit-limit-tokens": "1000",
			"x-ratelimit-remaining-tokens": "900",
			"x-ratelimit-reset-tokens": "1m0s",
		});
		clock.now = 500;
		enter({ caller: key });
		clock.now = 2_000;
		const { headers, status, body } = refusal({ caller: key });
		expect(status).toBe(429);
		expect(headers).toMatchObject({
			"retry-after": "58",
			"retry-after-ms": "58000",
			"x-ratelimit-limit-requests": "2",
			"x-ratelimit-remaining-requests": "0",
			"x-ratelimit-reset-requests": "58.5s",
			"x-ratelimit-remaining-tokens": "800",
		});
		expect(body.error.message).toBe("Rate limit reached: this key may take 2 requests a minute. Try again in 58s.");
	});

	test("that a call can never meet are no reason to try again", () => {
		const { refusal } = admission();
		const { headers, message } = refusal({ caller: caller({ limits: { tpm: 50 } }) });
		expect(headers["x-should-retry"]).toBe("false");
		expect(headers["retry-after"]).toBeUndefined();
		expect(message).toContain("It will never fit");
	});

	test.each([
		[0, "0ms"],
		[1, "1ms"],
		[999.2, "1s"],
		[1_500, "1.5s"],
		[59_999, "59.999s"],
		[60_000, "1m0s"],
		[61_000, "1m1s"],
	])("%d ms are written %s", (ms, text) => {
		expect(resetText(ms)).toBe(text);
	});

	test("on nothing give no header", () => {
		expect(limitHeaders([])).toBeUndefined();
	});
});

describe("the budget of a session", () => {
	test("that calls under way hold to the last is not spent: none of them may come to anything", () => {
		let spent = 0;
		const { enter, refusal } = admission({ models: {}, session_usd: 0.5 }, () => spent++);
		const call = { caller: caller(), session: "one", usd: 0.1 };
		const calls = Array.from({ length: 5 }, () => enter(call)!);
		expect([refusal(call).headers["retry-after"], refusal(call).headers["x-should-retry"]]).toEqual(["1", undefined]);
		expect([refusal(call).message, spent]).toEqual([expect.stringContaining("Calls under way of this session"), 0]);
		for (const each of calls) each.settle(used(1, 0.1));
		expect([refusal(call).headers["x-should-retry"], spent]).toEqual(["false", 1]);
	});
});

describe("a budget", () => {
	const budget = { usd: 1, per: "day" } as const;

	test("lets calls in until it is spent, and again on the next day", () => {
		const { clock, enter, refusal, refusals } = admission();
		const key = caller({ budget });
		enter({ caller: key })?.settle(used(1, 0.6));
		enter({ caller: key })?.settle(used(1, 0.6));
		const error = refusal({ caller: key });
		expect([error.status, error.errorCode, error.body.error.type]).toEqual([
			429,
			"insufficient_quota",
			"insufficient_quota",
		]);
		expect(error.message).toBe('The key "a" has spent its budget of 1 USD a day. It begins anew at midnight (UTC).');
		expect(error.headers).toEqual({ "x-should-retry": "false" });
		expect(refusals).toEqual(["budget day"]);
		clock.wall += 12 * 3_600_000;
		enter({ caller: key });
	});

	test.each([
		["month", "2026-03-31T23:59:00Z", "2026-04-01T00:00:00Z"],
		["day", "2026-03-10T23:59:00Z", "2026-03-11T00:00:00Z"],
	] as const)("by %s begins anew at its end (UTC)", (per, before, after) => {
		const { clock, enter, refusal } = admission();
		const key = caller({ budget: { usd: 1, per } });
		enter({ caller: key })?.settle(used(1, 1));
		clock.wall = Date.parse(before);
		refusal({ caller: key });
		clock.wall = Date.parse(after);
		enter({ caller: key });
	});

	test("in all never begins anew", () => {
		const { clock, enter, refusal } = admission();
		const key = caller({ budget: { usd: 1, per: "total" } });
		enter({ caller: key })?.settle(used(1, 1));
		clock.wall += 10 * 365 * 86_400_000;
		expect(refusal({ caller: key }).message).toEndWith("of 1 USD in all.");
	});

	test("is not passed by many calls at once: what runs is counted by what it may cost", () => {
		const { enter, refusal } = admission();
		const key = caller({ budget });
		const admissions = [1, 2, 3, 4].map(() => enter({ caller: key, usd: 0.25 }));
		refusal({ caller: key, usd: 0.25 });
		// They cost less than they might have.
		for (const pass of admissions) pass?.settle(used(1, 0.1));
		enter({ caller: key, usd: 0.25 });
	});

	test("is not held up by a call that a limit kept out", () => {
		const { clock, enter, refusal } = admission();
		const key = caller({ budget, limits: { rpm: 1 } });
		enter({ caller: key, usd: 0.2 })?.settle(used(1, 0.2));
		for (let at = 0; at < 10; at++) expect(refusal({ caller: key, usd: 0.7 }).errorCode).toBe("rate_limit_exceeded");
		clock.now = 60_000;
		enter({ caller: key, usd: 0.7 });
	});

	test("of nothing leaves what costs nothing", () => {
		const { enter, refusal } = admission();
		const key = caller({ budget: { usd: 0, per: "month" } });
		enter({ caller: key, usd: 0 });
		refusal({ caller: key, usd: 0.0001 });
	});

	test("goes on from what the ledger says was spent before", () => {
		const asked: string[] = [];
		const spend = new LocalSpend({
			spenders: () => ["k"],
			spent: (key, days) => {
				asked.push(`${key} ${days}`);
				return days === "" ? 5 : days.length === 7 ? 3 : 0.5;
			},
		});
		expect([spend.spent("k", "2026-03-10"), spend.spent("k", "2026-03"), spend.spent("k", "total")]).toEqual([
			0.5, 3, 5,
		]);
		spend.add("k", "2026-03-10", 0.25);
		spend.add("k", "total", 1);
		expect([spend.spent("k", "2026-03-10"), spend.spent("k", "total")]).toEqual([0.75, 6]);
		expect(asked).toEqual(["k 2026-03-10", "k 2026-03", "k "]);
		expect(spend.spent("k", "2026-03-11")).toBe(0.5);
	});
});
