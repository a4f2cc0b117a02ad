/** 50 calls at once against a budget, over HTTP: by one router, and by two that share a Redis. */
import * as bun from "bun:test";
import { afterAll, describe, expect } from "bun:test";
import { clientError } from "./kit/contract.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { type Needing, needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type ClientAnswer, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CALLS = 50;
const PROMPT = 8;
/** USD a token of answer: at the cheap target, and at the dear one. */
const CHEAP = 10e-6;
const DEAR = 100e-6;

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

/** Answers of so many tokens. */
const whole = (tokens: number) => {
	const usage = { prompt_tokens: PROMPT, completion_tokens: tokens, total_tokens: PROMPT + tokens };
	const message = { role: "assistant", content: "Hello" };
	return answers("200 OK", JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], usage }));
};
const overloaded = answers("503 Service Unavailable", '{"error":{"message":"busy"}}');

/** What an upstream does with calls: keeps them until it is told how long their answers are. */
function keeper(of: typeof first) {
	const kept: Connection[] = [];
	of.run((connection) => void kept.push(connection));
	return {
		kept,
		async release(tokens: number) {
			of.run(whole(tokens));
			await Promise.all(kept.map((connection) => whole(tokens)(connection)));
		},
	};
}

/** Calls take turns at the routers. */
let next = 0;
/** A key of its own for each test: what the others have spent is theirs. */
const BUDGETS: Record<string, number> = {
	cap: 0.0105,
	tight: 0.5,
	either: 1,
	guess: 0.1,
	learned: 0.12,
	small: 0.005,
	alone: 0.02,
};
const keyOf = (name: string) => `key-of-the-test-${name}`;
const settings = (over: Json = {}): Json => ({
	keys: Object.entries(BUDGETS)
		.flatMap(([name, usd]) =>
			[1, 2].map((at) => ({ name: `${name}${at}`, key: keyOf(`${name}${at}`), budget: { usd, per: "day" } })),
		)
		.concat(
			[1, 2].flatMap((at) => [
				{ name: `minute${at}`, key: keyOf(`minute${at}`), tpm: 10_000 } as never,
				{ name: `stream${at}`, key: keyOf(`stream${at}`), budget: { usd: 0.0105, per: "month" } },
			]),
		),
	providers: {
		one: { type: "openai-compatible", base_url: first.origin },
		two: { type: "openai-compatible", base_url: second.origin },
	},
	models: [{ name: "both", targets: ["one/m"], fallback: ["two/m"], policy: "order" }],
	prices: { "one/*": { input: 1, output: CHEAP * 1e6 }, "two/*": { input: 2, output: DEAR * 1e6 } },
	cache: { enabled: false },
	...over,
});

/** One router. */
function alone(): Routers {
	let router: RunningRouter;
	return {
		routers: () => [router],
		async start() {
			router = await startRouter({ config: settings() });
		},
		stop: () => router.stop(),
	};
}

/** Two that share a Redis. */
function together(): Routers {
	let server: RedisServer;
	let routers: RunningRouter[];
	return {
		routers: () => routers,
		async start() {
			server = await startRedis();
			// The deadline is not what is tested here, and the machine may be busy.
			const config = settings({ redis: { url: server.url, timeout: "5s" } });
			routers = await Promise.all([startRouter({ config }), startRouter({ config })]);
			await until(
				async () => (await Promise.all(routers.map((each) => each.metric("router_redis_up")))).every((up) => up === 1),
				"Redis",
			);
		},
		async stop() {
			await Promise.all(routers.map((router) => router.stop()));
			await server.stop();
		},
	};
}

interface Routers {
	readonly routers: () => readonly RunningRouter[];
	readonly start: () => Promise<void>;
	readonly stop: () => Promise<void>;
}

function budgets(
	{ beforeAll, afterAll, beforeEach, test }: Needing,
	suffix: number,
	{ routers, start, stop }: Routers,
): void {
	beforeAll(start, 60_000);
	afterAll(stop);
	const urls = () => routers().map(({ url }) => url);
	const call = async (name: string, body: Json, at = next++): Promise<ClientAnswer> => {
		const answer = await post(
			`${urls()[at % urls().length]}/v1/chat/completions`,
			{ model: "one/m", messages: [{ role: "user", content: "hi" }], ...body },
			{ authorization: `Bearer ${keyOf(`${name}${suffix}`)}` },
		);
		paid.set(name, (paid.get(name) ?? 0) + Number(answer.headers.get("x-router-cost-usd")));
		return answer;
	};
	/** USD that its answers say a key has spent. */
	const paid = new Map<string, number>();
	const spent = (name: string) => paid.get(name) ?? 0;
	/** 50 calls at once; those that are let in are answered when all others have been refused. */
	const burst = async (
		name: string,
		body: Json,
		tokens: number,
		at: typeof first = first,
		code = "insufficient_quota",
	) => {
		const upstream = keeper(at);
		const refused: ClientAnswer[] = [];
		const all = Promise.all(
			Array.from({ length: CALLS }, async (_, index) => {
				const answer = await call(name, body, index);
				if (answer.status !== 200) refused.push(answer);
				return answer;
			}),
		);
		await until(() => upstream.kept.length + refused.length === CALLS, "all calls to be let in or refused");
		const letIn = upstream.kept.length;
		await upstream.release(tokens);
		const got = await all;
		expect(got.filter(({ status }) => status === 200).length).toBe(letIn);
		for (const { status, text } of refused) expect([status, clientError(text).code]).toEqual([429, code]);
		return { letIn, refused };
	};
	const costOf = (tokens: number, price = CHEAP) => tokens * price + PROMPT * (price === DEAR ? 2e-6 : 1e-6);

	beforeEach(() => {
		first.run(whole(100));
		second.run(whole(100));
	});

	test("with max_tokens 50 calls at once do not pass it", async () => {
		const { letIn, refused } = await burst("cap", { max_tokens: 100 }, 100);
		expect(letIn).toBe(10);
		expect(spent("cap")).toBeCloseTo(10 * costOf(100), 12);
		expect(spent("cap")).toBeLessThanOrEqual(BUDGETS["cap"]!);
		const { message } = clientError(refused[0]!.text);
		expect(message).toContain("are reserved for this call");
		expect(message).toContain("100 tokens (max_tokens)");
		expect(refused[0]!.headers.get("retry-after")).toBe("1");
	});

	test("with two targets the dearer one is reserved, also behind the one that fails", async () => {
		first.run(overloaded);
		const { letIn } = await burst("tight", { model: "both", max_tokens: 1_000 }, 1_000, second);
		expect(letIn).toBe(4);
		expect(spent("tight")).toBeCloseTo(4 * costOf(1_000, DEAR), 12);
		expect(spent("tight")).toBeLessThanOrEqual(BUDGETS["tight"]!);
	});

	test("with two targets and without max_tokens, too", async () => {
		first.run(overloaded);
		const { letIn } = await burst("either", { model: "both" }, 5_000, second);
		expect(letIn).toBe(2);
		const excess = letIn * (5_000 - 4_096) * DEAR;
		expect(spent("either")).toBeLessThanOrEqual(BUDGETS["either"]! + costOf(5_000, DEAR) + excess);
	});

	test("without max_tokens they pass it by no more than what answers are longer than 4,096 tokens", async () => {
		const { letIn, refused } = await burst("guess", {}, 5_000);
		expect(letIn).toBe(2);
		const excess = letIn * (5_000 - 4_096) * CHEAP;
		expect(spent("guess")).toBeLessThanOrEqual(BUDGETS["guess"]! + costOf(5_000) + excess);
		expect(clientError(refused[0]!.text).message).toContain("4096 tokens (it sets no max_tokens)");
	});

	test("without max_tokens what the key's answers usually have is reserved once that is known", async () => {
		first.run(whole(300));
		// Each router learns for itself.
		for (let at = 0; at < 8 * urls().length; at++) expect((await call("learned", {}, at)).status).toBe(200);
		const before = spent("learned");
		const { letIn } = await burst("learned", {}, 300);
		expect(letIn).toBe(Math.floor((BUDGETS["learned"]! - before) / costOf(300)));
		expect(spent("learned")).toBeLessThanOrEqual(BUDGETS["learned"]!);
	});

	test("smaller than any reserve it still lets one call after another in, until it is spent", async () => {
		first.run(whole(100));
		const statuses: number[] = [];
		for (let at = 0; at < 7; at++) statuses.push((await call("small", at % 2 ? { max_tokens: 9_999 } : {})).status);
		expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429]);
		expect(spent("small")).toBeLessThanOrEqual(BUDGETS["small"]! + costOf(100));
		const over = await call("small", {});
		expect(clientError(over.text).message).toContain("has spent its budget of 0.005 USD a day");
		expect(over.headers.get("x-should-retry")).toBe("false");
	});

	test("a limit on tokens a minute holds in the same way, and lets one call after another in", async () => {
		const code = "rate_limit_exceeded";
		const { letIn } = await burst("minute", { model: "one/n" }, 1_000, first, code);
		expect(letIn).toBe(2);
		first.run(whole(1_000));
		// 2,016 are used, and a guess of 4,096 fits but once at a time.
		for (let at = 0; at < 4; at++) expect((await call("minute", { model: "one/n" }, at)).status).toBe(200);
		const last = await burst("minute", { model: "one/n", max_tokens: 900 }, 900, first, code);
		expect(last.letIn).toBe(4);
	});

	test("streams reserve and settle as whole answers do, also where the upstream counts nothing", async () => {
		const chunk = (delta: object, finish: string | null) =>
			`data: ${JSON.stringify({ id: "x", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
		const words = Array.from({ length: 100 }, () => chunk({ content: "word" }, null));
		first.run(streams([...words, chunk({}, "stop"), "data: [DONE]\n\n"]));
		const got = await Promise.all(
			Array.from({ length: CALLS }, (_, at) => call("stream", { stream: true, max_tokens: 100 }, at)),
		);
		// Each is over at once, so that others find room again: what they cost together is what counts. The last one may pass the budget
		// where all before it were over.
		const costs = got.map(({ text }) => Number(/"cost_usd":([\d.]+)/.exec(text)?.[1] ?? 0));
		const letIn = got.filter(({ status }) => status === 200).length;
		expect(letIn).toBeWithin(1, 12);
		expect(costs.reduce((sum, cost) => sum + cost, 0) - Math.max(...costs)).toBeLessThan(0.0105);
		await Promise.all(routers().map((router) => router.idle()));
		for (let at = 0; at < 20; at++) await call("stream", { stream: true, max_tokens: 100 }, at);
		expect((await call("stream", { stream: true })).status).toBe(429);
	});

	test("calls that fail, or whose clients leave, give back what was reserved", async () => {
		first.run(answers("400 Bad Request", '{"error":{"message":"no"}}'));
		for (let at = 0; at < 20; at++) expect((await call("alone", { max_tokens: 1_900 })).status).toBe(400);
		const upstream = keeper(first);
		for (let at = 0; at < 4; at++) {
			const leaving = new AbortController();
			const left = fetch(`${urls()[at % urls().length]}/v1/chat/completions`, {
				method: "POST",
				signal: leaving.signal,
				headers: { "content-type": "application/json", authorization: `Bearer ${keyOf(`alone${suffix}`)}` },
				body: JSON.stringify({ model: "one/m", max_tokens: 1_900, messages: [{ role: "user", content: "hi" }] }),
			}).catch(() => undefined);
			await until(() => upstream.kept.length === at + 1, "the call");
			leaving.abort();
			await left;
			await Promise.all(routers().map((router) => router.idle()));
		}
		const { letIn } = await burst("alone", { max_tokens: 950 }, 10);
		expect(letIn).toBe(2);
	});
}

describe("at one router", () => budgets(bun, 1, alone()));
const shared = needing("redis");
shared.describe("at two routers of one Redis", () => budgets(shared, 2, together()));
