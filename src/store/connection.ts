/** What the tables' files need of the database. */

/** A statement, prepared once. */
export interface Statement {
	run(...values: Value[]): { changes: number };
	all(...values: Value[]): unknown[];
}

/** What SQLite keeps. */
export type Value = string | number | null | Uint8Array<ArrayBuffer> | Record<string, string>;

/** The database. */
export interface Sql {
	/** Keeps the statement for the next time. */
	query(sql: string): Statement;
}

/** Reading and writing, with all that can go wrong taken care of: see `Store`. */
export interface Connection {
	/** None where nothing is kept yet or it can't be read. */
	read<T>(query: (db: Sql) => T[]): T[];
	/** The same, but undefined where it can't be read. */
	tried<T>(query: (db: Sql) => T[]): T[] | undefined;
	/** In one transaction. */
	write(change: (db: Sql) => unknown): WriteResult;
	/** What was said of the row that was refused last; no value is in it. */
	fault(): string;
	/** There is no file that can be used. */
	isInMemory(): boolean;
	/** Resolves when all that was written would survive a loss of power. Never rejects. */
	sync(): Promise<void>;
}

/**
 * What became of a change. `written`: it was done, be it in memory. `waits`: the database can't be written now, and may be later.
 * `refused`: it holds a row that the database takes neither now nor later; nothing of it was done.
 */
export type WriteResult = "written" | "waits" | "refused";

/** What SQLite says of a row, whatever the state of the file: a value of another kind than its column's, none, or one that is too big. */
const ROW_FAULTS = new Set([
	"SQLITE_CONSTRAINT_DATATYPE",
	"SQLITE_CONSTRAINT_NOTNULL",
	"SQLITE_CONSTRAINT_CHECK",
	"SQLITE_MISMATCH",
	"SQLITE_TOOBIG",
]);

/** Whether a change failed for what one of its rows holds, be it that it can't even be put to SQLite. */
export function isRowFault(error: unknown): boolean {
	const { code } = (error ?? {}) as { code?: unknown };
	return typeof code === "string" ? ROW_FAULTS.has(code) : error instanceof TypeError || error instanceof RangeError;
}
