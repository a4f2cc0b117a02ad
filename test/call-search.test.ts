/** Searching the ledger: newest first, a bounded number of rows at a time, by the primary key alone. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SHADOW_ID } from "../src/accounts/usage/shadow-account.ts";
import { callSearch, shownCalls } from "../src/server/admin/call-list.ts";
import { shadowReport } from "../src/server/admin/shadow-report.ts";
import { LAST_OF_SLICE, searchStatement } from "../src/store/call-search.ts";
import type { CallSettled } from "../src/telemetry/events.ts";
import { directory } from "./kit/cli.ts";
import { ledgerIn, settled } from "./kit/ledger.ts";

const ALL = { from: "req_", before: "req_~", limit: 50, rows: 1_000 };
const BEGAN = Date.parse("2026-08-01T00:00:00Z");

/** An id of a call that began so many minutes into the first of August. */
function idAt(minute: number): string {
	const hex = (BEGAN + minute * 60_000).toString(16).padStart(12, "0");
	return `req_${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

let home: ReturnType<typeof directory>;
let store: ReturnType<typeof ledgerIn>["store"];

beforeAll(async () => {
	home = directory();
	const made = ledgerIn(home.path, { keep: 1e13, size: 1e9 });
	store = made.store;
	const calls: Partial<CallSettled>[] = Array.from({ length: 100 }, (_, at) => ({
		user: `user-${at % 3}`,
		...(at % 10 === 0 ? { status: at === 50 ? 429 : 503, error: "overloaded" } : {}),
		...(at === 0 ? { key: "rare", keyId: "key_rare", model: "other" } : {}),
	}));
	calls.forEach((call, at) => void made.ledger.callSettled(settled({ ...call, id: idAt(at) }), BEGAN + at));
	await made.ledger.flush();
});
afterAll(() => {
	store.close();
	home[Symbol.dispose]();
});

const list = async (query: Record<string, string>) => shownCalls(callSearch(query), store.ledger, 0);
const ids = async (query: Record<string, string>) => (await list(query)).data.map(({ id }) => id);

describe("what can't be asked for is refused, by its name", () => {
	test.each([
		[{ modell: "fast" }, "modell is no parameter"],
		[{ status: "4x" }, "status must be"],
		[{ status: "0" }, "status must be"],
		[{ from: "yesterday" }, "from must be a day"],
		[{ from: "2026-02-30" }, "from must be a day"],
		[{ from: "2026-02-30T10:00Z" }, "from must be a day"],
		[{ to: "2025-02-29T23:30:00.5+02:00" }, "to must be a day"],
		[{ to: "2026-08-01T25:00:00Z" }, "to must be a day"],
		[{ to: "1969-12-31" }, "to must be a day"],
		[{ from: "2026-08-02", to: "2026-08-01" }, "from must not be later than to"],
		[{ before: "req_'; DROP TABLE calls" }, "before must be the `next`"],
		[{ limit: "0" }, "limit must be a number from 1 to 200"],
		[{ limit: "201" }, "limit must be a number from 1 to 200"],
		[{ limit: "1e2" }, "limit must be a number from 1 to 200"],
		[{ user: "u".repeat(1_001) }, "user must have 1000 characters at most"],
	] as [Record<string, string>, string][])("%j", (query, message) => {
		expect(() => callSearch(query)).toThrow(message);
	});
});

describe("what is found", () => {
	test("nothing, where there is none of it, and no more is left", async () => {
		expect(await list({ user: "nobody" })).toEqual({ data: [] });
		expect(await list({ user: "user-1' OR 1=1 --" })).toEqual({ data: [] });
	});

	test("the newest first, and with `before` every call once", async () => {
		const seen: string[] = [];
		for (let before: string | undefined = ""; before !== undefined; ) {
			const page: Awaited<ReturnType<typeof list>> = await list({ limit: "7", before });
			seen.push(...page.data.map(({ id }) => id));
			before = page.next;
		}
		expect(seen).toEqual(Array.from({ length: 100 }, (_, at) => idAt(99 - at)));
	});

	test("by the key's name and by its id, by user, model and provider, alone and together", async () => {
		expect(await ids({ key: "rare" })).toEqual([idAt(0)]);
		expect(await ids({ key: "key_rare" })).toEqual([idAt(0)]);
		expect(await ids({ model: "other", provider: "openai", user: "user-0", team: "red" })).toEqual([idAt(0)]);
		expect(await ids({ model: "other", user: "user-1" })).toEqual([]);
	});

	test("by status, its class, and whether it failed", async () => {
		expect(await ids({ status: "429" })).toEqual([idAt(50)]);
		expect((await ids({ status: "5xx" })).length).toBe(9);
		expect((await ids({ status: "failed" })).length).toBe(10);
		expect((await ids({ status: "2xx", limit: "200" })).length).toBe(90);
	});

	test("by when it began; a day that is the last one is included", async () => {
		expect(await ids({ from: "2026-08-01T01:00:00Z", to: "2026-08-01T01:02:00Z" })).toEqual([
			idAt(62),
			idAt(61),
			idAt(60),
		]);
		expect((await ids({ to: "2026-08-01", limit: "200" })).length).toBe(100);
		expect(await ids({ from: "2026-08-02" })).toEqual([]);
	});

	test("of a call what it was, and never why: that is asked for by its id", async () => {
		const { data } = await list({ status: "429" });
		expect(data[0]).toMatchObject({ id: idAt(50), key: "team-a", user: "user-2", status: 429, error: "overloaded" });
		expect(Object.keys(data[0]!)).not.toContain("decision");
	});
});

describe("what a search costs", () => {
	test("a bounded number of rows; what is left is said, and found from there", () => {
		const rare = { key: "rare" };
		const first = store.ledger.search(rare, { ...ALL, rows: 60 });
		expect(first).toEqual({ calls: [], next: idAt(40) });
		const second = store.ledger.search(rare, { ...ALL, before: first.next!, rows: 60 });
		expect([second.calls.map(({ id }) => id), second.next]).toEqual([[idAt(0)], undefined]);
	});

	test("a request goes on over several parts, and ends with where it came to", async () => {
		const asked: number[] = [];
		const slow = {
			search: (_: unknown, { before, rows }: { readonly before: string; readonly rows: number }) => {
				asked.push(rows);
				return { calls: [], next: before === "req_~" ? idAt(90) : idAt(90 - asked.length) };
			},
		};
		const page = await shownCalls(callSearch({ key: "rare" }), slow, 3);
		expect(asked.reduce((sum, rows) => sum + rows, 0)).toBe(20_000);
		expect(page).toEqual({ data: [], next: idAt(82), looked_at: "2026-08-01T01:22:00.000Z", waiting: 3 });
	});

	test("a client that has left is read no further for: calls and copies", async () => {
		const client = new AbortController();
		let parts = 0;
		const search = () => {
			if (++parts === 2) client.abort();
			return { calls: [], next: idAt(90 - parts) };
		};
		const left = { errorCode: "cancelled" };
		await expect(shownCalls(callSearch({}), { search }, 0, client.signal)).rejects.toMatchObject(left);
		expect(parts).toBe(2);
		const day = { from: "2026-08-01", to: "2026-08-01" };
		const usage = () => [{ keyId: `${SHADOW_ID}m`, calls: 5 }] as never;
		const spend = { spent: () => 0 };
		const copies = shadowReport(callSearch(day), day, { search, usage }, [], spend, 0, client.signal);
		await expect(copies).rejects.toMatchObject(left);
		expect(parts).toBe(2);
	});

	test.each([
		{},
		{ key: "a" },
		{ user: "a" },
		{ status: [400, 999] as const },
		{ key: "a", team: "b", user: "c", model: "d", provider: "e", status: [200, 200] as const },
	])("%j is a search of the primary key: no other row is read, nothing is sorted", (filter) => {
		using db = new Database(join(home.path, "router.db"), { readonly: true });
		const [sql, values] = searchStatement(filter, ALL);
		const plans = [
			db.query(`EXPLAIN QUERY PLAN ${sql}`).all(...values),
			db.query(`EXPLAIN QUERY PLAN ${LAST_OF_SLICE}`).all("req_", "req_~", 10),
		];
		for (const plan of plans as { detail: string }[][]) {
			expect(plan.map(({ detail }) => detail)).toEqual(["SEARCH calls USING PRIMARY KEY (id>? AND id<?)"]);
		}
	});
});
