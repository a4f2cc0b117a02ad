/** Reads sums by the hour of the ledger, a part at a time, so that no call waits for it. */
import { setImmediate } from "node:timers/promises";
import { NO_USAGE, usageName } from "../../accounts/usage/ledger-rows.ts";
import type { HourRow } from "../../store/call-hours.ts";
import type { UsageSums } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { callSearch } from "./call-list.ts";

/** Rows that are looked at without a pause: some 3 ms. Each is read, its JSON too. */
const ROWS_AT_ONCE = 1_000;
const DAY_MS = 86_400_000;

/**
 * Sums of the calls that settled on these days (`2026-01-31`, both included) until now, one of each hour and each of what they are of.
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
	// Added up part by part: a ledger of a million calls has as many parts of hours as there are end users in each.
	const sums = new Map<string, HourRow>();
	for (let before: string | undefined = ids.before; before !== undefined; ) {
		const { hours, next } = store.hours({ from: ids.from, before, since, until, rows: ROWS_AT_ONCE });
		for (const hour of hours) addHour(sums, hour);
		before = next;
		await setImmediate();
	}
	return [...sums.values()];
}

function addHour(sums: Map<string, HourRow>, hour: HourRow): void {
	const name = `${hour.from}\n${usageName({ ...hour, day: "" })}`;
	const before = sums.get(name);
	const added = { ...hour };
	if (before) for (const sum of Object.keys(NO_USAGE) as (keyof UsageSums)[]) added[sum] += before[sum];
	sums.set(name, added);
}

const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);
