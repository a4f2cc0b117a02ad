/** What keys have spent on all replicas: each publishes what it has spent itself, and the sum is what counts. */
import type { SharedRedis } from "../../store/redis.ts";
import type { RedisBus } from "../../store/redis-bus.ts";
import { type SharedRow, SharedTable } from "../../store/shared-table.ts";
import {
	type PublishedSpend,
	type Spending,
	type SpendStore,
	TOTAL_TTL_MS,
	unitsOf,
	usdOf,
	type WrittenSpend,
} from "./spend.ts";

/** How often what was spent is published, ms. */
const PUBLISH_MS = 1_000;
const DAY_MS = 86_400_000;

/** Adds what other replicas publish to what this one has spent. What they published last stands while Redis is away. */
export class SharedSpend implements SpendStore {
	readonly #table: SharedTable;
	/** By replica, then by period and key: USD. */
	readonly #others = new Map<string, Map<string, number>>();
	/** Changed since it was last published. */
	readonly #changed = new Map<string, Spending>();

	/** @param replica names this replica among all; the same after a restart */
	constructor(
		redis: SharedRedis,
		bus: RedisBus,
		private readonly replica: string,
		private readonly local: PublishedSpend,
	) {
		this.#table = new SharedTable(redis, bus, "spend", TOTAL_TTL_MS, {
			take: (rows) => {
				for (const row of rows) this.#take(row);
			},
			rows: () => [...[...this.local.all()].map((spent) => this.#rowOf(spent)), ...this.#othersRows()],
			isOver: (field) => isLongOver(field.split(" ")[1] ?? "", Date.now()),
		});
	}

	/** Begins to publish and to listen. Returns how to end it; what was spent last is published then. */
	open(): () => void {
		const close = this.#table.open();
		const timer = setInterval(() => this.#publish(), PUBLISH_MS);
		timer.unref();
		return () => {
			clearInterval(timer);
			this.#publish();
			close();
		};
	}

	add(key: string, period: string, usd: number): void {
		this.local.add(key, period, usd);
		this.#changed.set(nameOf(period, key), { key, period, usd: 0 });
	}

	spent(key: string, period: string): number {
		return this.local.spent(key, period) + this.#ofOthers(nameOf(period, key));
	}

	/** Other threads have added what these rows cost: it is published. */
	grew(rows: readonly WrittenSpend[]): void {
		for (const { keyId: key, day, cost } of rows) {
			if (key === "" || !(cost > 0)) continue;
			for (const period of [day, day.slice(0, 7), "total"]) {
				this.#changed.set(nameOf(period, key), { key, period, usd: 0 });
			}
		}
	}

	#ofOthers(name: string): number {
		let sum = 0;
		for (const spent of this.#others.values()) sum += spent.get(name) ?? 0;
		return sum;
	}

	#publish(): void {
		const rows = [...this.#changed.values()].map(({ key, period }) =>
			this.#rowOf({ key, period, usd: this.local.spent(key, period) }),
		);
		this.#changed.clear();
		if (rows.length > 0) void this.#table.put(rows);
	}

	#rowOf({ key, period, usd }: Spending): SharedRow {
		return rowOf(this.replica, nameOf(period, key), usd);
	}

	/** What others published, too: one that is gone can't fill a flushed Redis with what it had spent. Days long over are dropped. */
	*#othersRows(): Iterable<SharedRow> {
		for (const [replica, sums] of this.#others) {
			for (const [name, usd] of sums) {
				if (isLongOver(name.split(" ")[0] ?? "", Date.now())) sums.delete(name);
				else yield rowOf(replica, name, usd);
			}
		}
	}

	#take({ field, version }: SharedRow): void {
		const space = field.indexOf(" ");
		const replica = field.slice(0, space);
		if (space < 1 || replica === this.replica) return;
		const spent = this.#others.get(replica) ?? new Map<string, number>();
		this.#others.set(replica, spent);
		const name = field.slice(space + 1);
		spent.set(name, Math.max(spent.get(name) ?? 0, usdOf(version)));
		const end = name.indexOf(" ");
		if (end > 0) this.local.others?.(name.slice(end + 1), name.slice(0, end), this.#ofOthers(name));
	}
}

/** Spending only grows, so its amount is its version. */
function rowOf(replica: string, name: string, usd: number): SharedRow {
	return { field: `${replica} ${name}`, version: unitsOf(usd), value: "" };
}

/** Whether a period ended so long ago (UTC) that no replica's clock takes it for the current one. */
function isLongOver(period: string, now: number): boolean {
	const begin = Date.parse(period);
	const length = period.length === 7 ? 31 : 1;
	return Number.isFinite(begin) && now > begin + (length + 2) * DAY_MS;
}

/** Periods hold no space; keys' names may. */
function nameOf(period: string, key: string): string {
	return `${period} ${key}`;
}
