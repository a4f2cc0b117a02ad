/**
 * Odd numbers from every upstream, on every wire, against a real router and its real database: each call is in the ledger, once, with
 * counts that are whole and a price that is none or not negative, and what clients read is well.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { isPlainUsage } from "../src/openai/usage.ts";
import { DIALECTS, upstreamsAt } from "./kit/dialects.ts";
import { chunksOf, type ExchangeResponse, type Json, type Loose } from "./kit/exchange.ts";
import { type Replay, startReplay } from "./kit/replay.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { vendorsAt } from "./kit/vendor-rig.ts";

/** As JSON texts, which no double need hold. */
const ODD = [
	"5.5",
	"0.1",
	"10000000000000000000",
	"9007199254740993",
	"1e400",
	"-1",
	"-0",
	"-1e400",
	'"12"',
	'"5.5"',
	'"-3"',
	'"NaN"',
	'"\\ud800"',
	"null",
	"true",
	"[]",
	"{}",
	'{"prompt_tokens":1}',
];

const ADMIN = { authorization: "Bearer admin-key-of-the-test" };
const KEY = { authorization: "Bearer key-of-team-a" };
const SAID = "Hello there, this is an answer.";

const json = (text: string): ExchangeResponse => ({
	status: 200,
	headers: { "content-type": "application/json" },
	text,
});
const events = (...datas: string[]): ExchangeResponse => ({
	status: 200,
	headers: { "content-type": "text/event-stream" },
	sse: datas.map((data) => `data: ${data}\n\n`).join(""),
});

/** All that an OpenAI-shaped upstream may count or price. */
const usage = (odd: string) =>
	`"usage":{"prompt_tokens":${odd},"completion_tokens":${odd},"total_tokens":${odd},"input_tokens":${odd},"cached_tokens":${odd},` +
	`"prompt_tokens_details":{"cached_tokens":${odd},"audio_tokens":${odd}},"completion_tokens_details":{"reasoning_tokens":${odd}},` +
	`"prompt_cache_hit_tokens":${odd},"cost":${odd},"cost_in_usd_ticks":${odd}},` +
	`"timings":{"cache_n":${odd},"prompt_n":${odd},"predicted_n":${odd}}`;
const head = '"id":"x","created":1,"model":"m"';
const piece = (content: string, finish: string) =>
	`"choices":[{"index":0,"delta":{"content":"${content}"},"finish_reason":${finish}}]`;

const claudeUsage = (odd: string) =>
	`"usage":{"input_tokens":${odd},"output_tokens":${odd},"cache_read_input_tokens":${odd},"cache_creation_input_tokens":${odd},` +
	`"cache_creation":{"ephemeral_1h_input_tokens":${odd}},"output_tokens_details":{"thinking_tokens":${odd}}}`;
const geminiUsage = (odd: string) =>
	`"usageMetadata":{"promptTokenCount":${odd},"candidatesTokenCount":${odd},"thoughtsTokenCount":${odd},"totalTokenCount":${odd},` +
	`"cachedContentTokenCount":${odd},"promptTokensDetails":[{"modality":"IMAGE","tokenCount":${odd}},${odd}]}`;

interface Wire {
	readonly name: string;
	readonly path: string;
	readonly body: Json;
	answer(odd: string): ExchangeResponse;
}

const messages = [{ role: "user", content: "Hello" }];
const asked = { stream: true, stream_options: { include_usage: true } };

const openAi = DIALECTS.flatMap(({ name, model }): Wire[] => {
	const chat = { name, path: "/v1/chat/completions", body: { model, messages } };
	const streamed = (odd: string) =>
		events(
			`{${head},"object":"chat.completion.chunk",${piece("Hello", "null")},${usage(odd)}}`,
			`{${head},"object":"chat.completion.chunk",${piece(" there", "null")},"usage":${odd}}`,
			`{${head},"object":"chat.completion.chunk",${piece("", '"stop"')},${usage(odd)}}`,
			`{${head},"object":"chat.completion.chunk","choices":[],${usage(odd)}}`,
			"[DONE]",
		);
	return [
		{
			...chat,
			name: `${name}: whole`,
			answer: (odd) =>
				json(
					`{${head},"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"${SAID}"},"finish_reason":"stop"}],${usage(odd)}}`,
				),
		},
		{ ...chat, name: `${name}: stream`, body: { ...chat.body, stream: true }, answer: streamed },
		{ ...chat, name: `${name}: stream, usage asked for`, body: { ...chat.body, ...asked }, answer: streamed },
		{
			name: `${name}: completions`,
			path: "/v1/completions",
			body: { model, prompt: "Hello" },
			answer: (odd) =>
				json(
					`{${head},"object":"text_completion","choices":[{"index":0,"text":"${SAID}","finish_reason":"stop"}],${usage(odd)}}`,
				),
		},
		{
			name: `${name}: embeddings`,
			path: "/v1/embeddings",
			body: { model, input: "Hello" },
			answer: (odd) =>
				json(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m",${usage(odd)}}`),
		},
	];
});

const claude = { path: "/v1/chat/completions", body: { model: "claude-sonnet-4-5", messages } };
const gemini = { path: "/v1/chat/completions", body: { model: "gemini-2.5-flash", messages } };
const geminiPiece = (finish: string) => `"candidates":[{"index":0,"content":{"parts":[{"text":"${SAID}"}]}${finish}}]`;
const claudeEvent = (type: string, rest: string): string => `{"type":"${type}",${rest}}`;

const vendors: Wire[] = [
	{
		...claude,
		name: "Claude: whole",
		answer: (odd) =>
			json(
				`{"id":"x","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"${SAID}"}],"stop_reason":"end_turn",${claudeUsage(odd)}}`,
			),
	},
	{
		...claude,
		name: "Claude: stream, usage asked for",
		body: { ...claude.body, ...asked },
		answer: (odd) =>
			events(
				claudeEvent("message_start", `"message":{"id":"x","model":"m","content":[],${claudeUsage(odd)}}`),
				claudeEvent("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
				claudeEvent("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"${SAID}"}`),
				claudeEvent("content_block_stop", '"index":0'),
				claudeEvent("message_delta", `"delta":{"stop_reason":"end_turn"},${claudeUsage(odd)}`),
				claudeEvent("message_stop", '"x":0'),
			),
	},
	{
		...gemini,
		name: "Gemini: whole",
		answer: (odd) => json(`{${geminiPiece(',"finishReason":"STOP"')},${geminiUsage(odd)}}`),
	},
	{
		...gemini,
		name: "Gemini: stream, usage asked for",
		body: { ...gemini.body, ...asked },
		answer: (odd) =>
			events(
				`{${geminiPiece("")},${geminiUsage(odd)}}`,
				`{${geminiPiece(',"finishReason":"STOP"')},${geminiUsage(odd)}}`,
			),
	},
	{
		name: "Gemini: embeddings",
		path: "/v1/embeddings",
		body: { model: "gemini-embedding-001", input: "Hello" },
		answer: (odd) => json(`{"embeddings":[{"values":[0.5]}],${geminiUsage(odd)}}`),
	},
];

const dummies: Wire[] = ["whole", "stream", "embeddings", "completions"].map((kind) => ({
	name: `dummy: ${kind}`,
	path: kind === "embeddings" || kind === "completions" ? `/v1/${kind}` : "/v1/chat/completions",
	body: {
		model: "dummy",
		...(kind === "embeddings" ? { input: "Hello" } : kind === "completions" ? { prompt: "Hello" } : { messages }),
		...(kind === "stream" ? asked : {}),
	},
	answer: () => json("{}"),
}));

const WIRES = [...openAi, ...vendors, ...dummies];

describe("odd numbers", () => {
	let replay: Replay;
	let router: RunningRouter;
	let calls = 0;
	beforeAll(async () => {
		replay = startReplay();
		const { env, config } = upstreamsAt(replay.origin);
		router = await startRouter({
			env: { ...env, ...vendorsAt(replay.origin), LOCAL_AGENT_URL: replay.origin },
			config: {
				...config,
				keys: [{ name: "team-a", key: "key-of-team-a", budget: { usd: 1e9, per: "total" }, tpm: 1_000_000_000 }],
				prices: { "*": { input: 1, output: 2, cached: 0.5, reasoning: 3 } },
				admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] },
			},
		});
	});
	afterAll(async () => {
		await router.stop();
		await replay.stop();
	});

	const admin = async (path: string): Promise<Loose> =>
		(await (await fetch(router.url + path, { headers: ADMIN })).json()) as Loose;

	test.each(WIRES.map((wire) => [wire.name, wire] as const))("of %s", async (name, { path, body, answer }) => {
		for (const odd of ODD) {
			const said = `${name} with ${odd}`;
			replay.play(answer(odd));
			const { status, headers, text } = await post(
				router.url + path,
				// Embeddings are cached: the same text would ask nobody.
				body["input"] ? { ...body, input: said } : body,
				KEY,
			);
			calls++;
			expect([said, status]).toEqual([said, 200]);
			const entry = await admin(`/admin/calls/${headers.get("x-request-id")}`);
			const counts = Object.values(entry["tokens"] as Record<string, number>);
			expect([said, counts.filter((count) => !Number.isSafeInteger(count) || count < 0 || count > 1e9)]).toEqual([
				said,
				[],
			]);
			const { cost_usd: cost } = entry;
			expect([said, cost >= 0 && cost <= 10_000]).toEqual([said, true]);
			const told = body["stream"] ? chunksOf(text).filter((chunk) => chunk["usage"] != null) : [JSON.parse(text)];
			const isAsked = !body["stream"] || body["stream_options"] !== undefined;
			expect([said, told.length]).toEqual([said, isAsked ? 1 : 0]);
			for (const { usage: shown } of told as Loose[]) {
				expect([said, shown, isPlainUsage(shown)]).toEqual([said, shown, true]);
				// What is a guess says so, to the client and in the ledger; a count that is whole is none, be it a text.
				expect([said, shown.estimated]).toEqual([said, entry["estimated"]]);
				if (odd !== '"12"' && !name.startsWith("dummy")) expect([said, shown.estimated]).toEqual([said, true]);
				expect([said, shown.cost]).toEqual([said, cost]);
			}
		}
	});

	test("the ledger equals the calls, nothing is lost, and metrics and budgets are numbers", async () => {
		const { data } = await admin("/admin/usage?by=key");
		expect(data).toHaveLength(1);
		expect(data[0]).toMatchObject({ key: "team-a", calls, failed: 0, unpriced: 0 });
		expect(data[0].cost_usd).toBeGreaterThan(0);
		expect(data[0].cost_usd).toBeLessThan(calls * 100);
		const metrics = await (await fetch(`${router.url}/metrics`)).text();
		expect(metrics).toContain("router_ledger_up 1\n");
		expect(metrics).toContain("router_ledger_waiting_calls 0\n");
		expect(await router.metric("router_ledger_lost_rows_total")).toBe(0);
		expect(metrics.split("\n").filter((line) => / (?:-|NaN|\+Inf|Inf)/.test(line.replace(/\{.*\}/, "")))).toEqual([]);
		expect(await (await fetch(`${router.url}/health/ready`)).json()).toEqual({ status: "ready" });
	});

	test("users and models by odd names are in it, each under its own", async () => {
		const users = ["\u0000", "a\u0000b", "\ud800", "x\ny", "x", "y".repeat(500), "🙂".repeat(150), "{}", "' OR 1=1 --"];
		for (const user of users) {
			const { status } = await post(`${router.url}/v1/chat/completions`, { model: "dummy", messages, user }, KEY);
			expect([user, status]).toEqual([user, 200]);
		}
		calls += users.length;
		const { data } = await admin("/admin/usage?by=user");
		expect(data.filter((row: Loose) => row["user"] !== "")).toHaveLength(users.length);
		expect((await admin("/admin/usage?by=key")).data[0].calls).toBe(calls);
	});
});
