/** Stored responses behind one Redis: every router reaches them, a key only its own, and without Redis each router has those it answered itself. */
import { expect } from "bun:test";
import { redisResponses } from "../src/store/redis-responses.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("redis");

let server: RedisServer;
let routers: RunningRouter[];
const KEYS = ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` }));
beforeAll(async () => {
	server = await startRedis();
	routers = await Promise.all(
		[1, 2].map(() => startRouter({ config: { keys: KEYS, redis: { timeout: "2s" } }, env: { REDIS_URL: server.url } })),
	);
	for (const router of routers) await until(async () => (await router.metric("router_redis_up")) === 1, "Redis");
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	await server.stop();
});

async function ask(at: number, method: string, path: string, body?: Json, of = "a") {
	const answer = await fetch(`${routers[at]!.url}/v1/responses${path}`, {
		method,
		headers: { authorization: `Bearer key-of-${of}-1234`, "content-type": "application/json" },
		...(body ? { body: JSON.stringify({ model: "dummy", input: "hi", ...body }) } : {}),
	});
	return { status: answer.status, json: (await answer.json()) as Loose };
}
/** What is new waits a moment to be written with more of its kind. */
const isThere = (at: number, id: string) =>
	until(async () => (await ask(at, "GET", `/${id}`)).status === 200, `the response at router ${at}`);

describe("routers of one Redis", () => {
	test("know nothing of another key's response, and of one that any of them has deleted", async () => {
		const { id } = (await ask(0, "POST", "", {})).json;
		await isThere(1, id);
		expect((await ask(1, "GET", `/${id}`, undefined, "b")).status).toBe(404);
		expect((await ask(1, "DELETE", `/${id}`, undefined, "b")).status).toBe(404);
		expect((await ask(1, "POST", "", { previous_response_id: id }, "b")).status).toBe(400);
		expect((await ask(1, "DELETE", `/${id}`)).status).toBe(200);
		for (const at of [0, 1]) expect((await ask(at, "GET", `/${id}`)).status).toBe(404);
	});

	test("go on from what another one has answered", async () => {
		const { id } = (await ask(0, "POST", "", { input: "one" })).json;
		await isThere(1, id);
		const next = await ask(1, "POST", "", { input: "two", previous_response_id: id });
		expect([next.status, next.json["previous_response_id"]]).toEqual([200, id]);
		await isThere(0, next.json["id"]);
		const { json } = await ask(0, "GET", `/${next.json["id"]}/input_items?order=asc`);
		const texts = json["data"].map(({ content }: Loose) => content[0].text);
		expect([texts.length, texts[0], texts[2]]).toEqual([3, "one", "two"]);
	});

	test("go on from what another one has answered though nobody waits", async () => {
		let id: string | undefined;
		for (let turn = 0; turn < 20; turn++) {
			const { status, json } = await ask(turn % 2, "POST", "", id === undefined ? {} : { previous_response_id: id });
			expect([turn, status]).toEqual([turn, 200]);
			id = json["id"];
		}
		expect((await ask(0, "DELETE", `/${id}`)).status).toBe(200);
	});

	test("have their own where Redis is gone, and don't fail", async () => {
		const before = (await ask(0, "POST", "", {})).json["id"];
		await isThere(1, before);
		await server.kill();
		const { id } = (await ask(0, "POST", "", { input: "one" })).json;
		const next = await ask(0, "POST", "", { input: "two", previous_response_id: id });
		expect(next.status).toBe(200);
		expect((await ask(1, "GET", `/${id}`)).status).toBe(404);
		// It may be in Redis, too, where nobody can delete it now.
		const { status, json } = await ask(1, "DELETE", `/${before}`);
		expect([status, json["error"].code]).toEqual([503, "responses_unavailable"]);
		await server.restart();
		for (const router of routers) await until(async () => (await router.metric("router_redis_up")) === 1, "Redis");
		expect((await ask(0, "GET", `/${id}`)).status).toBe(200);
	});
});

test("the longest unused make room, and what has lapsed is gone", async () => {
	const { redis, up, close } = connectRedis(server.url, { timeoutMs: 2000, prefix: "room:" });
	await up();
	const responses = redisResponses(redis);
	const name = (at: number) => ({ key: "a", id: `r${at}` });
	const value = new Uint8Array(100);
	const put = (at: number, now: number, bytes = 1e6) =>
		responses.put({ ...name(at), value }, { now, keepMs: 100_000, bytes });
	const left = async (since = 0) => {
		const found = await Promise.all([1, 2, 3, 4, 5].map((at) => responses.get(name(at), since)));
		return [1, 2, 3, 4, 5].filter((_, index) => found[index]);
	};
	for (let at = 1; at <= 4; at++) expect(await put(at, at)).toBe(true);
	await responses.use([name(1)], 6, 100_000);
	// A name that is not there is none afterwards.
	await responses.use([name(9)], 6, 100_000);
	await put(5, 7, 300);
	expect(await left()).toEqual([1, 4, 5]);
	expect(await left(6)).toEqual([1, 5]);
	// The same again takes its own place.
	await put(5, 8, 300);
	expect(await left()).toEqual([1, 4, 5]);
	await put(2, 100_010);
	expect(await left()).toEqual([2]);
	expect(await responses.remove(name(2))).toBe(true);
	expect(await responses.remove(name(2))).toBe(false);
	expect(await server.client.get("room:{responses}:bytes")).toBe("0");
	close();
});

test("those of some keys are deleted, however many there are", async () => {
	const { redis, up, close } = connectRedis(server.url, { timeoutMs: 2000, prefix: "keys:" });
	await up();
	const responses = redisResponses(redis);
	const bounds = { now: 1, keepMs: 1e6, bytes: 1e9 };
	const names = Array.from({ length: 1500 }, (_, at) => ({ key: ["a", "b", "a b"][at % 3]!, id: `resp_${at}` }));
	await Promise.all(names.map((name) => responses.put({ ...name, value: new Uint8Array(10) }, bounds)));
	expect(await responses.removeOf(new Set(["a", "c"]))).toBe(true);
	const found = await Promise.all(names.map((name) => responses.get(name, 0)));
	expect(names.filter((_, at) => found[at]).map(({ key }) => key)).toEqual(
		names.map(({ key }) => key).filter((key) => key !== "a"),
	);
	expect(await server.client.get("keys:{responses}:bytes")).toBe("10000");
	close();
	expect(await responses.removeOf(new Set(["b"]))).toBe(false);
});

test("what is too large for Redis is not sent there", async () => {
	const { redis, up, close } = connectRedis(server.url, { timeoutMs: 2000, prefix: "large:" });
	await up();
	const value = new Uint8Array(1024 * 1024 + 1);
	const bounds = { now: 1, keepMs: 1000, bytes: 1e9 };
	expect(await redisResponses(redis).put({ key: "a", id: "r1", value }, bounds)).toBe(false);
	close();
});
