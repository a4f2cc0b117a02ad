/**
 * Searching the calls of the ledger, newest first. Ids of calls begin with their time, so a search walks the primary key backwards, and looks at a bounded
 * number of rows at once: an index for each thing that can be searched by would more than double what a call costs the writer.
 */
import type { Connection, Value } from "./connection.ts";
import type { LedgerCall } from "./ledger-batch.ts";
import { type CallRow, callOf } from "./ledger-columns.ts";

/** Which calls are searched for: those that are all of this. */
export interface CallFilter {
	/** The name of a key, or its id. */
	readonly key?: string | undefined;
	readonly team?: string | undefined;
	readonly user?: string | undefined;
	readonly model?: string | undefined;
	readonly provider?: string | undefined;
	/** Status of the answer, both included. */
	readonly status?: readonly [from: number, to: number] | undefined;
	/** What the id of the key begins with; its last character is ASCII. */
	readonly keyIdPrefix?: string | undefined;
}

/** Which of them, and where in the ledger. */
export interface CallRange {
	/** Ids from this one on. */
	readonly from: string;
	/** Ids before this one. */
	readonly before: string;
	/** Most calls that are found. */
	readonly limit: number;
	/** Most rows that are looked at. */
	readonly rows: number;
}

/** Some calls, newest first. */
export interface FoundCalls {
	readonly calls: readonly LedgerCall[];
	/** Where to go on: as `before` of the next search. Undefined where all of the range was looked at. */
	readonly next: string | undefined;
}

/** The id of the oldest of the next rows. */
export const LAST_OF_SLICE = "SELECT id FROM calls WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?";

/** Searches the next rows of a range. Nothing is found where the database can't be read. */
export function searchCalls(connection: Connection, filter: CallFilter, range: CallRange): FoundCalls {
	const { before, limit, rows } = range;
	const [last] = connection.read((from) => from.query(LAST_OF_SLICE).all(range.from, before, rows - 1) as IdRow[]);
	const [sql, values] = searchStatement(filter, { ...range, from: last?.id ?? range.from });
	const found = connection.read((from) => from.query(sql).all(...values) as CallRow[]);
	const next = found.length === limit ? found.at(-1)!.id : last?.id;
	return { calls: found.map(callOf), next };
}

/** The statement of a search, and its values. */
export function searchStatement(filter: CallFilter, { from, before, limit }: CallRange): readonly [string, Value[]] {
	const conditions = ["id >= ?", "id < ?"];
	const values: Value[] = [from, before];
	const { key, status, keyIdPrefix } = filter;
	if (key !== undefined) {
		conditions.push("(key = ? OR key_id = ?)");
		values.push(key, key);
	}
	for (const column of ["team", "user", "model", "provider"] as const) {
		const value = filter[column];
		if (value === undefined) continue;
		conditions.push(`${column} = ?`);
		values.push(value);
	}
	if (keyIdPrefix !== undefined) {
		conditions.push("key_id >= ? AND key_id < ?");
		values.push(keyIdPrefix, behind(keyIdPrefix));
	}
	if (status) {
		conditions.push("status BETWEEN ? AND ?");
		values.push(...status);
	}
	return [`SELECT * FROM calls WHERE ${conditions.join(" AND ")} ORDER BY id DESC LIMIT ?`, [...values, limit]];
}

/** The least text behind all that begin with this one. */
const behind = (prefix: string): string =>
	prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);

interface IdRow {
	readonly id: string;
}
