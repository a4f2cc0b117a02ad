/** Copying between databases: from a file that can't be written to into memory, and back into one that can. */
import { constants, Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { Sql, Value } from "./connection.ts";
import { ATTEMPT_COLUMNS, CALL_COLUMNS, SUMS, USAGE_COLUMNS } from "./ledger-writes.ts";
import { MIGRATIONS } from "./migrations.ts";
import { ALL_OBJECTS, SAVE_OBJECT } from "./object-table.ts";

/** Small tables that calls need. The rows of single calls are not copied. */
const TAKEN_OVER = ["keys", "agent_tokens", "agents", "served_names", "usage_days", "objects"];
/** The newest calls that are copied to a file: as many as wait on a full disk. More would keep calls waiting for seconds. */
const MOST_CALLS = 10_000;

/** What a version of a key goes by in SQL, and its secret, which a change of another process that had not heard of it does not undo. */
const changeOf = (key: string): string => `(${key} ->> 'revokedAt' IS NOT NULL, coalesce(${key} ->> 'changedAt', 0))`;
const secretOf = (key: string): string =>
	`(coalesce(${key} ->> 'rotatedAt', ${key} ->> 'createdAt', 0), coalesce(${key} ->> 'changedAt', 0))`;

/**
 * A revoked key stays revoked, whichever version is later; else the later version counts, with the secret that was made last (`mergedKey` in
 * `accounts/auth/key-store.ts`). Text that is no JSON is overwritten.
 */
export const SAVE_KEY = `INSERT INTO keys (id, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value =
	CASE WHEN NOT json_valid(keys.value) OR NOT json_valid(excluded.value) THEN excluded.value
	ELSE (SELECT CASE WHEN settings ->> 'revokedAt' IS NOT NULL OR settings ->> 'hash' IS secret ->> 'hash' THEN settings
		ELSE json_patch(settings, json_object('hash', secret -> 'hash', 'previous', secret -> 'previous',
			'prefix', secret -> 'prefix', 'rotatedAt', secret -> 'rotatedAt')) END
		FROM (SELECT
			iif(${changeOf("excluded.value")} >= ${changeOf("keys.value")}, excluded.value, keys.value) AS settings,
			iif(${secretOf("excluded.value")} >= ${secretOf("keys.value")}, excluded.value, keys.value) AS secret)) END`;

const NAMED_BY = ["day", "key_id", "user", "model", "provider"];

/**
 * Copies the tables of a file that can be read but not written: keys work on a full disk, too. One that an older router made is taken as it
 * is: rows by the names of their columns, and no table that it does not have. Whether that was possible: not where a newer router made it.
 */
export function takeOver(file: string, to: Database): boolean {
	try {
		const log = `${file}-wal`;
		const hasLog = existsSync(log) && statSync(log).size > 0;
		// Beside a write-ahead log the file alone is not the newest state: a key in it may be revoked.
		const from = hasLog
			? new Database(file, { readonly: true })
			: new Database(`${pathToFileURL(file)}?immutable=1`, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI);
		try {
			const { user_version: taken } = from.query("PRAGMA user_version").get() as { user_version: number };
			if (taken < 1 || taken > MIGRATIONS.length) return false;
			using sameVersion = new Database(":memory:");
			for (const step of MIGRATIONS.slice(0, taken)) sameVersion.run(step);
			to.transaction(() => {
				// A table that its version has and the file lacks is no empty one: there may have been keys in it.
				for (const table of TAKEN_OVER) if (hasTable(sameVersion, table)) copyTable(from, table, to);
			})();
			return true;
		} finally {
			from.close();
		}
	} catch {
		// The reason is that of the opening, which was reported.
		return false;
	}
}

/** Records the sums that a database in memory took from a file: only additions to them are merged into the file. */
export function rememberBase(db: Database): void {
	db.run("CREATE TABLE base AS SELECT * FROM usage_days");
	db.run("CREATE UNIQUE INDEX base_names ON base (day, key_id, user, model, provider)");
}

/**
 * Adds to a file, in one transaction, the rows of a database that is not on the disk: one in memory with a base recorded by
 * {@link rememberBase}, or a file that was deleted, whose sums were all written once. Sums count once, whether the file is the one that
 * they were taken from, a copy of it, or a new one. Throws SQLite's error; nothing is added then.
 */
export function mergeInto(to: Database, from: Database): void {
	const hasBase = hasTable(from, "base");
	const add = to.transaction(() => {
		copy(from, "SELECT id, value FROM keys", to, SAVE_KEY);
		copy(
			from,
			"SELECT hash, created_at, revoked_at FROM agent_tokens",
			to,
			"INSERT INTO agent_tokens (hash, created_at, revoked_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET revoked_at = coalesce(revoked_at, excluded.revoked_at)",
		);
		const agent = "name, instance, endpoint, models, gpus, version, registered_at, heard_at";
		const newer = agent.split(", ").map((column) => `${column} = excluded.${column}`);
		copy(
			from,
			`SELECT ${agent} FROM agents`,
			to,
			`INSERT INTO agents (${agent}) VALUES (${placeholders(8)}) ON CONFLICT DO UPDATE SET ${newer.join(", ")}
			WHERE excluded.heard_at > agents.heard_at`,
		);
		copy(
			from,
			"SELECT name, first_at FROM served_names",
			to,
			"INSERT OR IGNORE INTO served_names (name, first_at) VALUES (?, ?)",
		);
		copy(from, ALL_OBJECTS, to, SAVE_OBJECT);
		copy(
			from,
			"SELECT key_id, id, used_at, size, value FROM responses",
			to,
			`INSERT INTO responses (key_id, id, used_at, size, value) VALUES (${placeholders(5)}) ON CONFLICT DO NOTHING`,
		);
		copy(from, sumsAndBase(hasBase ? "base" : "usage_days"), to, ADD_SUMS);
		copyCalls(from, to, `SELECT id FROM calls ORDER BY id DESC LIMIT ${MOST_CALLS}`);
	});
	add.immediate();
}

/** Single calls that are copied in one transaction, so that another process waits some ms for it and no longer. */
const CALLS_AT_ONCE = 500;

/**
 * Adds to a file all single calls of another one that it does not have, in many short transactions: a router that uses it goes on. Throws
 * SQLite's error.
 * @param onAdded called in each transaction
 */
export function mergeCalls(to: Database, from: Database, onAdded: () => void): void {
	const next = from.query<{ id: string }, [string]>(
		`SELECT max(id) AS id FROM (SELECT id FROM calls WHERE id > ? ORDER BY id LIMIT ${CALLS_AT_ONCE})`,
	);
	let after = "";
	for (;;) {
		const last = next.get(after)?.id;
		if (last === undefined || last === null) return;
		const add = to.transaction(() => {
			copyCalls(from, to, "SELECT id FROM calls WHERE id > ? AND id <= ?", [after, last]);
			onAdded();
		});
		add.immediate();
		after = last;
	}
}

function copyCalls(from: Database, to: Database, ids: string, bounds: readonly string[] = []): void {
	copy(
		from,
		`SELECT * FROM calls WHERE id IN (${ids})`,
		to,
		`INSERT INTO ${CALL_COLUMNS} VALUES (${placeholders(14)}) ON CONFLICT DO NOTHING`,
		bounds,
	);
	copy(
		from,
		`SELECT * FROM attempts WHERE call IN (${ids})`,
		to,
		`INSERT INTO ${ATTEMPT_COLUMNS} VALUES (${placeholders(8)}) ON CONFLICT DO NOTHING`,
		bounds,
	);
}

/** The columns of `usage_days`, then the base of each sum. */
function sumsAndBase(base: string): string {
	const columns = [...NAMED_BY, "key", "team", ...SUMS].map((column) => `sums.${column}`);
	const bases = SUMS.map((sum) => `coalesce(base.${sum}, 0)`);
	return `SELECT ${[...columns, ...bases].join(", ")} FROM usage_days AS sums LEFT JOIN ${base} AS base
		ON ${NAMED_BY.map((column) => `sums.${column} = base.${column}`).join(" AND ")}`;
}

/** Columns that are no sums stand before those that are. */
const NAMES = NAMED_BY.length + 2;
const BASES = NAMES + SUMS.length + 1;

/** The file's sum, or at least its base, plus the additions since. */
const ADD_SUMS = `INSERT INTO ${USAGE_COLUMNS} VALUES (${Array.from({ length: BASES - 1 }, (_, at) => `?${at + 1}`).join(", ")})
	ON CONFLICT DO UPDATE SET ${SUMS.map((sum, at) => `${sum} = max(${sum}, ?${at + BASES}) + ?${at + NAMES + 1} - ?${at + BASES}`).join(", ")}`;

const hasTable = (db: Database, name: string): boolean =>
	db.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?").get(name) !== null;

/** Copies all rows of a table, whose columns the other may have more of. */
function copyTable(from: Database, table: string, to: Database): void {
	const all = from.query(`SELECT * FROM ${table}`);
	const columns = all.columnNames.map((column) => `"${column}"`);
	const insert = `INSERT OR REPLACE INTO ${table} (${columns.join(", ")}) VALUES (${placeholders(columns.length)})`;
	for (const row of all.values() as Value[][]) to.query(insert).run(...(row as never[]));
}

function copy(from: Database, select: string, to: Sql, insert: string, bounds: readonly string[] = []): void {
	const statement = to.query(insert);
	for (const row of from.query(select).values(...bounds) as Value[][]) statement.run(...row);
}

const placeholders = (count: number): string => Array.from({ length: count }, () => "?").join(", ");
