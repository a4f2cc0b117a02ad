/**
 * Sums of the ledger's calls by the hour. There is no table of them: they are made of single calls, a part of the ledger at a time, for whoever asks. An hour's
 * sums are never kept, since they would be 24 times as many as those of days.
 */
import { LAST_OF_SLICE } from "./call-search.ts";
import type { Connection } from "./connection.ts";
import type { UsageKey, UsageSums } from "./ledger-batch.ts";

/** Sums of the calls of one hour and one of each, as the ledger's sums of a day have them. */
export interface HourRow extends Omit<UsageKey, "day" | "key" | "team">, UsageSums {
	/** When the hour begins, Unix time, ms. */
	readonly from: number;
}

/** Which calls are summed up. */
export interface HourRange {
	/** Ids from this one on. */
	readonly from: string;
	/** Ids before this one. */
	readonly before: string;
	/** Those that settled from this time on, and before that one, Unix time, ms. */
	readonly since: number;
	readonly until: number;
	/** Most rows that are looked at. */
	readonly rows: number;
}

/** Sums of a part of a range, its newest calls. */
export interface HourSums {
	/** An hour may come again in the next part. */
	readonly hours: readonly HourRow[];
	/** Where to go on: as `before` of the next part. Undefined where all of the range was looked at. */
	readonly next: string | undefined;
}

const HOUR_MS = 3_600_000;
/** As `UsageCount` adds calls up: what is no column stands in the details, where routers of before had the whole bill. */
const SUMS = `SELECT at / ${HOUR_MS} * ${HOUR_MS} AS "from", key_id AS keyId, user, model, provider,
	COUNT(*) AS calls,
	SUM(status >= 400) AS failed,
	SUM(COALESCE(details ->> '$.estimated', details ->> '$.bill.isEstimated') IS 1) AS estimated,
	SUM(COALESCE(details ->> '$.source', details ->> '$.bill.source') IS 'none') AS unpriced,
	TOTAL(tokens_in) AS tokensIn,
	TOTAL(tokens_out) AS tokensOut,
	TOTAL(details ->> '$.tokens.cached') AS tokensCached,
	TOTAL(details ->> '$.tokens.reasoning') AS tokensReasoning,
	TOTAL(cost) AS cost,
	TOTAL(details ->> '$.energy_j') AS energy
	FROM calls WHERE id >= ? AND id < ? AND at >= ? AND at < ? GROUP BY 1, 2, 3, 4, 5`;

/** Sums up the next rows of a range. There are none where the database can't be read. */
export function sumHours(connection: Connection, { from, before, since, until, rows }: HourRange): HourSums {
	const [last] = connection.read((db) => db.query(LAST_OF_SLICE).all(from, before, rows - 1) as { id: string }[]);
	const hours = connection.read((db) => db.query(SUMS).all(last?.id ?? from, before, since, until) as HourRow[]);
	return { hours, next: last?.id };
}
