/**
 * What calls ask and are answered, in their spans: nothing, on whatever wire, but of keys that have `trace_contents`. The form is that of OpenTelemetry's conventions
 * (semantic-conventions-genai, docs/gen-ai/gen-ai-input-messages.json and gen-ai-output-messages.json).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { CONTENTS } from "./kit/genai-conventions.ts";
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from "./kit/otlp-collector.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { SERVER, tracedBy } from "./kit/traced-router.ts";

const QUIET = "sk-key-that-says-nothing";
const OPEN = "sk-key-whose-contents-are-traced";

const events = (...data: readonly object[]) => data.map((each) => `data: ${JSON.stringify(each)}\n\n`).join("");
const named = (...data: readonly ({ readonly type: string } & Readonly<Record<string, unknown>>)[]) =>
	data.map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`).join("");
const CHAT = { id: "chatcmpl-1", created: 1, model: "m" };
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };

/** Of each upstream's wire an answer of this text: whole, and as a stream. */
const ANSWERS: Readonly<Record<string, (text: string) => readonly [whole: object, stream: string]>> = {
	chat: (text) => [
		{
			...{ ...CHAT, object: "chat.completion", usage: USAGE },
			choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
		},
		`${events(...[text.slice(0, 6), text.slice(6)].map((content) => chunk({ delta: { content } })), {
			...chunk({ delta: {}, finish_reason: "stop" }),
			usage: USAGE,
		})}data: [DONE]\n\n`,
	],
	completions: (text) => [
		{ ...CHAT, object: "text_completion", usage: USAGE, choices: [{ index: 0, text, finish_reason: "stop" }] },
		`${events(
			{ ...CHAT, object: "text_completion", choices: [{ index: 0, text, finish_reason: null }] },
			{ ...CHAT, object: "text_completion", choices: [{ index: 0, text: "", finish_reason: "stop" }], usage: USAGE },
		)}data: [DONE]\n\n`,
	],
	messages: (text) => {
		const message = { id: "msg_1", type: "message", role: "assistant", model: "claude-opus-5-5" };
		const [usage, stop_reason] = [{ input_tokens: 3, output_tokens: 2 }, "end_turn"];
		return [
			{ ...message, content: [{ type: "text", text }], stop_reason, stop_sequence: null, usage },
			named(
				{ type: "message_start", message: { ...message, content: [], stop_reason: null, usage } },
				{ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
				{ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } },
				{ type: "content_block_stop", index: 0 },
				{ type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage },
				{ type: "message_stop" },
			),
		];
	},
	gemini: (text) => {
		const usageMetadata = { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 };
		const content = { role: "model", parts: [{ text }] };
		const answer = { candidates: [{ index: 0, content, finishReason: "STOP" }], usageMetadata, modelVersion: "g" };
		return [answer, events(answer)];
	},
	responses: (text) => {
		const part = { type: "output_text", text, annotations: [] };
		const item = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [part] };
		const usage = { input_tokens: 3, output_tokens: 2, total_tokens: 5 };
		const response = { id: "resp_1", object: "response", created_at: 1, model: "gpt-6", output: [item], usage };
		const at = { item_id: "msg_1", output_index: 0, content_index: 0 };
		const begun = { ...response, status: "in_progress", output: [], usage: null };
		const numbered = [
			{ type: "response.created", response: begun },
			{ type: "response.output_item.added", output_index: 0, item: { ...item, status: "in_progress", content: [] } },
			{ type: "response.content_part.added", ...at, part: { ...part, text: "" } },
			{ type: "response.output_text.delta", ...at, delta: text },
			{ type: "response.output_text.done", ...at, text },
			{ type: "response.content_part.done", ...at, part },
			{ type: "response.output_item.done", output_index: 0, item },
			{ type: "response.completed", response: { ...response, status: "completed" } },
		].map((event, sequence_number) => ({ ...event, sequence_number }));
		return [{ ...response, status: "completed" }, named(...numbered)];
	},
};
const chunk = (choice: object) => ({
	...{ ...CHAT, object: "chat.completion.chunk" },
	choices: [{ index: 0, finish_reason: null, ...choice }],
});

/** Its events in reads of their own. */
async function* apart(stream: string) {
	for (const event of stream.split(/(?<=\n\n)/)) {
		yield event;
		await Bun.sleep(1);
	}
}

/** Every vendor: who is asked `ask-x` answers `told-x` in the words of the path. */
const vendors = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	async fetch(request) {
		const { pathname } = new URL(request.url);
		if (request.method === "GET") return Response.json({ object: "list", data: [] });
		const text = await request.text();
		const wire = /generateContent|streamGenerateContent/i.test(pathname) ? "gemini" : pathname.split("/").at(-1)!;
		const answer = ANSWERS[wire] ?? ANSWERS["chat"]!;
		const [whole, stream] = (pathname.includes("/chat/") ? ANSWERS["chat"]! : answer)(
			/ask-[\w-]+/.exec(text)![0].replace("ask", "told"),
		);
		const isStream = pathname.includes("stream") || (JSON.parse(text) as Loose)["stream"] === true;
		return isStream
			? new Response(apart(stream), { headers: { "content-type": "text/event-stream" } })
			: Response.json(whole);
	},
});
const { origin } = vendors.url;
const CONFIG = {
	cache: { enabled: false },
	keys: [
		{ name: "quiet", key: QUIET },
		{ name: "open", key: OPEN, trace_contents: true },
	],
	providers: {
		box: { type: "openai-compatible", base_url: `${origin}/v1` },
		anthropic: { base_url: `${origin}/v1`, api_key: "key-of-anthropic" },
		gemini: { base_url: `${origin}/v1beta`, api_key: "key-of-google" },
		openai: { base_url: `${origin}/v1`, api_key: "key-of-openai" },
	},
};

const user = (content: string) => [{ role: "user", content }];
/** Of each wire of clients the path and the body of a call. */
const WIRES: Readonly<Record<string, (model: string, ask: string, stream: boolean) => readonly [string, Json]>> = {
	chat: (model, ask, stream) => ["/v1/chat/completions", { model, messages: user(ask), stream }],
	completions: (model, prompt, stream) => ["/v1/completions", { model, prompt, stream }],
	messages: (model, ask, stream) => ["/v1/messages", { model, max_tokens: 99, messages: user(ask), stream }],
	responses: (model, input, stream) => ["/v1/responses", { model, input, stream, store: false }],
	gemini: (model, text, stream) => [
		`/v1beta/models/${model}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
		{ contents: [{ role: "user", parts: [{ text }] }] },
	],
	ollama: (model, ask, stream) => ["/api/chat", { model, messages: user(ask), stream }],
};
const CALLS = [
	...Object.keys(WIRES).map((wire) => [wire, "box/m"] as const),
	["messages", "anthropic/claude-opus-5-5"],
	["gemini", "gemini/gemini-3-pro"],
	["responses", "openai/gpt-6"],
] as const;
const CASES = CALLS.flatMap(([wire, model]) => [false, true].map((stream) => [wire, model, stream] as const));

const dump = (spans: readonly CollectedSpan[]) =>
	JSON.stringify(spans, (_, value) => (typeof value === "bigint" ? String(value) : value));

describe.each([1, 2])("a router with %i workers", (workers) => {
	let collector: OtlpCollector;
	let router: RunningRouter;
	beforeAll(async () => {
		collector = startOtlpCollector();
		router = await startRouter({ config: { ...CONFIG, server: { workers } }, env: tracedBy(collector) });
	}, 60_000);
	afterAll(async () => {
		await router.stop();
		await collector.stop();
	});

	const send = async (key: string, path: string, body: Json, headers: Record<string, string> = {}) => {
		const sent = await post(router.url + path, body, { authorization: `Bearer ${key}`, ...headers });
		const id = sent.headers.get("x-request-id")!;
		const isIts = (span: CollectedSpan) => span.kind === SERVER && span.attributes["router.call.id"] === id;
		return { ...sent, span: async () => (await collector.have((all) => all.some(isIts), id)).find(isIts)! };
	};
	let asked = 0;

	test.each(CASES)(
		"has nothing of a call's of %s to %s (stream: %p) that its key has not asked for, and else all of it",
		async (wire, model, stream) => {
			const ask = (who: string) => `ask-${who}-${asked}`;
			asked++;
			for (const [who, key] of [
				["quiet", QUIET],
				["open", OPEN],
			] as const) {
				const answer = await send(key, ...WIRES[wire]!(model, ask(who), stream));
				expect([answer.status, answer.text]).toEqual([200, expect.stringContaining("told")]);
				const { attributes } = await answer.span();
				const said = Object.keys(attributes).filter((name) => CONTENTS.includes(name));
				if (who === "quiet") {
					expect(said).toEqual([]);
					continue;
				}
				const parts = (content: string) => [{ type: "text", content }];
				expect(JSON.parse(String(attributes["gen_ai.input.messages"]))).toEqual([
					{ role: "user", parts: parts(ask("open")) },
				]);
				expect(JSON.parse(String(attributes["gen_ai.output.messages"]))).toEqual([
					{ role: "assistant", parts: parts(ask("open").replace("ask", "told")), finish_reason: "stop" },
				]);
				expect(attributes).not.toHaveProperty("router.contents.cut");
			}
		},
		60_000,
	);

	test("has the question of a call that fails, and no answer; an attempt's span has neither", async () => {
		const failed = await send(OPEN, "/v1/chat/completions", { model: "no/such-model", messages: user("ask-failed") });
		expect(failed.status).toBe(404);
		const { attributes } = await failed.span();
		expect(attributes["gen_ai.input.messages"]).toContain("ask-failed");
		expect(attributes).not.toHaveProperty("gen_ai.output.messages");
		const attempts = collector.spans.filter(({ kind }) => kind !== SERVER);
		expect(attempts.length).toBeGreaterThan(10);
		expect(
			attempts.flatMap(({ attributes: all }) => Object.keys(all).filter((name) => CONTENTS.includes(name))),
		).toEqual([]);
	}, 60_000);

	test("has no trace that is not sampled, whatever its key says", async () => {
		const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
		const path = "/v1/chat/completions";
		await send(OPEN, path, { model: "box/m", messages: user("ask-unsampled") }, { traceparent });
		await (await send(OPEN, path, { model: "box/m", messages: user("ask-sampled") })).span();
		expect(dump(collector.spans)).not.toContain("unsampled");
	}, 60_000);

	test("bounds what is long: the last messages, each text up to 4,096 characters, and says so", async () => {
		const messages = [
			...user(`first ${"x".repeat(3_000)}`),
			{ role: "assistant", content: "y".repeat(4_000) },
			...user(`ask-long ${'é\\"'.repeat(3_000)}`),
		];
		const { span } = await send(OPEN, "/v1/chat/completions", { model: "box/m", messages });
		const { attributes } = await span();
		const input = String(attributes["gen_ai.input.messages"]);
		expect(input.length).toBeLessThanOrEqual(8_192);
		const [message] = (JSON.parse(input) as { parts: { content: string }[] }[]).slice(-1);
		expect(message!.parts[0]!.content).toStartWith("ask-long é");
		expect(message!.parts[0]!.content.length).toBe(4_097);
		expect(input).not.toContain("first");
		expect(attributes["router.contents.cut"]).toBe(true);
		expect(attributes["gen_ai.output.messages"]).toContain("told-long");
	}, 60_000);

	test("has nothing of the other key in all that was sent, nor of anybody's in log and ledger", async () => {
		const all = dump(collector.spans);
		expect(all).toContain("ask-open");
		for (const secret of ["quiet-", QUIET, OPEN, "key-of-"]) expect(all).not.toContain(secret);
		for (const text of ["ask-", "told-"]) expect(router.output()).not.toContain(text);
		expect(collector.faults).toEqual([]);
		const files = new Bun.Glob("**/*").scanSync({ cwd: router.directory, onlyFiles: true });
		for (const file of files) {
			const bytes = await Bun.file(`${router.directory}/${file}`).bytes();
			expect([file, Buffer.from(bytes).includes("ask-open")]).toEqual([file, false]);
		}
	}, 60_000);
});

test("`router check` names the keys whose contents are sent, where there is a collector", async () => {
	using home = directory({ "router.yaml": JSON.stringify(CONFIG) });
	const check = async (env: Record<string, string>) =>
		(await cli(["check", "--config", "router.yaml"], { cwd: home.path, env })).stdout;
	const line = /contents +prompts and answers of the keys open go to the collector \(trace_contents\)/;
	expect(await check({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" })).toMatch(line);
	expect(await check({})).not.toContain("trace_contents)");
}, 60_000);

afterAll(() => vendors.stop(true));
