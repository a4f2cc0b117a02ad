/** The one place for SQL: the store in `router.db` of the data directory. */
import { Database } from "bun:sqlite";
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { agentOf, rowOf } from "./agent-row.ts";
import { MIGRATIONS } from "./migrations.ts";
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

	const complain = (error: unknown) => {
		const { code, message } = error as { code?: string; message: string };
		const isNew = problem === undefined;
		problem = `${file} can't be used (${code ?? message}): agents and their tokens are remembered until this process ends`;
		if (isNew) onProblem(`${problem}.`);
	};
	/** Undefined where there is no file yet and nothing to write. */
	const opened = (isWrite: boolean): Database | undefined => {
		if (db || !(isWrite || existsSync(file))) return db;
		try {
			db = open(file);
		} catch (error) {
			complain(error);
			db = prepared(new Database(":memory:"));
		}
		return db;
	};
	const read = <T>(query: (db: Database) => T[]): T[] => {
		const from = opened(false);
		try {
			return from ? query(from) : [];
		} catch (error) {
			complain(error);
			return [];
		}
	};
	/** Whether it is on the disk. */
	const write = (change: (db: Database) => unknown): boolean => {
		const to = opened(true)!;
		try {
			to.transaction(() => change(to)).immediate();
		} catch (error) {
			complain(error);
			return false;
		}
		const isKept = to.filename !== ":memory:";
		if (isKept) problem = undefined;
		return isKept;
	};

	return {
		get problem() {
			return problem;
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
				(from.query("SELECT hash FROM agent_tokens").all() as { hash: Uint8Array }[]).map(({ hash }) =>
					Buffer.from(hash),
				),
			),
		addAgentToken: (hash) =>
			write((to) => to.query("INSERT OR IGNORE INTO agent_tokens VALUES (?, ?)").run(hash, Date.now())),
		close() {
			db?.close();
			db = undefined;
		},
	};
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

/** Makes a new file private, and where root made it (`router agents invite`), its directory's owner's. */
function hand(file: string): void {
	chmodSync(file, 0o600);
	const { uid, gid } = statSync(dirname(file));
	if (process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
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
