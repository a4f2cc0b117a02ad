/** Limits and budgets of a router with two workers: both count the same, over whichever connections calls come. */
import { afterEach, describe, expect, test } from "bun:test";
import { RouterState } from "../src/server/router-state.ts";
import { directory } from "./kit/cli.ts";
import { configure } from "./kit/configure.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { settled } from "./kit/ledger.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const KEY = "key-of-the-team";
const ADMIN = "admin-key-of-the-test";
const PROMPT = 8;
/** USD of an answer of 100 tokens. */
const COST = 100 * 10e-6 + PROMPT * 1e-6;
const answer = (tokens: number) => {
	const usage = { prompt_tokens: PROMPT, completion_tokens: tokens, total_tokens: PROMPT + tokens };
	const message = { role: "assistant", content: "Hello" };
	return answers("200 OK", JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], usage }));
};

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(more: Json) {
	const router = await startHere(twoWorkers({ admin: { keys: [{ name: "ops", key: ADMIN }] }, ...more }));
	stops.push(() => router.stop());
	return router;
}
/** An upstream that keeps calls until it is told to answer them. */
function keeper() {
	const kept: Connection[] = [];
	const upstream = startFaultUpstream((connection) => void kept.push(connection));
	stops.push(() => upstream.stop());
	return {
		kept,
		config: { providers: { box: { type: "openai-compatible", base_url: upstream.origin } } },
		keep: () => upstream.run((connection) => void kept.push(connection)),
		async release(tokens: number) {
			upstream.run(answer(tokens));
			await Promise.allSettled(kept.splice(0).map((connection) => answer(tokens)(connection)));
		},
	};
}
/** So many calls over connections of their own: what comes of each, as soon as it is known. */
function callMany(url: string, count: number, body: Json, key?: string) {
	const ended: (number | "reset")[] = [];
	const headers = key ? { authorization: `Bearer ${key}` } : {};
	const all = Promise.all(
		Array.from({ length: count }, async () => {
			try {
				const response = await callOnce(url, body, headers);
				await response.text();
				ended.push(response.status);
			} catch {
				ended.push("reset");
			}
		}),
	);
	return { ended, all, count: (status: number | "reset") => ended.filter((each) => each === status).length };
}

describe("limits", () => {
	test("on requests let exactly as many calls in as they say", async () => {
		const router = await start({ keys: [{ name: "team", key: KEY, rpm: 23 }] });
		const calls = callMany(router.url, 60, { model: "dummy" }, KEY);
		await calls.all;
		expect([calls.count(200), calls.count(429)]).toEqual([23, 37]);
	});

	test("on calls at once have room again when a worker has died, for the calls that it had", async () => {
		const upstream = keeper();
		using recorded = recordWorkers();
		const router = await start({ ...upstream.config, limits: { models: { "box/m": { concurrency: 24 } } } });
		const body = { model: "box/m" };
		const first = callMany(router.url, 24, body);
		await until(() => upstream.kept.length === 24, "all calls");
		expect((await callOnce(router.url, body)).status).toBe(429);
		recorded.workers[0]!.worker.terminate();
		await until(() => router.log().includes("has taken the place"), "another worker");
		const left = 24 - first.count("reset");
		expect(left).toBeWithin(1, 24);
		const second = callMany(router.url, 40, body);
		await until(() => upstream.kept.length + second.ended.length === 24 + 40, "the further calls");
		expect(second.count(429)).toBe(40 - (24 - left));
		await upstream.release(1);
		await Promise.all([first.all, second.all]);
		expect([first.count(200), second.count(200)]).toEqual([left, 24 - left]);
		upstream.keep();
		const third = callMany(router.url, 30, body);
		await until(() => upstream.kept.length + third.ended.length === 30, "the last calls");
		expect(upstream.kept).toHaveLength(24);
		await upstream.release(1);
		await third.all;
	}, 60_000);
});

describe("a budget", () => {
	const settings = {
		keys: [{ name: "team", key: KEY, budget: { usd: 0.0105, per: "day" } }],
		prices: { "box/*": { input: 1, output: 10 } },
	};
	const spent = async (url: string) => {
		const response = await fetch(`${url}/admin/keys`, { headers: { authorization: `Bearer ${ADMIN}` } });
		const found = (await response.json()) as { data: { name: string; budget?: { spent: number } }[] };
		return found.data.find(({ name }) => name === "team")?.budget?.spent;
	};

	const untilSpent = (url: string, usd: number) =>
		until(async () => (await spent(url))?.toFixed(9) === usd.toFixed(9), `a sum of ${usd}`);

	test("is not passed by 50 calls at once, and what they cost is told as one sum", async () => {
		const upstream = keeper();
		const router = await start({ ...upstream.config, ...settings });
		const calls = callMany(router.url, 50, { model: "box/m", max_tokens: 100 }, KEY);
		await until(() => upstream.kept.length + calls.ended.length === 50, "all calls");
		expect([upstream.kept.length, calls.count(429)]).toEqual([10, 40]);
		await upstream.release(100);
		await calls.all;
		await untilSpent(router.url, 10 * COST);
		const further = callMany(router.url, 10, { model: "box/m", max_tokens: 100 }, KEY);
		await further.all;
		expect([further.count(200), further.count(429)].join()).toBe("1,9");
	}, 60_000);

	test("counts what was spent before the start, and what another process spends, beside what both workers do", async () => {
		using home = directory();
		const other = new RouterState(configure({ env: { DATA_DIR: home.path } }).config);
		const spendThere = async (cost: number) => {
			other.ledger.callSettled(settled({ keyId: "config:team", cost }));
			await other.ledger.flush();
		};
		await spendThere(0.001);
		const upstream = keeper();
		await upstream.release(100);
		const router = await start({ ...upstream.config, ...settings, data_dir: home.path });
		await untilSpent(router.url, 0.001);
		const body = { model: "box/m", max_tokens: 100 };
		const first = callMany(router.url, 4, body, KEY);
		await first.all;
		expect(first.count(200)).toBe(4);
		await spendThere(0.003);
		await untilSpent(router.url, 0.004 + 4 * COST);
		await callMany(router.url, 2, body, KEY).all;
		await spendThere(0.001);
		await untilSpent(router.url, 0.005 + 6 * COST);
		expect((await callOnce(router.url, body, { authorization: `Bearer ${KEY}` })).status).toBe(429);
		other.store.close();
	}, 60_000);
});
