/** `router replay` as it is typed: what is wrong with its flags, its table and its JSON. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { keyedHash } from "../src/routing/keyed-hash.ts";
import { plan } from "../src/routing/plan.ts";
import { readSnapshot, snapshotOf } from "../src/routing/plan-snapshot.ts";
import { ledgerTraffic } from "../src/server/replay/ledger-traffic.ts";
import type { ReplayReport } from "../src/server/replay/report.ts";
import type { LedgerCall } from "../src/store/ledger-batch.ts";
import { SNAPSHOT_KEY_FILE } from "../src/store/snapshot-key.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { cli, directory } from "./kit/cli.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { BEGAN, liveRows } from "./kit/live-policies.ts";
import { startRouter } from "./kit/router.ts";
import { Clock, call, route, target } from "./kit/routes.ts";
import { until } from "./kit/until.ts";

let home: ReturnType<typeof directory>;
let rows: LedgerCall[];
const stored = () =>
	sqliteStore(join(home.path, "data"), (problem) => {
		throw new Error(problem);
	});
beforeAll(async () => {
	home = directory();
	rows = await liveRows({ policy: "fastest", minutes: 3, seed: 1 });
	const store = stored();
	for (let at = 0; at < rows.length; at += 250) {
		const batch = { calls: rows.slice(at, at + 250), attempts: [], usage: [] };
		expect(await store.ledger.write(batch)).toBe("written");
	}
	await store.ledger.sync();
	store.close();
});
afterAll(() => home[Symbol.dispose]());

const replay = (...args: string[]) =>
	cli(["replay", ...args], { cwd: home.path, env: { DATA_DIR: join(home.path, "data") } });
const DAY = new Date(BEGAN).toISOString().slice(0, 10);

describe("what is wrong is said in one line", () => {
	test.each<[string[], number, string]>([
		[["--policy", "cheapest"], 2, "replay needs a time to begin at: --from=2026-01-31, or --from=2026-01-31T09:00:00Z"],
		[["--from", DAY, "--url", "http://router:8000"], 2, "--url does not belong to `replay`"],
		[["--from", DAY, "fast"], 2, '"fast" is one word too many'],
		[
			["--from", DAY, "--policy", "dearest"],
			1,
			'--policy must be one of balanced, cheapest, fastest, order, but is "dearest"',
		],
		[
			["--from", "yesterday"],
			1,
			"--from must be a day such as 2026-01-31 (UTC), or a time such as 2026-01-31T09:00:00Z",
		],
		[["--from", DAY, "--to", "2026-02-30"], 1, "--to must be a day such as 2026-01-31 (UTC)"],
		[["--from", DAY, "--to", "2020-01-01"], 1, "--from must not be later than to"],
	])("%p", async (args, code, message) => {
		const result = await replay(...args);
		expect([result.code, result.stdout]).toEqual([code, ""]);
		expect(result.stderr).toContain(message);
	});

	test.each(["replay", "usage"])("%s of a directory in which no router has run names it", async (command) => {
		const nowhere = join(home.path, "nowhere");
		const { code, stderr } = await cli([command, "--from", DAY], { cwd: home.path, env: { DATA_DIR: nowhere } });
		expect(code).toBe(0);
		expect(stderr).toContain(`There is no router.db in ${nowhere}`);
	});

	test("why of such a directory says that no call is known there, in place of that one", async () => {
		const nowhere = join(home.path, "nowhere");
		const { code, stderr } = await cli(["why", "req_1"], { cwd: home.path, env: { DATA_DIR: nowhere } });
		expect([code, stderr]).toEqual([1, expect.stringContaining(`There is no router.db in ${nowhere}`)]);
	});

	test("a time without calls has nothing to decide", async () => {
		const { code, stdout } = await replay("--from", "2020-01-01", "--to", "2020-01-02", "--policy", "cheapest");
		expect([code, stdout]).toEqual([0, "0 calls, 0 with several targets: there is nothing to decide again.\n"]);
	});
});

test("a table says what would have changed, target by target, and how far the replay is off", async () => {
	const { code, stdout, stderr } = await replay("--from", DAY, "--policy", "cheapest");
	expect([code, stderr]).toEqual([0, ""]);
	expect(stdout).toStartWith(`${rows.length} calls, ${rows.length} with several targets\n`);
	expect(stdout).toMatch(/^ +AS IT WAS +BY CHEAPEST +CHANGE$/m);
	expect(stdout).toMatch(/^calls elsewhere +\d+ +\d+\.\d %$/m);
	expect(stdout).toMatch(/^cost +0\.\d+ USD +0\.\d+ USD +-\d+\.\d %$/m);
	expect(stdout).toMatch(/^median wait +\d+ ms +\d+ ms +[+-]\d+\.\d %$/m);
	for (const target of ["own/m", "writer/m", "reader/m"])
		expect(stdout).toMatch(new RegExp(`^${target} +\\d+ +\\d+`, "m"));
	expect(stdout).toMatch(/^error, by replaying what was: \d+\.\d % of calls at the targets that they had, cost /m);
});

test("JSON has all figures, of one model where that is asked for; the sums are those of the rows", async () => {
	const { stdout } = await replay("--from", DAY, "--policy", "cheapest", "--json");
	const report = JSON.parse(stdout) as ReplayReport;
	expect(report).toMatchObject({
		object: "replay",
		policy: "cheapest",
		calls: { all: rows.length, decided: rows.length },
	});
	expect(report.cost_usd.live).toBeCloseTo(
		rows.reduce((sum, { cost = 0 }) => sum + cost, 0),
		9,
	);
	expect(report.targets.reduce((sum, { calls }) => sum + calls.replay!, 0)).toBe(rows.length);
	const other = JSON.parse((await replay("--from", DAY, "--model", "other", "--json")).stdout) as ReplayReport;
	expect(other).toMatchObject({ model: "other", policy: null, calls: { all: rows.length, decided: 0 } });
});

/** The sessions that the snapshots of a data directory's rows name, each once. */
function sessionsIn(data: string): (string | undefined)[] {
	const store = sqliteStore(data, () => {});
	const { calls } = ledgerTraffic(store.ledger, { from: "req_", before: "req_~" }).traffic;
	store.close();
	return [...new Set(calls.map(({ plan }) => plan!.session))];
}

/** The session "one" as the key of this router's directory has it. */
function keyedSession(home: string): string | undefined {
	const key = readFileSync(join(home, "data", SNAPSHOT_KEY_FILE), "utf8").trim();
	const made = plan(call("", { session: "one" }), route([target("a/m")]), new Clock().state, 0, () => 0);
	return readSnapshot(
		snapshotOf(
			made,
			8,
			undefined,
			keyedHash(() => Buffer.from(key, "hex")),
		),
	)!.session;
}

test.each([1, 2])(
	"calls of a router that runs, with %i workers, are replayed while it does",
	async (workers) => {
		const usage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 };
		const message = { role: "assistant", content: "Hello" };
		const answer = JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], usage });
		const upstream = startFaultUpstream(answers("200 OK", answer));
		const provider = { type: "openai-compatible", base_url: upstream.origin };
		const router = await startRouter({
			source: "source",
			config: {
				server: { workers },
				providers: { dear: provider, cheap: provider },
				prices: { "dear/*": { input: 2, output: 2 }, "cheap/*": { input: 1, output: 1 } },
				models: [{ name: "m", policy: "order", targets: ["dear/m", "cheap/m"] }],
			},
		});
		const report = async () => {
			const env = { DATA_DIR: join(router.directory, "data") };
			const args = ["replay", "--from", "2020-01-01", "--policy", "cheapest", "--json"];
			const { stdout, stderr } = await cli(args, { cwd: router.directory, env });
			if (stderr !== "") throw new Error(stderr);
			return JSON.parse(stdout) as ReplayReport;
		};
		try {
			const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }] });
			const headers = { "content-type": "application/json", "x-session-id": "one", connection: "close" };
			for (let nth = 0; nth < 6; nth++) {
				const made = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", headers, body });
				expect(made.status).toBe(200);
				await made.text();
			}
			await until(() => existsSync(join(router.directory, "data", "router.db")), "the database");
			await until(async () => (await report()).calls.all === 6, "all rows");
			const { calls, cost_usd, targets, error } = await report();
			expect(sessionsIn(join(router.directory, "data"))).toEqual([keyedSession(router.directory)]);
			expect(calls).toEqual({ all: 6, decided: 6, unexplained: 0, moved: 6, guessed: 6, extrapolated: 0 });
			expect([cost_usd.live, cost_usd.replay]).toEqual([expect.closeTo(144e-6, 9), expect.closeTo(72e-6, 9)]);
			expect(targets.map(({ target, calls: its }) => [target, its.live, its.replay])).toEqual([
				["dear/m", 6, 0],
				["cheap/m", 0, 6],
			]);
			expect(error).toEqual({ same_targets: 1, cost: 0, median_wait: expect.closeTo(0, 3) });
		} finally {
			await router.stop();
			upstream.stop();
		}
	},
	60_000,
);

test("of more calls than one replay takes the latest are taken, and it is said from when on", () => {
	const store = stored();
	const range = { from: "req_", before: "req_~" };
	const all = ledgerTraffic(store.ledger, range);
	const some = ledgerTraffic(store.ledger, { ...range, most: 100 });
	store.close();
	expect([all.traffic.calls.length, all.cutAt]).toEqual([rows.length, undefined]);
	expect(some.traffic.calls.length).toBe(100);
	const ids = rows.map(({ id }) => id).sort();
	expect(new Set(some.traffic.calls.map(({ id }) => id))).toEqual(new Set(ids.slice(-100)));
	expect(some.cutAt).toBe(Math.min(...some.traffic.calls.map(({ arrivedAt }) => arrivedAt)));
});
