/**
 * Three routers behind one Redis, called in turn: are limits exact whoever is asked, also where Redis is slow, hangs, is dead or has lost what it
 * counted, and does anybody notice what befalls Redis?
 *
 *     bun test/bench/fleet.ts [--source] [--workers N] [--only hung,dead]
 *
 * Needs `redis-server`. Exits 1 where a limit was off by more than 0.5 %, a call failed, the overhead's p99 rose by 60 ms or more, or
 * Redis was not used again 5 s after it was back.
 */
import { parseArgs } from "node:util";
import { type RedisServer, slowProxy, startRedis } from "../kit/redis.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";

const KEYS = 50;
/** Calls a key, and how many keys where something befalls Redis meanwhile. */
const CALLS_A_KEY = 400;
const TROUBLED_KEYS = 8;
/** Of these calls a key so many when all is over. */
const LAST_CALLS_A_KEY = 18;
/** How far from a limit what is let in may be, as part of it. */
const MOST_OFF = 0.005;
const RPM = 300;
const CLIENTS = 24;
/** How long each misfortune lasts, ms. */
const LASTS_MS = 4_000;
/** How long after that routers keep to their shares, and a little, ms. */
const SHARES_MS = 4_000;
const MOST_RISE_MS = 60;
const MOST_RECOVERY_MS = 5_000;

const server = await startRedis();
const proxy = slowProxy(server.port);
const { values: flags } = parseArgs({
	options: { source: { type: "boolean" }, workers: { type: "string", default: "1" }, only: { type: "string" } },
});
/** What befalls Redis while limits fill; `trouble`: under load that is far from any. */
const KINDS = ["calm", "slow", "flushed", "restarted", "hung", "dead", "trouble"];
const kinds = flags.only?.split(",") ?? KINDS;
const config = {
	server: { workers: Number(flags.workers) },
	keys: [
		...KINDS.flatMap((kind) =>
			Array.from({ length: KEYS }, (_, at) => ({ name: `${kind}-${at}`, key: `key-of-${kind}-${at}`, rpm: RPM })),
		),
		{ name: "busy", key: "key-of-busy", rpm: 1_000_000, tpm: 1_000_000_000, concurrency: 1000, budget: { usd: 1000 } },
	],
	prices: { "dummy*": { input: 1, output: 1 } },
	log: { level: "error" },
};
const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}/0` };
const source = flags.source ? "source" : "binary";
const routers = await Promise.all([1, 2, 3].map(() => startRouter({ config, env, source })));
await used(1);
let isBad = false;
try {
	await limits("calm", KEYS);
	proxy.delayMs = 100;
	await limits("slow", TROUBLED_KEYS);
	proxy.delayMs = 0;
	await used(1);
	await limits("flushed", TROUBLED_KEYS, () => server.client.flushall());
	await limits("restarted", TROUBLED_KEYS, () => server.kill().then(() => server.restart()));
	await limits("hung", TROUBLED_KEYS, async () => {
		server.hang();
		await Bun.sleep(LASTS_MS);
		server.resume();
	});
	await limits("dead", TROUBLED_KEYS, async () => {
		await server.kill();
		await Bun.sleep(LASTS_MS);
		await server.restart();
	});
	if (kinds.includes("trouble")) await trouble(server, routers);
} finally {
	await Promise.all(routers.map((router) => router.stop()));
	proxy.stop();
	await server.stop();
}
process.exit(isBad ? 1 : 0);

async function used(value: number): Promise<number> {
	const since = performance.now();
	for (;;) {
		const ups = await Promise.all(routers.map((router) => router.metric("router_redis_up")));
		if (ups.every((up) => up === value)) return performance.now() - since;
		if (performance.now() - since > 30_000) throw new Error(`fleet: Redis never came to be ${value}`);
		await Bun.sleep(20);
	}
}

async function call(router: RunningRouter, key: string, seed: number) {
	const answer = await fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
		body: JSON.stringify({ model: "dummy", seed, temperature: 0, messages: [{ role: "user", content: "hi" }] }),
	});
	await answer.arrayBuffer();
	return { status: answer.status, overhead: Number(answer.headers.get("x-router-overhead-ms") ?? 0) };
}

/** Whether keys of that kind are let in as often as they may. @param befalls what happens to Redis once most of each limit is used */
async function limits(kind: string, keys: number, befalls?: () => Promise<unknown>): Promise<void> {
	if (!kinds.includes(kind)) return;
	const letIn = new Array<number>(keys).fill(0);
	const calls = keys * CALLS_A_KEY;
	let others = 0;
	let next = 0;
	const since = performance.now();
	const before = await givenUp();
	let befallen: Promise<unknown> | undefined;
	const client = async () => {
		for (let at = next++; at < calls; at = next++) {
			if (at === Math.floor(calls * 0.6)) befallen = befalls?.();
			const key = Math.floor(at / routers.length) % keys;
			const { status } = await call(routers[at % routers.length]!, `key-of-${kind}-${key}`, at);
			if (status === 200) letIn[key]!++;
			else if (status !== 429) others++;
		}
	};
	await Promise.all(Array.from({ length: CLIENTS }, client));
	await befallen;
	const meanwhile = `${Math.min(...letIn)} to ${Math.max(...letIn)}`;
	// Nor is anything let in once more when Redis is back; what no router's share had room for is there for all when all have told it what they let in.
	if (befalls) {
		await used(1);
		await Bun.sleep(SHARES_MS);
		next = calls - LAST_CALLS_A_KEY * keys;
		befalls = undefined;
		await Promise.all(Array.from({ length: CLIENTS }, client));
	}
	const took = (performance.now() - since) / 1000;
	const off = Math.max(...letIn.map((count) => Math.abs(count - RPM) / RPM));
	console.log(
		`${kind.padEnd(9)} ${calls} calls of ${keys} keys with ${RPM} a minute, in ${took.toFixed(1)} s: let in ${meanwhile}, in the end ${Math.min(...letIn)} to ${Math.max(...letIn)}, neither 200 nor 429: ${others}, commands to Redis given up: ${(await givenUp()) - before}`,
	);
	if (took > 55) throw new Error("fleet: it took so long that windows slid: nothing was shown");
	isBad ||= off > MOST_OFF || others > 0;
}

async function givenUp(): Promise<number> {
	const failures = await Promise.all(routers.map((router) => router.metric("router_redis_failures_total")));
	return failures.reduce((sum, each) => sum + each, 0);
}

/** Load until told otherwise. */
function load() {
	let seed = 0;
	let overheads: number[] = [];
	let failed = 0;
	let isOver = false;
	const client = async (at: number) => {
		while (!isOver) {
			const { status, overhead } = await call(
				routers[at % routers.length]!,
				"key-of-busy",
				++seed % 2 === 0 ? seed : seed % 99,
			);
			if (status === 200) overheads.push(overhead);
			else failed++;
			await Bun.sleep(10);
		}
	};
	const clients = Array.from({ length: CLIENTS }, (_, at) => client(at));
	return {
		/** What came since this was last asked. */
		take() {
			const taken = {
				calls: overheads.length + failed,
				failed,
				p99: overheads.toSorted((a, b) => a - b)[Math.floor(overheads.length * 0.99)] ?? Number.NaN,
			};
			overheads = [];
			failed = 0;
			return taken;
		},
		async end() {
			isOver = true;
			await Promise.all(clients);
		},
	};
}

async function trouble(redis: RedisServer, all: readonly RunningRouter[]): Promise<void> {
	const loaded = load();
	const none = async () => undefined;
	const kinds: [name: string, begin: () => unknown, end: () => unknown][] = [
		["hung (SIGSTOP)", () => redis.hang(), () => redis.resume()],
		[
			"slow (100 ms)",
			() => {
				proxy.delayMs = 100;
			},
			() => {
				proxy.delayMs = 0;
			},
		],
		["flushed", () => redis.client.flushall(), none],
		["killed", () => redis.kill(), () => redis.restart()],
	];
	await Bun.sleep(LASTS_MS);
	loaded.take();
	for (const [name, begin, end] of kinds) {
		await Bun.sleep(LASTS_MS);
		const before = loaded.take();
		await begin();
		await Bun.sleep(LASTS_MS);
		await end();
		const recovery = await used(1);
		const during = loaded.take();
		const failed = before.failed + during.failed;
		const rise = during.p99 - before.p99;
		console.log(
			`${name.padEnd(14)} ${during.calls} calls, ${failed} failed; overhead p99 ${before.p99.toFixed(1)} → ${during.p99.toFixed(1)} ms; used again after ${Math.round(recovery)} ms`,
		);
		isBad ||= failed > 0 || !(rise < MOST_RISE_MS) || recovery > MOST_RECOVERY_MS;
	}
	await loaded.end();
	const { failed } = loaded.take();
	console.log(`afterwards: ${failed} failed; ${all.length} routers still run`);
	isBad ||= failed > 0;
}
