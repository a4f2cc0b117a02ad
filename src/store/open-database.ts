/** Opening the file `router.db`: whole, with its migrations; by the writer thread; and for a checkpoint. */
import { Database } from "bun:sqlite";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { dirname } from "node:path";
import { MIGRATIONS } from "./migrations.ts";
import { makePrivate } from "./private-file.ts";

/** How long a write waits for another process's, ms. The event loop, or the writer thread, waits with it. */
const BUSY_MS = 500;
/** Pages in the write-ahead log after which SQLite makes a checkpoint itself, and keeps calls waiting for it. */
export const MOST_LOG_PAGES = 16_000;

/** The inode of the file of that name; undefined where there is none, or its directory is closed to us or no directory any more. */
export function inodeOf(file: string): number | undefined {
	try {
		return statSync(file, { throwIfNoEntry: false })?.ino;
	} catch {
		return undefined;
	}
}

/** How long it is waited before the file is opened anew, ms: SQLite itself waits for nobody who makes the same file. */
const REOPEN_MS = 5;

/** Opens or makes the file, as other threads and processes may at the same time. Throws what SQLite or the file system throws. */
export function openDatabase(file: string): Database {
	for (const until = performance.now() + BUSY_MS; ; Bun.sleepSync(REOPEN_MS)) {
		try {
			return openOrMake(file);
		} catch (error) {
			const { code = "" } = error as { code?: string };
			if (!code.startsWith("SQLITE_BUSY") || performance.now() >= until) throw error;
		}
	}
}

function openOrMake(file: string): Database {
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

/** Sets a database up and migrates it to the newest shape. */
export function prepared(db: Database): Database {
	setUp(db);
	const migrate = db.transaction(() => {
		const { user_version: taken } = db.query("PRAGMA user_version").get() as { user_version: number };
		if (taken > MIGRATIONS.length) throw new Error("a newer router made it");
		for (const step of MIGRATIONS.slice(taken)) db.run(step);
		if (taken < MIGRATIONS.length) db.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
	});
	migrate.immediate();
	return db;
}

function setUp(db: Database): void {
	db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
	// Free pages can then be given back to the file system (`shrink` in ledger-table.ts). Before the journal: that writes the file, and says how.
	db.run("PRAGMA auto_vacuum = INCREMENTAL");
	db.run("PRAGMA journal_mode = WAL");
	db.run("PRAGMA synchronous = NORMAL");
	db.run(`PRAGMA wal_autocheckpoint = ${MOST_LOG_PAGES}`);
}

/** Opens the file that has this inode, which another thread of this process has open; undefined where another has its name by now, or none. */
export function openAgain(file: string, inode: number): Database | undefined {
	if (inodeOf(file) !== inode) return undefined;
	const db = new Database(file, { readwrite: true, strict: true });
	try {
		setUp(db);
		if (inodeOf(file) === inode) return db;
	} catch (error) {
		db.close();
		throw error;
	}
	db.close();
	return undefined;
}

/**
 * Flushes the write-ahead log of a database to the disk: not by SQLite, which would block every call meanwhile, but by a thread of the runtime.
 * Closing a file loses the locks on it; SQLite's are on other files than this one.
 */
export async function syncLog(file: string): Promise<void> {
	const log = await openFile(`${file}-wal`, "r+");
	try {
		await log.datasync();
	} finally {
		await log.close();
	}
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

/** How long an end waits for whoever reads or writes there, ms. */
const EMPTY_MS = 200;

/**
 * Copies what the write-ahead log still has, and cuts it to nothing, so that the database is one file. Whoever writes meanwhile waits for it: to be
 * done when nobody does, soon after {@link makeCheckpoint}. Where somebody still reads the log stays, all of it copied as far as that one lets it.
 */
export function emptyLog(file: string): void {
	try {
		using db = new Database(file, { readwrite: true });
		db.run(`PRAGMA busy_timeout = ${EMPTY_MS}`);
		db.run("PRAGMA wal_checkpoint(TRUNCATE)");
	} catch {
		// As with any checkpoint.
	}
}

/** How many pages the log has, all of which were copied unless some were written meanwhile. */
function copyLog(db: Database): number {
	const [row] = db.query("PRAGMA wal_checkpoint(PASSIVE)").values() as number[][];
	return row?.[1] ?? 0;
}
