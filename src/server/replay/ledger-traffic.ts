/** The calls of a time, read from the ledger for a replay. */
import type { LedgerStore } from "../../store/ledger-table.ts";
import { type RecordedCall, recordedCall } from "./recorded-call.ts";
import { RecordedTraffic } from "./recorded-traffic.ts";

/** Rows that are read at once, and most calls of one replay, which take some 3 KB each: the latest. */
const ROWS_AT_ONCE = 5_000;
export const MOST_REPLAYED = 100_000;

/** The calls of a time. */
export interface LedgerTraffic {
	readonly traffic: RecordedTraffic;
	/** There are more: when the first of those that are replayed came, Unix time, ms. */
	readonly cutAt: number | undefined;
}

/** Reads them. @param from ids from this one on @param before ids before this one @param most the latest so many */
export function ledgerTraffic(
	store: Pick<LedgerStore, "search">,
	{ from, before, most = MOST_REPLAYED }: { readonly from: string; readonly before: string; readonly most?: number },
): LedgerTraffic {
	const calls: RecordedCall[] = [];
	let next: string | undefined = before;
	while (next !== undefined && calls.length < most) {
		const limit = Math.min(ROWS_AT_ONCE, most - calls.length);
		const found = store.search({}, { from, before: next, limit, rows: ROWS_AT_ONCE });
		for (const row of found.calls) {
			const call = recordedCall(row);
			if (call) calls.push(call);
		}
		next = found.next;
	}
	return { traffic: new RecordedTraffic(calls), cutAt: next === undefined ? undefined : calls.at(-1)?.arrivedAt };
}
