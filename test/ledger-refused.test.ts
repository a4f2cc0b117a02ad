/** A row that the database refuses costs that row alone; a ledger that has stopped says so, tries again by itself, and forgets nothing. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Ledger, type LostRows } from "../src/accounts/usage/ledger.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import type { LedgerStore } from "../src/store/ledger-table.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
import { directory } from "./kit/cli.ts";
import type { Loose } from "./kit/exchange.ts";
import { settled } from "./kit/ledger.ts";
import { post } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

function openedIn(path: string) {
	const problems: string[] = [];
	const lost: LostRows[] = [];
	const store = sqliteStore(path, (problem) => problems.push(problem));
	const bounds = { keep: 1e12, size: 1e9 };
	const ledger = new Ledger({ store: store.ledger, bounds, onLost: (rows) => lost.push(rows) });
	const rows = (table: string) => {
		using db = new Database(join(path, "router.db"));
		return (db.query(`SELECT COUNT(*) AS count FROM ${table}`).get() as { count: number }).count;
	};
	return { store, ledger, lost, problems, rows };
}

/** What no upstream can bring about any more: rows that a fault of the router's own would make. */
const odd = (what: object) => settled(what as Partial<CallSettled>);
const ODD_CALLS: [string, () => CallSettled][] = [
	["half a token", () => odd({ tokens: { input: 5, output: 5.5 } })],
	["more tokens than an integer holds", () => odd({ tokens: { input: 1e19, output: 1 } })],
	["endless tokens", () => odd({ tokens: { input: Number.POSITIVE_INFINITY, output: 1 } })],
	["a status that is none", () => odd({ status: Number.NaN })],
	["an object for a name", () => odd({ key: {} })],
	["a symbol for a provider", () => odd({ provider: Symbol("p") })],
	["a bigint among its details", () => odd({ ms: 5n })],
	["no model", () => odd({ model: undefined })],
];

describe("a call with", () => {
	test.each(ODD_CALLS)("%s is lost alone, wherever it stands in its batch, and told of", async (_, make) => {
		for (const place of [0, 57, 99]) {
			using home = directory();
			const { store, ledger, lost, problems, rows } = openedIn(home.path);
			const bad = make();
			const good = Array.from({ length: 99 }, () => settled());
			for (const call of good.toSpliced(place, 0, bad)) ledger.callSettled(call);
			await ledger.flush();
			expect(rows("calls")).toBe(99);
			expect(good.filter(({ id }) => !store.ledger.call(id))).toEqual([]);
			expect(lost.map(({ reason, count, id }) => ({ reason, count, id }))).toEqual([
				{ reason: "refused", count: 1, id: bad.id },
			]);
			expect(lost[0]!.problem).not.toBe("");
			expect([problems, ledger.isStuck, ledger.waiting, ledger.isWritten]).toEqual([[], false, 0, true]);
			ledger.callSettled(settled());
			await ledger.flush();
			expect(rows("calls")).toBe(100);
			store.close();
		}
	});

	test("a row that is refused has its cost in the sums all the same, where those are well", async () => {
		using home = directory();
		const { store, ledger } = openedIn(home.path);
		ledger.callSettled(odd({ status: Number.NaN, cost: 0.25 }));
		ledger.callSettled(settled({ cost: 0.5 }));
		await ledger.flush();
		expect(new LocalSpend(store.ledger).spent("config:team-a", "total")).toBeCloseTo(0.75, 9);
		store.close();
	});
});

test("an attempt that is refused is lost alone: its call and the others stay", async () => {
	using home = directory();
	const { store, ledger, lost, rows } = openedIn(home.path);
	const attempt = (callId: string, ms: number): AttemptClosed => ({ callId, provider: "xai", target: "xai/grok", ms });
	const call = settled();
	ledger.attemptClosed(attempt("req_other-1", 1));
	ledger.attemptClosed(attempt("req_other-2", Number.NaN));
	ledger.attemptClosed(attempt("req_other-3", 1));
	ledger.attemptClosed(attempt(call.id, 1));
	ledger.callSettled(call);
	await ledger.flush();
	expect([rows("calls"), rows("attempts")]).toEqual([1, 2]);
	expect(store.ledger.call(call.id)?.attempts).toHaveLength(1);
	expect(lost).toMatchObject([{ reason: "refused", count: 1, id: "req_other-2" }]);
	store.close();
});

test("where many rows are odd each of them is lost, and each of the others written once", async () => {
	using home = directory();
	const { store, ledger, lost, rows } = openedIn(home.path);
	for (let at = 0; at < 240; at++) ledger.callSettled(at % 3 === 0 ? odd({ status: 0.5 }) : settled());
	await ledger.flush();
	expect([rows("calls"), lost.length]).toEqual([160, 80]);
	expect(store.ledger.usage("2000-01-01", "9999-12-31").reduce((sum, { calls }) => sum + calls, 0)).toBe(240);
	store.close();
});

const ADMIN = { authorization: "Bearer admin-key-of-the-test" };
const KEY = { authorization: "Bearer key-of-team-a" };
const body = { model: "dummy", messages: [{ role: "user", content: "a prompt that nobody may read" }] };

test.each([
	["a batch", () => settled()],
	["a row that is written alone", () => odd({ tokens: { input: 5, output: 5.5 } })],
])("a store that throws at %s has the ledger say that it is stuck, and nothing is lost", async (_, made) => {
	using home = directory();
	const { store, lost, rows } = openedIn(home.path);
	let isBroken = true;
	const write: LedgerStore["write"] = async (batch) => {
		if (isBroken) throw new Error("EACCES");
		return await store.ledger.write(batch);
	};
	const bounds = { keep: 1e12, size: 1e9 };
	const ledger = new Ledger({ store: { ...store.ledger, write }, bounds, onLost: (each) => lost.push(each) });
	ledger.callSettled(settled());
	ledger.callSettled(made());
	await ledger.flush();
	expect([ledger.isStuck, ledger.waiting, lost.length]).toEqual([true, 2, 0]);
	isBroken = false;
	await ledger.flush();
	expect([ledger.isStuck, ledger.waiting, rows("calls") + lost.length]).toEqual([false, 0, 2]);
});

test("a ledger that has stopped is told by /metrics and /health/ready, tries again by itself, and what keys have spent is not forgotten", async () => {
	using home = directory();
	const options = {
		env: { DATA_DIR: home.path },
		config: {
			keys: [{ name: "team-a", key: "key-of-team-a", budget: { usd: 7, per: "total" } }],
			prices: { "dummy/*": { input: 0, output: 0, request: 1 } },
			admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] },
		},
	};
	const call = async (url: string) => (await post(`${url}/v1/chat/completions`, body, KEY)).status;
	const usage = async (url: string): Promise<Loose> =>
		(await (await fetch(`${url}/admin/usage?by=key`, { headers: ADMIN })).json()) as Loose;
	const ready = async (url: string) => {
		const answer = await fetch(`${url}/health/ready`);
		return [answer.status, await answer.json()];
	};
	let router = await startRouter(options);
	try {
		expect(await call(router.url)).toBe(200);
		expect((await usage(router.url))["data"][0].calls).toBe(1);
		expect(await ready(router.url)).toEqual([200, { status: "ready" }]);
		{
			using db = new Database(join(home.path, "router.db"));
			db.run("PRAGMA busy_timeout = 5000");
			db.run("CREATE TRIGGER broken BEFORE INSERT ON usage_days BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END");
			for (let at = 0; at < 4; at++) expect(await call(router.url)).toBe(200);
			await until(async () => (await router.metric("router_ledger_up")) === 0, "a ledger that is down");
			expect(await router.metric("router_ledger_waiting_calls")).toBe(4);
			expect(await ready(router.url)).toEqual([200, { status: "ready", ledger: "stopped" }]);
			// Budgets hold meanwhile.
			expect(await call(router.url)).toBe(200);
			db.run("DROP TRIGGER broken");
		}
		await until(async () => (await router.metric("router_ledger_up")) === 1, "a ledger that is well again");
		expect(await ready(router.url)).toEqual([200, { status: "ready" }]);
		expect(await router.metric("router_ledger_waiting_calls")).toBe(0);
		expect(await router.metric("router_ledger_lost_rows_total")).toBe(0);
		expect((await usage(router.url))["data"][0]).toMatchObject({ calls: 6, cost_usd: 6 });
		process.kill(router.pid, "SIGKILL");
		await router.stop();
		router = await startRouter(options);
		expect((await usage(router.url))["data"][0]).toMatchObject({ calls: 6, cost_usd: 6 });
		expect(await call(router.url)).toBe(200);
		expect(await call(router.url)).toBe(429);
	} finally {
		await router.stop();
	}
});

test("a row that the database refuses is counted in /metrics and logged without its prompt and its key", async () => {
	using home = directory();
	const router = await startRouter({
		env: { DATA_DIR: home.path },
		config: { keys: [{ name: "team-a", key: "key-of-team-a" }] },
	});
	try {
		const call = () => post(`${router.url}/v1/chat/completions`, body, KEY);
		await call();
		await until(() => isWritten(join(home.path, "router.db")), "the first call's row");
		{
			// What an older or a newer router may have made of the table.
			using db = new Database(join(home.path, "router.db"));
			db.run("PRAGMA busy_timeout = 5000");
			db.run("DROP TABLE calls");
			db.run(
				"CREATE TABLE calls (id TEXT PRIMARY KEY, at INTEGER, key_id TEXT, key TEXT, team TEXT, user TEXT, model TEXT CHECK (model <> 'dummy'), provider TEXT, status INTEGER, tokens_in INTEGER, tokens_out INTEGER, cost REAL, details TEXT, attempts TEXT) STRICT",
			);
		}
		await call();
		await until(
			async () => (await router.metric("router_ledger_lost_rows_total", { reason: "refused" })) >= 1,
			"a lost row",
		);
		expect(await router.metric("router_ledger_up")).toBe(1);
		await router.printed(/a row of the ledger was refused and is lost/);
		const line = router
			.output()
			.split("\n")
			.find((each) => each.includes("a row of the ledger"))!;
		expect(line).toMatch(/req_/);
		expect(line).toContain("CHECK constraint failed");
		expect(router.output()).not.toContain("a prompt that nobody may read");
		expect(router.output()).not.toContain("key-of-team-a");
	} finally {
		await router.stop();
	}
});

/** Whether a call stands in the ledger; its tables are made after the file. */
function isWritten(file: string): boolean {
	if (!existsSync(file)) return false;
	using db = new Database(file, { readonly: true });
	// The router that makes it keeps it to itself for a moment.
	db.run("PRAGMA busy_timeout = 5000");
	return (
		db.query("SELECT 1 FROM sqlite_master WHERE name = 'calls'").get() !== null &&
		db.query("SELECT 1 FROM calls").get() !== null
	);
}
