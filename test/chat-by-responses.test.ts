/** Chats of models that OpenAI has at Responses alone, or that take tools there alone: the official client's, and Claude's, on a strict OpenAI. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { ChatCompletionCreateParamsNonStreaming } from "openai/resources";
import type { Json, Loose } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { callsFunction, says, startStrictResponses, thinks } from "./kit/strict-responses.ts";

function reply({ input, tools }: Loose): readonly Json[] {
	if (tools?.length && input.at(-1).type !== "function_call_output") {
		const calls = [
			callsFunction("call_1", "weather", '{"city":"Bern"}'),
			callsFunction("call_2", "weather", '{"city":"Basel"}'),
		];
		return [thinks("1", "Hm.", "Two."), ...calls];
	}
	return [thinks("2"), says("Grey in both.")];
}

const openAi = startStrictResponses(reply);
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		env: { OPENAI_BASE_URL: `${openAi.origin}/v1`, OPENAI_API_KEY: "sk-openai-of-the-router" },
		config: { usage: { cost_in_answers: false } },
	});
});
afterAll(() => Promise.all([router.stop(), openAi.stop()]));
beforeEach(() => {
	Object.assign(openAi, { refuse: undefined, breakAfter: undefined, reply }).asked.length = 0;
});

const client = () => new OpenAI({ baseURL: `${router.url}/v1`, apiKey: "sk-any-of-clients", maxRetries: 0 });
const paths = () => openAi.asked.map(({ path }) => path.replace("/v1/", ""));
const sent = () => openAi.asked.at(-1)!.body;
const tools = [
	{
		type: "function" as const,
		function: { name: "weather", description: "Tells it.", parameters: { type: "object", properties: {} } },
	},
];
const asking = (model: string): ChatCompletionCreateParamsNonStreaming => ({
	model,
	messages: [
		{ role: "system", content: "Be brief." },
		{ role: "user", content: "Weather in Bern and Basel?" },
	],
	tools,
});
const results = [
	{ role: "tool" as const, tool_call_id: "call_1", content: "Grey." },
	{ role: "tool" as const, tool_call_id: "call_2", content: "Grey." },
];

describe("what has no form in Responses is refused by name", () => {
	test.each([
		["stop", { stop: ["x"] }],
		["n", { n: 2 }],
		["seed", { seed: 7 }],
		[
			"messages[0].content[0].type",
			{
				messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }] }],
			},
		],
	])("%s", async (param, more) => {
		const failed = await client()
			.chat.completions.create({ ...asking("gpt-5-codex"), ...more } as never)
			.catch((error) => error);
		expect([failed.status, failed.param]).toEqual([400, param]);
	});
});

test("a model that is there alone is asked there, and from then on at once; another one by chat as ever", async () => {
	for (let nth = 0; nth < 2; nth++) {
		const answer = await client().chat.completions.create({
			model: "gpt-5.1-codex",
			messages: [{ role: "user", content: "hi" }],
		});
		expect(answer.choices[0]).toMatchObject({
			finish_reason: "stop",
			message: { role: "assistant", content: "Grey in both." },
		});
		expect(answer).toMatchObject({
			object: "chat.completion",
			usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 },
		});
	}
	await client().chat.completions.create({ model: "gpt-5.1", messages: [{ role: "user", content: "hi" }] });
	expect(paths()).toEqual(["chat/completions", "responses", "responses", "chat/completions"]);
	expect(openAi.asked[1]!.body).toEqual({
		model: "gpt-5.1-codex",
		input: [{ role: "user", content: "hi" }],
		include: ["reasoning.encrypted_content"],
		store: false,
	});
});

test("a model that takes tools there alone is asked there with tools, and by chat without, or without thinking", async () => {
	await client().chat.completions.create(asking("gpt-5.6-luna"));
	await client().chat.completions.create(asking("gpt-5.6-luna"));
	await client().chat.completions.create({ ...asking("gpt-5.6-luna"), reasoning_effort: "none" });
	await client().chat.completions.create({
		model: "gpt-5.6-luna",
		messages: [{ role: "user", content: "hi" }],
		stop: "x",
	});
	expect(paths()).toEqual(["chat/completions", "responses", "responses", "chat/completions", "chat/completions"]);
});

describe("a loop over tools goes on with what was thought", () => {
	const expected = [
		{ role: "system", content: "Be brief." },
		{ role: "user", content: "Weather in Bern and Basel?" },
		{ type: "reasoning", id: expect.stringMatching(/^rs_/), summary: [], encrypted_content: "gAAAA1" },
		{ type: "function_call", call_id: "call_1", name: "weather", arguments: '{"city":"Bern"}' },
		{ type: "function_call", call_id: "call_2", name: "weather", arguments: '{"city":"Basel"}' },
		{ type: "function_call_output", call_id: "call_1", output: "Grey." },
		{ type: "function_call_output", call_id: "call_2", output: "Grey." },
	];

	test("of a client that sends it back", async () => {
		const ask = asking("gpt-5.6-sol");
		const { message } = (await client().chat.completions.create(ask)).choices[0]!;
		expect(message).toMatchObject({
			content: null,
			reasoning_content: "Hm.\n\nTwo.",
			reasoning_details: [{ data: "gAAAA1" }],
		});
		const last = await client().chat.completions.create({ ...ask, messages: [...ask.messages, message, ...results] });
		expect(last.choices[0]!.message.content).toBe("Grey in both.");
		expect(sent()["input"]).toEqual(expected);
		expect(sent()["tools"]).toEqual([{ type: "function", ...tools[0]!.function, strict: false }]);
	});

	test("streamed, of one that knows of chats alone and drops it", async () => {
		const ask = asking("gpt-5.6-terra");
		const stream = client().chat.completions.stream({ ...ask, stream: true, stream_options: { include_usage: true } });
		const first = await stream.finalChatCompletion();
		expect(first.usage).toMatchObject({ prompt_tokens: 11, completion_tokens_details: { reasoning_tokens: 3 } });
		expect(first.choices[0]!.finish_reason).toBe("tool_calls");
		const { tool_calls } = first.choices[0]!.message;
		expect(tool_calls!.map(({ id, function: fn }: Loose) => [id, fn.arguments])).toEqual([
			["call_1", '{"city":"Bern"}'],
			["call_2", '{"city":"Basel"}'],
		]);
		const message = { role: "assistant" as const, tool_calls: tool_calls! };
		const next = client().chat.completions.stream({
			...ask,
			stream: true,
			messages: [...ask.messages, message as never, ...results],
		});
		expect(await next.finalContent()).toBe("Grey in both.");
		expect(sent()["input"]).toEqual(expected);
	});
});

test("settings of a chat have their names there", async () => {
	const schema = { type: "object", properties: {}, additionalProperties: false };
	await client().chat.completions.create({
		model: "gpt-5.2-pro",
		messages: [
			{ role: "developer", content: "Be brief." },
			{
				role: "user",
				content: [
					{ type: "text", text: "What?" },
					{ type: "image_url", image_url: { url: "https://a.example/b.png", detail: "low" } },
				],
			},
			{ role: "assistant", content: "That." },
			{ role: "user", content: "And?" },
		],
		tools,
		tool_choice: { type: "function", function: { name: "weather" } },
		parallel_tool_calls: false,
		reasoning_effort: "high",
		verbosity: "low",
		max_completion_tokens: 5,
		response_format: { type: "json_schema", json_schema: { name: "s", schema, strict: true } },
		prompt_cache_key: "k",
		metadata: { a: "b" },
	});
	expect(sent()).toEqual({
		model: "gpt-5.2-pro",
		input: [
			{ role: "developer", content: "Be brief." },
			{
				role: "user",
				content: [
					{ type: "input_text", text: "What?" },
					{ type: "input_image", image_url: "https://a.example/b.png", detail: "low" },
				],
			},
			{ type: "message", role: "assistant", content: [{ type: "output_text", text: "That." }] },
			{ role: "user", content: "And?" },
		],
		tools: [{ type: "function", ...tools[0]!.function, strict: false }],
		tool_choice: { type: "function", name: "weather" },
		parallel_tool_calls: false,
		reasoning: { effort: "high" },
		text: { verbosity: "low", format: { type: "json_schema", name: "s", schema, strict: true } },
		max_output_tokens: 16,
		prompt_cache_key: "k",
		metadata: { a: "b" },
		include: ["reasoning.encrypted_content"],
		store: false,
	});
});

test("Claude's clients use such a model with tools, too", async () => {
	const claude = new Anthropic({ baseURL: router.url, apiKey: "sk-any-of-clients", maxRetries: 0 });
	const stream = claude.messages.stream({
		model: "gpt-5.5",
		max_tokens: 1000,
		messages: [{ role: "user", content: "Weather?" }],
		tools: [{ name: "weather", input_schema: { type: "object", properties: {} } }],
	});
	const message = await stream.finalMessage();
	expect(message.content.filter(({ type }) => type === "tool_use")).toMatchObject([{ id: "call_1" }, { id: "call_2" }]);
	expect(message.stop_reason).toBe("tool_use");
});

test("a stream that breaks before its first word is an error, and behind it fails", async () => {
	openAi.reply = () => [says("one two three")];
	const ask = { model: "gpt-5.1-codex", messages: [{ role: "user" as const, content: "hi" }], stream: true as const };
	openAi.breakAfter = 2;
	expect(
		(
			await client()
				.chat.completions.create(ask)
				.catch((error) => error)
		).status,
	).toBe(502);
	openAi.breakAfter = 6;
	const seen: string[] = [];
	const failed = await client()
		.chat.completions.create(ask)
		.then(async (stream) => {
			for await (const { choices } of stream) seen.push(choices[0]?.delta.content ?? "");
		})
		.catch((error) => error);
	expect(seen.join("")).toStartWith("one");
	expect(failed).toBeInstanceOf(Error);
});
