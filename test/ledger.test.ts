/** The ledger: a row a call, its attempts, sums by day; bounded, and whole whatever happens to the process. */
import { Database } from "bun:sqlite";
import { describe, expect, jest, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ledger } from "../src/gate/ledger.ts";
import { ownSpend } from "../src/gate/own-spend.ts";
import { periodsOf } from "../src/gate/spend.ts";
import { usageBy, usageCsv } from "../src/gate/usage.ts";
import { newRequestId } from "../src/http/request-id.ts";
import { createHouse } from "../src/server/house.ts";
import { shownCall } from "../src/server/shown-call.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import type { CallSettled } from "../src/telemetry/events.ts";
import { directory } from "./kit/cli.ts";
import { configure } from "./kit/configure.ts";
import { random } from "./kit/random.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const settled = (rest: Partial<CallSettled> = {}): CallSettled => ({
	id: newRequestId(),
	operation: "chat",
	stream: false,
	requested: "fast",
	model: "fast",
	provider: "openai",
	target: "openai/gpt-5-mini",
	status: 200,
	attempts: 1,
	ms: 120.34,
	tokens: { input: 100, output: 20, cached: 60 },
	cost: 0.001,
	bill: { source: "list", isEstimated: false, price: { input: 0.25, output: 2 } },
	key: "team-a",
	keyId: "config:team-a",
	team: "red",
	...rest,
});

function ledgerIn(path: string, bounds = { keep: 30 * 86_400_000, size: 1e9 }, wall = Date.now) {
	const store = sqliteStore(path, (problem) => {
		// A ledger's timer may outlive its test by half a second, and the directory does not. Locks are no trouble that stays.
		if (existsSync(path) && !problem.includes("SQLITE_BUSY")) throw new Error(problem);
	});
	return { store, ledger: new Ledger({ store: store.ledger, bounds: () => bounds, wall }) };
}

describe("what is kept", () => {
	test("of a call: what it was, where it went, what it cost by which price, and each attempt", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ attempts: 2, user: "bob", reason: "models: fast", decision: { candidates: [1] } });
		const attempt = { callId: call.id, provider: "openai", target: "openai/gpt-5-mini", ms: 100.06 };
		ledger.sink.attemptClosed({
			...attempt,
			number: 1,
			target: "xai/grok",
			provider: "xai",
			failure: "overloaded",
			status: 503,
		});
		ledger.sink.attemptClosed({ ...attempt, number: 2, status: 200, tokens: call.tokens });
		ledger.sink.callSettled(call);
		ledger.flush();
		const found = store.ledger.call(call.id)!;
		expect(found.call).toMatchObject({
			id: call.id,
			keyId: "config:team-a",
			key: "team-a",
			team: "red",
			user: "bob",
			model: "fast",
			provider: "openai",
			status: 200,
			tokensIn: 100,
			tokensOut: 20,
			cost: 0.001,
		});
		expect(JSON.parse(found.call.details)).toEqual({
			operation: "chat",
			stream: false,
			requested: "fast",
			target: "openai/gpt-5-mini",
			attempts: 2,
			ms: 120.3,
			tokens: { input: 100, output: 20, cached: 60 },
			bill: { source: "list", isEstimated: false, price: { input: 0.25, output: 2 } },
			route: "models: fast",
			decision: { candidates: [1] },
		});
		expect(
			found.attempts.map(({ number, target, failure, status, ms }) => [number, target, failure, status, ms]),
		).toEqual([
			[1, "xai/grok", "overloaded", 503, 100.1],
			[2, "openai/gpt-5-mini", undefined, 200, 100.1],
		]);
		expect(store.ledger.call("req_unknown")).toBeUndefined();
	});

	test("of an attempt that ended after its call, because another was faster: the same", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ attempts: 2 });
		const attempt = { callId: call.id, provider: "openai", target: "openai/gpt-5-mini", ms: 3 };
		ledger.sink.attemptClosed({ ...attempt, number: 2, status: 200, tokens: call.tokens, cost: 0.1, agent: "box" });
		ledger.sink.callSettled(call);
		ledger.flush();
		ledger.sink.attemptClosed({ ...attempt, number: 1, failure: "cancelled", tokens: { input: 1, output: 2 } });
		ledger.flush();
		expect(store.ledger.call(call.id)!.attempts).toEqual([
			{
				number: 1,
				provider: "openai",
				target: "openai/gpt-5-mini",
				failure: "cancelled",
				status: undefined,
				ms: 3,
				tokens: { input: 1, output: 2 },
			},
			{
				number: 2,
				provider: "openai",
				target: "openai/gpt-5-mini",
				status: 200,
				ms: 3,
				tokens: { input: 100, output: 20, cached: 60 },
				cost: 0.1,
				agent: "box",
			},
		]);
	});

	test("of the only attempt, which was good, is what the call says already, and how long it took", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ agent: "box" });
		const attempt = { callId: call.id, number: 1, provider: "openai", target: "openai/gpt-5-mini", status: 200 };
		ledger.sink.attemptClosed({ ...attempt, ms: 100.06, tokens: call.tokens });
		ledger.sink.callSettled(call);
		ledger.flush();
		const found = store.ledger.call(call.id)!;
		expect(found.call.attempts).toBeUndefined();
		expect(shownCall(found.call, found.attempts).attempts).toEqual([
			{
				number: 1,
				provider: "openai",
				target: "openai/gpt-5-mini",
				outcome: "answered",
				status: 200,
				ms: 100.1,
				agent: "box",
				tokens: { input: 100, output: 20, cached: 60 },
			},
		]);
	});

	test("of the only attempt are the tokens that its upstream counted and the cost that it said, no estimate and no price of ours", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const attempt = { number: 1, provider: "openai", target: "openai/gpt-5-mini", status: 200, ms: 100 };
		const ofSole = (bill: CallSettled["bill"], own: Pick<CallSettled, "tokens" | "cost">) => {
			const call = settled({ bill });
			ledger.sink.attemptClosed({ ...attempt, callId: call.id, ...own });
			ledger.sink.callSettled(call);
			ledger.flush();
			const found = store.ledger.call(call.id)!;
			const [shown] = shownCall(found.call, found.attempts).attempts;
			return { tokens: shown?.tokens, cost: shown?.cost };
		};
		const { tokens } = settled();
		expect(ofSole({ source: "upstream", isEstimated: false }, { tokens, cost: 0.001 })).toEqual({
			tokens,
			cost: 0.001,
		});
		expect(ofSole({ source: "list", isEstimated: true }, {})).toEqual({ tokens: undefined, cost: undefined });
	});

	test("of calls that belong to no key is nothing: who has none could fill the disk", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		for (const error of ["invalid_api_key", "foreign_host", "foreign_origin"]) {
			ledger.sink.callSettled(settled({ status: 401, error, key: undefined, keyId: undefined }));
		}
		ledger.flush();
		expect(store.ledger.usage("2000-01-01", "9999-12-31")).toEqual([]);
	});

	test("by day adds up what single calls say: 5,000 random ones, by any of what they can be shown by", () => {
		using home = directory();
		let now = Date.parse("2026-03-30T00:00:00Z");
		const { store, ledger } = ledgerIn(home.path, undefined, () => now);
		const { below, pick } = random(8);
		const expected = new Map<string, { calls: number; cost: number; in: number; unpriced: number; failed: number }>();
		for (let at = 0; at < 5_000; at++) {
			now += below(120_000);
			const key = pick(["a", "b", undefined]);
			const isGood = below(5) > 0;
			const isPriced = below(4) > 0;
			const call = settled({
				key,
				keyId: key && `config:${key}`,
				user: pick(["bob", "eve", undefined]),
				model: pick(["fast", "slow"]),
				status: isGood ? 200 : 502,
				tokens: isGood ? { input: below(1_000), output: below(100) } : undefined,
				cost: isGood && isPriced ? below(1_000) / 1e6 : undefined,
				bill: isGood ? { source: isPriced ? "list" : "none", isEstimated: false } : undefined,
			});
			ledger.sink.callSettled(call);
			const day = new Date(now).toISOString().slice(0, 10);
			const name = `${day} ${key ?? ""} ${call.model}`;
			const sums = expected.get(name) ?? { calls: 0, cost: 0, in: 0, unpriced: 0, failed: 0 };
			expected.set(name, sums);
			sums.calls++;
			sums.cost += call.cost ?? 0;
			sums.in += call.tokens?.input ?? 0;
			if (isGood && !isPriced) sums.unpriced++;
			if (!isGood) sums.failed++;
		}
		ledger.flush();
		const groups = usageBy(store.ledger.usage("2026-03-30", "2026-04-30"), ["day", "key", "model"]);
		expect(groups.length).toBe(expected.size);
		for (const { day, key, model, calls, cost_usd, tokens_in, unpriced, failed } of groups) {
			const sums = expected.get(`${day} ${key} ${model}`)!;
			expect([calls, tokens_in, unpriced, failed]).toEqual([sums.calls, sums.in, sums.unpriced, sums.failed]);
			expect(cost_usd).toBeCloseTo(sums.cost, 9);
		}
		const total = [...expected].filter(([name]) => name.includes(" a ")).reduce((sum, [, { cost }]) => sum + cost, 0);
		expect(store.ledger.spent("config:a", "")).toBeCloseTo(total, 9);
		const april = [...expected]
			.filter(([name]) => /^2026-04.* a /.test(name))
			.reduce((sum, [, { cost }]) => sum + cost, 0);
		expect(store.ledger.spent("config:a", "2026-04")).toBeCloseTo(april, 9);
		expect(store.ledger.usage("2026-04-01", "2026-04-01").every(({ day }) => day === "2026-04-01")).toBe(true);
	});

	test("as CSV is what spreadsheets read, and no formula of a client's", () => {
		const row = {
			day: "2026-03-30",
			keyId: "k",
			key: 'a "b", c',
			team: "",
			user: '=HYPERLINK("x")',
			model: "fast",
			provider: "openai",
			calls: 1,
			failed: 0,
			estimated: 0,
			unpriced: 0,
			tokensIn: 5,
			tokensOut: 1,
			tokensCached: 0,
			tokensReasoning: 0,
			cost: 1e-7,
		};
		expect(usageCsv(usageBy([row, row], ["key", "user"]), ["key", "user"])).toBe(
			"key,user,calls,failed,tokens_in,tokens_out,tokens_cached,tokens_reasoning,cost_usd,estimated,unpriced\r\n" +
				`"a ""b"", c","'=HYPERLINK(""x"")",2,0,10,2,0,0,0.0000002,0,0\r\n`,
		);
	});
});

describe("what is spent", () => {
	test("counts each call once, also the first of a key that comes as a batch is written", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const spend = ownSpend(store.ledger);
		const { total } = periodsOf(Date.now());
		for (let at = 0; at < 1000; at++) {
			ledger.sink.callSettled(settled({ keyId: `config:${at}` }));
			spend.add(`config:${at}`, total, 0.001);
		}
		const wrong = Array.from({ length: 1000 }, (_, at) => spend.spent(`config:${at}`, total)).filter(
			(usd) => usd !== 0.001,
		);
		expect(wrong).toEqual([]);
		ledger.flush();
	});
});

test("what two processes with one data directory spend is the sum, a second later", async () => {
	using home = directory();
	const { config } = configure({ env: { DATA_DIR: home.path } });
	const houses = [createHouse(config), createHouse(config)];
	const closing = houses.map((house) => house.open());
	const { total } = periodsOf(Date.now());
	const call = ({ ledger, spend }: (typeof houses)[number]) => {
		ledger.sink.callSettled(settled());
		spend.add("config:team-a", total, 0.001);
	};
	for (const house of houses) for (let at = 0; at < 100; at++) call(house);
	const spent = () => houses.map(({ spend }) => spend.spent("config:team-a", total).toFixed(6));
	await until(() => spent().join() === "0.200000,0.200000", "the sum");
	call(houses[0]!);
	expect(spent()[0]).toBe("0.201000");
	await until(() => spent()[1] === "0.201000", "the sum");
	await Promise.all(closing.map((close) => close()));
});

test("a database that another process holds at the end is waited for, and nothing is lost", async () => {
	using home = directory();
	const { store, ledger } = ledgerIn(home.path);
	const close = ledger.open();
	ledger.sink.callSettled(settled());
	ledger.flush();
	using other = new Database(join(home.path, "router.db"));
	other.run("BEGIN IMMEDIATE");
	const call = settled();
	ledger.sink.callSettled(call);
	const closed = close();
	expect(store.ledger.call(call.id)).toBeUndefined();
	other.run("COMMIT");
	await closed;
	expect(store.ledger.call(call.id)?.call.id).toBe(call.id);
});

describe("where nothing can be written", () => {
	const full = (path: string) => {
		const db = new Database(join(path, "router.db"));
		db.run(
			"CREATE TRIGGER full BEFORE INSERT ON usage_days BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
		);
		return () => void db.run("DROP TRIGGER full");
	};
	const openedIn = (path: string) => {
		const problems: string[] = [];
		const store = sqliteStore(path, (problem) => problems.push(problem));
		const ledger = new Ledger({ store: store.ledger, bounds: () => ({ keep: 1e12, size: 1e9 }) });
		ledger.sink.callSettled(settled());
		ledger.flush();
		return { store, ledger, problems };
	};
	const count = (store: ReturnType<typeof sqliteStore>) =>
		usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls;

	test("calls wait, and are written once there is room again: each once", () => {
		using home = directory();
		const { store, ledger, problems } = openedIn(home.path);
		const makeRoom = full(home.path);
		const ids = Array.from({ length: 1000 }, () => {
			const call = settled();
			ledger.sink.callSettled(call);
			return call.id;
		});
		ledger.flush();
		ledger.flush();
		expect([count(store), problems.length]).toEqual([1, 1]);
		makeRoom();
		ledger.sink.callSettled(settled());
		ledger.flush();
		expect(count(store)).toBe(1002);
		expect(ids.filter((id) => !store.ledger.call(id))).toEqual([]);
	});

	test("is not tried more often because another process writes: each time may keep calls waiting for half a second", async () => {
		using home = directory();
		const { config } = configure({ env: { DATA_DIR: home.path } });
		const house = createHouse(config);
		house.ledger.sink.callSettled(settled());
		house.ledger.flush();
		const makeRoom = full(home.path);
		let flushes = 0;
		const flush = house.ledger.flush.bind(house.ledger);
		house.ledger.flush = () => {
			flushes++;
			flush();
		};
		jest.useFakeTimers();
		try {
			const close = house.open();
			house.ledger.sink.callSettled(settled());
			jest.advanceTimersByTime(20_000);
			expect(flushes).toBeLessThan(7);
			makeRoom();
			jest.advanceTimersByTime(5_000);
			expect(house.ledger.isWritten).toBe(true);
			await close();
		} finally {
			jest.useRealTimers();
		}
	});

	test("no more wait than there is memory for", () => {
		using home = directory();
		const { store, ledger } = openedIn(home.path);
		const makeRoom = full(home.path);
		for (let at = 0; at < 15_000; at++) {
			const call = settled();
			ledger.sink.attemptClosed({ callId: call.id, provider: "xai", target: "xai/grok", ms: 1 });
			ledger.sink.callSettled(call);
		}
		makeRoom();
		ledger.flush();
		expect(count(store)).toBe(10_001);
	});

	test("because the directory is no directory: they are remembered, each once, in bounded memory", () => {
		using home = directory();
		writeFileSync(join(home.path, "file"), "");
		const store = sqliteStore(join(home.path, "file"), () => {});
		const ledger = new Ledger({ store: store.ledger, bounds: () => ({ keep: 1e12, size: 1e9 }) });
		for (let at = 0; at < 60_000; at++) ledger.sink.callSettled(settled({ decision: { text: "x".repeat(2000) } }));
		ledger.flush();
		expect(count(store)).toBe(60_000);
		expect(store.ledger.used()).toBeLessThan(70e6);
	});
});

describe("what is let go", () => {
	test("are calls older than they are kept, their attempts with them; sums by day stay", () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path, { keep: 10, size: 1e9 });
		const old = settled();
		ledger.sink.attemptClosed({ callId: old.id, provider: "openai", target: "t", ms: 1 });
		ledger.sink.callSettled(old);
		ledger.flush();
		Bun.sleepSync(30);
		const fresh = settled();
		ledger.sink.callSettled(fresh);
		ledger.flush();
		expect(store.ledger.call(old.id)).toBeUndefined();
		expect(store.ledger.call(fresh.id)).toBeDefined();
		expect(usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls).toBe(2);
		store.close();
		using db = new Database(join(home.path, "router.db"));
		expect(db.query("SELECT COUNT(*) AS count FROM attempts").get()).toEqual({ count: 0 });
	});

	test("are the oldest, as many as it takes to stay within the size", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path, { keep: 1e12, size: 3e6 });
		const ids: string[] = [];
		for (let at = 0; at < 20_000; at++) {
			const call = settled({ decision: { text: "x".repeat(300) } });
			ids.push(call.id);
			ledger.sink.callSettled(call);
		}
		ledger.flush();
		expect(store.ledger.call(ids.at(-1)!)).toBeDefined();
		expect(store.ledger.call(ids[0]!)).toBeUndefined();
		expect(usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls).toBe(20_000);
		store.close();
		expect(Bun.file(join(home.path, "router.db")).size).toBeLessThan(4e6);
	});
});

/** Calls a router from several clients, one call after the other, until it is gone. The answered calls' ids, by client, in their order. */
async function load(url: string, until: Promise<unknown>): Promise<string[][]> {
	let isOver = false;
	void until.then(() => {
		isOver = true;
	});
	const client = async (stream: boolean) => {
		const answered: string[] = [];
		while (!isOver) {
			try {
				const answer = await fetch(`${url}/v1/chat/completions`, {
					method: "POST",
					headers: { "content-type": "application/json", authorization: "Bearer test-key-1" },
					body: JSON.stringify({ model: "dummy", stream, messages: [{ role: "user", content: "hi" }] }),
				});
				await answer.text();
				if (answer.ok) answered.push(answer.headers.get("x-request-id")!);
			} catch {
				// It was killed: whether this call got that far is for the ledger to say.
				if (!isOver) await Bun.sleep(5);
			}
		}
		return answered;
	};
	return Promise.all([client(false), client(true), client(false)]);
}

const config = { keys: [{ name: "a", key: "test-key-1" }], server: { drain: "0s" }, log: { level: "error" } };

function rowsIn(path: string) {
	using db = new Database(join(path, "router.db"));
	expect(db.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
	const ids = (db.query("SELECT id FROM calls").all() as { id: string }[]).map(({ id }) => id);
	const { sum } = db.query("SELECT SUM(calls) AS sum FROM usage_days").get() as { sum: number };
	const { orphans } = db
		.query("SELECT COUNT(*) AS orphans FROM calls WHERE attempts IS NULL AND details NOT LIKE '%\"attempt_ms\":%'")
		.get() as {
		orphans: number;
	};
	return { ids, sum, orphans };
}

test("kill -9 under load, 20 times: it opens, no call is there twice, and only each client's last calls are missing", async () => {
	using home = directory();
	const answered = new Set<string>();
	const lost: number[] = [];
	for (let round = 0; round < 20; round++) {
		const router = await startRouter({ config, env: { DATA_DIR: home.path } });
		const killed = Promise.withResolvers<void>();
		const loading = load(router.url, killed.promise);
		await Bun.sleep(600 + random(round).below(700));
		process.kill(router.pid, "SIGKILL");
		killed.resolve();
		const now = await loading;
		await router.stop();
		const { ids, sum, orphans } = rowsIn(home.path);
		const kept = new Set(ids);
		expect(kept.size).toBe(ids.length);
		expect(sum).toBe(ids.length);
		expect(orphans).toBe(0);
		lost.push(now.flat().filter((id) => !kept.has(id)).length);
		for (const calls of now) {
			// What was written before the end is written: no gap.
			const written = calls.filter((id) => kept.has(id));
			expect(written).toEqual(calls.slice(0, written.length));
		}
		for (const id of answered) expect(kept.has(id)).toBe(true);
		for (const id of now.flat()) if (kept.has(id)) answered.add(id);
	}
	expect(answered.size).toBeGreaterThan(1_000);
	console.log(`${answered.size} calls kept; missing after each kill: ${lost.join(", ")}`);
}, 240_000);

test("SIGTERM under load loses nothing", async () => {
	using home = directory();
	const router = await startRouter({ config, env: { DATA_DIR: home.path } });
	const ended = Promise.withResolvers<void>();
	const loading = load(router.url, ended.promise);
	await Bun.sleep(800);
	process.kill(router.pid, "SIGTERM");
	while (isRunning(router.pid)) await Bun.sleep(20);
	ended.resolve();
	const answered = (await loading).flat();
	await router.stop();
	const { ids, sum } = rowsIn(home.path);
	expect(answered.length).toBeGreaterThan(50);
	expect(answered.filter((id) => !ids.includes(id))).toEqual([]);
	expect(sum).toBe(new Set(ids).size);
}, 60_000);

function isRunning(pid: number): boolean {
	try {
		process.kill(pid, 0);
		// A child that nobody has waited for yet is there as a zombie.
		return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
	} catch {
		return false;
	}
}
