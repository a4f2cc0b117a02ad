/** A worker that ends takes no row, no line and no count with it: of calls that were over, nor of those that ended with it. */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Json, Loose } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const KEY = "key-of-the-team";
const ADMIN = "admin-key-of-the-test";
const usage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 };
const message = { role: "assistant", content: "Hello" };
const body = JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], usage });
const whole = answers("200 OK", body);
/** USD of an answer. */
const COST = 10 * 1e-6 + 2 * 1e-5;

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(server: Json = {}) {
	const upstream = startFaultUpstream(whole);
	stops.push(() => upstream.stop());
	const router = await startHere(
		twoWorkers(
			{
				admin: { keys: [{ name: "ops", key: ADMIN }] },
				keys: [{ name: "team", key: KEY, team: "red", budget: { usd: 1000, per: "day" } }],
				providers: { box: { type: "openai-compatible", base_url: upstream.origin } },
				prices: { "box/*": { input: 1, output: 10 } },
			},
			server,
		),
	);
	stops.push(() => router.stop());
	const admin = async (path: string) => {
		const answer = await fetch(`${router.url}/admin/${path}`, { headers: { authorization: `Bearer ${ADMIN}` } });
		return ((await answer.json()) as { data: Loose[] }).data;
	};
	const rows = () => {
		const file = join(router.directory, "data/router.db");
		// It is made with the first row.
		if (!existsSync(file)) return [];
		using db = new Database(file, { readonly: true });
		return db.query("SELECT * FROM calls").all() as Loose[];
	};
	const metric = async (name: string, part = "") => {
		const text = await (await fetch(`${router.url}/metrics`)).text();
		const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
		return lines.filter((line) => line.includes(part)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
	};
	const lines = () =>
		router
			.log()
			.split("\n")
			.filter((line) => line.includes('"msg":"call"'))
			.map((line) => JSON.parse(line) as Loose);
	return { upstream, router, admin, rows, metric, lines };
}

/** A call over a connection of its own: its id and status, or "reset". */
async function call(url: string, more: Json = {}): Promise<{ id: string | null; status: number } | "reset"> {
	try {
		const answer = await callOnce(url, { model: "box/m", user: "ann", ...more }, { authorization: `Bearer ${KEY}` });
		await answer.text();
		return { id: answer.headers.get("x-request-id"), status: answer.status };
	} catch {
		return "reset";
	}
}
const sorted = (ids: Iterable<unknown>) => [...ids].map(String).sort();

test("calls that were over when all workers ended have their rows, lines, counts and costs once", async () => {
	using recorded = recordWorkers();
	const { router, admin, rows, metric, lines } = await start();
	const ids: unknown[] = [];
	for (let round = 0; round < 3; round++) {
		const made = await Promise.all(Array.from({ length: 40 }, () => call(router.url)));
		// At once: nothing of them was sent to the main thread.
		for (const { worker } of recorded.workers.slice(-2)) worker.terminate();
		for (const each of made) {
			if (each === "reset" || each.status !== 200) throw new Error(`a call failed: ${JSON.stringify(each)}`);
			ids.push(each.id);
		}
		await until(() => router.log().split("has taken the place").length === 3 + 2 * round, "other workers");
	}
	expect(ids).toHaveLength(120);
	await until(() => rows().length === 120, "all rows");
	expect(sorted(rows().map(({ id }) => id))).toEqual(sorted(ids));
	await until(() => lines().length >= 120, "all lines");
	expect(sorted(lines().map(({ id }) => id))).toEqual(sorted(ids));
	expect(await metric("router_requests_total")).toBe(120);
	expect(await metric("router_attempts_total")).toBe(120);
	expect(await metric("router_tokens_total", 'direction="input"')).toBe(1200);
	expect(await metric("router_request_duration_seconds_count")).toBe(120);
	expect(await metric("router_in_flight_requests")).toBe(0);
	expect(await metric("router_ledger_lost_rows_total")).toBe(0);
	const day = await admin("usage");
	expect(day.reduce((sum, { calls }) => sum + calls, 0)).toBe(120);
	expect(day.reduce((sum, { cost_usd }) => sum + cost_usd, 0)).toBeCloseTo(120 * COST, 9);
	const [team] = await admin("keys");
	expect(team!["budget"].spent).toBeCloseTo(120 * COST, 9);
}, 60_000);

test("calls whose rows the database can't take have them when it can, though their worker has ended since", async () => {
	using recorded = recordWorkers();
	const { router, rows, metric, admin } = await start();
	await call(router.url);
	await until(() => rows().length === 1, "the first row");
	using other = new Database(join(router.directory, "data/router.db"));
	other.run("BEGIN IMMEDIATE");
	for (let at = 0; at < 30; at++) await call(router.url);
	await until(async () => (await metric("router_ledger_waiting_calls")) === 30, "the rows that wait");
	for (let at = 0; at < 10; at++) await call(router.url);
	for (const { worker } of recorded.workers.slice(0, 2)) worker.terminate();
	await until(() => router.log().split("has taken the place").length === 3, "other workers");
	other.run("COMMIT");
	await until(() => rows().length === 41, "all rows");
	const day = await admin("usage");
	expect(day.reduce((sum, { calls }) => sum + calls, 0)).toBe(41);
}, 60_000);

test("calls that end with their worker have rows, lines and counts that say so, and cost their key nothing", async () => {
	using recorded = recordWorkers();
	const { upstream, router, admin, rows, metric, lines } = await start();
	const kept: Connection[] = [];
	upstream.run((connection) => void kept.push(connection));
	const outcomes = Array.from({ length: 30 }, (_, at) => call(router.url, { stream: at % 2 === 0 }));
	await until(() => kept.length === 30, "all calls at the upstream");
	recorded.workers[0]!.worker.terminate();
	await until(() => router.log().includes("has taken the place"), "another worker");
	expect(await metric("router_in_flight_requests")).toBeLessThan(30);
	upstream.run(whole);
	await Promise.allSettled(kept.map((connection) => whole(connection)));
	const ended = await Promise.all(outcomes);
	const resets = ended.filter((each) => each === "reset").length;
	expect(resets).toBeWithin(1, 30);
	await until(() => rows().length === 30, "a row for each call");
	const dead = rows().filter(({ status }) => status === 500);
	expect(dead).toHaveLength(resets);
	for (const row of dead) {
		expect(row).toMatchObject({ key: "team", team: "red", user: "ann", provider: "none", cost: null });
		expect(JSON.parse(row["details"])).toMatchObject({ error: "worker_ended", requested: "box/m" });
	}
	const living = ended.flatMap((each) => (each === "reset" ? [] : [each.id]));
	expect(sorted(rows().flatMap(({ id, status }) => (status === 500 ? [] : [id])))).toEqual(sorted(living));
	expect(await metric("router_requests_total", 'status="500"')).toBe(resets);
	expect(await metric("router_requests_total")).toBe(30);
	expect(await metric("router_in_flight_requests")).toBe(0);
	await until(() => lines().length === 30, "a line for each call");
	expect(lines().filter(({ level, error }) => level === "warn" && error === "worker_ended")).toHaveLength(resets);
	const [team] = await admin("keys");
	expect(team!["budget"].spent).toBeCloseTo((30 - resets) * COST, 9);
}, 60_000);

test("a stop that cuts calls leaves a row for each of them", async () => {
	const { upstream, router } = await start({ shutdown_timeout: "0s" });
	const kept: Connection[] = [];
	upstream.run((connection) => void kept.push(connection));
	const outcomes = Array.from({ length: 12 }, () => call(router.url, { stream: true }));
	await until(() => kept.length === 12, "all calls at the upstream");
	const { directory } = router;
	stops.pop();
	const path = join(directory, "data/router.db");
	const stopped = router.end();
	await Promise.all(outcomes);
	await stopped;
	using db = new Database(path, { readonly: true });
	expect(db.query("SELECT COUNT(*) AS count FROM calls").get()).toEqual({ count: 12 });
	router.remove();
}, 60_000);
