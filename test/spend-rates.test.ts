/** A key that spends far more than it usually does is seen by what the ledger has written. */
import { expect, test } from "bun:test";
import { SpendRates } from "../src/accounts/runaway/spend-rates.ts";

const MINUTE = 60_000;
const FIVE = 5 * MINUTE;
/** The beginning of one of the windows. */
const BEGIN = 6_000_000 * FIVE;
const row = (cost: number, keyId = "k") => ({ keyId, key: "team", cost });
/** Written as soon as it was spent. */
const spend = (rates: SpendRates, rows: readonly ReturnType<typeof row>[], now: number) =>
	rates.spent(rows, now, now, 10);
/** A key that has spent so much in each of some windows of five minutes, and where time stands then. */
function after(windows: readonly number[]) {
	const rates = new SpendRates();
	for (const [at, usd] of windows.entries()) expect(spend(rates, [row(usd)], BEGIN + at * FIVE)).toEqual([]);
	return { rates, now: BEGIN + windows.length * FIVE };
}
const hour = Array.from({ length: 12 }, () => 0.5);

test("nobody knows what is usual before it has spent something in twelve windows", () => {
	const { rates, now } = after(hour.slice(1));
	expect(spend(rates, [row(1_000)], now)).toEqual([]);
});

test("ten times as much as usual is no more than that, a little more is too fast", () => {
	const { rates, now } = after(hour);
	expect(spend(rates, [row(5)], now)).toEqual([]);
	expect(spend(rates, [row(0.01)], now + MINUTE)).toEqual([
		{ keyId: "k", key: "team", usd: 5.01, usual: 0.5, until: now + FIVE },
	]);
});

test("what was spent five minutes ago counts no more", () => {
	const { rates, now } = after(hour);
	expect(spend(rates, [row(5)], now)).toEqual([]);
	expect(spend(rates, [row(0.5)], now + FIVE + MINUTE)).toEqual([]);
	expect(spend(rates, [row(1_000)], now - 30 * FIVE)).toHaveLength(1);
});

test("its own peaks are usual, and less than a USD is no runaway", () => {
	const peaks = after([...hour, ...hour, 4, 4, 4]);
	expect(spend(peaks.rates, [row(30)], peaks.now)).toEqual([]);
	const small = after(hour.map(() => 0.001));
	expect(spend(small.rates, [row(0.9)], small.now)).toEqual([]);
});

test("keys are apart, calls without a key or a price are left out", () => {
	const { rates, now } = after(hour);
	expect(spend(rates, [row(50, "other"), row(50, ""), row(Number.NaN), row(-1)], now)).toEqual([]);
});

test("what was written late counts for when it was spent, as after a ledger that could not be written", () => {
	const late = after(hour);
	const { now } = late;
	// As much as usual in each of four times five minutes, and all of it is written in one go.
	for (let at = 40; at > 0; at--) expect(late.rates.spent([row(0.5)], now - at * (MINUTE / 2), now, 10)).toEqual([]);
	expect(late.rates.spent([row(1_000)], now - FIVE, now, 10)).toEqual([]);
	expect(late.rates.spent([row(1_000)], undefined, now, 10)).toEqual([]);
	const { rates } = after(hour);
	// Three minutes ago: two are left until it counts no more.
	expect(rates.spent([row(6)], now - 3 * MINUTE, now, 10)).toMatchObject([{ usd: 6, until: now + 2 * MINUTE }]);
});

test("copies of calls for another model are no key's", () => {
	const rates = new SpendRates();
	for (const at of hour.keys()) spend(rates, [row(0.5, "shadow:fast")], BEGIN + at * FIVE);
	expect(spend(rates, [row(1_000, "shadow:fast")], BEGIN + 12 * FIVE)).toEqual([]);
});
