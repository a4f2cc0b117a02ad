/** What keys have spent, on this replica and on the others: by period, USD. */
import type { UsageRow } from "../../store/ledger-batch.ts";

/**
 * Sums of spending. A period is named by what it is: `2026-01-31`, `2026-01`, `total` (UTC). Never blocks: what others spent is
 * what they last published, at most a second or two ago.
 */
export interface SpendStore {
	/** This replica's calls of `key` cost `usd` more. */
	add(key: string, period: string, usd: number): void;
	/** Spent by all replicas in that period, USD. */
	spent(key: string, period: string): number;
}

/** What was spent of one key's budget in one period. It only grows. */
export interface Spending {
	/** The key's id. */
	readonly key: string;
	/** As {@link SpendStore} names it. */
	readonly period: string;
	readonly usd: number;
}

/** What this replica alone has spent, for the exchange with others. */
export interface PublishedSpend extends SpendStore {
	/** All that may still matter. */
	all(): Iterable<Spending>;
	/** Told what all other replicas have spent together, in USD, where the threads of this one read that elsewhere. */
	others?(key: string, period: string, usd: number): void;
}

/** Of a row of usage that has been written to the ledger. */
export type WrittenSpend = Pick<UsageRow, "day" | "keyId" | "cost">;

/** Sums are published in whole billionths of a USD, so that they are compared exactly. */
const UNITS_PER_USD = 1e9;
export const unitsOf = (usd: number): number => Math.round(usd * UNITS_PER_USD);
export const usdOf = (units: number): number => units / UNITS_PER_USD;

const DAY_MS = 86_400_000;
/**
 * How long what was spent in a period stays in Redis after it last grew, ms: longer than a day or a month lasts, in which the last call
 * may have come at its beginning; a budget in total outlives its replicas.
 */
export const PERIOD_TTL_MS = 40 * DAY_MS;
export const TOTAL_TTL_MS = 400 * DAY_MS;

/** Periods that a moment belongs to. @param time Unix time, ms */
export function periodsOf(time: number): { readonly day: string; readonly month: string; readonly total: "total" } {
	const day = new Date(time).toISOString().slice(0, 10);
	return { day, month: day.slice(0, 7), total: "total" };
}
