/** What one session may spend: a hard stop before anything is sent, for the clients' own session headers, apart for each key. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";
import { clientRequests } from "./kit/client-recordings.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFileUpstream } from "./kit/file-upstream.ts";
import { type LoopingModel, startLoopingModel } from "./kit/looping-model.ts";
import { needing } from "./kit/needing.ts";
import { configOf } from "./kit/pipeline.ts";
import { CLIENT_KEY, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { callOnce, startHere, twoWorkers } from "./kit/worker-router.ts";

const RICHER = "key-with-a-larger-budget";
const RICHEST = "key-with-the-largest-budget";
/** An answer has 4 tokens: a USD. What is read costs nothing. */
const PRICES = { "box/*": { input: 0, output: 250_000 } };
const HI = { model: "box/m", max_tokens: 4, messages: [{ role: "user" as const, content: "hi" }] };

const ADMIN = { authorization: "Bearer admin-key-of-the-test" };
let model: LoopingModel;
let router: RunningRouter;
let sessions = 0;
/** Of a session that nobody else has. */
const newSession = () => ({ "x-session-id": `session ${sessions++}` });
const keyed = (key: string) => ({ authorization: `Bearer ${key}` });
beforeAll(async () => {
	model = startLoopingModel();
	model.plan = () => undefined;
	const config = {
		...{ providers: model.providers, prices: PRICES, limits: { session_usd: 1 } },
		keys: [
			{ name: "plain", key: CLIENT_KEY },
			{ name: "richer", key: RICHER, session_usd: 2.5 },
			{ name: "richest", key: RICHEST, session_usd: 5 },
		],
		admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] },
	};
	router = await startRouter({ config });
}, 60_000);
beforeEach(() => {
	(model.received as Loose[]).length = 0;
});
afterAll(async () => {
	await router.stop();
	await model.stop();
});

const send = (headers: Record<string, string>, body: Json = HI) =>
	post(`${router.url}/v1/chat/completions`, body, headers);
const outcome = ({ status, headers }: { status: number; headers: Headers }) => [
	status,
	headers.get("x-router-session-budget-usd"),
	headers.get("x-router-session-remaining-usd"),
];

test("a call over the budget is refused before it goes anywhere, and says what was left before it", async () => {
	const session = { ...newSession(), ...keyed(RICHER) };
	expect(outcome(await send(session))).toEqual([200, "2.5", "2.5"]);
	expect(outcome(await send(session, { ...HI, stream: true }))).toEqual([200, "2.5", "1.5"]);
	// Alone, a call may pass it.
	expect(outcome(await send(session))).toEqual([200, "2.5", "0.5"]);
	const before = await router.metric("router_limited_calls_total", { by: "session" });
	const refused = await send(session);
	expect(outcome(refused)).toEqual([429, "2.5", "0"]);
	expect(refused.headers.get("x-should-retry")).toBe("false");
	expect(JSON.parse(refused.text).error).toMatchObject({ code: "insufficient_quota", type: "insufficient_quota" });
	expect(refused.text).toContain("This session has spent its budget of 2.5 USD");
	expect(model.received).toHaveLength(3);
	expect((await router.metric("router_limited_calls_total", { by: "session" })) - before).toBe(1);
});

test("one that has spent its budget is named to administrators, and nothing that it said", async () => {
	const session = { "x-session-id": "shown", ...keyed(RICHER) };
	for (const _ of [1, 2, 3, 4]) await send(session);
	const answer = await fetch(`${router.url}/admin/runaways`, { headers: ADMIN });
	const { data } = (await answer.json()) as { data: Loose[] };
	const { last_seen, ...found } = data.find((each) => each["session"] === "shown")!;
	expect(found).toEqual({ kind: "session", key: "richer", action: "stop", session: "shown", budget_usd: 2.5 });
	expect(Date.parse(last_seen)).toBeGreaterThan(0);
});

test("another session, another key's session of the same name, and calls without one have nothing to do with it", async () => {
	const session = newSession();
	expect([(await send(session)).status, (await send(session)).status]).toEqual([200, 429]);
	expect((await send(newSession())).status).toBe(200);
	expect(outcome(await send({ ...session, ...keyed(RICHER) }))).toEqual([200, "2.5", "2.5"]);
	for (const _ of [1, 2, 3]) expect(outcome(await send({}))).toEqual([200, null, null]);
});

test("calls at once don't pass it together", async () => {
	const session = { ...newSession(), ...keyed(RICHEST) };
	const answers = await Promise.all(Array.from({ length: 12 }, () => send(session)));
	expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
	for (const { status, headers } of answers.filter((each) => each.status !== 200)) {
		// Whether others are still under way decides which of both it is.
		expect([status, headers.has("retry-after") !== (headers.get("x-should-retry") === "false")]).toEqual([429, true]);
	}
	expect(model.received).toHaveLength(5);
});

test("the official clients give up at once, and tell why", async () => {
	const defaultHeaders = newSession();
	const before = await router.metric("router_requests_total", { status: "429" });
	const openai = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: CLIENT_KEY, maxRetries: 3, defaultHeaders });
	await openai.chat.completions.create(HI);
	const refusal = await openai.chat.completions.create(HI).then(
		() => undefined,
		(thrown: unknown) => thrown,
	);
	expect(refusal).toBeInstanceOf(OpenAI.RateLimitError);
	expect(String(refusal)).toContain("This session has spent its budget");
	const anthropic = new Anthropic({ baseURL: router.url, apiKey: CLIENT_KEY, maxRetries: 3, defaultHeaders });
	const other = await anthropic.messages.create(HI).then(
		() => undefined,
		(thrown: unknown) => thrown,
	);
	expect(other).toBeInstanceOf(Anthropic.RateLimitError);
	expect(model.received).toHaveLength(1);
	expect((await router.metric("router_requests_total", { status: "429" })) - before).toBe(2);
});

test("a key that is made while the router runs has it, too, and shows it", async () => {
	const made = await post(`${router.url}/admin/keys`, { name: "made", session_usd: 2 }, ADMIN);
	const { key, secret } = JSON.parse(made.text);
	expect([made.status, key.limits]).toEqual([201, { session_usd: 2 }]);
	const session = { ...newSession(), ...keyed(secret) };
	expect([outcome(await send(session)), outcome(await send(session))]).toEqual([
		[200, "2", "2"],
		[200, "2", "1"],
	]);
	expect((await send(session)).status).toBe(429);
});

test.each([
	[
		"a key whose sessions have a budget",
		{ keys: [{ name: "team", key: CLIENT_KEY, session_usd: 1 }] },
		'the key "team"',
	],
	[
		"a key where all sessions have one",
		{ keys: [{ name: "team", key: CLIENT_KEY }], limits: { session_usd: 1 } },
		'the key "team"',
	],
	["callers without a key whose sessions have one", { limits: { session_usd: 1 } }, "limits.session_usd"],
])("a model whose price nobody knows, and a batch, are refused to %s", async (_, config, told) => {
	const files = startFileUpstream();
	const unpriced = await startRouter({
		config,
		env: { OPENAI_BASE_URL: files.origin, OPENAI_API_KEY: "sk-x" },
	});
	try {
		const body = { ...HI, model: "openai/nobody-knows" };
		const { status, text } = await post(`${unpriced.url}/v1/chat/completions`, body, newSession());
		expect([status, JSON.parse(text).error.code]).toEqual([403, "price_unknown"]);
		expect(JSON.parse(text).error.message).toContain(told);
		const client = new OpenAI({ baseURL: `${unpriced.url}/v1`, apiKey: CLIENT_KEY, maxRetries: 0 });
		const file = await client.files.create({
			file: await toFile(Buffer.from("{}\n"), "in.jsonl"),
			purpose: "batch",
		});
		const batch = await post(`${unpriced.url}/v1/batches`, { input_file_id: file.id });
		expect([batch.status, JSON.parse(batch.text).error.code]).toEqual([403, "price_unknown"]);
		expect(JSON.parse(batch.text).error.message).toContain(told);
	} finally {
		await unpriced.stop();
		await files.stop();
	}
});

test.each([-1, "5", 2e9])("session_usd: %p is refused by name", (usd) => {
	expect(() => configOf({ keys: [{ name: "team", key: CLIENT_KEY, session_usd: usd }] })).toThrow("session_usd");
	expect(() => configOf({ limits: { session_usd: usd } })).toThrow("session_usd");
});

const { describe: recorded, test: recordedTest } = needing("recordings");
recorded("the session headers of", () => {
	recordedTest.each([
		["claude-code-turns", "x-claude-code-session-id"],
		["codex-http-turns", "session-id"],
		["opencode-chat", "x-session-id"],
	])("%s are known", async (file, header) => {
		const { headers } = clientRequests(file).at(-1)!;
		expect(Object.keys(headers)).toContain(header);
		const session = { [header]: `${headers[header]} of ${file}` };
		expect([(await send(session)).status, (await send(session)).status]).toEqual([200, 429]);
	});
});

test("two workers count one session together", async () => {
	const config = twoWorkers({ limits: { session_usd: 3 }, providers: model.providers, prices: PRICES });
	const running = await startHere(config);
	try {
		// Nor does it take a key.
		const headers = newSession();
		const calls = Array.from({ length: 24 }, async () => {
			const answer = await callOnce(running.url, HI, headers);
			await answer.text();
			return answer.status;
		});
		const statuses = await Promise.all(calls);
		expect([statuses.filter((status) => status === 200).length, new Set(statuses)]).toEqual([3, new Set([200, 429])]);
	} finally {
		await running.stop();
	}
});
