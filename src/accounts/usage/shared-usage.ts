/** Usage of all replicas: each publishes the sums that have changed, and reads the others' when somebody asks. */
import type { UsageKey, UsageRow } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import type { SharedRedis } from "../../store/redis.ts";
import { NO_USAGE, usageName } from "./ledger-rows.ts";

/** How often sums that have grown are published, ms, and how many at once: reading them keeps calls waiting. */
const PUBLISH_MS = 1_000;
const MOST_PUBLISHED = 500;
/** Most days of which replicas know each other's usage: as long as ledgers are kept. */
const MOST_DAYS = 400;
const DAY_MS = 86_400_000;
const TTL_MS = MOST_DAYS * DAY_MS;
/** Days that are published again when a replica starts: it may have stopped while Redis took nothing. More would be much at each start. */
const STARTED_DAYS = 7;
/** How often Redis is asked whether it still has what was published, ms. */
const LOOK_MS = 1_000;
/** Rows published, or asked for, at once: some 50 KB, so that a command is over long before its deadline. */
const PAGE = 200;

/** What replicas publish of their usage: rows in the ledger's own form. */
export interface UsageExchange {
	/** Publishes rows of this replica in place of those before that have the same day and names. Returns at once. */
	publish(rows: readonly UsageRow[]): void;
	/** Resolves when the others can read all that was published, or nothing can be published now. */
	published(): Promise<void>;
	/** The other replicas' rows of these days; undefined where they can't be asked now. */
	others(days: readonly string[]): Promise<readonly UsageRow[] | undefined>;
}

/** Days in a Redis, a hash each, with a field for each row of each replica. */
export class SharedUsage implements UsageExchange {
	/** Rows that Redis has not taken yet, in their newest form, by day and field. */
	readonly #pending = new Map<string, Map<string, UsageRow>>();
	#publishing: Promise<void> | undefined;
	/** Days to be published again, the latest first. */
	#daysBehind = STARTED_DAYS;
	#isLooking = false;

	/** @param days what this replica has published so far, the latest first, for a Redis that lost it */
	constructor(
		private readonly redis: SharedRedis,
		private readonly replica: string,
		private readonly days: () => Iterable<readonly UsageRow[]>,
	) {}

	/** Begins to watch what was published. Returns how to end it. */
	open(): () => void {
		const timer = setInterval(() => void this.#look(), LOOK_MS);
		timer.unref();
		this.redis.onUp(() => void this.#look());
		return () => clearInterval(timer);
	}

	publish(rows: readonly UsageRow[]): void {
		for (const row of rows) {
			let day = this.#pending.get(row.day);
			if (!day) {
				day = new Map();
				this.#pending.set(row.day, day);
			}
			day.set(this.#fieldOf(row), row);
		}
		void this.published();
	}

	published(): Promise<void> {
		this.#publishing ??= this.#publishPending().finally(() => {
			this.#publishing = undefined;
		});
		return this.#publishing;
	}

	async others(days: readonly string[]): Promise<readonly UsageRow[] | undefined> {
		const read = await Promise.all(days.map((day) => this.#othersOf(day)));
		return read.includes(undefined) ? undefined : read.flatMap((rows) => rows!);
	}

	async #othersOf(day: string): Promise<readonly UsageRow[] | undefined> {
		const key = this.#keyOf(day);
		// A field may come twice while the hash is being rehashed.
		const rows = new Map<string, UsageRow>();
		let cursor = "0";
		do {
			const page = await this.redis.run((client) => client.hscan(key, cursor, "COUNT", PAGE));
			if (page === undefined) return undefined;
			const [next, pairs] = page;
			for (let at = 0; at < pairs.length; at += 2) {
				const [field, text] = [pairs[at]!, pairs[at + 1]!];
				const row = field.startsWith(`${this.replica}\n`) ? undefined : rowIn(text);
				if (row) rows.set(field, row);
			}
			cursor = next;
		} while (cursor !== "0");
		return [...rows.values()];
	}

	/** Until Redis has all, or takes no more. */
	async #publishPending(): Promise<void> {
		for (const [day, rows] of this.#pending) {
			const key = this.#keyOf(day);
			while (rows.size > 0) {
				const page = [...rows.entries().take(PAGE)];
				const fields = Object.fromEntries(page.map(([field, row]) => [field, JSON.stringify(row)]));
				const taken = await this.redis.run((client) =>
					Promise.all([client.hset(key, fields), client.pexpire(key, TTL_MS)]),
				);
				if (taken === undefined) return;
				// Published anew meanwhile: that is what is to be taken now.
				for (const [field, row] of page) if (rows.get(field) === row) rows.delete(field);
			}
			this.#pending.delete(day);
		}
	}

	/** A flushed Redis has lost the mark, and with it the days; one that was away has missed some. */
	async #look(): Promise<void> {
		if (this.#isLooking) return;
		this.#isLooking = true;
		const mark = this.redis.key(`usage:of:${this.replica}`);
		const isMarked = await this.redis.run((client) => client.set(mark, "1", "PX", TTL_MS, "GET"));
		if (isMarked === null) this.#daysBehind = Number.POSITIVE_INFINITY;
		if (isMarked !== undefined) await (this.#daysBehind > 0 ? this.#publishAgain() : this.published());
		this.#isLooking = false;
	}

	/** A day after the other, since all of them may be more than there is memory for. */
	async #publishAgain(): Promise<void> {
		let count = 0;
		for (const rows of this.days()) {
			if (++count > this.#daysBehind) break;
			this.publish(rows);
			await this.published();
			// It takes no more: the next look begins anew.
			if (this.#pending.size > 0) return;
		}
		this.#daysBehind = 0;
	}

	#fieldOf({ keyId, user, model, provider }: UsageRow): string {
		return `${this.replica}\n${JSON.stringify([keyId, user, model, provider])}`;
	}

	#keyOf(day: string): string {
		return this.redis.key(`usage:${day}`);
	}
}

/** Publishes which of this replica's sums have grown, once it is open, and asks for those of the others. */
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

function rowIn(text: string): UsageRow | undefined {
	try {
		// Routers of before know no energy.
		const row: unknown = { energy: 0, ...JSON.parse(text) };
		return isRow(row) ? row : undefined;
	} catch {
		return undefined;
	}
}

const NAMES = ["day", "keyId", "key", "team", "user", "model", "provider"] as const;
const SUMS = Object.keys(NO_USAGE) as (keyof typeof NO_USAGE)[];

/** Whether it is a row, whatever program wrote it: a text among its sums would make texts of all. */
function isRow(value: unknown): value is UsageRow {
	if (typeof value !== "object" || value === null) return false;
	const row = value as Partial<Record<string, unknown>>;
	return NAMES.every((name) => typeof row[name] === "string") && SUMS.every((sum) => Number.isFinite(row[sum]));
}
