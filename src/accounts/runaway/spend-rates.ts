/** How fast keys spend, beside what they usually do: fed with what the ledger has written, so no call waits for it. No clock. */

import type { UsageRow } from "../../store/ledger-batch.ts";
import { isShadow } from "../usage/shadow-account.ts";

/** The time that is looked at, and its steps, ms. */
const WINDOW_MS = 300_000;
const STEPS = 10;
const STEP_MS = WINDOW_MS / STEPS;
/** Windows in which a key has spent something that are remembered: a day of work without a break. */
const MOST_WINDOWS = 288;
/** From so many on it is known what a key usually spends: an hour of work. */
const FEWEST_WINDOWS = 12;
/** Nine in ten windows have cost no more than what counts as usual. */
const USUAL = 0.9;
/** Less than this in a window is no runaway, USD. */
const LEAST_USD = 1;
/** Keys that are remembered; those that have not spent for longest go first. */
const MOST_KEYS = 5_000;

/** A key that spends too fast. USD in five minutes; times in Unix ms. */
export interface FastSpending {
	readonly keyId: string;
	readonly key: string;
	readonly usd: number;
	readonly usual: number;
	/** Until then it does so at least, whatever it spends meanwhile. */
	readonly until: number;
}

/** What one key has spent. */
interface KeyRate {
	/** USD by step, and which step the last one is. */
	readonly steps: Float64Array;
	step: number;
	/** What it has spent since the beginning of the window that is being filled, and which that is. */
	filling: number;
	window: number;
	/** Of windows before in which it has spent something, the oldest first. */
	readonly before: number[];
}

/** Of all keys. */
export class SpendRates {
	readonly #keys = new Map<string, KeyRate>();

	/**
	 * Takes down what was spent. Written late it counts for when it was spent; what is older than what is looked at, or of unknown age, not at all.
	 * @param settledAt when the first of it was spent; Unix times, ms @param factor how many times the usual is too fast
	 * @returns keys among them that spend too fast now
	 */
	spent(
		rows: readonly Pick<UsageRow, "keyId" | "key" | "cost">[],
		settledAt: number | undefined,
		now: number,
		factor: number,
	): FastSpending[] {
		const behind = settledAt === undefined ? STEPS : Math.floor(now / STEP_MS) - Math.floor(settledAt / STEP_MS);
		if (behind >= STEPS) return [];
		const touched = new Map<string, string>();
		for (const { keyId, key, cost } of rows) {
			if (keyId === "" || isShadow(keyId) || !(cost > 0 && cost < Number.POSITIVE_INFINITY)) continue;
			const rate = this.#rateOf(keyId, now);
			rate.steps[(rate.step - Math.max(0, behind)) % STEPS]! += cost;
			rate.filling += cost;
			touched.set(keyId, key);
		}
		return [...touched].flatMap(([keyId, key]) => fastOf(keyId, key, this.#keys.get(keyId)!, factor) ?? []);
	}

	/** As of now: steps and windows that are over are put down. */
	#rateOf(keyId: string, now: number): KeyRate {
		const [step, window] = [Math.floor(now / STEP_MS), Math.floor(now / WINDOW_MS)];
		const rate = this.#keys.get(keyId) ?? { steps: new Float64Array(STEPS), step, filling: 0, window, before: [] };
		this.#keys.delete(keyId);
		this.#keys.set(keyId, rate);
		if (this.#keys.size > MOST_KEYS) this.#keys.delete(this.#keys.keys().next().value!);
		// A clock that was set back begins anew.
		if (step < rate.step || step - rate.step >= STEPS) rate.steps.fill(0);
		else for (let each = rate.step + 1; each <= step; each++) rate.steps[each % STEPS] = 0;
		rate.step = step;
		if (window !== rate.window) {
			if (rate.filling > 0) rate.before.push(rate.filling);
			if (rate.before.length > MOST_WINDOWS) rate.before.shift();
			rate.filling = 0;
			rate.window = window;
		}
		return rate;
	}
}

function fastOf(keyId: string, key: string, rate: KeyRate, factor: number): FastSpending | undefined {
	if (rate.before.length < FEWEST_WINDOWS) return undefined;
	const sorted = [...rate.before].sort((a, b) => a - b);
	const usual = sorted[Math.ceil(sorted.length * USUAL) - 1]!;
	const most = Math.max(LEAST_USD, factor * usual);
	let usd = 0;
	for (const cost of rate.steps) usd += cost;
	if (usd <= most) return undefined;
	// Until so many of the oldest steps have left that the rest is no more than usual.
	let left = usd;
	let leaving = rate.step - STEPS + 1;
	while (left > most && leaving <= rate.step) left -= rate.steps[leaving++ % STEPS]!;
	return { keyId, key, usd, usual, until: (leaving - 1 + STEPS) * STEP_MS };
}
