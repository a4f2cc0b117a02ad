/** A key that spends far more than it usually does is seen by what the ledger has written. */
import { expect, test } from "bun:test";
import { SpendRates } from "../src/accounts/runaway/spend-rates.ts";

const MINUTE = 60_000;
const FIVE = 5 * MINUTE;
/** The beginning of one of the windows. */
const BEGIN = 6_000_000 * FIVE;
const row = (cost: number, keyId = "k") => ({ keyId, key: "team", cost });
/** A key that has spent so much in each of some windows of five minutes, and where time stands then. */
function after(windows: readonly number[]) {
	const rates = new SpendRates();
	for (const [at, usd] of windows.entries()) expect(rates.spent([row(usd)], BEGIN + at * FIVE, 10)).toEqual([]);
	return { rates, now: BEGIN + windows.length * FIVE };
}
const hour = Array.from({ length: 12 }, () => 0.5);

test("nobody knows what is usual before it has spent something in twelve windows", () => {
	const { rates, now } = after(hour.slice(1));
	expect(rates.spent([row(1_000)], now, 10)).toEqual([]);
});

test("ten times as much as usual is no more than that, a little more is too fast", () => {
	const { rates, now } = after(hour);
	expect(rates.spent([row(5)], now, 10)).toEqual([]);
	expect(rates.spent([row(0.01)], now + MINUTE, 10)).toEqual([
		{ keyId: "k", key: "team", usd: 5.01, usual: 0.5, until: now + FIVE },
	]);
});

test("what was spent five minutes ago counts no more", () => {
	const { rates, now } = after(hour);
	expect(rates.spent([row(5)], now, 10)).toEqual([]);
	expect(rates.spent([row(0.5)], now + FIVE + MINUTE, 10)).toEqual([]);
	expect(rates.spent([row(1_000)], now - 30 * FIVE, 10)).toHaveLength(1);
});

test("its own peaks are usual, and less than a USD is no runaway", () => {
	const peaks = after([...hour, ...hour, 4, 4, 4]);
	expect(peaks.rates.spent([row(30)], peaks.now, 10)).toEqual([]);
	const small = after(hour.map(() => 0.001));
	expect(small.rates.spent([row(0.9)], small.now, 10)).toEqual([]);
});

test("keys are apart, calls without a key or a price are left out", () => {
	const { rates, now } = after(hour);
	expect(rates.spent([row(50, "other"), row(50, ""), row(Number.NaN), row(-1)], now, 10)).toEqual([]);
});
