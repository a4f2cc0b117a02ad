/** The store: what is remembered across restarts, and what happens where nothing can be. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashKey } from "../src/accounts/auth/keys.ts";
import { ServedNames } from "../src/server/agents/served-names.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import type { StoredAgent } from "../src/store/store.ts";
import { directory } from "./kit/cli.ts";

const agent: StoredAgent = {
	name: "gpu-1",
	instance: "one",
	endpoint: "http://10.0.0.7:5000",
	models: [{ name: "qwen", state: "failed", reason: "out of 'memory'; DROP TABLE agents" }],
	gpus: [{ index: 0, name: "L4", memory_total: 24e9, memory_used: 1 }],
	version: "0.2.0",
	registeredAt: 1_790_000_000_000,
	heardAt: 1_790_000_005_000,
};
const plain: StoredAgent = { ...agent, name: "gpu-0", models: [] };
const { instance: _, gpus: __, version: ___, ...bare } = plain;

function storeIn(path: string) {
	const problems: string[] = [];
	return { store: sqliteStore(path, (sentence) => problems.push(sentence)), problems };
}

describe("the store", () => {
	test("keeps agents across restarts, the first to come first, and the newest word of each", () => {
		using home = directory();
		const { store } = storeIn(home.path);
		store.saveAgents([agent, { ...bare, registeredAt: agent.registeredAt + 1 }]);
		store.saveAgents([{ ...agent, endpoint: "http://10.0.0.8:5000" }]);
		store.close();
		const { store: again, problems } = storeIn(home.path);
		expect(again.agents()).toEqual([
			{ ...agent, endpoint: "http://10.0.0.8:5000" },
			{ ...bare, registeredAt: agent.registeredAt + 1 },
		]);
		again.removeAgent("gpu-1");
		expect(again.agents().map(({ name }) => name)).toEqual(["gpu-0"]);
		expect(problems).toEqual([]);
	});

	test("keeps the hashes of tokens, and sees those that another process adds", () => {
		using home = directory();
		const { store } = storeIn(home.path);
		expect(store.agentTokens()).toEqual([]);
		const { store: other } = storeIn(home.path);
		expect(other.addAgentToken(hashKey("a"))).toBe(true);
		expect(store.agentTokens().map(({ hash }) => hash)).toEqual([hashKey("a")]);
		expect(store.addAgentToken(hashKey("b"))).toBe(true);
		expect(other.agentTokens()).toHaveLength(2);
	});

	test("keeps the names that agents have served, each once, and no end of them", () => {
		using home = directory();
		const { store } = storeIn(home.path);
		store.addServedNames(["qwen", "gpt-oss-20b"]);
		store.addServedNames(["qwen", 'it\'s "quoted"']);
		store.close();
		const { store: again, problems } = storeIn(home.path);
		expect(again.servedNames().sort()).toEqual(["gpt-oss-20b", 'it\'s "quoted"', "qwen"]);
		const names = new ServedNames(again);
		names.add(Array.from({ length: 20_000 }, (_, at) => `made-up-${at}`));
		expect(again.servedNames()).toHaveLength(10_000);
		expect([names.all.has("qwen"), names.all.has("made-up-19999")]).toEqual([true, false]);
		expect(problems).toEqual([]);
	});

	test("reads names that agents have served again where it could not, so that no vendor gets a prompt for them", () => {
		const disk = { isUnreadable: true, servedNames: () => (disk.isUnreadable ? [] : ["qwen"]), addServedNames() {} };
		const names = new ServedNames(disk);
		names.load();
		expect(names.all.has("qwen")).toBe(false);
		disk.isUnreadable = false;
		names.load();
		expect(names.all.has("qwen")).toBe(true);
	});

	test("makes no file until there is something to keep, and a private one then", () => {
		using home = directory();
		const { store } = storeIn(join(home.path, "data"));
		expect([store.agents(), store.agentTokens()]).toEqual([[], []]);
		store.saveAgents([]);
		expect(existsSync(join(home.path, "data"))).toBe(false);
		store.saveAgents([agent]);
		expect(statSync(join(home.path, "data/router.db")).mode & 0o777).toBe(0o600);
	});

	test("writes ahead, waits for another's write, and knows its shape", () => {
		using home = directory();
		storeIn(home.path).store.saveAgents([agent]);
		const db = new Database(join(home.path, "router.db"));
		expect(db.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
		expect(db.query("PRAGMA user_version").get()).toEqual({ user_version: 8 });
	});
});

describe("where nothing can be kept", () => {
	/** A directory that is none: root may write into any other. */
	function unusable() {
		const home = directory({ file: "" });
		return { home, path: join(home.path, "file") };
	}

	test("it is said once, and remembered in memory", () => {
		const { home, path } = unusable();
		using _home = home;
		const { store, problems } = storeIn(path);
		store.saveAgents([agent]);
		store.saveAgents([bare]);
		expect(store.agents()).toHaveLength(2);
		expect(problems).toHaveLength(1);
		expect(problems[0]).toMatch(
			/router\.db can't be used \(E\w+\): what is new waits in memory, and it is tried again every 5 s\.$/,
		);
		expect(store.addAgentToken(hashKey("a"))).toBe(false);
		expect(store.agentTokens()).toHaveLength(1);
	});

	test.each([
		["no database", "x".repeat(4096)],
		["a directory", undefined],
	])("because router.db is %s", (_, text) => {
		using home = directory();
		const file = join(home.path, "router.db");
		if (text === undefined) mkdirSync(file);
		else writeFileSync(file, text);
		const { store, problems } = storeIn(home.path);
		expect(store.agents()).toEqual([]);
		store.saveAgents([agent]);
		expect(store.agents()).toEqual([agent]);
		expect(problems).toHaveLength(1);
	});

	test.each([
		["was deleted", () => {}],
		["is another's by now", (path: string) => storeIn(path).store.saveAgents([bare])],
		["is a file by now", (path: string) => writeFileSync(path, "")],
		["is a link to itself by now", (path: string) => symlinkSync(path, path)],
	])("because the directory %s while it was in use, it is said once, and all stays known", (_, then) => {
		using home = directory();
		const path = join(home.path, "data");
		const { store, problems } = storeIn(path);
		expect(store.addAgentToken(hashKey("before"))).toBe(true);
		rmSync(path, { recursive: true });
		then(path);
		expect(store.saveKeys([{ id: "a", value: "{}" }])).toBe(false);
		expect(store.addAgentToken(hashKey("after"))).toBe(false);
		expect([store.keys(), store.agentTokens().length]).toEqual([["{}"], 2]);
		expect(problems).toEqual([expect.stringContaining("router.db can't be used (it was deleted or replaced")]);
		expect([store.hasUnwritten, store.problem?.includes("it was deleted or replaced")]).toEqual([true, true]);
		store.close();
	});

	test("because a newer router made it: nothing of it is touched", () => {
		using home = directory();
		const file = join(home.path, "router.db");
		const newer = new Database(file);
		newer.run("PRAGMA user_version = 99");
		newer.close();
		const { store, problems } = storeIn(home.path);
		store.saveAgents([agent]);
		expect(problems[0]).toContain("a newer router made it");
		expect(new Database(file).query("SELECT name FROM sqlite_master").all()).toEqual([]);
	});

	test("because the disk is full: each write fails alone, and is told once until one works", () => {
		using home = directory();
		const { store, problems } = storeIn(home.path);
		store.saveAgents([agent]);
		// What a full disk is to SQLite: no page more.
		const limit = new Database(join(home.path, "router.db"));
		limit.run("CREATE TRIGGER full BEFORE INSERT ON agents BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
		store.saveAgents([bare]);
		store.saveAgents([bare]);
		expect(problems).toHaveLength(1);
		expect(store.agents()).toEqual([agent]);
		limit.run("DROP TRIGGER full");
		store.saveAgents([bare]);
		expect(store.problem).toBeUndefined();
		expect(store.agents()).toHaveLength(2);
	});

	test("because another process keeps it locked: the call goes on after half a second", () => {
		using home = directory();
		const { store, problems } = storeIn(home.path);
		store.saveAgents([agent]);
		const other = new Database(join(home.path, "router.db"));
		other.run("BEGIN IMMEDIATE");
		store.saveAgents([bare]);
		expect(problems[0]).toContain("SQLITE_BUSY");
		other.run("ROLLBACK");
		store.saveAgents([bare]);
		expect(store.agents()).toHaveLength(2);
	});
});
