/** Two routers of two workers each behind one Redis: all four workers count the same, and what one router knows both know. */
import { expect } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callOnce, twoWorkers } from "./kit/worker-router.ts";

const { afterAll, beforeAll, describe, test } = needing("redis");

const ADMIN = "admin-key-of-the-test";
const KEYS = 20;
const RPM = 100;
/** USD of an answer of 100 tokens. */
const COST = 100 * 10e-6;
const BUDGET = 10 * COST;
const upstream = startFaultUpstream(
	answers(
		"200 OK",
		JSON.stringify({
			id: "x",
			choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
			usage: { prompt_tokens: 0, completion_tokens: 100, total_tokens: 100 },
		}),
	),
);
let server: RedisServer;
let routers: [RunningRouter, RunningRouter];
beforeAll(async () => {
	server = await startRedis();
	const keyOf = (name: string, more: Json) => ({ name, key: `key-of-${name}`, ...more });
	const config = twoWorkers({
		admin: { keys: [{ name: "ops", key: ADMIN }] },
		keys: [
			...Array.from({ length: KEYS }, (_, at) => keyOf(`team-${at}`, { rpm: RPM })),
			keyOf("spender", { budget: { usd: BUDGET, per: "total" } }),
			keyOf("saver", { budget: { usd: BUDGET, per: "total" } }),
			keyOf("alone", { rpm: 40 }),
			keyOf("user", {}),
			keyOf("asked", {}),
		],
		providers: { box: { type: "openai-compatible", base_url: upstream.origin } },
		prices: { "box/*": { input: 0, output: 10 } },
		redis: { timeout: "2s" },
	});
	const start = () => startRouter({ config, env: { REDIS_URL: server.url } });
	routers = [await start(), await start()];
	await allUp(1);
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	await server.stop();
	upstream.stop();
});

const allUp = (value: number) =>
	until(async () => {
		const ups = await Promise.all(routers.map((router) => router.metric("router_redis_up")));
		return ups.every((up) => up === value);
	}, `Redis at ${value}`);
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
/** The status of a call over a connection of its own. */
async function call(router: number, key: string, body: Json = {}): Promise<number> {
	const answer = await callOnce(routers[router]!.url, body, bearer(key));
	await answer.text();
	return answer.status;
}
const admin = async (router: number, path: string, body?: Json): Promise<Loose> => {
	const method = body ? "POST" : "GET";
	const headers = { ...bearer(ADMIN), "content-type": "application/json" };
	const answer = await fetch(`${routers[router]!.url}/admin${path}`, {
		method,
		headers,
		...(body ? { body: JSON.stringify(body) } : {}),
	});
	return (await answer.json()) as Loose;
};
/** What a key has spent, as a router says. */
const spent = async (router: number, name: string): Promise<number> => {
	const { data } = (await admin(router, "/keys")) as { data: { name: string; budget?: { spent: number } }[] };
	return data.find((key) => key.name === name)?.budget?.spent ?? 0;
};

describe("limits", () => {
	test("on requests let exactly as many calls in as they say, whichever worker gets them", async () => {
		const letIn = new Array<number>(KEYS).fill(0);
		let others = 0;
		let next = 0;
		const client = async () => {
			for (let at = next++; at < KEYS * RPM * 2; at = next++) {
				const status = await call(at % 2, `key-of-team-${(at >> 1) % KEYS}`);
				if (status === 200) letIn[(at >> 1) % KEYS]!++;
				else if (status !== 429) others++;
			}
		};
		await Promise.all(Array.from({ length: 16 }, client));
		expect([others, ...letIn]).toEqual([0, ...new Array<number>(KEYS).fill(RPM)]);
	}, 60_000);

	test("on a budget are passed by none of fifty calls at once at all workers", async () => {
		const statuses = await Promise.all(
			Array.from({ length: 50 }, (_, at) => call(at % 2, "key-of-spender", { model: "box/m", max_tokens: 100 })),
		);
		const letIn = statuses.filter((status) => status === 200).length;
		expect(letIn).toBeWithin(1, 11);
		for (let more = letIn; more < 10; more++)
			expect(await call(more % 2, "key-of-spender", { model: "box/m", max_tokens: 100 })).toBe(200);
		expect(await call(0, "key-of-spender", { model: "box/m", max_tokens: 100 })).not.toBe(200);
		expect(await call(1, "key-of-spender", { model: "box/m", max_tokens: 100 })).not.toBe(200);
		for (const router of [0, 1]) {
			await until(async () => (await spent(router, "spender")).toFixed(9) === BUDGET.toFixed(9), "the sum of both");
		}
	}, 60_000);
});

test("a key that is revoked at one router is refused by each worker of the other", async () => {
	const made = await admin(0, "/keys", { name: "short" });
	const works = async (status: number) => {
		const statuses = await Promise.all(Array.from({ length: 12 }, () => call(1, made["secret"] as string)));
		return statuses.every((each) => each === status);
	};
	await until(() => works(200), "the key at all workers");
	await admin(0, "/keys/short/revoke", {});
	await until(() => works(401), "the revocation at all workers");
});

test("a past call of any worker is found at both routers, which say whose ledger has it", async () => {
	const answer = await callOnce(routers[0].url, { model: "box/m" }, bearer("key-of-asked"));
	await answer.text();
	const id = answer.headers.get("x-request-id")!;
	const found: Loose[] = [];
	for (const router of [0, 1]) {
		await until(async () => {
			found[router] = await admin(router, `/calls/${id}`);
			return found[router]["id"] === id;
		}, "the call");
	}
	expect(found[1]).toEqual(found[0]!);
	expect(found[0]).toMatchObject({ key: "asked", status: 200, router: { host: expect.any(String) } });
	const refused = await admin(1, "/calls/req_of_nobody");
	expect(refused).toMatchObject({ error: { code: "call_not_found" } });
	expect((refused["error"] as Loose)["message"]).toContain("nor in that of another one");
});

test("usage of calls of all workers is one sum at both routers", async () => {
	for (let at = 0; at < 12; at++) expect(await call(at % 2, "key-of-user", { model: "box/m" })).toBe(200);
	for (const router of [0, 1]) {
		await until(async () => {
			const { data } = (await admin(router, "/usage?by=key")) as { data: { key: string; calls: number }[] };
			return data.find(({ key }) => key === "user")?.calls === 12;
		}, "the usage of both");
	}
});

test("while Redis hangs the workers of each router have their share of what is left, all of a limit together, and the log says it once", async () => {
	for (let at = 0; at < 6; at++) expect(await call(0, "key-of-saver", { model: "box/m", max_tokens: 100 })).toBe(200);
	await until(async () => (await spent(1, "saver")).toFixed(9) === (6 * COST).toFixed(9), "the sum at the other");
	const failed = await routers[0].metric("router_redis_failures_total");
	server.hang();
	await Promise.all(Array.from({ length: 24 }, (_, at) => call(at % 2, "key-of-user")));
	await allUp(0);
	const letIn = await Promise.all(
		[0, 1].map(async (router) => {
			const statuses = await Promise.all(Array.from({ length: 60 }, () => call(router, "key-of-alone")));
			// One after the other: what each has cost is known.
			for (let at = 0; at < 6; at++) {
				statuses.push(await call(router, "key-of-saver", { model: "box/m", max_tokens: 100 }));
			}
			const count = (some: readonly number[]) => some.filter((status) => status === 200).length;
			return [count(statuses.slice(0, 60)), count(statuses.slice(60))];
		}),
	);
	expect(letIn).toEqual([
		[20, 2],
		[20, 2],
	]);
	server.resume();
	await allUp(1);
	expect(await routers[0].metric("router_redis_failures_total")).toBeGreaterThan(failed);
	for (const router of routers) {
		await until(() => router.output().match(/Redis is used/g)?.length === 2, "the end of the outage");
		expect(router.output().match(/Redis can't be used/g)).toHaveLength(1);
	}
}, 60_000);
