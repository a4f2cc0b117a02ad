/** What keys have spent on this replica: counted in memory, on top of what its ledger says of the time before. */
import type { LedgerStore } from "../../store/ledger-table.ts";
import type { LocalSpend } from "./shared-spend.ts";
import { periodsOf } from "./spend.ts";

/** The board. The ledger is asked once a key and period, 30 µs, before the first call that counts there has been written to it. */
export function localSpend(
	ledger: Pick<LedgerStore, "spent" | "spenders">,
	wall: () => number = Date.now,
): LocalSpend & {
	/** Has the ledger asked again, since another process has written to it; all that was added must be in it. */
	refresh(): void;
	/** The ledger could not be read: what was spent before is missing until `refresh`. */
	readonly isUnsure: boolean;
} {
	const keys = new Map<string, Map<string, number>>();
	let isUnsure = false;
	const kept = (key: string) => {
		let periods = keys.get(key);
		if (!periods) {
			periods = new Map<string, number>();
			keys.set(key, periods);
		}
		return periods;
	};
	const spent = (key: string, period: string): number => {
		const periods = kept(key);
		let usd = periods.get(period);
		if (usd === undefined) {
			const written = ledger.spent(key, period === "total" ? "" : period);
			if (written === undefined) isUnsure = true;
			usd = written ?? 0;
			// Names of days have one length, those of months another: the day before is over.
			for (const other of periods.keys()) if (other.length === period.length) periods.delete(other);
			periods.set(period, usd);
		}
		return usd;
	};
	return {
		spent,
		refresh() {
			keys.clear();
			isUnsure = false;
		},
		get isUnsure() {
			return isUnsure;
		},
		*all() {
			const { day, month, total } = periodsOf(wall());
			for (const key of new Set([...ledger.spenders(), ...keys.keys()])) {
				for (const period of [total, month, day]) yield { key, period, usd: spent(key, period) };
			}
		},
		add(key, period, usd) {
			// One sum that is none would lift the budget for good.
			if (!(usd >= 0 && usd < Number.POSITIVE_INFINITY)) return;
			kept(key).set(period, spent(key, period) + usd);
		},
	};
}
