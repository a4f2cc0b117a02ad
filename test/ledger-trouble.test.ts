/** The ledger beside other processes, and where nothing can be written: each call is kept and counted once. */
import { Database } from "bun:sqlite";
import { describe, expect, jest, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ledger, type LostRows } from "../src/accounts/usage/ledger.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { periodsOf } from "../src/accounts/usage/spend.ts";
import { usageBy } from "../src/accounts/usage/usage-report.ts";
import { shownCall } from "../src/server/admin/call-view.ts";
import { RouterState } from "../src/server/router-state.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";
import { configure } from "./kit/configure.ts";
import { ledgerIn, settled } from "./kit/ledger.ts";
import { until } from "./kit/until.ts";

describe("what is spent", () => {
	test("counts each call once, also the first of a key that comes as a batch is written", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const spend = new LocalSpend(store.ledger);
		const { total } = periodsOf(Date.now());
		for (let at = 0; at < 1000; at++) {
			ledger.callSettled(settled({ keyId: `config:${at}` }));
			spend.add(`config:${at}`, total, 0.001);
			// What the thread has written is known between calls.
			if (at % 100 === 99) await Bun.sleep(2);
		}
		const wrong = Array.from({ length: 1000 }, (_, at) => spend.spent(`config:${at}`, total)).filter(
			(usd) => usd !== 0.001,
		);
		expect(wrong).toEqual([]);
		await ledger.flush();
	});
});

test("what two processes with one data directory spend is the sum, a second later", async () => {
	using home = directory();
	const { config } = configure({ env: { DATA_DIR: home.path } });
	const states = [new RouterState(config), new RouterState(config)];
	const closing = states.map((state) => state.open());
	const { total } = periodsOf(Date.now());
	const call = ({ ledger, spend }: (typeof states)[number]) => {
		ledger.callSettled(settled());
		spend.add("config:team-a", total, 0.001);
	};
	for (const state of states) for (let at = 0; at < 100; at++) call(state);
	const spent = () => states.map(({ spend }) => spend.spent("config:team-a", total).toFixed(6));
	await until(() => spent().join() === "0.200000,0.200000", "the sum");
	call(states[0]!);
	expect(spent()[0]).toBe("0.201000");
	await until(() => spent()[1] === "0.201000", "the sum");
	await Promise.all(closing.map((close) => close()));
});

test("a database that another process holds at the end is waited for, and nothing is lost", async () => {
	using home = directory();
	const { store, ledger } = ledgerIn(home.path);
	const close = ledger.open();
	ledger.callSettled(settled());
	await ledger.flush();
	using other = new Database(join(home.path, "router.db"));
	other.run("BEGIN IMMEDIATE");
	const call = settled();
	ledger.callSettled(call);
	const closed = close();
	expect(store.ledger.call(call.id)).toBeUndefined();
	other.run("COMMIT");
	await closed;
	expect(store.ledger.call(call.id)?.call.id).toBe(call.id);
});

test("a ledger that can't be read is asked anew, until it can be", () => {
	let written: number | undefined;
	const spend = new LocalSpend({ spent: () => written, spenders: () => [] });
	spend.add("a", "total", 2);
	expect([spend.spent("a", "total"), spend.isUnsure]).toEqual([2, true]);
	spend.refresh();
	expect([spend.spent("a", "total"), spend.isUnsure]).toEqual([0, true]);
	written = 5;
	spend.refresh();
	expect([spend.spent("a", "total"), spend.isUnsure]).toEqual([5, false]);
});

test("what was spent before is counted again once the ledger can be read", async () => {
	using home = directory();
	const { store, ledger } = ledgerIn(home.path);
	ledger.callSettled(settled());
	await ledger.flush();
	store.close();
	const { config } = configure({ env: { DATA_DIR: home.path } });
	const state = new RouterState(config);
	const close = state.open();
	using other = new Database(join(home.path, "router.db"));
	other.run("PRAGMA busy_timeout = 5000");
	other.run("ALTER TABLE usage_days RENAME TO away");
	const spent = () => state.spend.spent("config:team-a", "total").toFixed(6);
	expect(spent()).toBe("0.000000");
	state.spend.add("config:team-a", "total", 0.002);
	expect(spent()).toBe("0.002000");
	other.run("ALTER TABLE away RENAME TO usage_days");
	state.ledger.callSettled(settled({ cost: 0.002 }));
	await until(() => spent() === "0.003000", "the sum");
	await close();
});

describe("where nothing can be written", () => {
	const full = (path: string) => {
		const db = new Database(join(path, "router.db"));
		db.run("PRAGMA busy_timeout = 5000");
		db.run(
			"CREATE TRIGGER full BEFORE INSERT ON usage_days BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
		);
		return () => void db.run("DROP TRIGGER full");
	};
	const openedIn = async (path: string) => {
		const problems: string[] = [];
		const store = sqliteStore(path, (problem) => problems.push(problem));
		const lost: LostRows[] = [];
		const bounds = { keep: 1e12, size: 1e9 };
		const ledger = new Ledger({ store: store.ledger, bounds, onLost: (rows) => lost.push(rows) });
		ledger.callSettled(settled());
		await ledger.flush();
		return { store, ledger, problems, lost };
	};
	const count = (store: ReturnType<typeof sqliteStore>) =>
		usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls;

	test("calls wait, and are written once there is room again: each once", async () => {
		using home = directory();
		const { store, ledger, problems } = await openedIn(home.path);
		const makeRoom = full(home.path);
		const ids = Array.from({ length: 1000 }, () => {
			const call = settled();
			ledger.callSettled(call);
			return call.id;
		});
		await ledger.flush();
		await ledger.flush();
		expect([count(store), problems.length]).toEqual([1, 1]);
		makeRoom();
		ledger.callSettled(settled());
		await ledger.flush();
		expect(count(store)).toBe(1002);
		expect(ids.filter((id) => !store.ledger.call(id))).toEqual([]);
	});

	test("to a directory that became a file under the open database: what it takes is counted once", async () => {
		using home = directory();
		const data = join(home.path, "data");
		const { store, ledger, problems } = await openedIn(data);
		rmSync(data, { recursive: true });
		writeFileSync(data, "");
		ledger.callSettled(settled());
		for (let tries = 0; tries < 3; tries++) await ledger.flush();
		expect([count(store), ledger.waiting, problems.length]).toEqual([2, 0, 1]);
		expect(problems[0]).toContain("it was deleted or replaced while it was in use");
	});

	test("a call that waits is told of as one that is written", async () => {
		using home = directory();
		const { ledger } = await openedIn(home.path);
		const makeRoom = full(home.path);
		const failed = { provider: "openai", target: "openai/gpt-5-mini", ms: 3 };
		const told = () =>
			Promise.all(
				[sole, twice].map(async ({ id }) => {
					const { call, attempts } = (await ledger.call(id))!;
					return shownCall(call, attempts);
				}),
			);
		const [sole, twice] = [settled(), settled({ attempts: 2 })];
		ledger.attemptClosed({ ...failed, callId: sole.id, status: 200 });
		ledger.attemptClosed({ ...failed, callId: twice.id, failure: "transport" });
		ledger.attemptClosed({ ...failed, callId: twice.id, number: 2, status: 200 });
		for (const call of [sole, twice]) ledger.callSettled(call);
		const waiting = await told();
		expect(ledger.isWritten).toBe(false);
		expect(waiting.map(({ attempts }) => attempts.map(({ outcome }) => outcome))).toEqual([
			["answered"],
			["transport", "answered"],
		]);
		makeRoom();
		expect(await told()).toEqual(waiting);
		expect(ledger.isWritten).toBe(true);
		expect(await ledger.call("req_none")).toBeUndefined();
	});

	test("is not tried more often because another process writes: each time may keep calls waiting for half a second", async () => {
		using home = directory();
		const { config } = configure({ env: { DATA_DIR: home.path } });
		const state = new RouterState(config);
		state.ledger.callSettled(settled());
		await state.ledger.flush();
		const makeRoom = full(home.path);
		let flushes = 0;
		let last = Promise.resolve();
		const flush = state.ledger.flush.bind(state.ledger);
		state.ledger.flush = () => {
			flushes++;
			last = flush();
			return last;
		};
		jest.useFakeTimers();
		try {
			const close = state.open();
			state.ledger.callSettled(settled());
			const pass = async (ms: number) => {
				for (let passed = 0; passed < ms; passed += 500) {
					jest.advanceTimersByTime(500);
					await last;
				}
			};
			await pass(20_000);
			expect(flushes).toBeLessThan(7);
			makeRoom();
			await pass(5_000);
			expect(state.ledger.isWritten).toBe(true);
			await close();
		} finally {
			jest.useRealTimers();
		}
	});

	test("no more wait than there is memory for: of the others the sums are kept, and it is told how many", async () => {
		using home = directory();
		const { store, ledger, lost } = await openedIn(home.path);
		const makeRoom = full(home.path);
		for (let at = 0; at < 15_000; at++) {
			const call = settled();
			ledger.attemptClosed({ callId: call.id, provider: "xai", target: "xai/grok", ms: 1 });
			ledger.callSettled(call);
		}
		await ledger.flush();
		expect([ledger.waiting, ledger.isStuck, ledger.isWritten]).toEqual([15_000, true, false]);
		expect(lost.length).toBe(5_000);
		expect(new Set(lost.map(({ reason }) => reason))).toEqual(new Set(["full"]));
		makeRoom();
		await ledger.flush();
		expect([count(store), ledger.waiting, ledger.isStuck, ledger.isWritten]).toEqual([15_001, 0, false, true]);
		expect(store.ledger.spent("config:team-a", "")).toBeCloseTo(15.001, 6);
		using db = new Database(join(home.path, "router.db"));
		expect(db.query("SELECT COUNT(*) AS count FROM calls").get()).toEqual({ count: 10_001 });
	});

	test("each time that there is no more room is told of once, and attempts that are dropped count", async () => {
		using home = directory();
		const { ledger, lost } = await openedIn(home.path);
		for (const time of [1, 2]) {
			const makeRoom = full(home.path);
			for (let at = 0; at < 10_002; at++) {
				const call = settled();
				for (let attempt = 0; attempt < 2; attempt++) {
					ledger.attemptClosed({ callId: call.id, provider: "xai", target: "xai/grok", ms: 1 });
				}
				ledger.callSettled(call);
			}
			// Two calls, and their two attempts each.
			expect([lost.length, lost.filter(({ isKnown }) => !isKnown).length]).toEqual([time * 6, time]);
			makeRoom();
			await ledger.flush();
			expect(ledger.isStuck).toBe(false);
		}
	});

	test("because the directory is no directory: they are remembered, each once, in bounded memory", async () => {
		using home = directory();
		writeFileSync(join(home.path, "file"), "");
		const store = sqliteStore(join(home.path, "file"), () => {});
		const ledger = new Ledger({ store: store.ledger, bounds: { keep: 1e12, size: 1e9 } });
		for (let at = 0; at < 60_000; at++) ledger.callSettled(settled({ decision: { text: "x".repeat(2000) } }));
		await ledger.flush();
		expect(count(store)).toBe(60_000);
		expect(store.ledger.used()).toBeLessThan(70e6);
	});
});
