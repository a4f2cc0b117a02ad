/**
 * The file `router.db` of a data directory, and its replacement while it can't be used: a database in memory, or changes that wait. See
 * "What is not on the disk" in design.md.
 */
import { Database } from "bun:sqlite";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Checkpoints } from "./checkpoints.ts";
import { type Connection, isRowFault, type WriteResult } from "./connection.ts";
import { mergeInto, rememberBase, takeOver } from "./merge.ts";
import { MIGRATIONS } from "./migrations.ts";
import { makePrivate, unwritable } from "./private-file.ts";

/** How long a write waits for another process's, ms. The event loop waits with it. */
const BUSY_MS = 500;
/**
 * Pages written to the write-ahead log, as far as can be guessed, after which a checkpoint is made. The first write after it waits for the
 * disk once, so there are few. SQLite makes one itself, and keeps calls waiting for it, where the thread made none.
 */
const CHECKPOINT_PAGES = 4_000;
const MOST_LOG_PAGES = 4 * CHECKPOINT_PAGES;
/** Pages that a change writes at least, and rows of the ledger on a page. */
const CHANGE_PAGES = 2;
const ROWS_ON_A_PAGE = 12;
const DELETED = "it was deleted or replaced while it was in use";
/** More than a database counts changes by other processes. */
const GENERATION = 2 ** 32;

/** A change; made twice it is as if it were made once. */
export type Change = (to: Database) => unknown;

/** Opens nothing before the first read or write, and makes no file before the first write. Nothing here throws. */
export class DatabaseFile implements Connection {
	/** Why new data is not on the disk, a clause; undefined while it is. */
	problem: string | undefined;
	/** The file exists and can't be read. */
	isUnreadable = false;
	isInMemory = false;
	readonly #file: string;
	#db: Database | undefined;
	#fault: Error | undefined;
	/** The inode that was opened: another file may have the name by now. */
	#inode: number | undefined;
	/** How often another database has replaced the one before. */
	#generation = 0;
	/** Changes that could not be written, by the row they change: the later one of a row counts. */
	readonly #waiting = new Map<string, Change>();
	/** The last batch of the ledger could not be written; the ledger writes it again. */
	#ledgerWaits = false;
	#lastWasWritten = false;
	readonly #checkpoints: Checkpoints;
	/** Written since the last checkpoint began. */
	#logPages = 0;

	/** @param onProblem called once for a directory or file that can't be used; when it can be used again, `onRecovered` is called */
	constructor(
		private readonly dataDir: string,
		private readonly onProblem: (sentence: string) => void,
		private readonly onRecovered: (sentence: string) => void,
	) {
		this.#file = join(dataDir, "router.db");
		this.#checkpoints = new Checkpoints(this.#file);
	}

	/** Changes are in memory alone (the ledger's own waiting calls aside): a restart undoes them. */
	get hasUnwritten(): boolean {
		return this.#waiting.size > 0 || (this.#db !== undefined && !this.#isOnDisk());
	}

	/** Another number after each change by another process. 0 where there is no database. */
	version(): number {
		const [version] = this.read((from) => from.query("PRAGMA data_version").values() as [number][])[0] ?? [0];
		return this.#generation * GENERATION + version;
	}

	read<T>(query: (db: Database) => T[]): T[] {
		return this.tryRead(query) ?? [];
	}

	tryRead<T>(query: (db: Database) => T[]): T[] | undefined {
		const from = this.#db ?? this.#opened(false);
		try {
			return from ? query(from) : [];
		} catch (error) {
			this.#reportProblem(error);
			return undefined;
		}
	}

	fault(): string {
		return this.#fault?.message ?? "";
	}

	change(change: Change, pages = CHANGE_PAGES): WriteResult {
		const to = this.#opened(true)!;
		try {
			to.transaction(() => change(to)).immediate();
		} catch (error) {
			// The row is wrong, not the file: its author reports it.
			if (isRowFault(error)) {
				this.#fault = error as Error;
				return "refused";
			}
			this.#reportProblem(error);
			this.#lastWasWritten = false;
			return "waits";
		}
		this.#lastWasWritten = true;
		if (!this.isInMemory && !this.#isOnDisk()) this.#reportProblem({ message: DELETED });
		this.#logPages += pages;
		return "written";
	}

	writeLedger(change: (db: Database) => unknown, rows: number): WriteResult {
		const result = this.change(change);
		this.#ledgerWaits = result === "waits";
		if (result === "written") {
			this.#logPages += rows / ROWS_ON_A_PAGE;
			if (this.#logPages >= CHECKPOINT_PAGES && !this.isInMemory) {
				this.#logPages = 0;
				this.#checkpoints.start();
			}
			this.#writeWaiting();
			this.#checkRecovered();
		}
		return result;
	}

	/** Makes changes, by the row they change, or has them wait. Whether all data is on the disk, where the next start finds it. */
	protected write(changes: Iterable<readonly [row: string, change: Change]>): boolean {
		for (const [row, change] of changes) this.#waiting.set(row, change);
		const isWritten = this.#writeWaiting() && this.#isOnDisk();
		this.#checkRecovered();
		return isWritten;
	}

	/** Whether a change of this row waits. */
	protected isWaiting(row: string): boolean {
		return this.#waiting.has(row);
	}

	/**
	 * Flushes the write-ahead log to the disk: not by SQLite, which would block every call meanwhile, but by a thread of the runtime.
	 * Closing a file loses the locks on it; SQLite's are on other files than this one.
	 */
	async sync(): Promise<void> {
		if (this.#db?.filename !== this.#file) return;
		try {
			const log = await openFile(`${this.#file}-wal`, "r+");
			try {
				await log.datasync();
			} finally {
				await log.close();
			}
		} catch (error) {
			this.#reportProblem(error);
		}
	}

	/** Uses the file again where it could not be used, makes it anew where it was deleted, and writes the changes that wait. */
	recover(): void {
		const open = this.#opened(false);
		if (!open) {
			const reason = unwritable(this.dataDir);
			if (reason) this.#reportProblem({ code: reason });
			else this.#reportRecovered();
			return;
		}
		if (!this.#isOnDisk()) {
			if (!this.isInMemory) this.#reportProblem({ message: DELETED });
			this.#reopen(open);
			if (!this.#isOnDisk()) return;
		}
		if (this.#waiting.size > 0) this.#writeWaiting();
		// A write that changes nothing shows whether writing is possible.
		else if (this.problem !== undefined) {
			this.change((to) => to.query(`PRAGMA user_version = ${MIGRATIONS.length}`).run());
		} else return;
		if (this.#lastWasWritten) this.#checkRecovered();
	}

	close(): void {
		this.#checkpoints.close();
		this.#db?.close();
		this.#db = undefined;
		this.isInMemory = false;
	}

	/** Undefined where there is no file yet and nothing to write. */
	#opened(isWrite: boolean): Database | undefined {
		if (this.#db || !(isWrite || existsSync(this.#file))) return this.#db;
		try {
			this.#db = open(this.#file);
			this.#inode = inodeOf(this.#file);
		} catch (error) {
			this.#reportProblem(error);
			this.#db = prepared(new Database(":memory:"));
			this.isInMemory = true;
			this.isUnreadable = existsSync(this.#file) && !takeOver(this.#file, this.#db);
			rememberBase(this.#db);
		}
		return this.#db;
	}

	/** Whether the next start finds what is written: not so where the open file has no name any more. */
	#isOnDisk(): boolean {
		return this.#db !== undefined && !this.isInMemory && inodeOf(this.#file) === this.#inode;
	}

	/** Writes the changes that wait. Whether none waits any more. */
	#writeWaiting(): boolean {
		if (this.#waiting.size === 0) return true;
		const result = this.change((to) => {
			for (const change of this.#waiting.values()) change(to);
		});
		if (result === "waits") return false;
		if (result === "refused") {
			// One of them: the others must not wait for it.
			for (const [row, change] of this.#waiting) {
				const alone = this.change(change);
				if (alone === "refused") this.#reportProblem(this.#fault);
				if (alone !== "waits") this.#waiting.delete(row);
			}
			return false;
		}
		this.#waiting.clear();
		return true;
	}

	/** Replaces a database that is not on the disk by the file, and adds to the file what that one alone holds. */
	#reopen(from: Database): void {
		let next: Database | undefined;
		try {
			next = open(this.#file);
			const inode = inodeOf(this.#file);
			mergeInto(next, from);
			this.#db = next;
			this.isInMemory = false;
			this.#inode = inode;
			this.#generation++;
			this.isUnreadable = false;
		} catch (error) {
			next?.close();
			this.#reportProblem(error);
			return;
		}
		// SQLite leaves the files alone that now have its names.
		from.close();
	}

	#reportProblem(error: unknown): void {
		const { code, message } = error as { code?: string; message: string };
		const isNew = this.problem === undefined;
		this.problem = `${this.#file} can't be used (${code ?? message})`;
		if (isNew) this.onProblem(`${this.problem}: what is new waits in memory, and it is tried again every 5 s.`);
	}

	#checkRecovered(): void {
		if (this.problem !== undefined && this.#waiting.size === 0 && !this.#ledgerWaits && this.#isOnDisk()) {
			this.#reportRecovered();
		}
	}

	#reportRecovered(): void {
		if (this.problem === undefined) return;
		this.problem = undefined;
		this.onRecovered(`${this.#file} can be used again: what waited in memory is written.`);
	}
}

/** The inode of the file of that name; undefined where there is none, or its directory is closed to us or no directory any more. */
function inodeOf(file: string): number | undefined {
	try {
		return statSync(file, { throwIfNoEntry: false })?.ino;
	} catch {
		return undefined;
	}
}

/** Opens or makes the file. Throws what SQLite or the file system throws. */
function open(file: string): Database {
	mkdirSync(dirname(file), { recursive: true });
	const isNew = !existsSync(file);
	// SQLite would open it for reading alone, and could never write to it.
	if (!isNew) accessSync(file, constants.W_OK);
	const db = new Database(file, { create: true, strict: true });
	try {
		if (isNew) makePrivate(file);
		return prepared(db);
	} catch (error) {
		db.close();
		throw error;
	}
}

/** Sets the database up and migrates it to the newest shape. */
function prepared(db: Database): Database {
	db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
	db.run("PRAGMA journal_mode = WAL");
	db.run("PRAGMA synchronous = NORMAL");
	db.run(`PRAGMA wal_autocheckpoint = ${MOST_LOG_PAGES}`);
	const migrate = db.transaction(() => {
		const { user_version: taken } = db.query("PRAGMA user_version").get() as { user_version: number };
		if (taken > MIGRATIONS.length) throw new Error("a newer router made it");
		for (const step of MIGRATIONS.slice(taken)) db.run(step);
		if (taken < MIGRATIONS.length) db.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
	});
	migrate.immediate();
	return db;
}

/** The log is begun anew only where all of it was copied: what is written meanwhile takes another try, a short one. */
const MOST_TRIES = 5;

/**
 * Copies the write-ahead log of a database into it. That waits for the disk several times, which would keep every call waiting: to be
 * done in a thread of its own. Nobody else who uses the database waits for it.
 */
export function makeCheckpoint(file: string): void {
	try {
		using db = new Database(file, { readwrite: true });
		let pages = copyLog(db);
		for (let tries = 1; tries < MOST_TRIES; tries++) {
			const before = pages;
			pages = copyLog(db);
			if (pages <= before) break;
		}
	} catch {
		// Deleted, replaced, or a full disk: the log stays as it is, and grows until the next one.
	}
}

/** How many pages the log has, all of which were copied unless some were written meanwhile. */
function copyLog(db: Database): number {
	const [row] = db.query("PRAGMA wal_checkpoint(PASSIVE)").values() as number[][];
	return row?.[1] ?? 0;
}
