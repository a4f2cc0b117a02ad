/** What could not be written is written once that can be done: each thing once, and nothing that was taken back comes back. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashKey } from "../src/accounts/auth/keys.ts";
import { StoredKeys } from "../src/accounts/auth/stored-keys.ts";
import { Ledger } from "../src/accounts/usage/ledger.ts";
import { mergeInto, rememberBase, takeOver } from "../src/store/merge.ts";
import { MIGRATIONS } from "../src/store/migrations.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";
import { settled } from "./kit/ledger.ts";

function storeIn(path: string) {
	const told: string[] = [];
	const store = sqliteStore(
		path,
		() => told.push("trouble"),
		() => told.push("well"),
	);
	const ledger = new Ledger({ store: store.ledger, bounds: { keep: 1e12, size: 1e9 } });
	const calls = async (count: number) => {
		for (let at = 0; at < count; at++) ledger.callSettled(settled());
		await ledger.flush();
	};
	const counted = () => store.ledger.usage("2000-01-01", "9999-12-31").reduce((sum, { calls }) => sum + calls, 0);
	return { store, told, ledger, calls, counted };
}

/** What a full disk is to SQLite, for these tables. Returns how to make room. */
function full(path: string, tables: readonly string[]): () => void {
	const db = new Database(join(path, "router.db"));
	db.run("PRAGMA busy_timeout = 5000");
	for (const table of tables) {
		for (const event of ["INSERT", "UPDATE"]) {
			db.run(
				`CREATE TRIGGER full_${table}_${event} BEFORE ${event} ON ${table} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
			);
		}
	}
	return () => {
		for (const table of tables) for (const event of ["INSERT", "UPDATE"]) db.run(`DROP TRIGGER full_${table}_${event}`);
		db.close();
	};
}

describe("on a disk without room", () => {
	test("an invitation that is revoked is good for nobody at once, one that is made is good, and both are written later", () => {
		using home = directory();
		const { store, told } = storeIn(home.path);
		const [old, late] = [hashKey("old"), hashKey("late")];
		expect(store.addAgentToken(old)).toBe(true);
		const makeRoom = full(home.path, ["agent_tokens"]);
		expect([store.revokeAgentToken(old), store.addAgentToken(late), store.hasUnwritten]).toEqual([false, false, true]);
		const known = (of: typeof store) => [of.agentTokens().map(({ hash }) => hash), of.revokedAgentTokens()];
		expect(known(store)).toEqual([[late], [old]]);
		store.addAgentToken(old);
		expect(known(store)).toEqual([[late], [old]]);
		store.recover();
		expect([store.hasUnwritten, told]).toEqual([true, ["trouble"]]);
		makeRoom();
		store.recover();
		expect([store.hasUnwritten, store.problem, told]).toEqual([false, undefined, ["trouble", "well"]]);
		store.close();
		const { store: again } = storeIn(home.path);
		expect(known(again)).toEqual([[late], [old]]);
		again.close();
	});

	test("keys that are changed are written with the ledger's next batch, the last change of each", async () => {
		using home = directory();
		const { store, calls } = storeIn(home.path);
		const keys = new StoredKeys({ store });
		const asked = { team: undefined, models: ["*"], limits: {}, budget: undefined };
		const { key } = keys.create({ ...asked, name: "one" });
		const makeRoom = full(home.path, ["keys", "usage_days"]);
		keys.rotate("one", 0);
		keys.revoke("one");
		keys.create({ ...asked, name: "two" });
		await calls(1);
		makeRoom();
		await calls(1);
		expect([store.hasUnwritten, store.problem]).toEqual([false, undefined]);
		store.close();
		const after = new StoredKeys({ store: sqliteStore(home.path, () => {}) });
		expect(after.list().map(({ name, revokedAt }) => [name, revokedAt !== undefined])).toEqual([
			["one", true],
			["two", false],
		]);
		expect(after.find(key.hash)).toBeUndefined();
	});

	test("trouble is over when the ledger's calls are written, too, and not when a key is", async () => {
		using home = directory();
		const { store, told, calls } = storeIn(home.path);
		await calls(1);
		const makeRoom = full(home.path, ["usage_days"]);
		await calls(1);
		expect(store.saveKeys([{ id: "a", value: "{}" }])).toBe(true);
		store.recover();
		expect([told, store.hasUnwritten]).toEqual([["trouble"], false]);
		makeRoom();
		await calls(1);
		expect(told).toEqual(["trouble", "well"]);
		store.close();
	});
});

describe("a file that was deleted while it was in use", () => {
	test.each([
		["nothing", () => {}],
		["a directory without it", (data: string) => void mkdirSync(data)],
		[
			"a copy of it that is older",
			(data: string, copy: string) => {
				mkdirSync(data);
				copyFileSync(copy, join(data, "router.db"));
			},
		],
		[
			"another's",
			(data: string) => {
				const { store } = storeIn(data);
				store.saveKeys([{ id: "b", value: "{}" }]);
				store.close();
			},
		],
	] as [string, (data: string, copy: string) => void][])(
		"and there is %s: what was spent is counted once, and written on",
		async (_, then) => {
			using home = directory();
			const data = join(home.path, "data");
			const copy = join(home.path, "copy.db");
			const { store, told, calls, counted } = storeIn(data);
			store.saveKeys([{ id: "a", value: "{}" }]);
			await calls(3);
			const before = store.version();
			{
				using db = new Database(join(data, "router.db"));
				db.run(`VACUUM INTO '${copy}'`);
			}
			await calls(2);
			rmSync(data, { recursive: true });
			await calls(1);
			then(data, copy);
			store.recover();
			expect([counted(), store.hasUnwritten, told]).toEqual([6, false, ["trouble", "well"]]);
			// Who reads by the version reads anew.
			expect(store.version()).not.toBe(before);
			await calls(1);
			store.recover();
			store.close();
			const { store: again, counted: countedAgain } = storeIn(data);
			expect([countedAgain(), again.keys().length > 0]).toEqual([7, true]);
			using db = new Database(join(data, "router.db"));
			expect(db.query("SELECT COUNT(*) AS count FROM calls").get()).toEqual({ count: 7 });
			expect(db.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
			again.close();
		},
	);

	test("and can't be made anew stays known, and is made once it can be", async () => {
		using home = directory();
		const data = join(home.path, "data");
		const { store, calls, counted } = storeIn(data);
		await calls(2);
		rmSync(data, { recursive: true });
		writeFileSync(data, "");
		store.recover();
		await calls(1);
		expect([counted(), store.hasUnwritten]).toEqual([3, true]);
		rmSync(data);
		store.recover();
		expect([counted(), store.hasUnwritten, existsSync(join(data, "router.db"))]).toEqual([3, false, true]);
		store.close();
	});
});

test("a store that began in memory goes to the disk once it can, with its calls, agents' names and keys", async () => {
	using home = directory();
	mkdirSync(join(home.path, "router.db"));
	const { store, told, calls, counted } = storeIn(home.path);
	await calls(2);
	store.addServedNames(["qwen"]);
	expect(store.saveKeys([{ id: "a", value: "{}" }])).toBe(false);
	store.recover();
	expect(told).toEqual(["trouble"]);
	rmdirSync(join(home.path, "router.db"));
	store.recover();
	await calls(1);
	expect([counted(), store.hasUnwritten, told]).toEqual([3, false, ["trouble", "well"]]);
	store.close();
	const { store: again, counted: countedAgain } = storeIn(home.path);
	expect([countedAgain(), again.keys(), again.servedNames()]).toEqual([3, ["{}"], ["qwen"]]);
	again.close();
});

describe("sums that a database in memory took from a file", () => {
	const made = (file: string) => {
		const db = new Database(file, { create: true, strict: true });
		for (const step of MIGRATIONS) db.run(step);
		db.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
		return db;
	};
	const add = (db: Database, calls: number) =>
		db.run(
			`INSERT INTO usage_days VALUES ('2026-01-31', 'k', '', 'm', 'p', 'key', '', ${calls}, 0, 0, 0, 0, 0, 0, 0, ${calls}, ${calls})
			ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, cost = cost + excluded.cost, energy = energy + excluded.energy`,
		);
	const sums = (db: Database) => db.query("SELECT calls, cost, energy FROM usage_days").values();
	test.each([
		["as it was", (file: Database) => void file, 15],
		["with what another process has added", (file: Database) => void add(file, 4), 19],
		["without them", (file: Database) => void file.run("DELETE FROM usage_days"), 15],
	])("come to that file, %s, as what was added to them", (_, then, expected) => {
		using home = directory();
		const path = join(home.path, "router.db");
		using file = made(path);
		add(file, 10);
		using memory = made(":memory:");
		expect(takeOver(path, memory)).toBe(true);
		rememberBase(memory);
		add(memory, 5);
		then(file);
		mergeInto(file, memory);
		expect(sums(file)).toEqual([[expected, expected, expected]]);
	});

	test("a key that was revoked in either is revoked, and of others the later version counts", () => {
		const key = (changedAt: number, revokedAt?: number) => JSON.stringify({ changedAt, revokedAt });
		const cases: [string, string, string][] = [
			[key(1, 1), key(2), key(1, 1)],
			[key(2), key(1, 1), key(1, 1)],
			[key(1), key(2), key(2)],
			[key(2), key(1), key(2)],
			["{", key(1), key(1)],
		];
		for (const [here, there, expected] of cases) {
			using file = made(":memory:");
			using memory = made(":memory:");
			file.run("INSERT INTO keys VALUES ('a', ?)", [here]);
			memory.run("INSERT INTO keys VALUES ('a', ?)", [there]);
			mergeInto(file, memory);
			expect(file.query("SELECT value FROM keys").values()).toEqual([[expected]]);
		}
	});
});
