/** What the ledger lets go by itself: all that is beyond its bounds, however much, and the room that it took. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import type { LedgerBounds } from "../src/accounts/usage/ledger-bounds.ts";
import { startRetention } from "../src/accounts/usage/retention.ts";
import { makeCheckpoint } from "../src/store/open-database.ts";
import { directory } from "./kit/cli.ts";
import { ledgerIn, settled } from "./kit/ledger.ts";
import { until } from "./kit/until.ts";

const ALL: LedgerBounds = { keep: 1e12, size: 1e12 };

/** A ledger with so many calls of half a KB, which are within its bounds until others are set. */
async function filled(path: string, count: number) {
	const { store, ledger } = ledgerIn(path, ALL);
	for (let at = 0; at < count; at++) {
		ledger.callSettled(settled({ decision: { text: "x".repeat(300) } }));
		if (at % 5_000 === 0) await ledger.flush();
	}
	await ledger.flush();
	const calls = () => {
		using db = new Database(join(path, "router.db"), { readonly: true });
		return (db.query("SELECT count(*) AS count FROM calls").get() as { count: number }).count;
	};
	const retain = (bounds: LedgerBounds, wall = Date.now) =>
		startRetention({ store: store.ledger, bounds: () => bounds, wall });
	return { store, ledger, calls, retain, file: join(path, "router.db") };
}

describe("a ledger that has far more than its bounds allow", () => {
	test("lets nothing more go once it is told to end", async () => {
		using home = directory();
		const { store, calls, retain } = await filled(home.path, 3_000);
		const end = retain({ keep: 0, size: 1e12 }, () => Date.now() + 1_000);
		end();
		// Behind what was under way, which the thread makes first.
		await store.ledger.write({ calls: [], attempts: [], usage: [] });
		expect(calls()).toBe(2_500);
		store.close();
	});

	test("is within them soon, without one call that comes", async () => {
		using home = directory();
		const { store, calls, retain } = await filled(home.path, 3_000);
		const end = retain({ keep: 0, size: 1e12 }, () => Date.now() + 1_000);
		await until(() => calls() === 0, "all calls gone");
		end();
		store.close();
	});

	test("gives the room back, down to what calls soon fill again, and takes calls meanwhile", async () => {
		using home = directory();
		const { store, ledger, calls, retain, file } = await filled(home.path, 40_000);
		makeCheckpoint(file);
		const before = statSync(file).size;
		const end = retain({ keep: 1e12, size: 2e6 });
		const fresh: string[] = [];
		const size = () => {
			const call = settled();
			fresh.push(call.id);
			ledger.callSettled(call);
			makeCheckpoint(file);
			return statSync(file).size;
		};
		// 2,500 pages stay free.
		await until(() => size() < 2e6 + 2_501 * 4_096 + 1e6, "a small file");
		end();
		expect(before).toBeGreaterThan(17e6);
		await ledger.flush();
		expect(store.ledger.call(fresh.at(-1)!)).toBeDefined();
		expect(calls()).toBeGreaterThan(0);
		using db = new Database(file, { readonly: true });
		expect(db.query("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
		store.close();
	});
});

test("a file of a version that gave no room back is used as it is", async () => {
	using home = directory();
	{
		using db = new Database(join(home.path, "router.db"), { create: true });
		db.run("CREATE TABLE other (id TEXT)");
	}
	const { store, calls, retain } = await filled(home.path, 1_000);
	const end = retain({ keep: 0, size: 1e12 }, () => Date.now() + 1_000);
	await until(() => calls() === 0, "all calls gone");
	expect(await store.ledger.shrink()).toBe(false);
	end();
	store.close();
});
