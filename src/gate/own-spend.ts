/** What keys have spent on this replica: counted in memory, on top of what its ledger says of the time before. */
import type { LedgerStore } from "../store/ledger.ts";
import type { SpendBoard } from "./spend.ts";

/** The board. The ledger is asked once a key and period, 30 µs, before the first call that counts there has been written to it. */
export function ownSpend(ledger: Pick<LedgerStore, "spent">): SpendBoard {
	const keys = new Map<string, Map<string, number>>();
	const periodsOf = (key: string) => {
		const periods = keys.get(key) ?? new Map<string, number>();
		keys.set(key, periods);
		return periods;
	};
	const spent = (key: string, period: string): number => {
		const periods = periodsOf(key);
		let usd = periods.get(period);
		if (usd === undefined) {
			usd = ledger.spent(key, period === "total" ? "" : period);
			// Names of days have one length, those of months another: the day before is over.
			for (const other of periods.keys()) if (other.length === period.length) periods.delete(other);
			periods.set(period, usd);
		}
		return usd;
	};
	return {
		spent,
		add(key, period, usd) {
			periodsOf(key).set(period, spent(key, period) + usd);
		},
	};
}
