/** What clients of Ollama's API ask becomes what an upstream is asked. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes } from "../src/api/routes.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { HELLO, hello, MODELS } from "./kit/messages.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { PIXEL } from "./kit/scenarios.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
let router: Pipeline;
let app: ReturnType<typeof apiRoutes>;
beforeEach(() => {
	router = pipeline({
		config: {
			providers: {
				box: { type: "vllm", base_url: upstream.origin },
				anthropic: { api_key: "sk-ant-of-the-router", base_url: upstream.origin },
				gemini: { api_key: "AIza-of-the-router", base_url: upstream.origin },
			},
			models: [
				{ name: "coder", targets: ["box/m"] },
				{ name: "tagged:latest", targets: ["box/m"] },
			],
		},
		cached: true,
	});
	app = apiRoutes(router.context);
	upstream.run(hello);
});

async function send(body: Json | string, path = "/api/chat", headers: Record<string, string> = {}) {
	const answer = await app.handle(
		new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { host: "localhost", "content-type": "application/json", ...headers },
			body: typeof body === "string" ? body : JSON.stringify(body),
		}),
	);
	const text = await answer.text();
	return {
		status: answer.status,
		headers: answer.headers,
		text,
		get json() {
			return JSON.parse(text) as Loose;
		},
		get lines() {
			return text
				.split("\n")
				.slice(0, -1)
				.map((line) => JSON.parse(line) as Loose);
		},
	};
}
const asked = () => JSON.parse(upstream.received.at(-1)!.body) as Loose;
const hi = [{ role: "user", content: "hi" }];
const chat = (more: Json = {}) => ({ model: "coder", messages: hi, stream: false, ...more });

describe("is refused with a text that says what is wrong", () => {
	test.each([
		["no body", "", "missing request body"],
		["what is no JSON", "{", "The body is no valid JSON."],
		["no object", "[]", "must be a JSON object"],
		["no model", { messages: hi }, "model is required"],
		["a field twice", '{"model":"coder","model":"coder"}', '"model" stands twice'],
		["a role that is none", chat({ messages: [{ role: "robot", content: "x" }] }), '"messages[0].role" must be one of'],
		["content that is no text", chat({ messages: [{ role: "user", content: 7 }] }), '"messages[0].content"'],
		["a format that is none", chat({ format: "xml" }), '"format" must be "json" or a JSON schema'],
		["a level of thinking that is none", chat({ think: "very" }), '"think" must be true, false'],
		["an option of a wrong type", chat({ options: { temperature: "hot" } }), '"options.temperature" must be'],
	] as [string, Json | string, string][])("%s", async (_, body, words) => {
		const { status, json, headers } = await send(body);
		expect([status, json["error"]]).toEqual([400, expect.stringContaining(words)]);
		expect(Object.keys(json)).toEqual(["error"]);
		expect(headers.get("x-request-id")).toBe(router.settled[0]!.id);
		expect(upstream.received.length).toBe(0);
	});

	test.each([
		["raw with a template", { raw: true, template: "{{ .Prompt }}" }, "raw mode does not support them"],
		["raw with pictures", { raw: true, images: ["iVBORw0KGgo="] }, '"images" goes with a prompt alone'],
	] as const)("a prompt that is %s", async (_, more, words) => {
		const { status, json } = await send({ model: "coder", prompt: "x", ...more }, "/api/generate");
		expect([status, json["error"]]).toEqual([400, expect.stringContaining(words)]);
	});

	test("a text completion of a vendor that has none", async () => {
		const { status, json } = await send({ model: MODELS.claude, prompt: "x", raw: true }, "/api/generate");
		expect([status, json["error"]]).toEqual([400, expect.stringContaining("text completions")]);
	});

	test("an unknown path", async () => {
		const { json } = await send({ model: "coder" }, "/api/show");
		expect(json["error"]).toBeUndefined();
	});
});

test("options become fields of the call, and those of how a model is loaded are told to be left out", async () => {
	const options = {
		...{ num_predict: 7, temperature: 0.5, top_k: 20, top_p: 0.9, min_p: 0.05, typical_p: 0.7, seed: 42, stop: ["\n"] },
		...{ repeat_penalty: 1.1, presence_penalty: 1.5, frequency_penalty: 1 },
		...{ num_ctx: 8192, num_gpu: 1, mirostat: 1 },
	};
	const { status, headers } = await send(chat({ options, keep_alive: "5m" }));
	expect([status, headers.get("x-router-dropped")]).toEqual([
		200,
		"options.num_ctx, options.num_gpu, options.mirostat",
	]);
	expect(asked()).toEqual({
		model: "m",
		messages: hi,
		...{ max_completion_tokens: 7, temperature: 0.5, top_k: 20, top_p: 0.9, min_p: 0.05, typical_p: 0.7, seed: 42 },
		...{ stop: ["\n"], repetition_penalty: 1.1, presence_penalty: 1.5, frequency_penalty: 1 },
	});
});

test.each([-1, -2, 0])("num_predict %d is no limit", async (num_predict) => {
	await send(chat({ options: { num_predict } }));
	expect(asked()["max_completion_tokens"]).toBeUndefined();
});

test.each(Object.entries(MODELS))("every option is taken for a model of the wire %s", async (_, model) => {
	const options = { ...{ top_k: 20, min_p: 0.05, typical_p: 0.7, seed: 4 }, repeat_penalty: 1.1, presence_penalty: 1 };
	const { status, text } = await send(chat({ model, options, think: true }));
	expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
});

describe("messages", () => {
	test("pictures are told by their first bytes", async () => {
		const png = PIXEL.slice(PIXEL.indexOf(",") + 1);
		await send(chat({ messages: [{ role: "user", content: "What?", images: [png, "/9j/4AAQ"] }] }));
		expect(asked()["messages"][0].content).toEqual([
			{ type: "text", text: "What?" },
			{ type: "image_url", image_url: { url: PIXEL } },
			{ type: "image_url", image_url: { url: "data:image/jpeg;base64,/9j/4AAQ" } },
		]);
	});

	test("results find their calls by the tool's name, in their order", async () => {
		const call = (name: string, args: Json) => ({ function: { name, arguments: args } });
		const messages = [
			...hi,
			{ role: "assistant", content: "", tool_calls: [call("a", { x: 1 }), call("b", {}), call("a", { x: 2 })] },
			{ role: "tool", tool_name: "b", content: "of b" },
			{ role: "tool", tool_name: "a", content: "first of a" },
			{ role: "tool", content: "second of a" },
			{ role: "tool", tool_name: "nobody", content: "of nobody" },
		];
		await send(chat({ messages }));
		const [, assistant, ...results] = asked()["messages"] as Loose[];
		expect(assistant!["tool_calls"].map(({ id, function: fn }: Loose) => [id, fn.name, fn.arguments])).toEqual([
			["call_0", "a", '{"x":1}'],
			["call_1", "b", "{}"],
			["call_2", "a", '{"x":2}'],
		]);
		expect(results).toEqual([
			{ role: "tool", tool_call_id: "call_1", content: "of b" },
			{ role: "tool", tool_call_id: "call_0", content: "first of a" },
			{ role: "tool", tool_call_id: "call_2", content: "second of a" },
			{ role: "user", content: "The result of nobody:\nof nobody" },
		]);
	});

	test("pictures of results stand in the user's turn behind them", async () => {
		const call = (name: string) => ({ function: { name, arguments: {} } });
		const messages = [
			...hi,
			{ role: "assistant", tool_calls: [call("a"), call("b")] },
			{ role: "tool", tool_name: "a", content: "of a", images: ["/9j/4AAQ"] },
			{ role: "tool", tool_name: "b", content: "of b" },
		];
		await send(chat({ messages }));
		expect((asked()["messages"] as Loose[]).slice(2)).toEqual([
			{ role: "tool", tool_call_id: "call_0", content: "of a" },
			{ role: "tool", tool_call_id: "call_1", content: "of b" },
			{
				role: "user",
				content: [
					{ type: "text", text: "The results hold:" },
					{ type: "image_url", image_url: { url: "data:image/jpeg;base64,/9j/4AAQ" } },
				],
			},
		]);
	});

	test("numbers that a parse would round go on as they were sent", async () => {
		await send(
			'{"model":"coder","stream":false,"options":{"seed":12345678901234567890},"messages":[{"role":"user","content":"hi"},' +
				'{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"n":12345678901234567890,"x":1.10}}}]},' +
				'{"role":"tool","content":"done"}]}',
		);
		const [, assistant] = asked()["messages"] as Loose[];
		expect(assistant!["tool_calls"][0].function.arguments).toBe('{"n":12345678901234567890,"x":1.10}');
	});

	test("thoughts that Claude has signed come back from the client, and go back to Claude alone", async () => {
		const { content, ...message } = JSON.parse(HELLO.claude) as Loose;
		const thought = { type: "thinking", thinking: "Hm.", signature: "c2lnbmVk" };
		upstream.run(answers("200 OK", JSON.stringify({ ...message, content: [thought, ...content] })));
		const { json } = await send(chat({ model: MODELS.claude, think: true }));
		expect(json["message"]).toMatchObject({ content: "Hello", thinking: "Hm." });
		const messages = [...hi, json["message"], { role: "user", content: "And?" }];
		upstream.run(hello);
		await send(chat({ model: MODELS.claude, think: true, messages }));
		expect(upstream.received[0]!.body).toContain('"signature":"c2lnbmVk"');
		await send(chat({ messages }));
		expect(upstream.received[1]!.body).not.toContain("c2lnbmVk");
	});

	test("an id that came with a call is kept", async () => {
		const messages = [
			...hi,
			{ role: "assistant", tool_calls: [{ id: "call_x", function: { name: "a", arguments: {} } }] },
			{ role: "tool", tool_call_id: "call_x", content: "done" },
		];
		await send(chat({ messages }));
		expect(asked()["messages"][2].tool_call_id).toBe("call_x");
	});
});

describe("thinking", () => {
	test.each([
		[true, "medium"],
		["low", "low"],
		["high", "high"],
	])("%p is an effort of %s", async (think, effort) => {
		await send(chat({ think }));
		expect(asked()["reasoning_effort"]).toBe(effort);
	});

	test("false switches it off where vLLM's chat template can, and is another call than true", async () => {
		await send(chat({ think: false, options: { temperature: 0 } }));
		expect(asked()["chat_template_kwargs"]).toMatchObject({ enable_thinking: false });
		const { headers } = await send(chat({ options: { temperature: 0 } }));
		expect(headers.get("x-router-cache")).toBe("miss");
	});
});

test.each([
	["json", { type: "json_object" }],
	[
		{ type: "object", properties: { a: { type: "string" } } },
		{
			type: "json_schema",
			json_schema: { name: "output", schema: { type: "object", properties: { a: { type: "string" } } } },
		},
	],
	["", undefined],
])("the format %p", async (format, expected) => {
	await send(chat({ format }));
	expect(asked()["response_format"]).toEqual(expected);
});

describe("a prompt", () => {
	const TEXT = JSON.stringify({
		...{ id: "cmpl-1", object: "text_completion", created: 1, model: "m" },
		choices: [{ index: 0, text: " world", finish_reason: "length" }],
		usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
	});

	test.each([
		[{ raw: true }, {}],
		[{ suffix: "}" }, { suffix: "}" }],
	])("with %p is a text completion", async (more, fields) => {
		upstream.run(answers("200 OK", TEXT));
		const { json } = await send({ model: "coder", prompt: "Hello", stream: false, ...more }, "/api/generate");
		expect(upstream.received[0]!.path).toBe("/v1/completions");
		expect(asked()).toEqual({ model: "m", prompt: "Hello", ...fields });
		expect(json).toMatchObject({ response: " world", done: true, done_reason: "length", eval_count: 2 });
		expect(router.settled[0]).toMatchObject({ operation: "completions", status: 200 });
	});

	test("raw, streamed", async () => {
		const piece = (text: string, finish_reason: string | null = null) =>
			`data: ${JSON.stringify({ id: "c", object: "text_completion", created: 1, model: "m", choices: [{ index: 0, text, finish_reason }] })}\n\n`;
		upstream.run(streams([piece("Hel"), piece("lo"), piece("", "stop"), "data: [DONE]\n\n"]));
		const { lines } = await send({ model: "coder", prompt: "Say", raw: true }, "/api/generate");
		expect(lines.map(({ response, done }) => [response, done])).toEqual([
			["Hel", false],
			["lo", false],
			["", true],
		]);
	});

	test("with a template and a context is asked without them, and told so", async () => {
		const { headers } = await send(
			{ model: "coder", prompt: "x", template: "t", context: [1, 2], stream: false },
			"/api/generate",
		);
		expect(headers.get("x-router-dropped")).toBe("template, context");
	});
});

describe("a request that asks nothing", () => {
	test.each([
		["/api/generate", {}, "load"],
		["/api/generate", { prompt: "", keep_alive: 0 }, "unload"],
		["/api/chat", { messages: [] }, "load"],
		["/api/chat", { messages: [], keep_alive: "0s" }, "unload"],
		["/api/chat", { messages: [], keep_alive: "5m" }, "load"],
	])("%s %p is a %s, for which no upstream is asked", async (path, more, done_reason) => {
		const { status, json } = await send({ model: "coder", ...more }, path);
		expect([status, json["done"], json["done_reason"], json["model"]]).toEqual([200, true, done_reason, "coder"]);
		expect(json[path === "/api/chat" ? "message" : "response"]).toEqual(
			path === "/api/chat" ? { role: "assistant", content: "" } : "",
		);
		expect([upstream.received.length, router.settled.length]).toEqual([0, 1]);
	});

	test("of a model that nobody has is not found", async () => {
		expect((await send({ model: "nobody" }, "/api/generate")).status).toBe(404);
	});

	test("embeddings of nothing are none", async () => {
		expect((await send({ model: "coder", input: [] }, "/api/embed")).json).toEqual({ model: "coder", embeddings: [] });
		expect((await send({ model: "coder", prompt: "" }, "/api/embeddings")).json).toEqual({ embedding: [] });
	});
});

describe("names", () => {
	test.each([
		["coder:latest", "coder"],
		["tagged", "tagged:latest"],
		["tagged:latest", "tagged:latest"],
		["box/m:latest", "box/m"],
	])("%s is found, and its answers call it so", async (model) => {
		upstream.run(answers("200 OK", HELLO.openai));
		const { status, json } = await send(chat({ model }));
		expect([status, json["model"]]).toEqual([200, model]);
		expect(asked()["model"]).toBe("m");
	});

	test("another tag is another model", async () => {
		expect((await send(chat({ model: "coder:8b" }))).status).toBe(404);
	});
});

test.each(["application/x-www-form-urlencoded", "text/plain"])(
	"a body of the type %s is read as JSON",
	async (type) => {
		const { status } = await send(chat(), "/api/chat", { "content-type": type });
		expect(status).toBe(200);
	},
);

test("vectors, in both forms", async () => {
	const data = [
		{ object: "embedding", index: 1, embedding: [0.5, 1] },
		{ object: "embedding", index: 0, embedding: [0.25, 0.75] },
	];
	upstream.run(
		answers(
			"200 OK",
			JSON.stringify({ object: "list", data, model: "m", usage: { prompt_tokens: 4, total_tokens: 4 } }),
		),
	);
	const { json } = await send({ model: "coder", input: ["a", "b"], dimensions: 2, truncate: true }, "/api/embed");
	expect(json).toMatchObject({
		model: "coder",
		embeddings: [
			[0.25, 0.75],
			[0.5, 1],
		],
		prompt_eval_count: 4,
	});
	expect(json["total_duration"]).toBeGreaterThan(0);
	expect(asked()).toEqual({ model: "m", input: ["a", "b"], dimensions: 2 });
	const older = await send({ model: "coder", prompt: "a" }, "/api/embeddings");
	expect(older.json).toEqual({ embedding: [0.25, 0.75] });
});
