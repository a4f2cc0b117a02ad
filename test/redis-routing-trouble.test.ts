/** Trouble with Redis is none of the calls of three routers that choose replicas by it, and what they know is one again afterwards. */
import { expect } from "bun:test";
import { goodStream } from "./kit/events.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, test } = needing("redis");

const boxes = [startFaultUpstream(), startFaultUpstream(), startFaultUpstream()] as const;
let server: RedisServer;
let proxy: ReturnType<typeof slowProxy>;
let routers: RunningRouter[];
beforeAll(async () => {
	for (const box of boxes) box.run(streams(goodStream(2)));
	server = await startRedis();
	proxy = slowProxy(server.port);
	const providers = Object.fromEntries(
		boxes.map(({ origin }, at) => [`box${at}`, { type: "vllm", base_url: `${origin}/v1` }]),
	);
	const config = { providers, models: [{ name: "fast", targets: ["box0/m", "box1/m", "box2/m"] }] };
	const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}/0` };
	routers = await Promise.all([1, 2, 3].map(() => startRouter({ env, config })));
	await allUp(1);
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	proxy.stop();
	await server.stop();
	for (const box of boxes) box.stop();
});

const allUp = (value: number) =>
	until(async () => {
		const ups = await Promise.all(routers.map((router) => router.metric("router_redis_up")));
		return ups.every((up) => up === value);
	}, `Redis at ${value}`);
const body = (text: string) => ({ model: "fast", stream: true, messages: [{ role: "user", content: text }] });
const ask = (router: RunningRouter, text: string, session: string) =>
	post(`${router.url}/v1/chat/completions`, body(text), { "x-session-id": session });
/** Where a router would send a call of a session, and why. */
async function placeOf(router: RunningRouter, session: string): Promise<string> {
	const answer = await post(`${router.url}/v1/route`, body("hi"), { "x-session-id": session });
	const [first] = JSON.parse(answer.text).candidates;
	return `${first.id}: ${first.reason}`;
}

test("Redis hung, paused, slow, flushed and killed under load: no call fails, and sessions are at one place again", async () => {
	let failed = 0;
	let done = 0;
	let isOver = false;
	const caller = async (nth: number) => {
		for (let turn = 0; !isOver; turn++) {
			const answer = await ask(routers[turn % 3]!, `${nth} says: `.repeat(200) + turn, `s${nth}`);
			if (answer.status !== 200 || !answer.text.endsWith("data: [DONE]\n\n")) failed++;
			done++;
			await Bun.sleep(2);
		}
	};
	const load = Array.from({ length: 9 }, (_, nth) => caller(nth));
	const some = async () => {
		const from = done;
		await until(() => done > from + 100, "the calls");
	};
	let nth = 0;
	/** What one router learns the others know. */
	const shared = async () => {
		const session = `after-${nth++}`;
		await ask(routers[nth % 3]!, "hi", session);
		const place = await placeOf(routers[nth % 3]!, session);
		expect(place).toContain("has the session's last calls");
		for (const router of routers) await until(async () => (await placeOf(router, session)) === place, "the session");
	};
	await some();
	await shared();
	server.hang();
	await allUp(0);
	await some();
	server.resume();
	await allUp(1);
	await shared();
	const paused = server.client.call("CLIENT", "PAUSE", "2000", "ALL");
	await allUp(0);
	await some();
	await paused;
	await allUp(1);
	await shared();
	proxy.delayMs = 100;
	await allUp(0);
	await some();
	proxy.delayMs = 0;
	await allUp(1);
	await shared();
	await server.client.flushall();
	await some();
	await shared();
	await server.kill();
	await allUp(0);
	await ask(routers[0]!, "hi", "of-the-outage");
	await some();
	await server.restart();
	await allUp(1);
	await shared();
	const place = await placeOf(routers[0]!, "of-the-outage");
	for (const router of routers) {
		await until(async () => (await placeOf(router, "of-the-outage")) === place, "what was noted while it was away");
	}
	isOver = true;
	await Promise.all(load);
	expect(failed).toBe(0);
}, 180_000);
