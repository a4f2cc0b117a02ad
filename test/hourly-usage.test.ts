/** `router usage --focus --hourly`: sums of days taken apart by the hour, as far as single calls are kept. */
import { describe, expect, test } from "bun:test";
import { focusCsv } from "../src/accounts/usage/focus-report.ts";
import { byHour } from "../src/accounts/usage/hourly-usage.ts";
import { NO_USAGE } from "../src/accounts/usage/ledger-rows.ts";
import { parseCommand } from "../src/cli/flags.ts";
import { readHours } from "../src/server/admin/hourly-read.ts";
import type { HourRow } from "../src/store/call-hours.ts";
import type { UsageRow } from "../src/store/ledger-batch.ts";
import { cli, directory } from "./kit/cli.ts";
import { ledgerIn, settled } from "./kit/ledger.ts";
import { random } from "./kit/random.ts";

const OF = { keyId: "key_1", user: "", model: "m", provider: "openai" };
const SUMS = { failed: 0, estimated: 0, unpriced: 0, tokensCached: 0, tokensReasoning: 0, energy: 0 };
const day = (calls: number, more: Partial<UsageRow> = {}): UsageRow => ({
	...{ ...OF, ...SUMS, day: "2026-11-30", key: "team-a", team: "red" },
	...{ calls, tokensIn: 10 * calls, tokensOut: calls, cost: calls / 10 },
	...more,
});
const hour = (at: number, calls: number, more: Partial<HourRow> = {}): HourRow => ({
	...{ ...OF, ...SUMS, from: Date.UTC(2026, 10, 30, at) },
	...{ calls, tokensIn: 10 * calls, tokensOut: calls, cost: calls / 10 },
	...more,
});
const shown = (rows: ReturnType<typeof byHour>) => rows.map(({ hour, user, calls }) => [hour, user, calls]);

describe("a sum of a day", () => {
	test("stays whole where no call is kept any more", () => {
		expect(byHour([day(5)], [])).toEqual([day(5)]);
	});

	test("stays whole where its hours have more than it has: an end user that stands in two sums", () => {
		const days = [day(2, { user: "bob" }), day(3, { user: "(others)" })];
		expect(byHour(days, [hour(9, 4, { user: "bob" })])).toEqual(days);
	});

	test("leaves to the day what the hours have not: calls that are kept no more", () => {
		const rows = byHour([day(5)], [hour(9, 1), hour(23, 2)]);
		expect(shown(rows)).toEqual([
			[9, "", 1],
			[23, "", 2],
			[undefined, "", 2],
		]);
		expect(rows.at(-1)).toEqual(day(2, { tokensIn: 20, cost: 0.2 }));
	});

	test("is its hours alone where all calls are kept, with its key's name and team; parts of an hour are one", () => {
		const rows = byHour([day(5)], [hour(0, 1), hour(9, 2), hour(0, 2)]);
		expect(rows).toEqual([
			{ ...day(3, { cost: 0.1 + 0.2 }), hour: 0 },
			{ ...day(2), hour: 9 },
		]);
	});

	test("gives its energy to its hours by their shares, since of calls four digits are kept", () => {
		const rows = byHour([day(2, { energy: 30.003 })], [hour(1, 1, { energy: 10 }), hour(2, 1, { energy: 20 })]);
		expect(rows.map(({ energy }) => energy)).toEqual([10.001, 20.002]);
	});

	test("has the hours of end users that stand together", () => {
		const rows = byHour(
			[day(5, { user: "(others)" }), day(1, { user: "bob" })],
			[hour(3, 2, { user: "x" }), hour(3, 3, { user: "y" }), hour(4, 1, { user: "bob" })],
		);
		expect(shown(rows)).toEqual([
			[3, "(others)", 5],
			[4, "bob", 1],
		]);
	});

	test("takes no hour of another key, model, provider or day", () => {
		const others: Partial<HourRow>[] = [
			{ keyId: "k" },
			{ model: "n" },
			{ provider: "p" },
			{ from: Date.UTC(2026, 11, 1) },
		];
		expect(
			byHour(
				[day(5)],
				others.map((more) => hour(9, 1, more)),
			),
		).toEqual([day(5)]);
	});
});

test("a row of an hour has that hour as its period, in the order of time before the day's rest", () => {
	const csv = focusCsv(byHour([day(5)], [hour(23, 2), hour(9, 1)]), { providers: {}, prices: {} });
	// Of each row the ends and beginnings of its month and its period, in this order.
	const times = csv
		.trim()
		.split("\r\n")
		.slice(1)
		.map((line) => line.match(/\d{4}-\d\d-\d\dT[\d:]+Z/g)!);
	const periods = times.map(([, , end, start]) => [start, end]);
	expect(periods).toEqual([
		["2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"],
		["2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"],
		["2026-11-30T23:00:00Z", "2026-12-01T00:00:00Z"],
	]);
});

const DAYS = { from: "2026-03-30", to: "2026-03-31" };

/** Random calls of two days and what comes before and behind, in a ledger; and what they come to by hour, added up here. */
async function twoDays(path: string) {
	let now = Date.parse("2026-03-29T22:00:00Z");
	const { store, ledger } = ledgerIn(path, undefined, () => now);
	const { below, pick } = random(19);
	const expected = new Map<string, { calls: number; cost: number; in: number; out: number; cached: number }>();
	for (let at = 0; at < 6_000; at++) {
		const beganAt = now;
		now += below(60_000);
		const key = pick(["a", "b", undefined]);
		const isAnswered = below(5) > 0;
		const tokens = { input: below(1_000), output: below(100), ...(below(2) > 0 && { cached: below(50) }) };
		const call = settled({
			id: `req_${Bun.randomUUIDv7("hex", beganAt)}`,
			key,
			keyId: key && `config:${key}`,
			user: pick(["bob", "eve", undefined]),
			model: pick(["fast", "slow"]),
			status: isAnswered ? 200 : 502,
			tokens: isAnswered ? tokens : undefined,
			cost: isAnswered && below(4) > 0 ? below(1_000) / 1e6 : undefined,
			bill: isAnswered ? { source: pick(["list", "none"]), isEstimated: below(3) > 0 } : undefined,
			energyJ: below(10) / 7,
		});
		ledger.callSettled(call);
		const hour = new Date(now).toISOString().slice(0, 13);
		if (hour < DAYS.from || hour > `${DAYS.to}T23`) continue;
		const sums = expected.get(`${hour} ${key ?? ""}`) ?? { calls: 0, cost: 0, in: 0, out: 0, cached: 0 };
		expected.set(`${hour} ${key ?? ""}`, sums);
		sums.calls++;
		sums.cost += call.cost ?? 0;
		sums.in += call.tokens?.input ?? 0;
		sums.out += call.tokens?.output ?? 0;
		sums.cached += call.tokens?.cached ?? 0;
	}
	await ledger.flush();
	return { store, expected };
}

const names = Object.keys(NO_USAGE) as (keyof typeof NO_USAGE)[];
/** All sums of each sum of a day, whatever period its rows have. */
function byDay(rows: readonly UsageRow[]): Map<string, number[]> {
	const ofDay = Map.groupBy(rows, ({ day, keyId, user, model, provider }) =>
		[day, keyId, user, model, provider].join(" "),
	);
	const sumsOf = (parts: UsageRow[]) =>
		names.map((name) => Number(parts.reduce((sum, row) => sum + row[name], 0).toFixed(9)));
	return new Map([...ofDay].map(([name, parts]) => [name, sumsOf(parts)] as const).sort());
}

test("sums by the hour are those of single calls, and together those of the days, over several parts of a ledger", async () => {
	using home = directory();
	const { store, expected } = await twoDays(home.path);
	const hours = await readHours(DAYS, store.ledger, Date.now());
	const days = store.ledger.usage(DAYS.from, DAYS.to);
	const rows = byHour(days, hours);
	expect(rows.filter(({ hour }) => hour === undefined)).toEqual([]);
	const nameOf = ({ from, keyId, user, model, provider }: HourRow) => [from, keyId, user, model, provider].join(" ");
	expect(new Set(hours.map(nameOf)).size).toBe(hours.length);
	const found = Map.groupBy(rows, ({ day, hour, key }) => `${day}T${String(hour).padStart(2, "0")} ${key}`);
	expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
	for (const [name, { calls, cost, ...tokens }] of expected) {
		const sum = (field: "calls" | "cost" | "tokensIn" | "tokensOut" | "tokensCached") =>
			found.get(name)!.reduce((all, row) => all + row[field], 0);
		expect([name, sum("calls"), sum("tokensIn"), sum("tokensOut"), sum("tokensCached")]).toEqual([
			...[name, calls],
			...[tokens.in, tokens.out, tokens.cached],
		]);
		expect(sum("cost")).toBeCloseTo(cost, 9);
	}
	expect(byDay(rows)).toEqual(byDay(days));
	store.close();
});

test("what is trimmed of a ledger stays by day, and no sum changes; what settles later is the day's, too", async () => {
	using home = directory();
	const { store } = await twoDays(home.path);
	const noon = Date.parse("2026-03-30T12:00:00Z");
	expect(await store.ledger.trim({ before: noon, bytes: Number.MAX_SAFE_INTEGER, most: 10_000 })).toBe(false);
	const until = Date.parse("2026-03-31T06:00:00Z");
	const rows = byHour(store.ledger.usage(DAYS.from, DAYS.to), await readHours(DAYS, store.ledger, until));
	const periods = new Set(rows.map(({ day, hour }) => `${day} ${hour ?? "all"}`));
	const from = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
	expect([...periods].sort()).toEqual(
		[
			...["2026-03-30 all", "2026-03-31 all"],
			...from(12, 23).map((hour) => `2026-03-30 ${hour}`),
			...from(0, 5).map((hour) => `2026-03-31 ${hour}`),
		].sort(),
	);
	expect(byDay(rows)).toEqual(byDay(store.ledger.usage(DAYS.from, DAYS.to)));
	store.close();
});

test.each([
	[
		"an older router, which has rows by day alone, is told so",
		{},
		"All rows are by day: this router's version has none by the hour.\n",
	],
	["a router that has them is told nothing", { "x-router-granularity": "hour" }, ""],
])("who asks for hours of %s", async (_, headers: Record<string, string>, note) => {
	using router = Bun.serve({ port: 0, fetch: () => new Response("BilledCost\n", { headers }) });
	using home = directory();
	const env = { ROUTER_ADMIN_KEYS: "the-key-of-an-administrator" };
	const asked = ["usage", "--focus", "--hourly", "--url", router.url.origin];
	expect(await cli(asked, { cwd: home.path, env })).toEqual({ code: 0, stdout: "BilledCost\n", stderr: note });
	const { stderr } = await cli(
		asked.filter((each) => each !== "--hourly"),
		{ cwd: home.path, env },
	);
	expect(stderr).toBe("");
});

test("by the hour is for FOCUS alone", () => {
	expect(() => parseCommand(["usage", "--hourly"])).toThrow("--hourly is for --focus alone");
	expect(parseCommand(["usage", "--focus", "--hourly"])).toMatchObject({
		admin: { options: { focus: true, hourly: true } },
	});
});
