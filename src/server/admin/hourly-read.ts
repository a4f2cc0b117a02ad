/** Reads sums by the hour of the ledger, a part at a time and for one client at a time, so that no call waits for it. */
import { setImmediate } from "node:timers/promises";
import type { Ledger } from "../../accounts/usage/ledger.ts";
import { NO_USAGE, usageName } from "../../accounts/usage/ledger-rows.ts";
import type { HourRow } from "../../store/call-hours.ts";
import type { UsageSums } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { callSearch, throwIfLeft } from "./call-list.ts";

/** Rows that are looked at without a pause: some 3 ms. Each is read, its JSON too. */
const ROWS_AT_ONCE = 1_000;
const DAY_MS = 86_400_000;

/** Reads of one ledger. A long one takes much of a thread: others wait for its end. */
export class HourlyReads {
	/** The end of all that were asked for. Never rejects. */
	#last: Promise<unknown> = Promise.resolve();

	constructor(
		private readonly ledger: Pick<Ledger, "flush">,
		private readonly store: Pick<LedgerStore, "hours">,
	) {}

	/**
	 * As {@link readHours}, when its turn comes.
	 * @param now Unix time, ms
	 * @param signal of whoever asks: rejects with `cancelled` once it is aborted, and reads no further
	 */
	read(days: Parameters<typeof readHours>[0], now: () => number, signal?: AbortSignal): Promise<HourRow[]> {
		const read = this.#last.then(async () => {
			throwIfLeft(signal);
			const until = now();
			await this.ledger.flush();
			return readHours(days, this.store, until, signal);
		});
		const over = () => {};
		this.#last = read.then(over, over);
		return read;
	}
}

/**
 * Sums of the calls that settled on these days (`2026-01-31`, both included) until now, one of each hour and each of what they are of.
 * @param now Unix time, ms
 * @param signal rejects with `cancelled` once it is aborted
 */
export async function readHours(
	{ from, to }: { readonly from: string; readonly to: string },
	store: Pick<LedgerStore, "hours">,
	now: number,
	signal?: AbortSignal,
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
		throwIfLeft(signal);
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
