/** JSON of a schema, JSON mode and forced calls at every generation of Claude: OpenAI's own client against a Claude that is as strict as the real one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { folded } from "./kit/folded.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { post as postTo, UNPRICED } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type StrictClaude, startStrictClaude } from "./kit/strict-claude.ts";
import { user } from "./kit/vendor-requests.ts";

let claude: StrictClaude;
let router: RunningRouter;
let client: OpenAI;

beforeAll(async () => {
	claude = startStrictClaude();
	router = await startRouter({
		env: { ANTHROPIC_BASE_URL: `${claude.origin}/v1`, ANTHROPIC_API_KEY: "sk-ant-strict" },
		config: {
			...UNPRICED,
			models: [
				{ name: "city", targets: ["anthropic/claude-opus-4-1-20250805"], fallback: ["anthropic/claude-sonnet-4-5"] },
			],
		},
	});
	client = openAiClient(router.url);
});
afterAll(async () => {
	await router.stop();
	await claude.stop();
});

const post = (body: Json) => postTo(`${router.url}/v1/chat/completions`, body);

/** The choice and usage that the client gets, whole or streamed. */
async function answered(model: string, params: Json, stream: boolean): Promise<Loose> {
	const request = { model, messages: [user("Hi")], ...params } as never;
	const completion = stream
		? await client.chat.completions
				.stream({ ...(request as object), stream_options: { include_usage: true } } as never)
				.finalChatCompletion()
		: ((await client.chat.completions.create(request)) as OpenAI.ChatCompletion);
	return { ...completion.choices[0]!, usage: completion.usage };
}

/** Models with a grammar for answers. */
const HOLDS = /4-5|4-6|4-8|sonnet-5|fable|5-5|future/;
const MODELS = [
	"claude-3-5-sonnet-20241022",
	"claude-3-7-sonnet-20250219",
	"claude-opus-4-1-20250805",
	"claude-sonnet-4-5",
	"claude-opus-4-6",
	"claude-opus-4-8",
	"claude-sonnet-5",
	"claude-fable-5-1",
	"claude-haiku-5-5",
	"claude-sonnet-5-5",
	"claude-opus-5-5",
	"claude-of-some-future",
];
const rows = MODELS.flatMap((model) => [[model, "whole", false] as const, [model, "streamed", true] as const]);
const thinking = rows.filter(([model]) => !model.includes("3-5-sonnet"));

const CITY = { name: "Bern", people: 134000, tags: ["old", "small"] };
const schema = {
	type: "object",
	properties: {
		name: { type: "string" },
		people: { type: "integer", minimum: 1 },
		tags: { type: "array", items: { type: "string" } },
	},
	required: ["name", "people", "tags"],
	additionalProperties: false,
};
const formOf = (of: Json) => ({ response_format: { type: "json_schema", json_schema: { name: "city", schema: of } } });
const CITY_FORM = formOf(schema);
const JSON_MODE = { response_format: { type: "json_object" } };
const LOOK = {
	type: "function",
	function: { name: "look", parameters: { type: "object", properties: { at: { type: "string" } } } },
};
const looks = (id: string) => ({ type: "tool_use", id: `toolu_${id}`, name: "look", input: { at: "home" } });
const thought = { type: "thinking", thinking: "Hm." };
const json = (value: unknown) => ({ type: "json", value });
const usage = { prompt_tokens: 17, completion_tokens: 7, total_tokens: 24 };

/** The answer is this JSON, and nothing tells how it came. */
function expectJson({ message, finish_reason, usage: counted }: Loose, value: unknown): void {
	expect(JSON.parse(message.content)).toEqual(value);
	expect([message.tool_calls ?? [], message.refusal ?? null, finish_reason]).toEqual([[], null, "stop"]);
	expect(counted).toMatchObject(usage);
	expect(claude.refusals).toEqual([]);
}

describe("a schema", () => {
	test.each(rows)("%s, %s", async (model, _, stream) => {
		claude.play([[json(CITY)]]);
		expectJson(await answered(model, CITY_FORM, stream), CITY);
	});

	test.each(thinking)("%s, with reasoning, %s", async (model, _, stream) => {
		claude.play([[thought, json(CITY)]]);
		const choice = await answered(model, { ...CITY_FORM, reasoning_effort: "high" }, stream);
		expectJson(choice, CITY);
		if (!stream) expect(choice["message"].reasoning_content).toBe("Hm.");
	});

	test.each(rows)("%s, with the caller's own tools: called first, then answered, %s", async (model, _, stream) => {
		// A grammar has no other words than JSON.
		const words = (text: string) => (HOLDS.test(model) ? [] : [{ type: "text", text }]);
		claude.play([[...words("Let me look. "), looks("1"), ...words("And there. "), looks("2")]]);
		const params = { ...CITY_FORM, tools: [LOOK] };
		const first = await answered(model, params, stream);
		expect([first["finish_reason"], first["message"].content || null]).toEqual(["tool_calls", null]);
		const { tool_calls } = first["message"];
		expect(
			tool_calls.map((each: Loose) => [each["id"], each["function"].name, JSON.parse(each["function"].arguments)]),
		).toEqual([
			["toolu_1", "look", { at: "home" }],
			["toolu_2", "look", { at: "home" }],
		]);
		const results = tool_calls.map(({ id }: Loose) => ({ role: "tool", tool_call_id: id, content: "no" }));
		claude.play([[...words("So: "), json(CITY)]]);
		const messages = [user("Hi"), first["message"], ...results];
		expectJson(await answered(model, { ...params, messages }, stream), CITY);
	});

	test.each(rows)("%s, of free-form objects, %s", async (model, _, stream) => {
		const value = { labels: { a: "b", c: "d" }, more: { deep: [1, { x: null }] } };
		claude.play([[json(value)]]);
		const free = {
			type: "object",
			properties: { labels: { type: "object", additionalProperties: { type: "string" } }, more: { type: "object" } },
		};
		expectJson(await answered(model, formOf(free), stream), value);
	});

	test.each(rows)("%s, of no object, %s", async (model, _, stream) => {
		const tree = {
			$ref: "#/$defs/Node",
			$defs: { Node: { type: "array", items: { $ref: "#/$defs/Node" }, maxItems: 2 } },
		};
		claude.play([[json([[], [[]]])]]);
		expectJson(await answered(model, formOf(tree), stream), [[], [[]]]);
		claude.play([[json("b")]]);
		expectJson(
			await answered(model, formOf({ anyOf: [{ type: "integer" }, { const: "b" }, { not: {} }] }), stream),
			"b",
		);
	});

	test.each(rows)("%s, where a tool has the name that the answer would come by, %s", async (model, _, stream) => {
		const tools = [{ ...LOOK, function: { ...LOOK.function, name: "json_answer" } }];
		claude.play([[json(CITY)]]);
		expectJson(await answered(model, { ...CITY_FORM, tools, tool_choice: "none" }, stream), CITY);
	});

	test.each(rows)("%s, cut off by the limit: as far as it came, %s", async (model, _, stream) => {
		claude.play([[json(CITY), { type: "end", reason: "max_tokens" }]]);
		const { status, text } = await post({ model, messages: [user("Hi")], ...CITY_FORM, stream });
		const [choice] = (stream ? folded(text) : JSON.parse(text)).choices;
		expect([status, choice.finish_reason, JSON.parse(choice.message.content)]).toEqual([200, "length", CITY]);
	});
});

describe("JSON mode", () => {
	test.each(rows)("%s, %s", async (model, _, stream) => {
		for (const value of [CITY, {}]) {
			claude.play([[json(value)]]);
			expectJson(await answered(model, JSON_MODE, stream), value);
		}
	});

	test.each(thinking)("%s, with reasoning and tools, words and a fence around it, %s", async (model, _, stream) => {
		claude.play([[thought, { type: "text", text: 'Here:\n```json\n{"a": 12345678901234567890}\n```\n' }]]);
		const choice = await answered(model, { ...JSON_MODE, tools: [LOOK], reasoning_effort: "low" }, stream);
		expect([choice["message"].content, choice["finish_reason"], claude.refusals]).toEqual([
			'{"a": 12345678901234567890}',
			"stop",
			[],
		]);
	});
});

describe("a call that must be made", () => {
	const named = { tools: [LOOK], tool_choice: { type: "function", function: { name: "look" } } };
	const required = { tools: [LOOK], tool_choice: "required" };
	test.each(rows)("%s, %s", async (model, _, stream) => {
		for (const params of [named, required, { ...required, ...CITY_FORM }]) {
			const isSaying = !("response_format" in params);
			claude.play([[...(isSaying ? [{ type: "text", text: "Look: " }] : []), looks("1")]]);
			const { message, finish_reason } = await answered(model, params, stream);
			expect([message.content || null, message.tool_calls.length, finish_reason, claude.refusals]).toEqual([
				isSaying ? "Look: " : null,
				1,
				"tool_calls",
				[],
			]);
		}
	});

	test.each(thinking)("%s, with reasoning, %s", async (model, _, stream) => {
		claude.play([[thought, looks("1")]]);
		const { message, finish_reason } = await answered(model, { ...named, reasoning_effort: "medium" }, stream);
		expect([message.tool_calls[0].function.name, finish_reason, claude.refusals]).toEqual(["look", "tool_calls", []]);
	});
});

describe("an answer that is not what was asked for", () => {
	const wrong = { name: "Bern", people: 0, tags: ["old"] };
	const ways: [string, string, Json, Loose[], string][] = [
		[
			"another form, with reasoning",
			"claude-opus-4-1-20250805",
			{ ...CITY_FORM, reasoning_effort: "low" },
			[json(wrong)],
			"response_format",
		],
		[
			"words, beside tools",
			"claude-opus-4-1-20250805",
			{ ...CITY_FORM, tools: [LOOK] },
			[{ type: "text", text: "Bern." }],
			"response_format",
		],
		["nothing at all", "claude-opus-5-5", JSON_MODE, [], "response_format"],
		["a list in JSON mode", "claude-opus-5-5", JSON_MODE, [{ type: "text", text: "[1]" }], "response_format"],
		["half of an object", "claude-opus-5-5", JSON_MODE, [{ type: "text", text: '{"a":' }], "response_format"],
		[
			"words for a call",
			"claude-opus-5-5",
			{ tools: [LOOK], tool_choice: "required" },
			[{ type: "text", text: "No." }],
			"tool_choice",
		],
	];
	test.each(ways.flatMap((way) => [[...way, false] as const, [...way, true] as const]))(
		"%s at %s is a refusal that names the field, and nothing of it is sent",
		async (_, model, params, script, param, stream) => {
			claude.play([script]);
			const answer = await post({ model, messages: [user("Hi")], ...params, stream });
			const { error } = JSON.parse(answer.text) as Loose;
			expect([answer.status, error.code, error.param]).toEqual([400, "unsupported_parameter", param]);
			expect(error.message).toStartWith("anthropic ");
		},
	);

	test.each([false, true])("goes to the next target, whose answer is sent; streamed: %p", async (stream) => {
		claude.play([[thought, json(wrong)], [json(CITY)]]);
		const params = {
			...CITY_FORM,
			reasoning_effort: "low",
			stream,
			stream_options: stream ? { include_usage: true } : undefined,
		};
		const { status, text, headers } = await post({ model: "city", messages: [user("Hi")], ...params });
		expect([status, headers.get("x-router-model"), headers.get("x-router-attempts")]).toEqual([
			200,
			"claude-sonnet-4-5",
			"2",
		]);
		const { choices, usage: counted } = stream ? folded(text) : JSON.parse(text);
		expectJson({ ...choices[0], usage: counted }, CITY);
	});

	test("a conversation that ends with the assistant's words has no answer of a form", async () => {
		const messages = [user("Hi"), { role: "assistant", content: "{" }];
		for (const model of ["claude-opus-4-1-20250805", "claude-sonnet-4-5"]) {
			const error = await answered(model, { ...CITY_FORM, messages }, false).catch((thrown) => thrown);
			expect([error.status, error.param]).toEqual([400, "messages[1].role"]);
		}
		expect(claude.refusals).toEqual([]);
	});
});

test("a forced tool's input is streamed as it comes, in pieces that add up to JSON", async () => {
	claude.play([[json(CITY)]]);
	const stream = await client.chat.completions.create({
		model: "claude-opus-4-1-20250805",
		messages: [{ role: "user", content: "Hi" }],
		...CITY_FORM,
		stream: true,
	} as never);
	const pieces: string[] = [];
	for await (const chunk of stream as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>) {
		const { content, tool_calls } = chunk.choices[0]?.delta ?? {};
		expect(tool_calls).toBeUndefined();
		if (content) pieces.push(content);
	}
	expect(pieces.length).toBe(2);
	expect(JSON.parse(pieces.join(""))).toEqual(CITY);
});
