/** A file that an older router made and this one can't write to: all that calls need of it is known, and it is migrated once it can be. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { mergeInto, rememberBase, takeOver } from "../src/store/merge.ts";
import { MIGRATIONS } from "../src/store/migrations.ts";
import { prepared } from "../src/store/open-database.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";

const TABLES = ["keys", "agent_tokens", "agents", "served_names", "usage_days", "objects"];
const VALUES: Readonly<Record<string, string>> = { TEXT: `'{"a":1}'`, INTEGER: "7", REAL: "1.5", BLOB: "x'0a'" };
type Column = { readonly name: string; readonly type: string };

/** A file after so many migrations, with a row in each table that it has: a value in every column. */
function fileAt(path: string, version: number): Database {
	const db = new Database(path, { create: true, strict: true });
	db.run("PRAGMA journal_mode = WAL");
	for (const step of MIGRATIONS.slice(0, version)) db.run(step);
	db.run(`PRAGMA user_version = ${version}`);
	for (const table of TABLES) {
		const columns = db.query(`PRAGMA table_info(${table})`).all() as Column[];
		if (columns.length > 0) db.run(`INSERT INTO ${table} VALUES (${columns.map(({ type }) => VALUES[type]).join()})`);
	}
	return db;
}

const contents = (db: Database) => TABLES.map((table) => [table, db.query(`SELECT * FROM ${table}`).all()]);

describe.each(Array.from(MIGRATIONS.keys(), (at) => at + 1))("a file at version %i", (version) => {
	test("is taken over as if it had been migrated", () => {
		using home = directory();
		const path = join(home.path, "router.db");
		using file = fileAt(path, version);
		using memory = prepared(new Database(":memory:", { strict: true }));
		expect(takeOver(path, memory)).toBe(true);
		using migrated = prepared(file);
		expect(contents(memory)).toEqual(contents(migrated));
		expect(memory.query("SELECT count(*) FROM agents").values()).toEqual([[1]]);
	});

	test("has what came meanwhile added to it once, and nothing twice", () => {
		using home = directory();
		const path = join(home.path, "router.db");
		using file = fileAt(path, version);
		using memory = prepared(new Database(":memory:", { strict: true }));
		takeOver(path, memory);
		rememberBase(memory);
		memory.run("UPDATE usage_days SET calls = calls + 1, energy = energy + 2");
		memory.run("INSERT INTO keys VALUES ('late', '{}')");
		using migrated = prepared(file);
		mergeInto(migrated, memory);
		expect(contents(migrated)).toEqual(contents(memory));
	});
});

test("a router that starts while another process keeps an older file locked knows its keys, and migrates it later", () => {
	using home = directory();
	const path = join(home.path, "router.db");
	using older = fileAt(path, MIGRATIONS.length - 1);
	older.run("BEGIN IMMEDIATE");
	const problems: string[] = [];
	const store = sqliteStore(home.path, (sentence) => problems.push(sentence));
	expect([store.keys(), store.isUnreadable, store.agentTokens().length]).toEqual([[`{"a":1}`], false, 0]);
	expect(store.revokedAgentTokens()).toEqual([Buffer.from([10])]);
	expect(problems).toEqual([expect.stringContaining("SQLITE_BUSY")]);
	older.run("ROLLBACK");
	store.recover();
	expect([store.keys(), store.hasUnwritten, store.problem]).toEqual([[`{"a":1}`], false, undefined]);
	expect(older.query("PRAGMA user_version").values()).toEqual([[MIGRATIONS.length]]);
	store.close();
});

test("a file of a newer router is not taken over: what its tables mean is not known here", () => {
	using home = directory();
	const path = join(home.path, "router.db");
	using file = fileAt(path, MIGRATIONS.length);
	file.run(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
	using memory = prepared(new Database(":memory:", { strict: true }));
	expect([takeOver(path, memory), memory.query("SELECT * FROM keys").all()]).toEqual([false, []]);
});
