/** Tells the other routers of one Redis which of this replica's sums of usage have grown, and asks for theirs. */
import { usageName } from "../accounts/usage/ledger-rows.ts";
import type { UsageExchange } from "../accounts/usage/spend.ts";
import type { LedgerStore, UsageKey, UsageRow } from "../store/ledger-table.ts";

/** How often sums that have grown are published, ms, and how many at once: reading them keeps calls waiting. */
const PUBLISH_MS = 1_000;
const MOST_PUBLISHED = 500;
/** Most days of which replicas know each other's usage. */
const MOST_DAYS = 400;
const DAY_MS = 86_400_000;

/** Publishes once it is open. */
export class UsagePublisher {
	/** Sums that other routers have not heard of. */
	readonly #grown = new Map<string, UsageKey>();

	constructor(
		private readonly ledger: Pick<LedgerStore, "sums">,
		private readonly exchange: UsageExchange,
	) {}

	/** Notes sums that have grown in the ledger. */
	grew(rows: readonly UsageKey[]): void {
		for (const row of rows) this.#grown.set(usageName(row), row);
	}

	/** The other replicas' rows of these days (`2026-01-31`, both included); undefined where they can't be asked now. */
	others(from: string, to: string): Promise<readonly UsageRow[] | undefined> {
		return this.exchange.others(daysFrom(from, to));
	}

	/** Begins to publish. Returns how to end it; it resolves once the rest is published, or can't be now. */
	open(): () => Promise<void> {
		const timer = setInterval(() => this.#publish(MOST_PUBLISHED), PUBLISH_MS);
		timer.unref();
		return async () => {
			clearInterval(timer);
			this.#publish(Number.POSITIVE_INFINITY);
			await this.exchange.published();
		};
	}

	#publish(most: number): void {
		const grown = [...this.#grown.entries().take(most)];
		const rows = this.ledger.sums(grown.map(([, sums]) => sums));
		// None: there is nothing to publish, or a disk that can't be read now.
		if (rows.length === 0) return;
		for (const [name] of grown) this.#grown.delete(name);
		this.exchange.publish(rows);
	}
}

/** Each day of a span, the latest first. */
function daysFrom(from: string, to: string): string[] {
	const [first, last] = [Date.parse(from), Date.parse(to)];
	const count = Math.min(MOST_DAYS, Math.round((last - first) / DAY_MS) + 1);
	return Array.from({ length: count }, (_, at) => new Date(last - at * DAY_MS).toISOString().slice(0, 10));
}
