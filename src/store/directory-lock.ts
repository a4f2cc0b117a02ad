/**
 * The lock of a data directory, for one process of a role: each of two would have keys, sums and agents that the other does not see. It
 * is a lock of SQLite's on a file of its own: the kernel releases it with its process, however that ends, and it works across
 * containers that share a volume, where process ids mean nothing.
 */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { StartError } from "../errors.ts";
import { makePrivate } from "./private-file.ts";

/** How often a successor tries to take the lock, ms. */
const RETRY_MS = 1_000;
/** How long a start waits for another one at the same time, ms: that one holds the file for a moment, and may then be refused itself. */
const BUSY_MS = 500;

/** The lock, as far as this process has it. */
export interface DirectoryLock {
	/** The holder when this process started, as text, where this one is a successor that waits: `process 12, since 2026-11-29T09:00:00Z`. */
	readonly waitsFor?: string | undefined;
	/** Why it can't be locked at all: `SQLITE_CANTOPEN`. */
	readonly problem?: string | undefined;
	/** Calls back once this successor has the lock, or with the reason why it can't be taken any more. */
	onEnd(hook: (problem?: string) => void): void;
	/** Releases the lock for a successor. Safe to call twice. */
	release(): void;
}

/** The process that holds the lock. */
interface Holder {
	readonly pid: number;
	readonly host: string;
	readonly since: string;
}

/**
 * Takes `<role>.lock` of the directory for this process. Where it can't be had for another reason than another holder (no such
 * directory can be made, a disk that can only be read, a file system without locks) nothing is held, and `problem` says why.
 * @param isSuccessor the holder is about to be stopped: this process starts beside it, and holds the directory once it is gone
 * @throws {StartError} naming the holder
 */
export function lockDirectory(directory: string, role: "router" | "agent", isSuccessor = false): DirectoryLock {
	let db: Database | undefined;
	let timer: ReturnType<typeof setInterval> | undefined;
	const hooks: ((problem?: string) => void)[] = [];
	const onEnd = (hook: (problem?: string) => void) => void hooks.push(hook);
	const release = () => {
		clearInterval(timer);
		db?.close();
		db = undefined;
	};
	try {
		mkdirSync(directory, { recursive: true });
		db = opened(join(directory, `${role}.lock`));
		if (taken(db)) return { onEnd, release };
	} catch (error) {
		release();
		return { problem: reasonOf(error), onEnd, release };
	}
	const who = shown(holderIn(db));
	if (!isSuccessor) {
		release();
		throw new StartError(
			`${directory} is in use by another ${role} (${who}): stop that one, or give this one a data_dir (DATA_DIR) of its own. ROUTER_SUCCESSOR=1 starts one that takes the other's place.`,
		);
	}
	// Calls must not wait for it.
	db.run("PRAGMA busy_timeout = 0");
	const end = (problem?: string) => {
		clearInterval(timer);
		for (const hook of hooks) hook(problem);
	};
	timer = setInterval(() => {
		try {
			if (db && taken(db)) end();
		} catch (error) {
			release();
			end(reasonOf(error));
		}
	}, RETRY_MS);
	timer.unref();
	return { waitsFor: who, onEnd, release };
}

function opened(file: string): Database {
	const isNew = !existsSync(file);
	const db = new Database(file, { create: true, strict: true });
	try {
		if (isNew) makePrivateIfPossible(file);
		db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
		// The holder's name need not survive a loss of power.
		db.run("PRAGMA synchronous = OFF");
		return db;
	} catch (error) {
		db.close();
		throw error;
	}
}

/** A file system without owners or modes may still have locks. */
function makePrivateIfPossible(file: string): void {
	try {
		makePrivate(file);
	} catch {
		// Nothing secret is in it.
	}
}

/** Takes the lock; false where another process holds it. Throws other errors of SQLite. */
function taken(db: Database): boolean {
	const own: Holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
	try {
		// A write lock that is never used: others may still read who holds it.
		db.run("BEGIN IMMEDIATE");
		do {
			db.run("CREATE TABLE IF NOT EXISTS holder (pid INTEGER, host TEXT, since TEXT) STRICT");
			db.run("DELETE FROM holder");
			db.run("INSERT INTO holder VALUES (?, ?, ?)", [own.pid, own.host, own.since]);
			db.run("COMMIT");
			db.run("BEGIN IMMEDIATE");
			// Another start may have written its name between the two, and is refused.
		} while (!Bun.deepEquals(holderIn(db), own));
		return true;
	} catch (error) {
		if (!(error as { code?: string }).code?.startsWith("SQLITE_BUSY")) throw error;
		if (db.inTransaction) db.run("ROLLBACK");
		return false;
	}
}

function holderIn(db: Database): Holder | undefined {
	try {
		return (db.query("SELECT pid, host, since FROM holder").get() as Holder | null) ?? undefined;
	} catch {
		return undefined;
	}
}

/** `process 12, since 2026-11-29T09:00:00Z`; of another machine or container, its host, too. */
function shown(holder: Holder | undefined): string {
	if (!holder) return "it has not said which";
	const where = holder.host === hostname() ? "" : ` on ${holder.host}`;
	return `process ${holder.pid}${where}, since ${holder.since.slice(0, 19)}Z`;
}

function reasonOf(error: unknown): string {
	const { code, message } = error as { code?: string; message: string };
	return code ?? message;
}
