/** A data directory as one file, made and read while a router runs on it: its database, and the small files beside it. */
import { Database } from "bun:sqlite";
import {
	closeSync,
	existsSync,
	fsyncSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { StartError } from "../errors.ts";
import { mergeCalls, mergeInto } from "./merge.ts";
import { MIGRATIONS } from "./migrations.ts";
import { openDatabase, prepared } from "./open-database.ts";
import { makePrivate } from "./private-file.ts";
import { countChange } from "./writer-table.ts";

/** What is in a backup, or was added by one. */
export interface BackupCounts {
	/** Rows of single calls. */
	readonly calls: number;
	readonly keys: number;
	/** Files beside the database, by their names. */
	readonly files: readonly string[];
}

const FILES_TABLE = "backup_files";

/**
 * Writes a backup of a data directory to `file`, readable by its owner alone: the state of one moment, whatever is written meanwhile. It is a
 * database of SQLite's, of the format that the directory has.
 * @param names files beside the database that belong to it, as far as they are there
 * @throws {StartError} where there is nothing to back up, `file` exists, or one of the two can't be read or written
 */
export function writeBackup(dataDir: string, file: string, names: readonly string[]): BackupCounts {
	const database = join(dataDir, "router.db");
	if (!existsSync(database))
		throw new StartError(`there is no ${database}: nothing to back up. Another directory: DATA_DIR or --config`);
	if (existsSync(file)) throw new StartError(`${file} exists already and was left as it is; name another file`);
	const part = `${file}.part`;
	return saying(`${file} can't be written`, () => {
		try {
			// SQLite takes an empty file as a new one, and leaves its rights as they are.
			writeFileSync(part, "", { mode: 0o600, flag: "w" });
			using from = new Database(database, { readwrite: true, strict: true });
			from.query("VACUUM INTO ?").run(part);
			using to = new Database(part, { readwrite: true, strict: true });
			to.run(`CREATE TABLE ${FILES_TABLE} (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT`);
			const files = names.filter((name) => existsSync(join(dataDir, name)));
			for (const name of files) {
				to.query(`INSERT INTO ${FILES_TABLE} VALUES (?, ?)`).run(name, readFileSync(join(dataDir, name)));
			}
			const [problem] = to.query("PRAGMA quick_check(1)").values() as string[][];
			if (problem?.[0] !== "ok") throw new Error(`the copy is damaged: ${problem?.[0]}`);
			const counts = { ...countsOf(to), files };
			to.close();
			flushed(part);
			renameSync(part, file);
			return counts;
		} finally {
			rmSync(part, { force: true });
		}
	});
}

/**
 * Adds to a data directory what a backup has and it lacks, while a router may run on it: single calls, keys, sums, stored objects. Nothing is
 * taken away: of a key the later version counts, and a revoked one stays revoked. An older router's backup is brought to today's form. Files beside
 * the database are written where they are missing.
 * @returns what the directory has more than before
 * @throws {StartError} where `file` is no backup, or a newer router's, or can't be read, or the directory can't be written
 */
export function restoreBackup(file: string, dataDir: string): BackupCounts {
	if (!existsSync(file)) throw new StartError(`there is no ${file}`);
	checkBackup(file);
	const part = join(dataDir, "restore.part");
	return saying(`${dataDir} can't be written, or ${file} can't be read`, () => {
		mkdirSync(dataDir, { recursive: true });
		try {
			writeFileSync(part, "", { mode: 0o600, flag: "w" });
			using backup = new Database(file, { readonly: true, strict: true });
			backup.query("VACUUM INTO ?").run(part);
			using from = prepared(new Database(part, { readwrite: true, strict: true }));
			using to = openDatabase(join(dataDir, "router.db"));
			// A transaction of the router's is over in less; a restore may wait for many of them.
			to.run("PRAGMA busy_timeout = 10000");
			const before = countsOf(to);
			mergeInto(to, from);
			const id = `restore-${process.pid}`;
			mergeCalls(to, from, () => countChange(to, id));
			countChange(to, id);
			const after = countsOf(to);
			const files = missingFiles(from, dataDir);
			return { calls: after.calls - before.calls, keys: after.keys - before.keys, files };
		} finally {
			for (const suffix of ["", "-wal", "-shm"]) rmSync(`${part}${suffix}`, { force: true });
		}
	});
}

/** Throws StartError unless it is a backup that this version can read. */
function checkBackup(file: string): void {
	let isBackup = false;
	let version = 0;
	try {
		using db = new Database(file, { readonly: true });
		isBackup = db.query("SELECT 1 FROM sqlite_master WHERE name = ?").get(FILES_TABLE) !== null;
		version = (db.query("PRAGMA user_version").get() as { user_version: number }).user_version;
	} catch {
		// No database at all.
	}
	if (!isBackup) throw new StartError(`${file} is no backup of \`router backup\``);
	if (version > MIGRATIONS.length) {
		throw new StartError(`${file} is of a newer router: restore it with that version, or a later one`);
	}
}

function countsOf(db: Database): { calls: number; keys: number } {
	const count = (table: string) =>
		(db.query(`SELECT count(*) AS count FROM ${table}`).get() as { count: number }).count;
	return { calls: count("calls"), keys: count("keys") };
}

function missingFiles(from: Database, dataDir: string): string[] {
	const rows = from.query(`SELECT name, value FROM ${FILES_TABLE}`).all() as { name: string; value: Uint8Array }[];
	return rows.flatMap(({ name, value }) => {
		const path = join(dataDir, name);
		// A name with a slash would be a file elsewhere.
		if (!/^[\w.-]+$/.test(name) || existsSync(path)) return [];
		writeFileSync(path, value, { mode: 0o600, flag: "wx" });
		makePrivate(path);
		return [name];
	});
}

function flushed(file: string): void {
	const handle = openSync(file, "r+");
	fsyncSync(handle);
	closeSync(handle);
}

/** The result; SQLite's and the file system's errors become a line for the user. */
function saying<T>(what: string, make: () => T): T {
	try {
		return make();
	} catch (error) {
		if (error instanceof StartError) throw error;
		const { code, message } = error as NodeJS.ErrnoException;
		throw new StartError(`${what} (${code ?? message})`);
	}
}
