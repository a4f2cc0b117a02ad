/** WebSockets at routers of one Redis: a key that is revoked at one router is refused over those at the others; what is stored is one for all. */
import { expect } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { connectSocket, type SocketClient } from "./kit/responses-socket.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, test } = needing("redis");

const ADMIN = "admin-key-of-the-test";
const KEY = "key-of-a-1234";
const asking = { model: "dummy", input: "hi", store: false };
const last = (events: readonly Loose[]) => events.at(-1)!;
let server: RedisServer;
let routers: RunningRouter[];
beforeAll(async () => {
	server = await startRedis();
	const config = {
		admin: { keys: [{ name: "root", key: ADMIN }] },
		keys: [{ name: "a", key: KEY }],
		redis: { timeout: "2s" },
	};
	routers = await Promise.all([1, 2].map(() => startRouter({ config, env: { REDIS_URL: server.url } })));
	for (const router of routers) await until(async () => (await router.metric("router_redis_up")) === 1, "Redis");
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	await server.stop();
});

const ask = async (at: number, method: string, path: string, secret: string, body?: Json) => {
	const answer = await fetch(`${routers[at]!.url}${path}`, {
		method,
		headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
		...(body ? { body: JSON.stringify(body) } : {}),
	});
	return { status: answer.status, json: (await answer.json()) as Loose };
};
const connect = (secret: string): Promise<SocketClient[]> =>
	Promise.all(routers.map(({ url }) => connectSocket(url, { authorization: `Bearer ${secret}` })));

test("a key that one router has revoked is refused over the connections that are open at each", async () => {
	const { json } = await ask(0, "POST", "/admin/keys", ADMIN, { name: "made" });
	const { secret, key } = json as { secret: string; key: { id: string } };
	await until(async () => (await ask(1, "GET", "/v1/models", secret)).status === 200, "the key at the other router");
	const clients = await connect(secret);
	for (const client of clients) expect(last(await client.create(asking))["type"]).toBe("response.completed");
	await ask(0, "POST", `/admin/keys/${key.id}/revoke`, ADMIN);
	for (const client of clients) {
		await until(async () => last(await client.create(asking))["status"] === 401, "the refusal");
		client.socket.close();
	}
});

test("what one connection stores is gone on from over that of another router, read and deleted there", async () => {
	const clients = await connect(KEY);
	let previous: string | undefined;
	for (let turn = 0; turn < 12; turn++) {
		const body = { ...asking, store: true, ...(previous ? { previous_response_id: previous } : {}) };
		const done = last(await clients[turn % 2]!.create(body));
		expect([turn, done["type"]]).toEqual([turn, "response.completed"]);
		previous = done["response"].id as string;
	}
	expect((await ask(0, "GET", `/v1/responses/${previous}`, KEY)).status).toBe(200);
	expect((await ask(0, "DELETE", `/v1/responses/${previous}`, KEY)).status).toBe(200);
	const refused = last(await clients[0]!.create({ ...asking, previous_response_id: previous! }));
	expect(refused).toMatchObject({ error: { code: "previous_response_not_found" } });
	for (const client of clients) client.socket.close();
});
