/** What attempts cost that failed after their upstream had answered: the router pays, a key for what it asked for alone, and none is left out. */
import { afterAll, describe, expect, test } from "bun:test";
import { HardwareClocks } from "../src/accounts/usage/hardware-clocks.ts";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import type { Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, cutsAfter, neverAnswers, streams } from "./kit/faults.ts";
import { account, type Pipeline, pipeline } from "./kit/pipeline.ts";
import { post } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

/** A dollar a token of the prompt, two one of the answer. */
const RATES = { input: 1_000_000, output: 2_000_000 };

function router(more: Json = {}): Pipeline {
	const made = pipeline({
		config: {
			providers: {
				box: { type: "openai-compatible", base_url: upstream.origin },
				anthropic: { api_key: "k", base_url: upstream.origin },
				gemini: { api_key: "k", base_url: upstream.origin },
			},
			...more,
		},
	});
	const prices = { of: () => ({ rates: RATES, source: "prices" }), hasHourlyRates: false };
	const usage = { prices, learned: new LearnedUsage(), clocks: new HardwareClocks() };
	account(made, usage);
	return made;
}

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const form = { response_format: { type: "json_schema", json_schema: { name: "city", schema } } };
const tool = { type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } };

const ok = (body: Json): Script => answers("200 OK", JSON.stringify(body));
const data = (event: Json) => `data: ${JSON.stringify(event)}\n\n`;
const usage = { prompt_tokens: 7, completion_tokens: 4, total_tokens: 11 };

const claudeWords: Json = {
	id: "msg_1",
	type: "message",
	role: "assistant",
	model: "claude",
	content: [{ type: "text", text: "It is Bern." }],
	stop_reason: "end_turn",
	usage: { input_tokens: 7, output_tokens: 4 },
};
const claudeStream: Json[] = [
	{ type: "message_start", message: { ...claudeWords, content: [], stop_reason: null } },
	{ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
	{ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "It is Bern." } },
	{ type: "content_block_stop", index: 0 },
	{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 4 } },
	{ type: "message_stop" },
];
const geminiCall = (args: Json): Json => ({
	candidates: [{ content: { parts: [{ functionCall: { name: "json_answer", args } }] }, finishReason: "STOP" }],
	usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 4, totalTokenCount: 11 },
});
const geminiBlocked: Json = {
	promptFeedback: { blockReason: "SAFETY" },
	usageMetadata: { promptTokenCount: 15, totalTokenCount: 15 },
};
const choice = (more: Json): Json => ({ id: "x", choices: [{ index: 0, ...more }], usage });
const piece = (text: string): Json => ({ id: "x", choices: [{ index: 0, delta: { content: text } }] });

const CLAUDE = { model: "anthropic/claude-3-5-sonnet-20241022", ...form };
const CLAUDE_JSON = { ...CLAUDE, response_format: { type: "json_object" } };
const GEMINI = { model: "gemini/gemini-2.5-flash", ...form, tools: [tool] };
const BOX = { model: "box/m" };

/** What fails, the call, and what its upstream sends. Each is counted by it as 7 tokens and 4, or 15 and none. */
const COUNTED: readonly (readonly [what: string, body: Json, script: Script])[] = [
	["a whole answer of Claude's that is not of the form", CLAUDE, ok(claudeWords)],
	["words of Claude's where JSON was asked for", CLAUDE_JSON, ok(claudeWords)],
	["a stream of Claude's that is not of the form", { ...CLAUDE, stream: true }, streams(claudeStream.map(data))],
	[
		"an answer of Claude's without an end",
		{ ...CLAUDE, response_format: null },
		ok({ ...claudeWords, stop_reason: null }),
	],
	[
		"an answer of Claude's without content",
		{ ...CLAUDE, response_format: null },
		ok({ ...claudeWords, content: null }),
	],
	["a whole answer of Gemini's that is not of the form", GEMINI, ok(geminiCall({ town: "Bern" }))],
	[
		"a stream of Gemini's that is not of the form",
		{ ...GEMINI, stream: true },
		streams([data(geminiCall({ town: "Bern" }))]),
	],
	["a prompt that Gemini blocked", { model: GEMINI.model }, ok(geminiBlocked)],
	["a streamed prompt that Gemini blocked", { model: GEMINI.model, stream: true }, streams([data(geminiBlocked)])],
	["an answer of another shape than Gemini's", { model: GEMINI.model }, ok({ ...geminiCall({}), candidates: 5 })],
	[
		"a whole answer that its server stopped at",
		BOX,
		ok(choice({ message: { content: "hi" }, finish_reason: "abort" })),
	],
	["an answer without a message", BOX, ok(choice({ finish_reason: "stop" }))],
	["an answer with an error inside", BOX, ok(choice({ error: { code: 502, message: "broke" } }))],
	[
		"events with an error, in the place of an answer",
		BOX,
		answers(
			"200 OK",
			[piece("a"), { ...choice({ delta: {} }), error: { code: 502, message: "broke" } }].map(data).join(""),
		),
	],
];

describe("an attempt that failed, and whose upstream has counted it, is paid by the router", () => {
	test.each(COUNTED)("%s", async (_, body, script) => {
		upstream.run(script);
		const rig = router();
		const answer = await rig.send({ messages: [{ role: "user", content: "Where?" }], ...body });
		await answer.text();
		await rig.settledCalls(1);
		expect(answer.status).toBeGreaterThanOrEqual(400);
		const rows = JSON.parse(batchOf(rig.settled, [0], rig.attempts, new EndUsers()).calls[0]!.attempts!) as Json[];
		for (const row of rows) expect(row).toMatchObject({ cost: 15, paid_by: "router" });
		expect([rig.settled[0]!.cost, rig.settled[0]!.bill]).toEqual([undefined, undefined]);
	});
});

test("what the upstream says it cost stands", async () => {
	upstream.run(ok({ ...choice({ finish_reason: "stop" }), usage: { ...usage, cost: 0.25 } }));
	const rig = router();
	await rig.send({ ...BOX, messages: [{ role: "user", content: "Where?" }] });
	expect(rig.attempts[0]).toMatchObject({ failure: "truncated", cost: 0.25, isUnbilled: true });
});

describe("an attempt that failed with nothing counted", () => {
	const send = async (script: Script, body: Json, more?: Json) => {
		upstream.run(script);
		const rig = router(more);
		const answer = await rig.send({ messages: [{ role: "user", content: "Where?" }], ...BOX, ...body });
		await answer.text();
		await rig.settledCalls(1);
		return rig;
	};

	test.each([
		["refused", answers("400 Bad Request", '{"error":{"message":"no"}}')],
		["failed", answers("500 Internal Server Error", '{"error":{"message":"no"}}')],
		["not sent", (connection) => connection.destroy()],
		["answered by a page", answers("200 OK", "<html></html>")],
	] as [string, Script][])("costs nothing where it was %s", async (_, script) => {
		const { attempts } = await send(script, {});
		for (const attempt of attempts) expect([attempt.cost, attempt.isUnbilled]).toEqual([undefined, undefined]);
	});

	test("costs what its prompt is estimated at, where a whole answer broke off", async () => {
		const { attempts, settled } = await send(answers("200 OK", '{"id":"x","choices":[{"message":{"cont'), {});
		expect(attempts[0]!.cost).toBeGreaterThan(0);
		expect(attempts[0]!.isUnbilled).toBe(true);
		expect(settled[0]!.cost).toBeUndefined();
	});

	test("costs its prompt and what came of its answer, where a stream broke off", async () => {
		const whole = await send(answers("200 OK", '{"id":"x","choices":[{"message":{"cont'), {});
		const { attempts, settled } = await send(cutsAfter(3), { stream: true });
		const prompt = whole.attempts[0]!.cost!;
		expect(attempts[0]).toMatchObject({ failure: "truncated", cost: prompt + 3 * 2, isUnbilled: true });
		expect(settled[0]!.cost).toBeUndefined();
	});

	test("is the client's own where that left a stream that had begun", async () => {
		upstream.run(begins([data(piece("Bern"))]));
		const rig = router();
		const answer = await rig.send({ ...BOX, stream: true, messages: [{ role: "user", content: "Where?" }] });
		const reader = answer.body!.getReader();
		await reader.read();
		await reader.cancel();
		await until(() => rig.attempts.length === 1);
		expect(rig.attempts[0]).toMatchObject({ failure: "cancelled" });
		expect(rig.attempts[0]!.isUnbilled).toBeUndefined();
		expect(rig.settled[0]!.cost).toBeGreaterThan(0);
	});
});

test("a client that leaves while its answer is asked for elsewhere pays for none of what broke: the router does", async () => {
	upstream.run((connection) => {
		upstream.run(neverAnswers);
		return cutsAfter(3)(connection);
	});
	const rig = router({ models: [{ name: "m", targets: ["box/m", "box/n"] }] });
	const answer = await rig.send({ model: "m", stream: true, messages: [{ role: "user", content: "Where?" }] });
	const reader = answer.body!.getReader();
	await reader.read();
	await until(() => rig.attempts.length === 1);
	await reader.cancel();
	await rig.settledCalls(1);
	expect(rig.attempts[0]).toMatchObject({ failure: "truncated", isUnbilled: true });
	expect([rig.settled[0]!.error, rig.settled[0]!.cost]).toEqual(["cancelled", undefined]);
});

describe("a key with a budget that asks for a form that the model does not give", () => {
	const ADMIN = "admin-key-of-the-test";
	const messages = [{ role: "user", content: "Where?" }];
	const keys = [{ name: "poor", key: "key-of-poor", budget: { usd: 0.001, per: "month" } }];
	// 870 millionths of a USD for what comes back.
	const prices = { "*": { input: 10, output: 200 } };
	const start = (models: Json[] = []) =>
		startRouter({
			env: { GEMINI_BASE_URL: upstream.origin },
			config: {
				admin: { keys: [{ name: "ops", key: ADMIN }] },
				providers: {
					anthropic: { api_key: "k", base_url: upstream.origin },
					gemini: { api_key: "k", base_url: upstream.origin },
					box: { type: "openai-compatible", base_url: upstream.origin },
				},
				...{ keys, prices, models, cache: { enabled: false } },
			},
		});
	type Router = Awaited<ReturnType<typeof start>>;
	const send = ({ url }: Router, body: Json) =>
		post(`${url}/v1/chat/completions`, { messages, max_tokens: 1, ...body }, { authorization: "Bearer key-of-poor" });
	const admin = async ({ url }: Router, path: string) =>
		(await (await fetch(url + path, { headers: { authorization: `Bearer ${ADMIN}` } })).json()) as Json;

	test.each([
		["words where JSON was asked for", CLAUDE_JSON, ok(claudeWords)],
		["words of a stream where a schema was", { ...CLAUDE, stream: true }, streams(claudeStream.map(data))],
		["another object than the schema's", GEMINI, ok(geminiCall({ town: "Bern" }))],
	] as [string, Json, Script][])("pays for them until that is spent: %s", async (_, body, script) => {
		upstream.run(script);
		const router = await start();
		try {
			const first = await send(router, body);
			expect(first.text).toContain("gave an answer that is not of the form");
			const entry = await admin(router, `/admin/calls/${first.headers.get("x-request-id")}`);
			expect(entry).toMatchObject({ cost_usd: 0.00087, attempts: [{ cost: 0.00087, paid_by: "key" }] });
			const { data: shown } = await admin(router, "/admin/keys");
			expect((shown as Json[])[0]).toMatchObject({ name: "poor", budget: { spent: 0.00087 } });
			await send(router, body);
			const third = await send(router, body);
			expect([third.status, third.text]).toEqual([429, expect.stringContaining("insufficient_quota")]);
		} finally {
			await router.stop();
		}
	});
});

test("the metrics tell what failed attempts cost", async () => {
	upstream.run(ok(claudeWords));
	const rig = router();
	await rig.send({ ...CLAUDE, messages: [{ role: "user", content: "Where?" }] });
	const metrics = createMetrics("router");
	for (const attempt of rig.attempts) metrics.sink.attemptClosed(attempt);
	const text = await metrics.text();
	expect(text).toContain('router_failed_cost_usd_total{provider="anthropic"} 15');
	expect(text).not.toContain("router_hedge_cost_usd_total{");
});
