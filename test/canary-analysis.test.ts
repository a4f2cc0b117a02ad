/** Whether a canary is promoted or taken back, by simulated traffic: what is as good as before passes, what is worse is found within a minute. */
import { describe, expect, test } from "bun:test";
import {
	analyseCanary,
	type CallCounts,
	type CanaryResult,
	type LogMoments,
} from "../src/agent/models/canary-analysis.ts";
import { type Random, random } from "./kit/random.ts";

const RULES = { leastMs: 60_000, mostMs: 600_000 };
const SEEDS = 300;

/** How one generation behaves. */
interface Behaviour {
	/** Shares of calls. */
	readonly errors?: number;
	readonly refused?: number;
	/** Medians, ms; their logarithms are spread by `spread`. */
	readonly firstToken?: number;
	readonly tokenTime?: number;
	readonly spread?: number;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] extends LogMoments ? Writable<T[K]> : T[K] };
const nothing = (): Writable<CallCounts> => ({
	calls: 0,
	errors: 0,
	refused: 0,
	firstToken: { count: 0, sum: 0, squares: 0 },
	tokenTime: { count: 0, sum: 0, squares: 0 },
});

const normal = (draw: Random): number =>
	Math.sqrt(-2 * Math.log(1 - draw.next())) * Math.cos(2 * Math.PI * draw.next());

function add(moments: Writable<LogMoments>, log: number): void {
	moments.count++;
	moments.sum += log;
	moments.squares += log * log;
}

function call(counts: Writable<CallCounts>, how: Behaviour, draw: Random): void {
	const { errors = 0.002, refused = 0.02, firstToken = 300, tokenTime = 20, spread = 0.8 } = how;
	counts.calls++;
	const what = draw.next();
	if (what < errors) counts.errors++;
	else if (what < errors + refused) counts.refused++;
	else {
		add(counts.firstToken, Math.log(firstToken) + spread * normal(draw));
		add(counts.tokenTime, Math.log(tokenTime) + 0.3 * normal(draw));
	}
}

interface Outcome extends CanaryResult {
	readonly seconds: number;
}

/** What becomes of a canary that gets a tenth of `perSecond` calls. It is looked at each second. */
function outcome(seed: number, old: Behaviour, canary: Behaviour, perSecond = 10, share = 0.1): Outcome {
	const draw = random(seed);
	const [before, now] = [nothing(), nothing()];
	for (let seconds = 1; ; seconds++) {
		// Of a second's calls, each in a hundredth of it.
		for (let part = 0; part < 100; part++) {
			if (draw.next() >= perSecond / 100) continue;
			if (draw.next() < share) call(now, canary, draw);
			else call(before, old, draw);
		}
		const analysis = analyseCanary(before, now, seconds * 1000, RULES);
		if (analysis.decision !== "wait") return { ...analysis, seconds };
	}
}

/** Shares of seeds. */
function outcomes(old: Behaviour, canary: Behaviour, perSecond?: number) {
	const all = Array.from({ length: SEEDS }, (_, seed) => outcome(seed + 1, old, canary, perSecond));
	const takenBack = all.filter(({ decision }) => decision === "take back");
	const withinMinute = takenBack.filter(({ seconds }) => seconds <= 60);
	return { takenBack: takenBack.length / SEEDS, withinMinute: withinMinute.length / SEEDS, all };
}

describe("a bad canary, with a tenth of ten calls a second, is taken back within a minute", () => {
	test.each<[string, Behaviour]>([
		["that fails every call", { errors: 1 }],
		["that fails half of its calls", { errors: 0.5 }],
		["that fails a quarter of its calls", { errors: 0.25 }],
		["that refuses every call", { refused: 1 }],
		["that refuses most calls", { refused: 0.7 }],
		["whose first token takes four times as long", { firstToken: 1200 }],
		["that is half as fast a token", { tokenTime: 40 }],
	])("%s", (_, canary) => {
		const { withinMinute } = outcomes({}, canary);
		expect(withinMinute).toBeGreaterThan(0.97);
	});

	test("that fails every call is found by its first calls, also where none came to the old ones", () => {
		const failing = { ...nothing(), calls: 3, errors: 3 };
		expect(analyseCanary(nothing(), failing, 1000, RULES)).toEqual({
			decision: "take back",
			reason: "it failed 3 of 3 calls, the old ones 0 of 0",
		});
		expect(analyseCanary(nothing(), { ...nothing(), calls: 1, errors: 1 }, 1000, RULES).decision).toBe("wait");
	});
});

describe("a canary that is as good as what serves beside it", () => {
	test.each<[string, Behaviour, Behaviour, number]>([
		["is promoted", {}, {}, 10],
		["is promoted under much load", {}, {}, 100],
		["is promoted under little", {}, {}, 0.5],
		["is promoted where all fail now and then", { errors: 0.02 }, { errors: 0.02 }, 10],
		["is promoted where all fail often", { errors: 0.2 }, { errors: 0.2 }, 10],
		["is promoted where clients are often refused", { refused: 0.3 }, { refused: 0.3 }, 10],
		["is promoted where times are all over the place", { spread: 2 }, { spread: 2 }, 10],
		["is promoted where its first token takes a little longer", {}, { firstToken: 400 }, 10],
		["is promoted where it is better", { errors: 0.05, firstToken: 900 }, {}, 10],
	])("%s", (_, old, canary, perSecond) => {
		const { takenBack, all } = outcomes(old, canary, perSecond);
		expect(takenBack).toBeLessThanOrEqual(0.01);
		const promoted = all.filter(({ decision }) => decision === "promote");
		expect(Math.min(...promoted.map(({ seconds }) => seconds))).toBeGreaterThanOrEqual(60);
	});
});

describe("time decides", () => {
	test("for a canary that got no calls", () => {
		expect(analyseCanary(nothing(), nothing(), 599_999, RULES).decision).toBe("wait");
		expect(analyseCanary(nothing(), nothing(), 600_000, RULES)).toEqual({
			decision: "promote",
			reason: "nothing spoke against it in 600 s",
		});
	});

	test("against one whose few calls fail more often", () => {
		const few = { ...nothing(), calls: 5, errors: 2 };
		const old = { ...nothing(), calls: 100 };
		expect(analyseCanary(old, few, 599_999, RULES).decision).toBe("wait");
		expect(analyseCanary(old, few, 600_000, RULES).decision).toBe("take back");
	});

	test("that one is in use as soon as it has had enough calls, but not before the least time", () => {
		const good = { ...nothing(), calls: 500 };
		expect(analyseCanary({ ...nothing(), calls: 4500 }, good, 59_999, RULES).decision).toBe("wait");
		expect(analyseCanary({ ...nothing(), calls: 4500 }, good, 60_000, RULES)).toEqual({
			decision: "promote",
			reason: "500 calls were answered as well as before",
		});
	});
});

test("what it took back for is said with both sides' figures", () => {
	const times = (ms: number, count: number): LogMoments => {
		const moments = { count: 0, sum: 0, squares: 0 };
		for (let n = 0; n < count; n++) add(moments, Math.log(ms) + (n % 2 === 0 ? 0.1 : -0.1));
		return moments;
	};
	const old = { ...nothing(), calls: 100, firstToken: times(200, 100) };
	const slow = { ...nothing(), calls: 10, firstToken: times(1000, 10) };
	expect(analyseCanary(old, slow, 5000, RULES)).toEqual({
		decision: "take back",
		reason: "it takes 5.0 times as long to the first token: 1000 ms instead of 200",
	});
});
