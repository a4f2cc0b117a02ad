/** The one place for SQL: the store in `router.db` of the data directory. */
import { constants, Database } from "bun:sqlite";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { agentOf, rowOf } from "./agent-row.ts";
import { type Connection, isRowFault, type Value, type WriteResult } from "./connection.ts";
import { ledgerStore } from "./ledger.ts";
import { MIGRATIONS } from "./migrations.ts";
import { hand } from "./private-file.ts";
import type { Store } from "./store.ts";

/** How long a write waits for another process's, ms. The event loop waits with it. */
const BUSY_MS = 500;

/**
 * The store of a data directory. Opens nothing until it is asked for something, and makes no file until there is something
 * to keep. A directory or file that can't be used is told to `onProblem`, once until it can be used again: the store then
 * is in memory.
 */
export function sqliteStore(dataDir: string, onProblem: (sentence: string) => void): Store {
	const file = join(dataDir, "router.db");
	let db: Database | undefined;
	let problem: string | undefined;
	let isUnreadable = false;
	let fault: Error | undefined;
	/** Which file was opened: another one may have its name by now. */
	let opening: number | undefined;

	const complain = (error: unknown) => {
		const { code, message } = error as { code?: string; message: string };
		const isNew = problem === undefined;
		problem = `${file} can't be used (${code ?? message}): what is new is remembered until this process ends`;
		if (isNew) onProblem(`${problem}.`);
	};
	/** Undefined where there is no file yet and nothing to write. */
	const opened = (isWrite: boolean): Database | undefined => {
		if (db || !(isWrite || existsSync(file))) return db;
		try {
			db = open(file);
			opening = inodeOf(file);
		} catch (error) {
			complain(error);
			db = prepared(new Database(":memory:"));
			isUnreadable = existsSync(file) && !takeOver(file, db);
		}
		return db;
	};
	const tried = <T>(query: (db: Database) => T[]): T[] | undefined => {
		const from = opened(false);
		try {
			return from ? query(from) : [];
		} catch (error) {
			complain(error);
			return undefined;
		}
	};
	const read = <T>(query: (db: Database) => T[]): T[] => tried(query) ?? [];
	const isInMemory = () => db?.filename === ":memory:";
	const change = (by: (db: Database) => unknown): WriteResult => {
		const to = opened(true)!;
		try {
			to.transaction(() => by(to)).immediate();
		} catch (error) {
			// The file is well: whoever made the row tells of it.
			if (isRowFault(error)) {
				fault = error as Error;
				return "refused";
			}
			complain(error);
			return "waits";
		}
		if (isInMemory()) return "written";
		// What is written to a file without a name is gone with the process.
		if (inodeOf(file) === opening) problem = undefined;
		else complain({ message: "it was deleted or replaced while it was in use" });
		return "written";
	};
	/** Whether it is on the disk, where the next start finds it. */
	const write = (by: (db: Database) => unknown): boolean => {
		const written = change(by);
		if (written === "refused") complain(fault);
		return written === "written" && problem === undefined;
	};

	/**
	 * Has the disk take what was written: not by SQLite, which would keep every call waiting meanwhile, but by a thread of the
	 * runtime's. The locks that closing a file would lose are on other files than this one.
	 */
	const sync = async () => {
		if (db?.filename !== file) return;
		try {
			const log = await openFile(`${file}-wal`, "r+");
			try {
				await log.datasync();
			} finally {
				await log.close();
			}
		} catch (error) {
			complain(error);
		}
	};

	return {
		get problem() {
			return problem;
		},
		get isUnreadable() {
			return isUnreadable;
		},
		agents: () =>
			read((from) => from.query("SELECT * FROM agents ORDER BY registered_at, name").all().flatMap(agentOf)),
		saveAgents(agents) {
			if (agents.length === 0) return;
			write((to) => {
				const insert = to.query(
					`INSERT OR REPLACE INTO agents (name, instance, endpoint, models, gpus, version, registered_at, heard_at)
					VALUES ($name, $instance, $endpoint, $models, $gpus, $version, $registered_at, $heard_at)`,
				);
				for (const agent of agents) insert.run(rowOf(agent));
			});
		},
		removeAgent(name) {
			write((to) => to.query("DELETE FROM agents WHERE name = ?").run(name));
		},
		servedNames: () =>
			read((from) => from.query("SELECT name FROM served_names").all() as { name: string }[]).map(({ name }) => name),
		addServedNames(names) {
			write((to) => {
				const insert = to.query("INSERT OR IGNORE INTO served_names VALUES (?, ?)");
				for (const name of names) insert.run(name, Date.now());
			});
		},
		agentTokens: () =>
			read((from) =>
				(from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NULL ORDER BY created_at").all() as TokenRow[]).map(
					({ hash, created_at }) => ({ hash: Buffer.from(hash), createdAt: created_at }),
				),
			),
		addAgentToken: (hash) =>
			write((to) => to.query("INSERT OR IGNORE INTO agent_tokens VALUES (?, ?, NULL)").run(hash, Date.now())),
		revokeAgentToken: (hash) =>
			write((to) =>
				to
					.query("INSERT INTO agent_tokens VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET revoked_at = ?2")
					.run(hash, Date.now()),
			),
		revokedAgentTokens: () =>
			read((from) => from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NOT NULL").all() as TokenRow[]).map(
				({ hash }) => Buffer.from(hash),
			),
		keys() {
			const rows = tried((from) => from.query("SELECT value FROM keys").all() as { value: string }[]);
			if (!isInMemory()) isUnreadable = rows === undefined;
			return (rows ?? []).map(({ value }) => value);
		},
		saveKeys: (keys) =>
			write((to) => {
				const insert = to.query("INSERT OR REPLACE INTO keys (id, value) VALUES ($id, $value)");
				for (const { id, value } of keys) insert.run({ id, value });
			}),
		version: () =>
			read((from) => from.query("PRAGMA data_version").values() as [number][]).map(([version]) => version)[0] ?? 0,
		ledger: ledgerStore({
			read,
			tried,
			write: change,
			fault: () => fault?.message ?? "",
			sync,
			isInMemory,
		} satisfies Connection),
		close() {
			db?.close();
			db = undefined;
		},
	};
}

/** The file of that name; undefined where there is none, or none that can be looked at: its directory is closed to us or no more one. */
function inodeOf(file: string): number | undefined {
	try {
		return statSync(file, { throwIfNoEntry: false })?.ino;
	} catch {
		return undefined;
	}
}

/** Opens or makes the file. Throws what SQLite or the file system says. */
function open(file: string): Database {
	mkdirSync(dirname(file), { recursive: true });
	const isNew = !existsSync(file);
	const db = new Database(file, { create: true, strict: true });
	try {
		if (isNew) hand(file);
		return prepared(db);
	} catch (error) {
		db.close();
		throw error;
	}
}

/** What is asked for on a call's way, and is small: single calls stay where they are. */
const TAKEN_OVER = ["keys", "agent_tokens", "agents", "served_names", "usage_days"];

/** Copies what a file holds that can be read, though not written to: callers' keys are good on a disk without room, too. */
function takeOver(file: string, to: Database): boolean {
	try {
		const log = `${file}-wal`;
		const hasLog = existsSync(log) && statSync(log).size > 0;
		// Beside a log the file alone is not the newest: a key in it may be revoked.
		const from = hasLog
			? new Database(file, { readonly: true })
			: new Database(`${pathToFileURL(file)}?immutable=1`, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI);
		try {
			const { user_version: taken } = from.query("PRAGMA user_version").get() as { user_version: number };
			if (taken !== MIGRATIONS.length) return false;
			to.transaction(() => {
				for (const table of TAKEN_OVER) {
					for (const row of from.query(`SELECT * FROM ${table}`).values() as Value[][]) {
						to.query(`INSERT OR REPLACE INTO ${table} VALUES (${row.map(() => "?").join(", ")})`).run(
							...(row as never[]),
						);
					}
				}
			})();
			return true;
		} finally {
			from.close();
		}
	} catch {
		// The reason is that of the opening, which was told.
		return false;
	}
}

/** Sets it up and brings it to the newest shape. */
function prepared(db: Database): Database {
	db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
	db.run("PRAGMA journal_mode = WAL");
	db.run("PRAGMA synchronous = NORMAL");
	const migrate = db.transaction(() => {
		const { user_version: taken } = db.query("PRAGMA user_version").get() as { user_version: number };
		if (taken > MIGRATIONS.length) throw new Error("a newer router made it");
		for (const step of MIGRATIONS.slice(taken)) db.run(step);
		if (taken < MIGRATIONS.length) db.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
	});
	migrate.immediate();
	return db;
}

interface TokenRow {
	readonly hash: Uint8Array;
	readonly created_at: number;
}
