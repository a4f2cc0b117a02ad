/** The ledger: a row a call, its attempts, sums by day; bounded. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { usageBy, usageCsv } from "../src/accounts/usage/usage-report.ts";
import { shownCall } from "../src/server/admin/call-view.ts";
import type { CallSettled } from "../src/telemetry/events.ts";
import { directory } from "./kit/cli.ts";
import { ledgerIn, settled } from "./kit/ledger.ts";
import { random } from "./kit/random.ts";

describe("what is kept", () => {
	test("of a call: what it was, where it went, what it cost by which price, and each attempt", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ attempts: 2, user: "bob", reason: "models: fast", decision: { candidates: [1] } });
		const attempt = { callId: call.id, provider: "openai", target: "openai/gpt-5-mini", ms: 100.06 };
		ledger.attemptClosed({
			...attempt,
			number: 1,
			target: "xai/grok",
			provider: "xai",
			failure: "overloaded",
			status: 503,
		});
		ledger.attemptClosed({ ...attempt, number: 2, status: 200, tokens: call.tokens });
		ledger.callSettled(call);
		await ledger.flush();
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
			target: "openai/gpt-5-mini",
			ms: 120.3,
			tokens: { input: 100, output: 20, cached: 60 },
			source: "list",
			price: { input: 0.25, output: 2 },
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

	test("of each call of a batch its own values, whichever of the others it is like", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const calls = Array.from({ length: 240 }, (_, at) => {
			const key = at % 3 === 0 ? { key: `k${at % 9}`, keyId: `config:k${at % 9}`, team: undefined } : {};
			const place = at % 5 === 0 ? { model: `m${at % 40}`, provider: "xai", status: 502, cost: undefined } : {};
			return settled({ ...key, ...place, user: at < 20 ? `u${at}` : undefined, tokens: { input: at, output: 2 * at } });
		});
		for (const [at, { id, provider }] of calls.entries()) {
			const failed = {
				callId: id,
				number: 1,
				provider: "openai",
				target: "openai/x",
				ms: 1,
				failure: "overloaded",
			} as const;
			if (at % 7 === 0) ledger.attemptClosed(failed);
			else ledger.attemptClosed({ callId: id, number: 1, provider, target: "t", status: 200, ms: at });
			ledger.callSettled(calls[at]!);
		}
		await ledger.flush();
		for (const [at, { id, key, keyId, team, user, model, provider, status, tokens, cost }] of calls.entries()) {
			const found = store.ledger.call(id)!;
			const texts = { keyId: keyId!, key: key!, team: team ?? "", user: user ?? "", model, provider };
			expect(found.call).toMatchObject({ ...texts, status, tokensIn: tokens!.input, tokensOut: tokens!.output });
			expect(found.call.cost).toBe(cost);
			const isSole = at % 7 !== 0 && status === 200;
			expect(JSON.parse(found.call.details).attempt_ms).toBe(isSole ? at : undefined);
			expect(found.attempts).toHaveLength(isSole ? 0 : 1);
		}
		store.close();
	});

	test("of an attempt that ended after its call, because another was faster: the same", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ attempts: 2 });
		const attempt = { callId: call.id, provider: "openai", target: "openai/gpt-5-mini", ms: 3 };
		ledger.attemptClosed({ ...attempt, number: 2, status: 200, tokens: call.tokens, cost: 0.1, agent: "box" });
		ledger.callSettled(call);
		await ledger.flush();
		ledger.attemptClosed({ ...attempt, number: 1, failure: "cancelled", tokens: { input: 1, output: 2 } });
		await ledger.flush();
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

	test("of the only attempt, which was good, is what the call says already, and how long it took", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ agent: "box" });
		const attempt = { callId: call.id, number: 1, provider: "openai", target: "openai/gpt-5-mini", status: 200 };
		ledger.attemptClosed({ ...attempt, ms: 100.06, tokens: call.tokens });
		ledger.callSettled(call);
		await ledger.flush();
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

	test("of the only attempt are the tokens that its upstream counted and the cost that it said, no estimate and no price of ours", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const attempt = { number: 1, provider: "openai", target: "openai/gpt-5-mini", status: 200, ms: 100 };
		const ofSole = async (bill: CallSettled["bill"], own: Pick<CallSettled, "tokens" | "cost">) => {
			const call = settled({ bill });
			ledger.attemptClosed({ ...attempt, callId: call.id, ...own });
			ledger.callSettled(call);
			await ledger.flush();
			const found = store.ledger.call(call.id)!;
			const [shown] = shownCall(found.call, found.attempts).attempts;
			return { tokens: shown?.tokens, cost: shown?.cost };
		};
		const { tokens } = settled();
		expect(await ofSole({ source: "upstream", isEstimated: false }, { tokens, cost: 0.001 })).toEqual({
			tokens,
			cost: 0.001,
		});
		expect(await ofSole({ source: "list", isEstimated: true }, {})).toEqual({ tokens: undefined, cost: undefined });
	});

	test.each([
		[{}, { operation: "chat", stream: false, requested: "fast", price: { source: "list" } }],
		[{ tokens: { input: 3, output: 2 } }, { tokens: { input: 3, output: 2 } }],
		[
			{ operation: "embeddings" as const, stream: true },
			{ operation: "embeddings", stream: true },
		],
		[{ requested: "quick" }, { requested: "quick", model: "fast" }],
		[
			{ requested: undefined, model: "unknown" },
			{ requested: undefined, model: "unknown" },
		],
		[{ bill: { source: "none" as const, isEstimated: true } }, { price: { source: "none" }, estimated: true }],
		[
			{ bill: undefined, tokens: undefined, cost: undefined },
			{ price: undefined, tokens: undefined },
		],
	])("of what most calls have in common is not kept, and yet shown: %j", async (own, shown) => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		const call = settled({ attempts: 0, ...own });
		ledger.callSettled(call);
		await ledger.flush();
		const { call: found } = store.ledger.call(call.id)!;
		const { price, ...rest } = shownCall(found, []);
		const seen: Record<string, unknown> = { ...rest, price: price && { source: price.source } };
		expect(Object.fromEntries(Object.keys(shown).map((name) => [name, seen[name]]))).toEqual(shown);
	});

	test("that an older router has kept is shown", () => {
		const { id, keyId, key, team, model, provider } = settled() as CallSettled &
			Record<"keyId" | "key" | "team", string>;
		const columns = { at: 0, user: "", status: 200, tokensIn: 3, tokensOut: 2, cost: 0.1, attempts: undefined };
		const bill = { source: "list", isEstimated: true, price: { input: 1 } };
		const details = JSON.stringify({ operation: "chat", stream: false, requested: "fast", attempts: 1, ms: 5, bill });
		const shown = shownCall({ id, keyId, key, team, model, provider, ...columns, details }, []);
		expect(shown).toMatchObject({ price: { source: "list", rates: { input: 1 } }, estimated: true, attempts: [] });
		expect(shown).not.toHaveProperty("bill");
	});

	test("of calls that belong to no key is nothing: who has none could fill the disk", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path);
		for (const error of ["invalid_api_key", "foreign_host", "foreign_origin"]) {
			ledger.callSettled(settled({ status: 401, error, key: undefined, keyId: undefined }));
		}
		await ledger.flush();
		expect(store.ledger.usage("2000-01-01", "9999-12-31")).toEqual([]);
	});

	test("by day adds up what single calls say: 5,000 random ones, by any of what they can be shown by", async () => {
		using home = directory();
		let now = Date.parse("2026-03-30T00:00:00Z");
		const { store, ledger } = ledgerIn(home.path, undefined, () => now);
		const { below, pick } = random(8);
		const expected = new Map<string, { calls: number; cost: number; in: number; unpriced: number; failed: number }>();
		for (let at = 0; at < 5_000; at++) {
			now += below(120_000);
			const key = pick(["a", "b", undefined]);
			const isAnswered = below(5) > 0;
			const isPriced = below(4) > 0;
			const call = settled({
				key,
				keyId: key && `config:${key}`,
				user: pick(["bob", "eve", undefined]),
				model: pick(["fast", "slow"]),
				status: isAnswered ? 200 : 502,
				tokens: isAnswered ? { input: below(1_000), output: below(100) } : undefined,
				cost: isAnswered && isPriced ? below(1_000) / 1e6 : undefined,
				bill: isAnswered ? { source: isPriced ? "list" : "none", isEstimated: false } : undefined,
			});
			ledger.callSettled(call);
			const day = new Date(now).toISOString().slice(0, 10);
			const name = `${day} ${key ?? ""} ${call.model}`;
			const sums = expected.get(name) ?? { calls: 0, cost: 0, in: 0, unpriced: 0, failed: 0 };
			expected.set(name, sums);
			sums.calls++;
			sums.cost += call.cost ?? 0;
			sums.in += call.tokens?.input ?? 0;
			if (isAnswered && !isPriced) sums.unpriced++;
			if (!isAnswered) sums.failed++;
		}
		await ledger.flush();
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

	test("tells 10,000 end users of a key and day apart: whoever sends more of them fills no disk", async () => {
		using home = directory();
		let now = Date.UTC(2026, 0, 1);
		const { store, ledger } = ledgerIn(home.path, undefined, () => now);
		const send = (user: string, keyId = "config:a") => ledger.callSettled(settled({ keyId, user }));
		for (let at = 0; at < 10_050; at++) {
			send(`user ${at}`);
			if (at % 250 === 0) await ledger.flush();
		}
		send("user 0");
		send("user 10040");
		send("user 10040", "config:b");
		now += 86_400_000;
		send("user 10040");
		await ledger.flush();
		const callsBy = (day: string) => {
			const rows = store.ledger.usage(day, day);
			return [
				rows.length,
				...["user 0", "(others)", "user 10040"].map((of) => rows.find(({ user }) => user === of)?.calls),
			];
		};
		expect(callsBy("2026-01-01")).toEqual([10_002, 2, 51, 1]);
		expect(callsBy("2026-01-02")).toEqual([1, undefined, undefined, 1]);
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
			energy: 1_800,
		};
		expect(usageCsv(usageBy([row, row], ["key", "user"]), ["key", "user"])).toBe(
			"key,user,calls,failed,tokens_in,tokens_out,tokens_cached,tokens_reasoning,cost_usd,estimated,unpriced,energy_wh\r\n" +
				`"a ""b"", c","'=HYPERLINK(""x"")",2,0,10,2,0,0,0.0000002,0,0,1\r\n`,
		);
	});
});

describe("what is let go", () => {
	test("are calls older than they are kept, their attempts with them; sums by day stay", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path, { keep: 10, size: 1e9 });
		const old = settled();
		ledger.attemptClosed({ callId: old.id, provider: "openai", target: "t", ms: 1 });
		ledger.callSettled(old);
		await ledger.flush();
		Bun.sleepSync(30);
		const fresh = settled();
		ledger.callSettled(fresh);
		await ledger.flush();
		expect(store.ledger.call(old.id)).toBeUndefined();
		expect(store.ledger.call(fresh.id)).toBeDefined();
		expect(usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls).toBe(2);
		store.close();
		using db = new Database(join(home.path, "router.db"));
		expect(db.query("SELECT COUNT(*) AS count FROM attempts").get()).toEqual({ count: 0 });
	});

	test("follows the configuration: a reload that keeps calls for longer lets none of them go", async () => {
		using home = directory();
		// Calls' ids say when they came.
		let now = Date.now();
		const { store, ledger } = ledgerIn(home.path, { keep: 10_000, size: 1e9 }, () => now);
		const write = async () => {
			const call = settled();
			ledger.callSettled(call);
			await ledger.flush();
			return call;
		};
		const old = await write();
		now += 60_000;
		ledger.bounds = { keep: 1e12, size: 1e9 };
		await write();
		expect(store.ledger.call(old.id)).toBeDefined();
		ledger.bounds = { keep: 10_000, size: 1e9 };
		now += 60_000;
		await write();
		expect(store.ledger.call(old.id)).toBeUndefined();
		store.close();
	});

	test("are the oldest, as many as it takes to stay within the size", async () => {
		using home = directory();
		const { store, ledger } = ledgerIn(home.path, { keep: 1e12, size: 3e6 });
		const ids: string[] = [];
		for (let at = 0; at < 20_000; at++) {
			const call = settled({ decision: { text: "x".repeat(300) } });
			ids.push(call.id);
			ledger.callSettled(call);
			if (at % 250 === 0) await ledger.flush();
		}
		await ledger.flush();
		expect(store.ledger.call(ids.at(-1)!)).toBeDefined();
		expect(store.ledger.call(ids[0]!)).toBeUndefined();
		expect(usageBy(store.ledger.usage("2000-01-01", "9999-12-31"), ["key"])[0]?.calls).toBe(20_000);
		store.close();
		expect(Bun.file(join(home.path, "router.db")).size).toBeLessThan(4e6);
	});
});
