/** What Claude refuses is done another way, or refused by name before it is sent: OpenAI's own client against a Claude that is as strict as the real one. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type StrictClaude, startStrictClaude } from "./kit/strict-claude.ts";
import { call, result, user } from "./kit/vendor-requests.ts";

let claude: StrictClaude;
let router: RunningRouter;
let client: OpenAI;

beforeAll(async () => {
	claude = startStrictClaude();
	router = await startRouter({
		env: { ANTHROPIC_BASE_URL: `${claude.origin}/v1`, ANTHROPIC_API_KEY: "sk-ant-strict" },
	});
	client = openAiClient(router.url);
});
afterAll(async () => {
	await router.stop();
	await claude.stop();
});
beforeEach(() => claude.play([[{ type: "text", text: "Well." }]]));

/** What the client gets, whole or streamed. */
async function answered(model: string, params: Json, stream: boolean): Promise<Loose> {
	const request = { model, messages: [user("Hi")], ...params } as never;
	const completion = stream
		? await client.chat.completions.stream(request).finalChatCompletion()
		: ((await client.chat.completions.create(request)) as OpenAI.ChatCompletion);
	return completion.choices[0]!;
}

const BOTH = [
	["whole", false],
	["streamed", true],
] as const;
/** One of each generation. */
const MODELS = [
	"claude-3-5-sonnet-20241022",
	"claude-3-7-sonnet-20250219",
	"claude-opus-4-1-20250805",
	"claude-sonnet-4-5",
	"claude-haiku-4-5-20251001",
	"claude-opus-4-6",
	"claude-opus-4-7",
	"claude-opus-4-8",
	"claude-sonnet-5",
	"claude-opus-5",
	"claude-fable-5-1",
	"claude-haiku-5-5",
	"claude-sonnet-5-5",
	"claude-opus-5-5",
];
const rows = MODELS.flatMap((model) => BOTH.map(([way, stream]) => [model, way, stream] as const));
const SYSTEM = { role: "system", content: "Be brief." };
const said = (content: string) => ({ role: "assistant", content });
const fn = (name: string, parameters: Json, more: Json = {}) => ({
	type: "function",
	function: { name, parameters, ...more },
});
const LOOK = fn("f", { type: "object", properties: { at: { type: "string" } } });
const CALL = { role: "assistant", content: null, tool_calls: [call("{}"), call("{}", "call_2")] };

describe("a conversation of any order is taken by every model", () => {
	const conversations: Record<string, unknown[]> = {
		"a system message behind the user's": [user("Hi"), SYSTEM],
		"a system message before another of the user's": [user("Hi"), SYSTEM, user("Ho")],
		"a system message behind an answer": [user("Hi"), said("Ho"), SYSTEM],
		"a system message between answers": [user("Hi"), said("Ho"), SYSTEM, said("Hey"), user("Well?")],
		"a system message among results": [user("Hi"), CALL, result("call_1"), SYSTEM, result("call_2")],
		"a system message behind results": [user("Hi"), CALL, result("call_1"), result("call_2"), SYSTEM],
		"a greeting of the assistant's first": [said("How can I help?"), user("Hi")],
		"instructions alone": [SYSTEM],
		"a greeting behind instructions": [SYSTEM, said("How can I help?"), user("Hi")],
		names: [
			{ ...user("Hi"), name: "Ann" },
			{ ...said("Ho"), name: "Bob" },
			{ ...user("Hey"), name: "Cem" },
		],
		"blanks at the end of an answer": [user("Hi"), said("Ho \n"), user("Hey")],
	};
	const all = Object.entries(conversations).flatMap(([name, messages]) =>
		rows.map((row) => [name, ...row, messages] as const),
	);
	test.each(all)("%s: %s, %s", async (_, model, _way, stream, messages) => {
		const { message, finish_reason } = await answered(model, { messages, tools: [LOOK] }, stream);
		expect([message.content, finish_reason, claude.refusals]).toEqual(["Well.", "stop", []]);
		for (const text of JSON.stringify(messages).match(/(?<="content":")[^"\\ ]+/g) ?? []) {
			expect(JSON.stringify(claude.bodies[0])).toContain(text);
		}
	});
});

describe("an answer that begins with the name that earlier ones were sent with", () => {
	const messages = [user("Hi"), { ...said("Ho"), name: "Bob" }, user("Hey")];
	const text = (of: string) => ({ type: "text", text: of });
	const thought = { type: "thinking", thinking: "Hm." };
	const answers: [string, Loose[], string, number][] = [
		["the name", [text("Bob: Well.")], "Well.", 0],
		["the name behind a thought", [thought, text("Bob: Well.")], "Well.", 1],
		["the name before a thought, whose signature no longer holds", [text("Bob: W"), thought, text("ell.")], "Well.", 0],
		["the name in a block of its own", [text("Bob: "), text("Well.")], "Well.", 0],
		["half of it", [text("Bob")], "Bob", 0],
		["half of it, and a call", [text("Bo"), { type: "tool_use", id: "toolu_1", name: "f", input: {} }], "Bo", 0],
		["another name", [text("Cem: Well.")], "Cem: Well.", 0],
	];
	test.each(answers.flatMap((answer) => BOTH.map(([way, stream]) => [...answer, way, stream] as const)))(
		"%s",
		async (_, script, content, thoughts, _way, stream) => {
			claude.play([script]);
			const { message } = await answered("claude-opus-4-7", { messages, tools: [LOOK] }, stream);
			expect([message.content, message.reasoning_details?.length ?? 0, claude.refusals]).toEqual([
				content,
				thoughts,
				[],
			]);
			expect(JSON.stringify(claude.bodies[0])).toContain("Bob: Ho");
		},
	);
});

describe("a conversation that ends with the assistant's words", () => {
	const messages = [user("Name a city."), said("It is \n")];
	const older = rows.filter(([model]) => /3-|4-1|4-5/.test(model) && !/5-5/.test(model));
	test.each(older)("%s goes on with them, blanks at their end left out, %s", async (model, _, stream) => {
		const { message } = await answered(model, { messages }, stream);
		expect([message.content, claude.refusals]).toEqual(["Well.", []]);
		expect(claude.bodies[0]!["messages"].at(-1)).toEqual({
			role: "assistant",
			content: [{ type: "text", text: "It is" }],
		});
	});

	test.each(["claude-3-7-sonnet-20250219", "claude-sonnet-4-5"])(
		"%s does not think then, which it could not",
		async (model) => {
			await answered(model, { messages, reasoning_effort: "high" }, false);
			expect([claude.refusals, claude.bodies[0]!["thinking"]]).toEqual([[], undefined]);
		},
	);

	test.each(rows.filter((row) => !older.includes(row)))(
		"%s is not asked: refused by its place, %s",
		async (model, _, stream) => {
			const error = await answered(model, { messages }, stream).catch((thrown) => thrown);
			expect(error).toBeInstanceOf(OpenAI.BadRequestError);
			expect([error.code, error.param]).toEqual(["unsupported_parameter", "messages[1].role"]);
			expect([claude.bodies, claude.refusals]).toEqual([[], []]);
		},
	);
});

describe("what does not go together with thinking", () => {
	test.each([
		["claude-3-7-sonnet-20250219", { temperature: 0.5 }, "temperature"],
		["claude-sonnet-4-5", { temperature: 0 }, "temperature"],
		["claude-opus-4-6", { temperature: 0.5 }, "temperature"],
		["claude-haiku-4-5", { top_p: 0.5 }, "top_p"],
		["claude-haiku-4-5", { top_k: 5 }, "top_k"],
	] as const)("%s: %j is refused by name", async (model, more, param) => {
		const error = await answered(model, { ...more, reasoning_effort: "low" }, false).catch((thrown) => thrown);
		expect([error.status, error.code, error.param]).toEqual([400, "unsupported_parameter", param]);
		expect([claude.bodies, claude.refusals]).toEqual([[], []]);
		// The vendor's own field for it counts alike.
		const thinking = { type: "enabled", budget_tokens: 1024 };
		const other = await answered(model, { ...more, anthropic: { thinking } }, false).catch((thrown) => thrown);
		expect([other.status, other.param]).toEqual([400, param]);
	});

	test.each([
		["claude-sonnet-4-5", { temperature: 1, top_p: 1 }],
		["claude-sonnet-4-5", { top_p: 0.97 }],
		["claude-opus-4-6", { temperature: 1 }],
	] as const)("%s: %j is taken", async (model, more) => {
		const { message } = await answered(model, { ...more, reasoning_effort: "low" }, false);
		expect([message.content, claude.refusals]).toEqual(["Well.", []]);
	});

	test.each(rows.filter(([model]) => !/3-5/.test(model)))("%s takes every effort, %s", async (model, _, stream) => {
		for (const reasoning_effort of ["minimal", "low", "medium", "high", "xhigh", "max"]) {
			claude.play([[{ type: "text", text: "Well." }]]);
			const { message } = await answered(model, { reasoning_effort }, stream);
			expect([message.content, claude.refusals]).toEqual(["Well.", []]);
		}
	});

	test.each(rows.filter(([model]) => !/fable|opus-5-5/.test(model)))(
		"%s can be asked for no thinking, %s",
		async (model, _, stream) => {
			const { message } = await answered(model, { reasoning_effort: "none" }, stream);
			expect([message.content, claude.refusals]).toEqual(["Well.", []]);
		},
	);
});

describe("a tool whose schema has alternatives at the top", () => {
	const parameters: Record<string, Json> = {
		"objects told apart by a field": {
			oneOf: [
				{
					type: "object",
					properties: { kind: { const: "circle" }, radius: { type: "number" } },
					required: ["kind", "radius"],
				},
				{
					type: "object",
					properties: { kind: { const: "square" }, side: { type: "number" } },
					required: ["kind", "side"],
				},
			],
		},
		"one of two fields": {
			type: "object",
			properties: { route: { type: "string" }, file: { type: "string" } },
			anyOf: [{ required: ["route"] }, { required: ["file"] }],
			additionalProperties: false,
		},
		"parts by reference": {
			$defs: { A: { type: "object", properties: { a: { type: "string" } }, required: ["a"] } },
			allOf: [{ $ref: "#/$defs/A" }, { properties: { b: { type: "integer" } }, required: ["b"] }],
		},
		"one behind a reference": {
			$ref: "#/$defs/A",
			$defs: { A: { anyOf: [{ type: "object", properties: { a: {} } }] } },
		},
	};
	const all = Object.entries(parameters).flatMap(([name, schema]) =>
		rows.map((row) => [name, ...row, schema] as const),
	);
	test.each(all)("%s: %s, %s", async (_, model, _way, stream, schema) => {
		claude.play([[{ type: "tool_use", id: "toolu_1", name: "draw", input: { kind: "circle", radius: 2 } }]]);
		const { message, finish_reason } = await answered(model, { tools: [fn("draw", schema)] }, stream);
		expect([finish_reason, claude.refusals]).toEqual(["tool_calls", []]);
		expect(JSON.parse(message.tool_calls[0].function.arguments)).toEqual({ kind: "circle", radius: 2 });
	});

	test("has the fields of all, those that all demand, and the rules in words", async () => {
		await answered(
			"claude-opus-5",
			{ tools: [fn("draw", { description: "A shape.", ...parameters["objects told apart by a field"] })] },
			false,
		);
		expect(claude.bodies[0]!["tools"][0].input_schema).toEqual({
			type: "object",
			properties: {
				kind: { anyOf: [{ const: "circle" }, { const: "square" }] },
				radius: { type: "number" },
				side: { type: "number" },
			},
			required: ["kind"],
			description:
				'A shape.\n\n{oneOf: [{"properties":{"kind":{"const":"circle"},"radius":{}},"type":"object","required":["kind","radius"]},{"properties":{"kind":{"const":"square"},"side":{}},"type":"object","required":["kind","side"]}]}',
		});
	});

	test("parts that are referred to again and again, and fields of many alternatives, are read once", async () => {
		const parts = Object.fromEntries(
			Array.from({ length: 40 }, (_, at) => [`A${at}`, { anyOf: Array(9).fill({ $ref: `#/$defs/A${at + 1}` }) }]),
		);
		const leaf = { type: "object", properties: { a: { type: "string" } }, required: ["a"] };
		const schema = { anyOf: [{ $ref: "#/$defs/A0" }], $defs: { ...parts, A40: leaf } };
		await answered("claude-opus-5", { tools: [fn("draw", schema)] }, false);
		expect(claude.bodies[0]!["tools"][0].input_schema).toMatchObject({ properties: leaf.properties, required: ["a"] });
	});

	test("fields with names that every object has are fields as others are", async () => {
		const schema = JSON.parse(
			'{"oneOf":[{"properties":{"constructor":{"type":"string"}}},{"properties":{"__proto__":{"type":"integer"}}}]}',
		);
		await answered("claude-opus-5", { tools: [fn("draw", schema)] }, false);
		expect(Object.entries(claude.bodies[0]!["tools"][0].input_schema.properties)).toEqual([
			["constructor", { type: "string" }],
			["__proto__", { type: "integer" }],
		]);
	});

	test("an object that may be null as well is an object", async () => {
		const schema = { type: ["object", "null"], properties: { a: { type: "string" } } };
		await answered("claude-opus-5", { tools: [fn("draw", schema)] }, false);
		expect(claude.bodies[0]!["tools"][0].input_schema).toEqual({ ...schema, type: "object" });
	});

	test("demands of parts that all hold are demanded", async () => {
		await answered("claude-opus-5", { tools: [fn("draw", parameters["parts by reference"]!)] }, false);
		expect(claude.bodies[0]!["tools"][0].input_schema).toMatchObject({
			properties: { a: { type: "string" }, b: { type: "integer" } },
			required: ["a", "b"],
		});
	});

	test.each([
		[{ anyOf: [{ type: "string" }] }, {}, "anyOf[0]"],
		[{ oneOf: [{ type: "object", properties: {} }, true] }, {}, "oneOf[1]"],
		[{ allOf: [{ $ref: "#/$defs/A" }], $defs: { A: { $ref: "#/$defs/A" } } }, {}, "allOf[0].$ref"],
		[{ anyOf: [{ type: "object", properties: {} }] }, { strict: true }, "anyOf"],
	] as const)("%j %j is refused by its place", async (schema, more, place) => {
		const params = { tools: [fn("draw", schema, more)] };
		const error = await answered("claude-opus-5", params, false).catch((thrown) => thrown);
		expect([error.status, error.param]).toEqual([400, `tools[0].function.parameters.${place}`]);
	});
});

test("a strict tool is refused by name where the model holds it to nothing", async () => {
	const tools = [fn("f", { type: "object", properties: {} }, { strict: true })];
	const error = await answered("claude-opus-4-1-20250805", { tools }, false).catch((thrown) => thrown);
	expect([error.status, error.code, error.param]).toEqual([400, "unsupported_parameter", "tools[0].function.strict"]);
	await answered("claude-opus-4-5", { tools }, false);
	expect(claude.refusals).toEqual([]);
});
