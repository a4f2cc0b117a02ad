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
	/** In one transaction. Whether it was done, be it in memory. */
	write(change: (db: Sql) => unknown): boolean;
	/** There is no file that can be used. */
	isInMemory(): boolean;
	/** Resolves when all that was written would survive a loss of power. Never rejects. */
	sync(): Promise<void>;
}
