/** Callers and their money, over HTTP: limits, budgets, what is told and what is kept of each call. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import { eventData, type Json, type Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const usage = {
	prompt_tokens: 1000,
	completion_tokens: 100,
	total_tokens: 1100,
	prompt_tokens_details: { cached_tokens: 400 },
};
/** By the prices below: 600 × 1 + 400 × 0.1 + 100 × 10 millionths. */
const COST = 0.00164;
const message = { role: "assistant", content: "Hello there, how are you today?" };
const whole = (rest: Json = { usage }) =>
	answers("200 OK", JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }], ...rest }));
const chunk = (choices: unknown[], rest: Json = {}) => `data: ${JSON.stringify({ id: "x", choices, ...rest })}\n\n`;
const word = (content: string) => chunk([{ index: 0, delta: { content }, finish_reason: null }]);
const finish = chunk([{ index: 0, delta: {}, finish_reason: "stop" }]);
const streamed = (rest = [chunk([], { usage })]) =>
	streams([word("Hello"), word(" there"), finish, ...rest, "data: [DONE]\n\n"]);

const first = startFaultUpstream();
const second = startFaultUpstream();
const ADMIN = "admin-key-of-the-test";
let router: RunningRouter;
const keyFile = directory({ "key.txt": "key-in-a-file-1\n" });
const hash = (secret: string) => new Bun.CryptoHasher("sha256").update(secret).digest("hex");

const SETTINGS = {
	server: { drain: "0s" },
	keys: [
		{ name: "plain", key: "key-of-plain", team: "red" },
		{ name: "hashed", key: `sha256:${hash("key-that-is-hashed")}` },
		{ name: "filed", key: `\${file:${join(keyFile.path, "key.txt")}}` },
		{ name: "slow", key: "key-of-slow", rpm: 3, tpm: 5000 },
		{ name: "single", key: "key-of-single", concurrency: 1 },
		{ name: "short", key: "key-of-short", input: 20 },
		{ name: "poor", key: "key-of-poor", budget: { usd: 0.003, per: "day" } },
	],
	admin: { keys: [{ name: "ops", key: ADMIN }] },
	providers: {
		one: { type: "openai-compatible", base_url: first.origin },
		two: { type: "openai-compatible", base_url: second.origin },
		openrouter: { base_url: second.origin, api_key: "k" },
		venice: { base_url: second.origin, api_key: "k" },
	},
	models: [{ name: "both", targets: ["one/m", "two/m"], policy: "order" }],
	prices: { "one/*": { input: 1, output: 10, cached: 0.1 }, "two/*": { input: 2, output: 20, cached: 0.2 } },
};

beforeAll(async () => {
	router = await startRouter({ config: SETTINGS });
});
beforeEach(() => {
	first.run(whole());
	second.run(whole());
});
afterAll(async () => {
	await router.stop();
	first.stop();
	second.stop();
	keyFile[Symbol.dispose]();
});

const call = (key: string, body: Json = {}, headers: Record<string, string> = {}) =>
	post(
		`${router.url}/v1/chat/completions`,
		JSON.stringify({ model: "one/m", messages: [{ role: "user", content: "hi" }], ...body }),
		{ authorization: `Bearer ${key}`, ...headers },
	);
const admin = async (path: string): Promise<Loose> =>
	(await (await fetch(router.url + path, { headers: { authorization: `Bearer ${ADMIN}` } })).json()) as Loose;
const kept = async (answer: { headers: Headers }) => admin(`/admin/calls/${answer.headers.get("x-request-id")}`);

describe("keys of the configuration", () => {
	test.each([
		["by their hash", "key-that-is-hashed", 200],
		["in a file", "key-in-a-file-1", 200],
		["but not the hash itself", `sha256:${hash("key-that-is-hashed")}`, 401],
	])("may be given %s", async (_, key, status) => {
		expect((await call(key)).status).toBe(status);
	});

	test.each(["x-api-key", "api-key", "x-goog-api-key"])("are taken from %s", async (name) => {
		expect((await call("", {}, { authorization: "", [name]: "key-of-plain" })).status).toBe(200);
	});
});

describe("what a call costs", () => {
	test("stands in a whole answer's usage and header", async () => {
		const { text, headers } = await call("key-of-plain");
		expect(JSON.parse(text).usage).toEqual({ ...usage, cost: COST });
		expect(Number(headers.get("x-router-cost-usd"))).toBe(COST);
	});

	test("stands in a stream's usage where the client asked for that, and in its last comment in any case", async () => {
		first.run(streamed());
		const asked = await call("key-of-plain", { stream: true, stream_options: { include_usage: true } });
		expect(JSON.parse(eventData(asked.text).at(-2)!).usage).toEqual({ ...usage, cost: COST });
		const other = await call("key-of-plain", { stream: true });
		expect(other.text).not.toContain('"usage":{"prompt');
		for (const { text } of [asked, other]) expect(text).toContain(`"cost_usd":${COST}}`);
	});

	test("is the upstream's own word where it has one, and told once", async () => {
		second.run(whole({ usage: { ...usage, cost: 0.25 } }));
		const answer = await call("key-of-plain", { model: "openrouter/qwen/qwen3-8b" });
		expect(answer.text.match(/"cost"/g)).toHaveLength(1);
		expect(await kept(answer)).toMatchObject({ cost_usd: 0.25, price: { source: "upstream" } });
	});

	test("is not zero where nobody knows the price: it is told to no one, counted, and shown", async () => {
		const before = await router.metric("router_unpriced_calls_total", { provider: "venice" });
		const answer = await call("key-of-plain", { model: "venice/some-model" });
		expect(JSON.parse(answer.text).usage).toEqual(usage);
		expect(answer.headers.get("x-router-cost-usd")).toBeNull();
		const entry = await kept(answer);
		expect([entry["cost_usd"], entry["price"]]).toEqual([undefined, { source: "none" }]);
		expect(await router.metric("router_unpriced_calls_total", { provider: "venice" })).toBe(before + 1);
		const { data } = await admin("/admin/usage?by=provider");
		expect(data.find((each: Loose) => each["provider"] === "venice")).toMatchObject({ unpriced: 1, cost_usd: 0 });
	});

	test("is estimated where the upstream says no tokens, and marked so", async () => {
		first.run(whole({}));
		const answer = await call("key-of-plain", { messages: [{ role: "user", content: "x".repeat(4000) }] });
		const entry = await kept(answer);
		expect(entry).toMatchObject({ estimated: true, tokens: { output: 8 } });
		expect(entry["tokens"].input).toBeWithin(990, 1020);
		expect(entry["cost_usd"]).toBeCloseTo((entry["tokens"].input * 1 + 8 * 10) / 1e6, 12);
		first.run(streamed([]));
		const stream = await kept(await call("key-of-plain", { stream: true }));
		expect(stream).toMatchObject({ estimated: true, tokens: { output: 2 } });
	});

	test("is that of the attempt that answered: those that failed are never billed", async () => {
		first.run(answers("503 Service Unavailable", '{"error":{"message":"busy"}}'));
		const answer = await call("key-of-plain", { model: "both" });
		const entry = await kept(answer);
		expect(entry["cost_usd"]).toBeCloseTo(2 * COST, 12);
		expect(entry["attempts"].map(({ target, outcome }: Loose) => [target, outcome])).toEqual([
			["one/m", "overloaded"],
			["two/m", "answered"],
		]);
		expect(entry["decision"].candidates.map(({ id, rank }: Loose) => [id, rank])).toEqual([
			["one/m", 1],
			["two/m", 2],
		]);
		const [failed, answered] = entry["attempts"] as Loose[];
		expect(failed!["began_ms"]).toBeGreaterThanOrEqual(0);
		expect(answered!["began_ms"]).toBeGreaterThanOrEqual(failed!["began_ms"] + failed!["ms"] - 0.2);
		// What replays read is for them alone.
		expect(entry).not.toHaveProperty("snapshot");
	});

	test("is nothing where the stream broke: its client got no answer", async () => {
		first.run(async (connection) => {
			await begins([word("Hello"), word(" there")])(connection);
			connection.destroy();
		});
		const entry = await kept(await call("key-of-plain", { stream: true }));
		expect([entry["status"], entry["cost_usd"], entry["tokens"]]).toEqual([502, undefined, undefined]);
	});

	test("is what had come where the client left, estimated", async () => {
		first.run(begins(["one ", "two ", "three ", "four "].map(word)));
		const body = JSON.stringify({ model: "one/m", stream: true, messages: [{ role: "user", content: "hi" }] });
		const client = await rawClient(
			router.url,
			postBytes("/v1/chat/completions", body, { authorization: "Bearer key-of-plain" }),
		);
		await client.until(/four/);
		const id = /x-request-id: (\S+)/i.exec(client.text())![1]!;
		client.leave();
		await router.idle();
		const entry = await admin(`/admin/calls/${id}`);
		expect(entry).toMatchObject({ status: 499, estimated: true });
		expect(entry["tokens"].output).toBeWithin(4, 9);
		expect(entry["cost_usd"]).toBeGreaterThan(0);
	});
});

test("a call that was answered before costs nothing, takes no tokens, and its answer tells its own limits", async () => {
	const limited = await startRouter({ config: SETTINGS });
	const ask = () =>
		post(
			`${limited.url}/v1/chat/completions`,
			{ model: "one/m", temperature: 0, messages: [{ role: "user", content: "hi" }] },
			{ authorization: "Bearer key-of-slow" },
		);
	const [paid, free] = [await ask(), await ask()];
	expect([paid.headers.get("x-router-cache"), free.headers.get("x-router-cache")]).toEqual(["miss", "hit"]);
	expect(first.received).toHaveLength(1);
	expect(free.headers.get("x-router-cost-usd")).toBeNull();
	expect(free.headers.get("x-ratelimit-remaining-requests")).toBe("1");
	const third = await ask();
	expect(Number(third.headers.get("x-ratelimit-remaining-tokens"))).toBeWithin(5000 - 1100 - 20, 5000 - 1100);
	const answer = await fetch(`${limited.url}/admin/usage?by=key`, { headers: { authorization: `Bearer ${ADMIN}` } });
	const { data } = (await answer.json()) as Loose;
	expect(data).toMatchObject([{ key: "slow", calls: 3, cost_usd: COST, unpriced: 0, estimated: 0 }]);
	await limited.stop();
});

describe("limits", () => {
	test("are told with every answer, keep calls out with a 429, and count what a stream really used", async () => {
		first.run(streamed());
		const one = await call("key-of-slow", { stream: true, max_tokens: 3000 });
		expect(one.headers.get("x-ratelimit-limit-tokens")).toBe("5000");
		expect(Number(one.headers.get("x-ratelimit-remaining-tokens"))).toBeWithin(1980, 2000);
		await router.idle();
		first.run(whole());
		const two = await call("key-of-slow", { max_tokens: 3800 });
		// 1100 were used, not 3000.
		expect(two.status).toBe(200);
		const three = await call("key-of-slow", { max_tokens: 3800 });
		const error = clientError(three.text);
		expect([three.status, error.code, error.type]).toEqual([429, "rate_limit_exceeded", "rate_limit_error"]);
		expect(Number(three.headers.get("retry-after"))).toBeWithin(50, 61);
		expect(three.headers.get("x-ratelimit-remaining-requests")).toBe("1");
		expect((await call("key-of-slow", { max_tokens: 10 })).status).toBe(200);
		const last = await call("key-of-slow", { max_tokens: 10 });
		expect([last.status, last.headers.get("x-ratelimit-remaining-requests")]).toEqual([429, "0"]);
		expect(await router.metric("router_limited_calls_total", { by: "key", counts: "tokens" })).toBe(1);
		expect(await router.metric("router_limited_calls_total", { by: "key", counts: "requests" })).toBe(1);
	});

	test("take the place of an upstream's own, which are the router's", async () => {
		const headers = { "content-type": "application/json", "x-ratelimit-remaining-requests": "99999", "x-a": "b" };
		first.run(
			answers(
				"200 OK",
				'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
				headers,
			),
		);
		const limited = await startRouter({ config: SETTINGS });
		const ask = (key: string) =>
			post(
				`${limited.url}/v1/chat/completions`,
				{ model: "one/m", messages: [{ role: "user", content: "hi" }] },
				{ authorization: `Bearer ${key}` },
			);
		const told = async (key: string) => (await ask(key)).headers.get("x-ratelimit-remaining-requests");
		expect([await told("key-of-slow"), await told("key-of-plain")]).toEqual(["2", "99999"]);
		await limited.stop();
	});

	test("of calls at once hold as long as a stream runs, and are free when its client leaves", async () => {
		first.run(begins([word("Hello"), word(" there")]));
		const body = JSON.stringify({ model: "one/m", stream: true, messages: [{ role: "user", content: "hi" }] });
		const client = await rawClient(
			router.url,
			postBytes("/v1/chat/completions", body, { authorization: "Bearer key-of-single" }),
		);
		await client.until(/there/);
		expect((await call("key-of-single", { model: "two/m" })).status).toBe(429);
		client.leave();
		await router.idle();
		expect((await call("key-of-single", { model: "two/m" })).status).toBe(200);
	});

	test("of input refuse what is too long without asking anyone", async () => {
		const answer = await call("key-of-short", { messages: [{ role: "user", content: "word ".repeat(100) }] });
		expect([answer.status, clientError(answer.text).code]).toEqual([413, "input_too_large"]);
		expect(first.received).toHaveLength(0);
		expect((await call("key-of-short")).status).toBe(200);
	});
});

describe("a budget", () => {
	test("is spent by what calls cost, and over it there is OpenAI's insufficient_quota, also after a restart", async () => {
		using home = directory();
		const env = { DATA_DIR: home.path };
		const ask = async (url: string) =>
			post(
				`${url}/v1/chat/completions`,
				{ model: "one/m", messages: [{ role: "user", content: "hi" }] },
				{ authorization: "Bearer key-of-poor" },
			);
		const before = await startRouter({ config: SETTINGS, env });
		expect([(await ask(before.url)).status, (await ask(before.url)).status]).toEqual([200, 200]);
		const over = await ask(before.url);
		expect(over.status).toBe(429);
		expect(clientError(over.text)).toMatchObject({ code: "insufficient_quota", type: "insufficient_quota" });
		process.kill(before.pid, "SIGTERM");
		await before.printed(/Stopped/);
		await before.stop();
		const after = await startRouter({ config: SETTINGS, env });
		expect((await ask(after.url)).status).toBe(429);
		await after.stop();
	});

	test("refuses models whose price nobody knows, and goes past them where others serve", async () => {
		const refused = await call("key-of-poor", { model: "venice/some-model" });
		expect([refused.status, clientError(refused.text).code]).toEqual([403, "price_unknown"]);
		expect(clientError(refused.text).message).toContain('set the price of "venice/some-model" under `prices:`');
	});
});

describe("usage", () => {
	test("is shown by key, team and end user, whom a header names before the body", async () => {
		await call("key-of-plain", { user: "by-body" });
		await call("key-of-plain", { user: "by-body" }, { "x-openwebui-user-email": "ann@example.com" });
		const { data } = await admin("/admin/usage?by=key,team,user");
		const of = (user: string) => data.find((each: Loose) => each["user"] === user);
		expect(of("by-body")).toMatchObject({
			key: "plain",
			team: "red",
			calls: 1,
			tokens_in: 1000,
			tokens_cached: 400,
			cost_usd: COST,
		});
		expect(of("ann@example.com")).toMatchObject({ key: "plain", calls: 1 });
	});

	test("can be had as CSV", async () => {
		await call("key-of-plain");
		const answer = await fetch(`${router.url}/admin/usage?by=provider&format=csv`, {
			headers: { authorization: `Bearer ${ADMIN}` },
		});
		expect(answer.headers.get("content-type")).toStartWith("text/csv");
		expect(await answer.text()).toMatch(/^provider,calls,failed,.*\r\nnone,\d+,/);
	});

	test.each([
		["by=colour", "by"],
		["from=yesterday", "from"],
		["from=2026-02-30", "from"],
		["from=2026-02-02&to=2026-02-01", "from"],
		["to=2026-13-01", "to"],
	])("that is asked for with %s is refused", async (query, param) => {
		const answer = await fetch(`${router.url}/admin/usage?${query}`, { headers: { authorization: `Bearer ${ADMIN}` } });
		expect([answer.status, clientError(await answer.text())]).toMatchObject([400, { code: "invalid_value", param }]);
	});
});

test("cost_in_answers: false tells it in the header alone; limits and key files are read again on reload", async () => {
	const changed = {
		...SETTINGS,
		keys: [...SETTINGS.keys.slice(0, 3), { name: "slow", key: "key-of-slow", rpm: 1 }],
		usage: { cost_in_answers: false },
	};
	const other = await startRouter({ config: SETTINGS });
	const ask = (key: string) =>
		post(
			`${other.url}/v1/chat/completions`,
			{ model: "one/m", messages: [{ role: "user", content: "hi" }] },
			{ authorization: `Bearer ${key}` },
		);
	try {
		for (let at = 0; at < 2; at++) expect((await ask("key-of-slow")).status).toBe(200);
		writeFileSync(join(keyFile.path, "key.txt"), "key-in-a-file-2");
		writeFileSync(join(other.directory, "router.yaml"), JSON.stringify(changed));
		process.kill(other.pid, "SIGHUP");
		await other.printed(/loaded anew/);
		// What was counted before counts still.
		expect((await ask("key-of-slow")).status).toBe(429);
		expect([(await ask("key-in-a-file-1")).status, (await ask("key-in-a-file-2")).status]).toEqual([401, 200]);
		const { text, headers } = await ask("key-of-plain");
		expect(JSON.parse(text).usage).toEqual(usage);
		expect(headers.get("x-router-cost-usd")).toBe(String(COST));
	} finally {
		writeFileSync(join(keyFile.path, "key.txt"), "key-in-a-file-1\n");
		await other.stop();
	}
});
