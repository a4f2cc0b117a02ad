/** The database as the files of its tables see it. */

/** A statement, prepared once. */
export interface Statement {
	run(...values: Value[]): { changes: number };
	all(...values: Value[]): unknown[];
}

/** A value of a column or parameter. */
export type Value = string | number | null | Uint8Array<ArrayBuffer> | Record<string, string>;

/** The open database. */
export interface Sql {
	/** Prepares a statement; the same text gives the same statement. */
	query(sql: string): Statement;
}

/** A statement and its values. */
export type BoundStatement = readonly [sql: string, ...values: Value[]];

/** A change that the writer thread can make. */
export interface Write {
	/** What is sent to the thread: statements, or a batch of the ledger as `ledger-batch.ts` encodes it. Throws where a value can't be sent. */
	message(): readonly BoundStatement[] | ArrayBuffer;
	/** Makes the same change here, where there is no thread or no file. */
	apply(to: Sql): unknown;
	/** How many pages of the file it writes, as far as can be guessed. */
	readonly pages: number;
}

/** A change of these statements. @param pages how many of the file it writes, where those are more than two a statement */
export function statementsWrite(statements: readonly BoundStatement[], pages = 2 * statements.length): Write {
	return { message: () => statements, apply: (to) => runAll(to, statements), pages };
}

/** Runs statements, one after the other. */
export function runAll(to: Sql, statements: readonly BoundStatement[]): void {
	for (const [sql, ...values] of statements) to.query(sql).run(...values);
}

/** A number that the database says of itself. */
export function pragma(from: Sql, name: string): number {
	return Object.values(from.query(`PRAGMA ${name}`).all()[0] as Record<string, number>)[0] ?? 0;
}

/** Reading and writing, with every failure handled: see `Store`. */
export interface Connection {
	/** The rows of a query; none where the database does not exist yet or can't be read. */
	read<T>(query: (db: Sql) => T[]): T[];
	/** The same, but undefined where it can't be read. */
	tryRead<T>(query: (db: Sql) => T[]): T[] | undefined;
	/** Makes a change in one transaction. `pages`: how many of the file it writes, where those are more than a few. */
	change(change: (db: Sql) => unknown, pages?: number): WriteResult;
	/** Makes a change in the writer thread, in one transaction: the event loop waits for no disk and no lock. One that waits is its author's to write again. */
	changeInThread(write: Write): Promise<WriteResult>;
	/** The same for a batch of the ledger. */
	writeLedger(write: Write): Promise<WriteResult>;
	/** The database's message about the row that it refused last; no value is in it. */
	fault(): string;
	/** There is no file that can be used. Known once something was read or written. */
	readonly isInMemory: boolean;
	/** Resolves when everything written would survive a loss of power. Never rejects. */
	sync(): Promise<void>;
}

/**
 * The result of a change. `written`: it was made, be it in memory. `waits`: the database can't be written now, but may be later.
 * `refused`: a row in it is one that the database accepts neither now nor later; nothing of it was made.
 */
export type WriteResult = "written" | "waits" | "refused";

/** SQLite's codes for a wrong row, whatever the state of the file: a value of another type than its column's, none, or one that is too big. */
const ROW_FAULTS = new Set([
	"SQLITE_CONSTRAINT_DATATYPE",
	"SQLITE_CONSTRAINT_NOTNULL",
	"SQLITE_CONSTRAINT_CHECK",
	"SQLITE_MISMATCH",
	"SQLITE_TOOBIG",
]);

/** Whether a change failed for the values of one of its rows, be it that they can't even be bound to a statement. */
export function isRowFault(error: unknown): boolean {
	const { code } = (error ?? {}) as { code?: unknown };
	return typeof code === "string" ? ROW_FAULTS.has(code) : error instanceof TypeError || error instanceof RangeError;
}
