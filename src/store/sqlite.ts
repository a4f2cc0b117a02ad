/** The one place for SQL: the store in `router.db` of the data directory. */
import { Database } from "bun:sqlite";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { agentOf, rowOf } from "./agent-row.ts";
import { type Connection, isRowFault, type WriteResult } from "./connection.ts";
import { ledgerStore } from "./ledger-table.ts";
import { mergeInto, rememberBase, SAVE_KEY, takeOver } from "./merge.ts";
import { MIGRATIONS } from "./migrations.ts";
import { hand, unwritable } from "./private-file.ts";
import type { Store } from "./store.ts";

/** How long a write waits for another process's, ms. The event loop waits with it. */
const BUSY_MS = 500;
const DELETED = "it was deleted or replaced while it was in use";
/** More than a database counts changes by other processes. */
const GENERATION = 2 ** 32;

/** One change; done twice it is as if it were done once. */
type Change = (to: Database) => unknown;

const SAVE_AGENT = `INSERT OR REPLACE INTO agents (name, instance, endpoint, models, gpus, version, registered_at, heard_at)
	VALUES ($name, $instance, $endpoint, $models, $gpus, $version, $registered_at, $heard_at)`;

/**
 * The store of a data directory. Opens nothing until it is asked for something, and makes no file until there is something
 * to keep. A directory or file that can't be used is told to `onProblem`, once until it can be used again: the store then
 * is in memory, or its changes wait there, and `mend` writes them once that can be done, which `onMended` hears.
 */
export function sqliteStore(
	dataDir: string,
	onProblem: (sentence: string) => void,
	onMended: (sentence: string) => void = () => {},
): Store {
	const file = join(dataDir, "router.db");
	let db: Database | undefined;
	let problem: string | undefined;
	let isUnreadable = false;
	let fault: Error | undefined;
	/** Which file was opened: another one may have its name by now. */
	let opening: number | undefined;
	/** Times that another database took the place of the one before. */
	let generation = 0;
	/** Changes that could not be written, by what they change: the later one of a row counts. */
	const waiting = new Map<string, Change>();
	/** Agents' tokens among them, by their hash: what is read must know of them. */
	const waitingTokens = new Map<string, { hash: Buffer; createdAt: number; isRevoked: boolean }>();
	/** The ledger's last batch could not be written; it is the ledger that tries it again. */
	let ledgerWaits = false;
	let lastWasWritten = false;

	const complain = (error: unknown) => {
		const { code, message } = error as { code?: string; message: string };
		const isNew = problem === undefined;
		problem = `${file} can't be used (${code ?? message})`;
		if (isNew) onProblem(`${problem}: what is new waits in memory, and it is tried again every 5 s.`);
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
			rememberBase(db);
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
	/** What is written is found by the next start: not so where the file has no name any more. */
	const isOnDisk = () => db !== undefined && !isInMemory() && inodeOf(file) === opening;
	const change = (by: Change): WriteResult => {
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
			lastWasWritten = false;
			return "waits";
		}
		lastWasWritten = true;
		if (!isInMemory() && !isOnDisk()) complain({ message: DELETED });
		return "written";
	};
	/** Writes the changes that wait. Whether none waits any more. */
	const settle = (): boolean => {
		if (waiting.size === 0) return true;
		const written = change((to) => {
			for (const by of waiting.values()) by(to);
		});
		if (written === "waits") return false;
		if (written === "refused") {
			// One of them: the others must not wait for it.
			for (const [name, by] of waiting) {
				const alone = change(by);
				if (alone === "refused") complain(fault);
				if (alone !== "waits") waiting.delete(name);
			}
			return false;
		}
		waiting.clear();
		waitingTokens.clear();
		return true;
	};
	const well = () => {
		if (problem === undefined) return;
		problem = undefined;
		onMended(`${file} can be used again: what waited in memory is written.`);
	};
	/** After something was written. */
	const lookWhetherWell = () => {
		if (problem !== undefined && waiting.size === 0 && !ledgerWaits && isOnDisk()) well();
	};
	/** Makes changes, or has them wait. Whether all that there is is on the disk, where the next start finds it. */
	const write = (changes: Iterable<readonly [string, Change]>): boolean => {
		for (const [name, by] of changes) waiting.set(name, by);
		const isSettled = settle() && isOnDisk();
		lookWhetherWell();
		return isSettled;
	};
	/** Puts a file in the place of a database that is none on the disk, and what that one alone holds into it. */
	const reopen = (from: Database) => {
		let next: Database | undefined;
		try {
			next = open(file);
			const found = inodeOf(file);
			mergeInto(next, from);
			db = next;
			opening = found;
			generation++;
			isUnreadable = false;
		} catch (error) {
			next?.close();
			complain(error);
			return;
		}
		// SQLite leaves the files alone that now have its names.
		from.close();
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
	const ledger = ledgerStore({
		read,
		tried,
		write: change,
		fault: () => fault?.message ?? "",
		sync,
		isInMemory,
	} satisfies Connection);

	return {
		get problem() {
			return problem;
		},
		get hasUnwritten() {
			return waiting.size > 0 || (db !== undefined && !isOnDisk());
		},
		get isUnreadable() {
			return isUnreadable;
		},
		agents: () =>
			read((from) => from.query("SELECT * FROM agents ORDER BY registered_at, name").all().flatMap(agentOf)),
		saveAgents(agents) {
			if (agents.length === 0) return;
			write(agents.map((agent) => [`agent ${agent.name}`, (to) => to.query(SAVE_AGENT).run(rowOf(agent))]));
		},
		removeAgent(name) {
			write([[`agent ${name}`, (to) => to.query("DELETE FROM agents WHERE name = ?").run(name)]]);
		},
		servedNames: () =>
			read((from) => from.query("SELECT name FROM served_names").all() as { name: string }[]).map(({ name }) => name),
		addServedNames(names) {
			const now = Date.now();
			const insert = "INSERT OR IGNORE INTO served_names VALUES (?, ?)";
			write(names.map((name) => [`name ${name}`, (to) => to.query(insert).run(name, now)]));
		},
		agentTokens() {
			const rows = read(
				(from) =>
					from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NULL ORDER BY created_at").all() as TokenRow[],
			);
			const kept = rows.map(({ hash, created_at }) => ({ hash: Buffer.from(hash), createdAt: created_at }));
			if (waitingTokens.size === 0) return kept;
			const added = [...waitingTokens.values()].filter(({ isRevoked }) => !isRevoked);
			return [...kept.filter(({ hash }) => !waitingTokens.has(hash.toString("hex"))), ...added];
		},
		addAgentToken(hash) {
			const name = hash.toString("hex");
			const createdAt = Date.now();
			// One that was taken back stays so.
			if (waitingTokens.get(name)?.isRevoked) return write([]);
			const insert = "INSERT OR IGNORE INTO agent_tokens VALUES (?, ?, NULL)";
			const isKept = write([[`token ${name}`, (to) => to.query(insert).run(hash, createdAt)]]);
			if (waiting.has(`token ${name}`)) waitingTokens.set(name, { hash, createdAt, isRevoked: false });
			return isKept;
		},
		revokeAgentToken(hash) {
			const name = hash.toString("hex");
			const createdAt = Date.now();
			const revoke = "INSERT INTO agent_tokens VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET revoked_at = ?2";
			const isKept = write([[`token ${name}`, (to) => to.query(revoke).run(hash, createdAt)]]);
			if (waiting.has(`token ${name}`)) waitingTokens.set(name, { hash, createdAt, isRevoked: true });
			return isKept;
		},
		revokedAgentTokens() {
			const rows = read(
				(from) => from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NOT NULL").all() as TokenRow[],
			);
			const revoked = new Map<string, Buffer>(
				rows.map(({ hash }) => [Buffer.from(hash).toString("hex"), Buffer.from(hash)]),
			);
			for (const [name, { hash, isRevoked }] of waitingTokens) if (isRevoked) revoked.set(name, hash);
			return [...revoked.values()];
		},
		keys() {
			const rows = tried((from) => from.query("SELECT value FROM keys").all() as { value: string }[]);
			if (!isInMemory()) isUnreadable = rows === undefined;
			return (rows ?? []).map(({ value }) => value);
		},
		saveKeys: (keys) => write(keys.map(({ id, value }) => [`key ${id}`, (to) => to.query(SAVE_KEY).run(id, value)])),
		version: () =>
			generation * GENERATION +
			(read((from) => from.query("PRAGMA data_version").values() as [number][]).map(([version]) => version)[0] ?? 0),
		ledger: {
			...ledger,
			write(batch) {
				const written = ledger.write(batch);
				ledgerWaits = written === "waits";
				if (written === "written") {
					settle();
					lookWhetherWell();
				}
				return written;
			},
		},
		mend() {
			const held = opened(false);
			if (!held) {
				const reason = unwritable(dataDir);
				if (reason) complain({ code: reason });
				else well();
				return;
			}
			if (!isOnDisk()) {
				if (!isInMemory()) complain({ message: DELETED });
				reopen(held);
				if (!isOnDisk()) return;
			}
			if (waiting.size > 0) settle();
			// A write that changes nothing tells whether writing is possible.
			else if (problem !== undefined) change((to) => to.query(`PRAGMA user_version = ${MIGRATIONS.length}`).run());
			else return;
			if (lastWasWritten) lookWhetherWell();
		},
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
	// SQLite would open it for reading alone, and could never write to it.
	if (!isNew) accessSync(file, constants.W_OK);
	const db = new Database(file, { create: true, strict: true });
	try {
		if (isNew) hand(file);
		return prepared(db);
	} catch (error) {
		db.close();
		throw error;
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
