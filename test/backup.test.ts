/** `router backup` and `router restore`: the data directory as one file, made and read while a router runs on it. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ledger } from "../src/accounts/usage/ledger.ts";
import { restoreBackup, writeBackup } from "../src/store/backup.ts";
import { MIGRATIONS } from "../src/store/migrations.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { cli, directory } from "./kit/cli.ts";
import { settled } from "./kit/ledger.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

function ledgerAt(path: string) {
	const store = sqliteStore(path, () => {});
	const ledger = new Ledger({ store: store.ledger, bounds: { keep: 1e12, size: 1e9 } });
	const write = async (count: number) => {
		const calls = Array.from({ length: count }, () => settled());
		for (const call of calls) ledger.callSettled(call);
		await ledger.flush();
		return calls.map(({ id }) => id);
	};
	return { store, write, close: () => store.close() };
}

function isAlive(pid: number): boolean {
	try {
		return process.kill(pid, 0);
	} catch {
		return false;
	}
}

function rowsIn(file: string) {
	using db = new Database(file, { readonly: true });
	const sum = db.query("SELECT sum(calls) AS calls FROM usage_days").get() as { calls: number };
	return {
		ids: (db.query("SELECT id FROM calls ORDER BY id").all() as { id: string }[]).map(({ id }) => id),
		attempts: (db.query("SELECT count(*) AS count FROM attempts").get() as { count: number }).count,
		summed: sum.calls,
	};
}

describe("a backup that can't be made or read", () => {
	test.each([
		[["backup"], 2, "router: `backup` needs a file: router backup FILE\n"],
		[["restore", "a", "b"], 2, 'router: "b" is one word too many\n'],
		[["restore", "gone.backup"], 1, "router: there is no "],
		[["backup", "new.backup"], 1, "router: there is no "],
	])("%p says what is wrong", async (args, code, said) => {
		using home = directory();
		const outcome = await cli(args as string[], { cwd: home.path });
		expect(outcome.code).toBe(code as number);
		expect(outcome.stderr).toStartWith(said as string);
	});

	test("leaves a file that is there as it is", async () => {
		using home = directory({ "a.backup": "mine" });
		const at = ledgerAt(join(home.path, "data"));
		await at.write(1);
		at.close();
		const { code, stderr } = await cli(["backup", "a.backup"], { cwd: home.path });
		expect(code).toBe(1);
		expect(stderr).toContain("exists already and was left as it is");
		expect(readFileSync(join(home.path, "a.backup"), "utf8")).toBe("mine");
	});

	test("is named where it is another file, another database, or a newer router's, and the directory stays as it is", () => {
		using home = directory({ "text.backup": "no database" });
		const data = join(home.path, "data");
		const other = new Database(join(home.path, "other.backup"));
		other.run("CREATE TABLE keys (id TEXT)");
		other.close();
		const newer = new Database(join(home.path, "newer.backup"));
		newer.run("CREATE TABLE backup_files (name TEXT)");
		newer.run(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
		newer.close();
		const refusal = (name: string) => () => restoreBackup(join(home.path, name), data);
		expect(refusal("text.backup")).toThrow("is no backup of `router backup`");
		expect(refusal("other.backup")).toThrow("is no backup of `router backup`");
		expect(refusal("newer.backup")).toThrow("is of a newer router: restore it with that version, or a later one");
		expect(existsSync(data)).toBe(false);
	});

	test("leaves nothing behind where the directory of its file is missing", async () => {
		using home = directory();
		const at = ledgerAt(join(home.path, "data"));
		await at.write(1);
		at.close();
		expect(() => writeBackup(join(home.path, "data"), join(home.path, "gone/a.backup"), [])).toThrow(
			"can't be written (ENOENT)",
		);
		expect(existsSync(join(home.path, "gone"))).toBe(false);
	});
});

test("an empty directory has all of a backup, files beside the database too, each its owner's alone", async () => {
	using home = directory();
	const [data, copy, file] = ["data", "copy", "a.backup"].map((name) => join(home.path, name)) as [
		string,
		string,
		string,
	];
	const at = ledgerAt(data);
	at.store.saveKeys([{ id: "one", value: '{"name":"one"}' }]);
	const ids = await at.write(1_234);
	writeFileSync(join(data, "agent-secret.key"), "secret\n");
	writeFileSync(join(data, "replica.id"), "identity\n");
	const env = { DATA_DIR: data };
	expect(await cli(["backup", "a.backup"], { cwd: home.path, env })).toMatchObject({
		code: 0,
		stdout: "wrote a.backup: 1,234 calls, 1 key, agent-secret.key\n",
	});
	at.close();
	expect(statSync(file).mode & 0o777).toBe(0o600);
	expect(existsSync(`${file}.part`)).toBe(false);

	const restored = await cli(["restore", "a.backup"], { cwd: home.path, env: { DATA_DIR: copy } });
	expect(restored).toMatchObject({ code: 0, stderr: "" });
	expect(restored.stdout).toBe(`${copy} has all of a.backup now; it lacked 1,234 calls, 1 key, agent-secret.key\n`);
	expect(rowsIn(join(copy, "router.db"))).toEqual({ ids: ids.sort(), attempts: 0, summed: 1_234 });
	expect(readFileSync(join(copy, "agent-secret.key"), "utf8")).toBe("secret\n");
	expect(statSync(join(copy, "agent-secret.key")).mode & 0o777).toBe(0o600);
	expect(existsSync(join(copy, "replica.id"))).toBe(false);
	expect(existsSync(join(copy, "restore.part"))).toBe(false);
});

test("what came since stays, sums count once, and a revoked key stays revoked", async () => {
	using home = directory();
	const [data, file] = [join(home.path, "data"), join(home.path, "a.backup")];
	const at = ledgerAt(data);
	const key = (more: object) => [{ id: "one", value: JSON.stringify({ name: "one", changedAt: 1, ...more }) }];
	at.store.saveKeys(key({}));
	await at.write(10);
	writeBackup(data, file, []);
	at.store.saveKeys(key({ changedAt: 2, revokedAt: 5 }));
	await at.write(7);
	expect(restoreBackup(file, data)).toEqual({ calls: 0, keys: 0, files: [] });
	expect(restoreBackup(file, data)).toEqual({ calls: 0, keys: 0, files: [] });
	await at.write(1);
	at.close();
	const { ids, summed } = rowsIn(join(data, "router.db"));
	expect([ids.length, summed]).toEqual([18, 18]);
	using db = new Database(join(data, "router.db"), { readonly: true });
	expect(db.query("SELECT value ->> 'revokedAt' AS at FROM keys").all()).toEqual([{ at: 5 }]);
});

test("a backup of an older format is brought to today's", () => {
	using home = directory();
	const file = join(home.path, "old.backup");
	const old = new Database(file);
	for (const step of MIGRATIONS.slice(0, 3)) old.run(step);
	old.run("PRAGMA user_version = 3");
	old.run("CREATE TABLE backup_files (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT");
	old.run("INSERT INTO keys VALUES ('one', '{}')");
	old.run("INSERT INTO calls VALUES ('01', 1, 'k', 'k', '', '', 'm', 'p', 200, 1, 1, 0.5, '{}')");
	old.close();
	const data = join(home.path, "data");
	expect(restoreBackup(file, data)).toEqual({ calls: 1, keys: 1, files: [] });
	expect(rowsIn(join(data, "router.db")).ids).toEqual(["01"]);
});

test("a running router goes on while it is backed up and restored, and counts each of its calls once", async () => {
	const router = await startRouter({ config: { keys: [{ name: "team", key: "sk-of-a-team" }] } });
	try {
		const env = { DATA_DIR: join(router.directory, "data") };
		let answered = 0;
		let isOver = false;
		const ask = async () => {
			const answer = await fetch(`${router.url}/v1/chat/completions`, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					authorization: "Bearer sk-of-a-team",
					"cache-control": "no-store",
				},
				body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hi" }] }),
			});
			expect(answer.status).toBe(200);
			await answer.text();
			answered++;
		};
		const load = Promise.all(
			Array.from({ length: 4 }, async () => {
				while (!isOver) await ask();
			}),
		);
		try {
			await until(() => existsSync(join(env.DATA_DIR, "router.db")), "a row");
			for (let round = 0; round < 3; round++) {
				const name = `${round}.backup`;
				expect(await cli(["backup", name], { cwd: router.directory, env })).toMatchObject({ code: 0, stderr: "" });
				expect(await cli(["restore", name], { cwd: router.directory, env })).toMatchObject({ code: 0, stderr: "" });
			}
		} finally {
			isOver = true;
			await load;
		}
		await router.idle();
		expect(await router.metric("router_requests_total")).toBe(answered);
		process.kill(router.pid, "SIGTERM");
		await until(() => !isAlive(router.pid), "its end");
		const { ids, summed } = rowsIn(join(env.DATA_DIR, "router.db"));
		expect([ids.length, summed]).toEqual([answered, answered]);
		// A machine that lost its directory has what the last backup had.
		const lost = join(router.directory, "lost");
		mkdirSync(lost);
		const { calls } = restoreBackup(join(router.directory, "2.backup"), lost);
		expect(calls).toBe(rowsIn(join(router.directory, "2.backup")).ids.length);
		expect(rowsIn(join(lost, "router.db")).summed).toBe(calls);
	} finally {
		await router.stop();
		rmSync(router.directory, { recursive: true, force: true });
	}
});
