/** Several routers that share a Redis: keys, limits, budgets and usage are those of one. */
import { expect } from "bun:test";
import { join } from "node:path";
import { cli } from "./kit/cli.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type Replay, startReplay } from "./kit/replay.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, test } = needing("redis");

const ADMIN = "admin-key-of-the-test";
const KEYS = 10;
const RPM = 30;
let server: RedisServer;
let replay: Replay;
let routers: RunningRouter[] = [];
const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };

beforeAll(async () => {
	server = await startRedis();
	replay = startReplay();
	const message = { role: "assistant", content: "hello" };
	replay.play({ status: 200, headers: {}, body: { choices: [{ index: 0, message, finish_reason: "stop" }], usage } });
	const config = {
		admin: { keys: [{ name: "ops", key: ADMIN }] },
		keys: [
			...Array.from({ length: KEYS }, (_, at) => ({ name: `team-${at}`, key: `key-of-team-${at}`, rpm: RPM })),
			{ name: "poor", key: "key-of-poor", budget: { usd: 1, per: "total" } },
		],
		providers: { box: { type: "openai-compatible", base_url: replay.origin } },
		// A call costs 0.1 USD.
		prices: { "box/*": { input: 100, output: 0 } },
		cache: { enabled: false },
		// A busy machine is no outage.
		redis: { timeout: "2s" },
	};
	routers = await Promise.all([1, 2, 3].map(() => startRouter({ config, env: { REDIS_URL: server.url } })));
	await Promise.all(routers.map((router) => router.printed(/Redis is used/)));
});
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	await replay.stop();
	await server.stop();
});

const call = async (router: RunningRouter, key: string) =>
	(
		await post(
			`${router.url}/v1/chat/completions`,
			{ model: "box/m", messages: [{ role: "user", content: "hi" }] },
			{ authorization: `Bearer ${key}` },
		)
	).status;
const admin = async (router: RunningRouter, path: string, body?: Json): Promise<Loose> =>
	(await (
		await fetch(router.url + path, {
			...(body ? { method: "POST", body: JSON.stringify(body) } : {}),
			headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
		})
	).json()) as Loose;
const everywhere = (key: string, status: number) =>
	until(async () => {
		const statuses = await Promise.all(routers.map((router) => call(router, key)));
		return statuses.every((each) => each === status);
	});

test("a key made on one works on all, on the command line as over HTTP; with Redis flushed in between, too; and so does its end", async () => {
	const [one, two, three] = routers as [RunningRouter, RunningRouter, RunningRouter];
	const { secret } = await admin(one, "/admin/keys", { name: "http" });
	await everywhere(secret, 200);
	await server.client.flushall();
	const { directory } = two;
	const made = await cli(["keys", "create", "--name", "cli", "--config", join(directory, "router.yaml")], {
		cwd: directory,
		env: { DATA_DIR: join(directory, "data"), LOG_DIR: join(directory, "logs"), REDIS_URL: server.url },
	});
	const other = made.stdout.trim();
	await everywhere(other, 200);
	await everywhere(secret, 200);
	await admin(three, "/admin/keys/http/revoke", {});
	await everywhere(secret, 401);
	await server.client.flushall();
	const rotated = (await admin(one, "/admin/keys/cli/rotate", {}))["secret"];
	await everywhere(rotated, 200);
	await everywhere(other, 401);
	await everywhere(secret, 401);
});

test("limits are those of all together: 1,200 calls of 10 keys in turn, each let in exactly as often as it may", async () => {
	const let_in = Array<number>(KEYS).fill(0);
	let next = 0;
	const client = async () => {
		while (next < KEYS * RPM * 4) {
			const at = next++;
			const key = at % KEYS;
			const status = await call(routers[Math.floor(at / KEYS) % 3]!, `key-of-team-${key}`);
			if (status === 200) let_in[key]!++;
			else expect(status).toBe(429);
		}
	};
	await Promise.all(Array.from({ length: 24 }, client));
	expect(let_in).toEqual(Array<number>(KEYS).fill(RPM));
}, 60_000);

test("a budget is spent by all together, and a router that was away knows what the others spent", async () => {
	let letIn = 0;
	let next = 0;
	// Redis was flushed: until all have put back what they know each has its share of what is left.
	await until(async () => {
		if ((await call(routers[next++ % 2]!, "key-of-poor")) === 200) letIn++;
		return letIn === 10;
	}, "all of the budget");
	await everywhere("key-of-poor", 429);
	await server.client.flushall();
	await everywhere("key-of-poor", 429);
});

test("usage is the sum of all, whichever is asked", async () => {
	const total = async (router: RunningRouter) => {
		const { data, partial } = await admin(router, "/admin/usage?by=key");
		const { calls, cost_usd } = data.find(({ key }: Loose) => key === "poor");
		return partial ? undefined : `${calls} ${cost_usd}`;
	};
	const counted = async () => new Set(await Promise.all(routers.map(total)));
	// Told every second. A router may have let a call in before it had heard what the others spent.
	await until(async () => {
		const [sum, ...others] = await counted();
		return others.length === 0 && Number(sum?.split(" ")[1]) >= 1;
	});
}, 30_000);

test("an invitation that was taken back on one is good on none", async () => {
	const [one, two, three] = routers as [RunningRouter, RunningRouter, RunningRouter];
	const invited = await cli(["agents", "invite", "--config", join(one.directory, "router.yaml")], {
		cwd: one.directory,
		env: { DATA_DIR: join(one.directory, "data"), REDIS_URL: server.url },
	});
	const token = /ROUTER_AGENT_TOKEN=(\S+)/.exec(invited.stdout)![1]!;
	const seen = async (router: RunningRouter) =>
		(await fetch(`${router.url}/agents`, { headers: { authorization: `Bearer ${token}` } })).status;
	const all = (status: number) =>
		until(async () => (await Promise.all(routers.map(seen))).every((each) => each === status));
	await all(200);
	const [{ id }] = (await admin(two, "/admin/invitations"))["data"];
	await admin(three, `/admin/invitations/${id}/revoke`, {});
	await all(401);
	await server.client.flushall();
	await Bun.sleep(2_500);
	await all(401);
}, 30_000);
