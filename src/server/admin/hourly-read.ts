/** Reads sums by the hour of the ledger, a part at a time, so that no call waits for it. */
import { setImmediate } from "node:timers/promises";
import type { HourRow } from "../../store/call-hours.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { callSearch } from "./call-list.ts";

/** Rows that are looked at without a pause: some 3 ms. Each is read, its JSON too. */
const ROWS_AT_ONCE = 1_000;
const DAY_MS = 86_400_000;

/**
 * Sums of the calls that settled on these days (`2026-01-31`, both included) until now; an hour may be there several times.
 * @param now Unix time, ms
 */
export async function readHours(
	{ from, to }: { readonly from: string; readonly to: string },
	store: Pick<LedgerStore, "hours">,
	now: number,
): Promise<HourRow[]> {
	const since = Date.parse(from);
	const until = Math.min(Date.parse(to) + DAY_MS, now);
	// Ids say when calls have come. One that was under way for more than a day stays in the sum of its day.
	const ids = callSearch({ from: dayOf(Math.max(0, since - DAY_MS)), to });
	const found: HourRow[] = [];
	for (let before: string | undefined = ids.before; before !== undefined; ) {
		const { hours, next } = store.hours({ from: ids.from, before, since, until, rows: ROWS_AT_ONCE });
		found.push(...hours);
		before = next;
		await setImmediate();
	}
	return found;
}

const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);
