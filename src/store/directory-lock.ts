/**
 * One process of a role on a data directory: two would each keep keys, sums and agents the other does not see. The lock is one
 * of SQLite's on a file of its own: the kernel gives it up with its process, however that ends, and it holds across containers that
 * share a volume, where process ids say nothing.
 */
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { StartError } from "../start-error.ts";

/** How often a successor looks whether its predecessor has gone, ms. */
const AGAIN_MS = 1_000;

/** A process's hold on a directory. */
export interface DirectoryLock {
	/** Lets a successor in. Safe to call twice. */
	release(): void;
}

/** Who holds it. */
interface Holder {
	readonly pid: number;
	readonly host: string;
	readonly since: string;
}

/**
 * Takes `<role>.lock` of the directory for this process. Where it can't be had for another reason than another holder (no such
 * directory can be made, a disk that can only be read, a file system without locks) nothing is held, and nothing said.
 * @param isSuccessor the holder is about to be stopped: this process starts beside it, and holds the directory once it is gone
 * @throws {StartError} naming the holder
 */
export function lockDirectory(directory: string, role: "router" | "agent", isSuccessor = false): DirectoryLock {
	let db: Database | undefined;
	let timer: ReturnType<typeof setInterval> | undefined;
	const release = () => {
		clearInterval(timer);
		db?.close();
		db = undefined;
	};
	try {
		mkdirSync(directory, { recursive: true });
		db = new Database(join(directory, `${role}.lock`), { create: true, strict: true });
		if (taken(db)) return { release };
	} catch {
		release();
		return { release };
	}
	if (isSuccessor) {
		timer = setInterval(() => {
			try {
				if (db && taken(db)) clearInterval(timer);
			} catch {
				release();
			}
		}, AGAIN_MS);
		timer.unref();
		return { release };
	}
	const who = shown(holderIn(db));
	release();
	throw new StartError(
		`${directory} is in use by another ${role}${who}: stop that one, or give this one a data_dir (DATA_DIR) of its own. ROUTER_SUCCESSOR=1 starts one that takes the other's place.`,
	);
}

/** Whether this process holds it from now on; false where another one does. Throws what else SQLite says. */
function taken(db: Database): boolean {
	try {
		// A write lock that is never used: others may still read who holds it.
		db.run("BEGIN IMMEDIATE");
		db.run("CREATE TABLE IF NOT EXISTS holder (pid INTEGER, host TEXT, since TEXT) STRICT");
		db.run("DELETE FROM holder");
		db.run("INSERT INTO holder VALUES (?, ?, ?)", [process.pid, hostname(), new Date().toISOString()]);
		db.run("COMMIT");
		db.run("BEGIN IMMEDIATE");
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

/** ` (process 12, since 2026-11-29T09:00:00Z)`; of another machine or container, its host, too. */
function shown(holder: Holder | undefined): string {
	if (!holder) return "";
	const where = holder.host === hostname() ? "" : ` on ${holder.host}`;
	return ` (process ${holder.pid}${where}, since ${holder.since.slice(0, 19)}Z)`;
}
