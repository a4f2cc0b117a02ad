/** Three routers as processes behind one Redis: what one knows all know, and Redis trouble is nobody else's. */
import { expect } from "bun:test";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, test } = needing("redis");

const WHOLE =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}';
const ADMIN = "admin-key-of-the-test";
const upstream = startFaultUpstream(answers("200 OK", WHOLE));
let server: RedisServer;
let proxy: ReturnType<typeof slowProxy>;
let routers: RunningRouter[];
const startAnother = () =>
	startRouter({
		env: {
			REDIS_URL: `redis://127.0.0.1:${proxy.port}/0`,
			ROUTER_AGENT_TOKEN: "token-of-the-agents",
			ROUTER_ADMIN_KEYS: ADMIN,
		},
		config: {
			providers: { box: { type: "vllm", base_url: upstream.origin } },
			// A kept answer has cost nothing: without this only the first of three would tell a cost.
			usage: { cost_in_answers: false },
		},
	});
beforeAll(async () => {
	server = await startRedis();
	proxy = slowProxy(server.port);
	routers = await Promise.all([1, 2, 3].map(startAnother));
	await allUp(1);
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	proxy.stop();
	await server.stop();
	upstream.stop();
});

const allUp = (value: number) =>
	until(async () => {
		const ups = await Promise.all(routers.map((router) => router.metric("router_redis_up")));
		return ups.every((up) => up === value);
	}, `Redis at ${value}`);
let seed = 0;
const ask = (router: number, over: object = {}) =>
	post(`${routers[router]!.url}/v1/chat/completions`, {
		model: "box/m",
		messages: [{ role: "user", content: "hi" }],
		temperature: 0,
		...over,
	});

test("the same call to three routers runs once", async () => {
	const calls = { seed: seed++ };
	upstream.run(async (connection) => {
		await Bun.sleep(300);
		await answers("200 OK", WHOLE)(connection);
	});
	const got = await Promise.all([0, 1, 2].map((router) => ask(router, calls)));
	expect(got.map(({ text }) => text)).toEqual([WHOLE, WHOLE, WHOLE]);
	expect(upstream.received.length).toBe(1);
	const hits = await Promise.all(routers.map((router) => router.metric("router_cache_hits_total")));
	const misses = await Promise.all(routers.map((router) => router.metric("router_cache_misses_total")));
	const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
	expect([sum(hits), sum(misses)]).toEqual([2, 1]);
	upstream.run(answers("200 OK", WHOLE));
});

test("a session of the console that is signed out at one router is none at the others, nor at one that starts later", async () => {
	const SAME = { "sec-fetch-site": "same-origin" };
	const at = (router: RunningRouter, method: string, cookie?: string) =>
		fetch(`${router.url}/console/session`, {
			method,
			headers: { ...SAME, ...(cookie && { cookie }), "content-type": "application/json" },
			...(method === "POST" && { body: JSON.stringify({ key: ADMIN }) }),
		});
	const isSignedIn = async (router: RunningRouter, cookie: string) =>
		((await (await at(router, "GET", cookie)).json()) as { signed_in: boolean }).signed_in;
	const cookieOf = (answer: Response) => answer.headers.get("set-cookie")!.split(";")[0]!;
	const [one, kept] = await Promise.all([0, 1].map(async () => cookieOf(await at(routers[0]!, "POST"))));
	// Its secret is that of the oldest router, once all have heard of it.
	await until(
		async () => (await Promise.all(routers.map((each) => isSignedIn(each, one!)))).every(Boolean),
		"the session",
	);
	expect((await at(routers[1]!, "DELETE", one)).status).toBe(204);
	await until(async () => !(await Promise.all(routers.map((each) => isSignedIn(each, one!)))).some(Boolean), "its end");
	const next = await startAnother();
	await until(() => isSignedIn(next, kept!), "the other session at the new router");
	await until(async () => !(await isSignedIn(next, one!)), "its end at the new router");
	await next.stop();
	expect(await isSignedIn(routers[0]!, kept!)).toBe(true);
}, 60_000);

test("usage as FOCUS has the calls of all routers, and a header where they can't be asked", async () => {
	const day = new Date().toISOString().slice(0, 10);
	const focus = async (router: number) => {
		const answer = await fetch(`${routers[router]!.url}/admin/usage?format=focus&from=${day}`, {
			headers: { authorization: `Bearer ${ADMIN}` },
		});
		const [head, ...rows] = (await answer.text()).trim().split("\r\n");
		const at = head!.split(",").indexOf("x_Requests");
		// Texts with commas stand before it, quoted.
		const calls = rows.map((row) => Number(row.split(",").at(at - head!.split(",").length)));
		return { partial: answer.headers.get("x-router-partial"), calls };
	};
	for (const router of [0, 1, 2]) expect((await ask(router, { seed: seed++ })).status).toBe(200);
	const once = { partial: null, calls: [4] };
	await until(async () => Bun.deepEquals([await focus(0), await focus(2)], [once, once]), "four calls at both");
	server.hang();
	await allUp(0);
	expect((await focus(1)).partial).toBe("true");
	server.resume();
	await allUp(1);
	expect(await focus(1)).toEqual(once);
}, 60_000);

test("an agent that registers with one router serves all, and still does when that one is gone from Redis", async () => {
	const secrets = new Set<string>();
	const agent = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch(request) {
			secrets.add(request.headers.get("authorization") ?? "");
			if (new URL(request.url).pathname === "/health") return new Response("{}");
			return new Response(WHOLE, { headers: { "content-type": "application/json" } });
		},
	});
	const body = {
		name: "gpu-1",
		instance: "11111111-1111-4111-8111-111111111111",
		endpoint: `http://127.0.0.1:${agent.port}`,
		models: ["qwen"],
	};
	const asAgent = { authorization: "Bearer token-of-the-agents" };
	const registered = await post(`${routers[0]!.url}/register`, body, asAgent);
	expect(registered.status).toBe(200);
	const served = (router: number) => ask(router, { model: "local/qwen", temperature: 1 });
	await until(
		async () => (await Promise.all([0, 1, 2].map(served))).every(({ status }) => status === 200),
		"the agent everywhere",
	);
	// One secret, whichever router calls.
	expect([...secrets]).toEqual([`Bearer ${JSON.parse(registered.text).secret}`]);
	await server.client.flushall();
	const beat = await post(
		`${routers[2]!.url}/heartbeat`,
		{ ...body, models: [{ name: "qwen", state: "ready" }, "llama"] },
		asAgent,
	);
	expect(beat.status).toBe(200);
	await until(
		async () => (await ask(0, { model: "local/llama", temperature: 1 })).status === 200,
		"the heartbeat everywhere",
	);
	await until(async () => (await server.client.hlen("router:{agents}")) === 1, "the agent in Redis");
	await agent.stop(true);
}, 60_000);

test("Redis hung, slow, killed and flushed under load: no call fails, the log says it once, and it is found again", async () => {
	let failed = 0;
	let done = 0;
	let isOver = false;
	const caller = async (router: number) => {
		while (!isOver) {
			const answer = await ask(router, done % 3 === 0 ? { seed: 1_000_000 + (done % 20) } : { seed: seed++ });
			if (answer.status !== 200) failed++;
			done++;
			await Bun.sleep(1);
		}
	};
	const load = [0, 1, 2, 0, 1, 2, 0, 1, 2].map(caller);
	const some = async () => {
		const from = done;
		await until(() => done > from + 100, "the calls");
	};
	await some();
	server.hang();
	await allUp(0);
	await some();
	server.resume();
	await allUp(1);
	await some();
	proxy.delayMs = 100;
	await allUp(0);
	await some();
	proxy.delayMs = 0;
	await allUp(1);
	await server.client.flushall();
	await some();
	await server.kill();
	await allUp(0);
	await some();
	await server.restart();
	await allUp(1);
	await some();
	isOver = true;
	await Promise.all(load);
	expect(failed).toBe(0);
	for (const router of routers) {
		await router.printed(/Redis is used/);
		// Hung, slow and killed at least, and as often as a busy machine makes Redis late; each time once, until it is used again.
		const told = router.output().match(/Redis (?:can't be|is) used/g) ?? [];
		expect(told.filter((each) => each.includes("can't")).length).toBeGreaterThanOrEqual(3);
		expect(told.filter((each, at) => each === told[at - 1])).toEqual([]);
		expect(await router.metric("router_redis_failures_total", { reason: "timeout" })).toBeGreaterThan(0);
		expect(await router.metric("router_redis_failures_total", { reason: "refused" })).toBeGreaterThan(0);
	}
}, 120_000);

test("what is taken of a key's limits is shown of all routers, by each; a change holds at each", async () => {
	const headers = { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" };
	const tell = (router: number, path: string, body: object) =>
		fetch(`${routers[router]!.url}/admin/keys${path}`, { method: "POST", headers, body: JSON.stringify(body) });
	const listed = async (router: number) => {
		const { data } = (await (await fetch(`${routers[router]!.url}/admin/keys`, { headers })).json()) as {
			data: { name: string; limits: object; use?: object }[];
		};
		return data.find(({ name }) => name === "shared");
	};
	const atAll = async (is: (key: Awaited<ReturnType<typeof listed>>) => boolean) =>
		(await Promise.all([0, 1, 2].map(listed))).every(is);
	const { secret } = (await (await tell(0, "", { name: "shared", rpm: 100, tpm: 5000 })).json()) as { secret: string };
	await until(() => atAll((key) => key !== undefined), "the key at all routers");
	for (const router of [0, 1, 2]) {
		const body = { model: "box/m", messages: [{ role: "user", content: "hi" }], temperature: 1 };
		const answer = await post(`${routers[router]!.url}/v1/chat/completions`, body, {
			authorization: `Bearer ${secret}`,
		});
		expect(answer.status).toBe(200);
	}
	await until(() => atAll((key) => Bun.deepEquals(key!.use, { rpm: 3, tpm: 15 })), "the use of all");
	expect((await tell(1, "/shared/change", { rpm: 50, tpm: null })).status).toBe(200);
	await until(() => atAll((key) => Bun.deepEquals(key!.limits, { rpm: 50 })), "the change at all routers");
	expect((await listed(2))!.use).toEqual({ rpm: 3 });
}, 60_000);

test("a router whose Redis was never there starts, answers and says why it is alone", async () => {
	const alone = await startRouter({ env: { REDIS_URL: "redis://:secret-word@127.0.0.1:1/0" } });
	const answer = await post(`${alone.url}/v1/chat/completions`, {
		model: "dummy",
		messages: [{ role: "user", content: "hi" }],
		temperature: 0,
	});
	expect([answer.status, answer.headers.get("x-router-cache")]).toEqual([200, "miss"]);
	await alone.printed(/Redis can't be used/);
	expect(alone.output()).toContain("ECONNREFUSED");
	expect(alone.output()).not.toContain("secret-word");
	await alone.stop();
}, 60_000);
