/** Checkpoints of the database: made beside the event loop, and the write-ahead log begins anew after them. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { copyFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Checkpoints } from "../src/store/checkpoints.ts";
import type { LedgerCall } from "../src/store/ledger-batch.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";
import { until } from "./kit/until.ts";

const BATCH = 1_000;

function batch(): LedgerCall[] {
	return Array.from({ length: BATCH }, () => ({
		id: `req_${Bun.randomUUIDv7()}`,
		at: Date.now(),
		...{ keyId: "", key: "", team: "", user: "", model: "m", provider: "p", status: 200 },
		...{ tokensIn: 1, tokensOut: 2, cost: undefined, attempts: undefined },
		details: JSON.stringify({ ms: 1, route: "a".repeat(200) }),
	}));
}

/** Pages in the write-ahead log, and how many of them a checkpoint has copied. Makes no checkpoint. */
function logOf(db: Database): { pages: number; copied: number } {
	const [row] = db.query("PRAGMA wal_checkpoint(NOOP)").values() as number[][];
	return { pages: row![1]!, copied: row![2]! };
}

/** Writes until the log has so many pages. */
async function fill(store: ReturnType<typeof sqliteStore>, look: Database, pages: number): Promise<void> {
	while (logOf(look).pages < pages) {
		expect(await store.ledger.write({ calls: batch(), attempts: [], usage: [] })).toBe("written");
	}
}

test.each([
	["has no program", () => new Worker("/nothing/here.ts", { ref: false }), "here.ts"],
	[
		"can't be started",
		() => {
			throw new Error("no thread");
		},
		"no thread",
	],
])("a thread that %s is told once, and no other one is started", async (_, broken, why) => {
	const told: string[] = [];
	let starts = 0;
	const checkpoints = new Checkpoints(
		"/nothing/router.db",
		(clause) => told.push(clause),
		() => {
			starts++;
			return broken();
		},
	);
	checkpoints.start();
	await until(() => told.length > 0);
	checkpoints.start();
	expect([starts, told]).toEqual([1, [expect.stringContaining(why)]]);
	checkpoints.close();
});

test("a log of thousands of pages is copied while nothing else happens, the next write begins it anew, and all rows are there", async () => {
	using home = directory();
	const problems: string[] = [];
	const store = sqliteStore(home.path, (problem) => problems.push(problem));
	await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
	using look = new Database(join(home.path, "router.db"), { readwrite: true });
	for (let rounds = 0; rounds < 2; rounds++) {
		await fill(store, look, 4_000);
		// A few more make it certain that one was asked for: the pages are guessed.
		await until(async () => {
			const { pages, copied } = logOf(look);
			if (copied === 0) await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
			// SQLite itself makes one after 16,000, which would keep calls waiting.
			expect(pages).toBeLessThan(12_000);
			return copied === pages;
		});
		await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
		expect(logOf(look).pages).toBeLessThan(1_000);
	}
	const { rows } = look.query("SELECT COUNT(*) AS rows FROM calls").get() as { rows: number };
	expect(rows % BATCH).toBe(0);
	expect(rows).toBeGreaterThan(20 * BATCH);
	expect(look.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
	expect(problems).toEqual([]);
	store.close();
});

test("a database that is deleted under its checkpoints is made anew, and written to", async () => {
	using home = directory();
	const problems: string[] = [];
	const store = sqliteStore(home.path, (problem) => problems.push(problem));
	await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
	const look = new Database(join(home.path, "router.db"), { readwrite: true });
	for (const name of ["router.db", "router.db-wal", "router.db-shm"]) unlinkSync(join(home.path, name));
	for (let batches = 0; batches < 40; batches++) await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
	look.close();
	store.recover();
	expect(await store.ledger.write({ calls: batch(), attempts: [], usage: [] })).toBe("written");
	expect(problems).toHaveLength(1);
	expect(store.problem).toBeUndefined();
	using made = new Database(join(home.path, "router.db"), { readonly: true });
	const { rows } = made.query("SELECT COUNT(*) AS rows FROM calls").get() as { rows: number };
	expect(rows).toBeGreaterThan(BATCH);
	store.close();
});

describe("the last checkpoint", () => {
	test("leaves the file whole without its log, also where a thread of the router has the database open", async () => {
		using home = directory();
		const store = sqliteStore(home.path, (problem) => expect(problem).toBe(""));
		for (let batches = 0; batches < 5; batches++) await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
		const file = join(home.path, "router.db");
		using other = new Database(file, { readonly: true });
		expect(rowsIn(other)).toBe(5 * BATCH);
		await store.finishLog();
		expect(statSync(`${file}-wal`).size).toBe(0);
		copyFileSync(file, join(home.path, "copy.db"));
		using copy = new Database(join(home.path, "copy.db"), { readonly: true });
		expect(rowsIn(copy)).toBe(5 * BATCH);
		store.close();
	});

	test("waits for no reader that does not end", async () => {
		using home = directory();
		const store = sqliteStore(home.path, (problem) => expect(problem).toBe(""));
		await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
		using reader = new Database(join(home.path, "router.db"), { readonly: true });
		reader.run("BEGIN");
		expect(rowsIn(reader)).toBe(BATCH);
		await store.ledger.write({ calls: batch(), attempts: [], usage: [] });
		await store.finishLog();
		store.close();
		reader.run("END");
		expect(rowsIn(reader)).toBe(2 * BATCH);
	});

	test("waits for no disk that takes longer than a stop may", async () => {
		using home = directory();
		const file = join(home.path, "router.db");
		writeFileSync(`${file}-wal`, "a log");
		let asked = 0;
		const silent = { postMessage: () => asked++, terminate() {} } as unknown as Worker;
		const checkpoints = new Checkpoints(file, undefined, () => silent);
		checkpoints.start();
		await checkpoints.finish(1);
		expect(asked).toBe(2);
		checkpoints.close();
	});

	test("is none where there is no log, no file, or no thread", async () => {
		using home = directory();
		const store = sqliteStore(home.path, (problem) => expect(problem).toBe(""));
		await store.finishLog();
		const file = join(home.path, "router.db");
		const told: string[] = [];
		const noThread = () => {
			throw new Error("no thread");
		};
		const checkpoints = new Checkpoints(file, (why) => told.push(why), noThread);
		await checkpoints.finish();
		expect(told).toEqual([]);
		writeFileSync(`${file}-wal`, "a log");
		await checkpoints.finish();
		expect(told).toHaveLength(1);
	});
});

const rowsIn = (db: Database): number =>
	(db.query("SELECT COUNT(*) AS rows FROM calls").get() as { rows: number }).rows;
