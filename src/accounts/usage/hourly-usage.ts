/** Sums of days, taken apart by the hour as far as single calls say when they were. Pure. */
import type { HourRow } from "../../store/call-hours.ts";
import type { UsageRow, UsageSums } from "../../store/ledger-batch.ts";
import { NO_USAGE, OTHER_USERS, usageName } from "./ledger-rows.ts";

/** Sums of an hour, or of a day. */
export interface PeriodRow extends UsageRow {
	/** From 0 to 23 (UTC). Absent: they are the day's. */
	readonly hour?: number | undefined;
}

/**
 * Of each sum of a day its hours, and what is left of it: of calls that are kept no more, or have settled since. All together are the day's: what
 * a sum has less than its hours, which is not to be, makes that it stays whole.
 * @param days read after the hours, so that each call of those is in these
 */
export function byHour(days: readonly UsageRow[], hours: readonly HourRow[]): PeriodRow[] {
	const names = new Set(days.map(usageName));
	const ofDay = Map.groupBy(hours, (hour) => dayNameOf(hour, names));
	return days.flatMap((day) => {
		const rows = hoursOf(day, ofDay.get(usageName(day)) ?? []);
		const left = difference(day, rows);
		if (left.calls === 0) return rows.map((row) => ({ ...row, energy: shareOf(row.energy, day.energy, rows) }));
		return COUNTS.some((sum) => left[sum] < 0) ? [day] : [...rows, left];
	});
}

const SUMS = Object.keys(NO_USAGE) as (keyof UsageSums)[];
/** Whole numbers: of the others a rest may be less than nothing by what they are rounded by. */
const COUNTS = SUMS.filter((sum) => sum !== "cost" && sum !== "energy");
/** Digits behind the point: beyond is noise. */
const DIGITS = 12;

/** The name of the sum of a day that an hour is in: that of its end user, or of all those that have none of their own. */
function dayNameOf(hour: HourRow, names: ReadonlySet<string>): string {
	const day = new Date(hour.from).toISOString().slice(0, 10);
	const own = usageName({ ...hour, day });
	return names.has(own) ? own : usageName({ ...hour, day, user: OTHER_USERS });
}

/** Parts of the same hour, and end users that stand together, are one. */
function hoursOf({ day, key, team, user }: UsageRow, parts: readonly HourRow[]): PeriodRow[] {
	const byHour = new Map<number, PeriodRow & UsageSums>();
	for (const { from, ...part } of parts) {
		const hour = new Date(from).getUTCHours();
		const row = byHour.get(hour) ?? { ...part, ...NO_USAGE, day, key, team, user, hour };
		for (const sum of SUMS) row[sum] += part[sum];
		byHour.set(hour, row);
	}
	return [...byHour.values()];
}

function difference(day: UsageRow, rows: readonly PeriodRow[]): UsageRow {
	const left: UsageRow & UsageSums = { ...day };
	for (const row of rows) for (const sum of SUMS) left[sum] -= row[sum];
	for (const sum of ["cost", "energy"] as const) left[sum] = Math.max(0, Number(left[sum].toFixed(DIGITS)));
	return left;
}

/** Of each call the ledger keeps four digits of its energy alone: of the day's, which has all, each hour gets its share. */
function shareOf(energy: number, all: number, rows: readonly PeriodRow[]): number {
	const sum = rows.reduce((total, row) => total + row.energy, 0);
	return sum > 0 ? (all * energy) / sum : 0;
}
