/** What keys have spent on this replica: counted in memory, on top of what its ledger says of the time before. */
import type { LedgerStore } from "../../store/ledger-table.ts";
import { periodsOf, type Spending, type SpendStore } from "./spend.ts";

/** A call whose cost was added and is not in the ledger yet. */
export interface UnwrittenCall {
	/** "" where there is no key. */
	readonly keyId: string;
	/** When it settled, Unix time, ms. */
	readonly at: number;
	/** USD. */
	readonly cost: number;
}

/** The sums. The ledger is asked once a key and period, before the first call that counts there has been written to it. */
export class LocalSpend implements SpendStore {
	/** By key, then by period: USD. */
	readonly #keys = new Map<string, Map<string, number>>();
	#isUnsure = false;

	constructor(
		private readonly ledger: Pick<LedgerStore, "spent" | "spenders">,
		private readonly wall: () => number = Date.now,
	) {}

	/** The ledger could not be read: what was spent before is missing until `refresh`. */
	get isUnsure(): boolean {
		return this.#isUnsure;
	}

	spent(key: string, period: string): number {
		return this.#periodsOf(key).get(period) ?? this.#read(key, period);
	}

	add(key: string, period: string, usd: number): void {
		// One sum that is none would lift the budget for good.
		if (!(usd >= 0 && usd < Number.POSITIVE_INFINITY)) return;
		const periods = this.#periodsOf(key);
		periods.set(period, (periods.get(period) ?? this.#read(key, period)) + usd);
	}

	/** All that may still matter: of each key the current day, the current month, and in total. */
	*all(): Iterable<Spending> {
		const { day, month, total } = periodsOf(this.wall());
		for (const key of new Set([...this.ledger.spenders(), ...this.#keys.keys()])) {
			for (const period of [total, month, day]) yield { key, period, usd: this.spent(key, period) };
		}
	}

	/** Has the ledger asked again, since another process has written to it. @param unwritten all that was added and is not in it yet */
	refresh(unwritten: readonly UnwrittenCall[] = []): void {
		this.#keys.clear();
		this.#isUnsure = false;
		for (const { keyId, at, cost } of unwritten) {
			if (keyId === "" || !(cost > 0)) continue;
			for (const period of Object.values(periodsOf(at))) this.add(keyId, period, cost);
		}
	}

	#periodsOf(key: string): Map<string, number> {
		let periods = this.#keys.get(key);
		if (!periods) {
			periods = new Map();
			this.#keys.set(key, periods);
		}
		return periods;
	}

	/** Asks the ledger, and drops the period before. */
	#read(key: string, period: string): number {
		const periods = this.#periodsOf(key);
		const written = this.ledger.spent(key, period === "total" ? "" : period);
		if (written === undefined) this.#isUnsure = true;
		// Names of days have one length, those of months another: the one before is over.
		for (const other of periods.keys()) if (other.length === period.length) periods.delete(other);
		const usd = written ?? 0;
		periods.set(period, usd);
		return usd;
	}
}
