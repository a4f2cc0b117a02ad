/** Tools and settings of requests to `/v1/responses`: what of a chat they become, and what is left out and told. */
import { describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { callChunk, called, chatOf, fn, output, readResponses, readStream, user } from "./kit/responses.ts";

describe("tools become functions", () => {
	const parameters = { type: "object", properties: { x: { type: "string" } } };
	const made = (name: string, more: Json = {}) => ({ type: "function", function: { name, ...more } });

	test.each([
		["strict", { strict: true }, { strict: true }],
		["not strict", { strict: false }, {}],
		["null", { strict: null, description: null }, {}],
		["absent", {}, {}],
	] as const)("whose strictness is %s", (_, more, expected) => {
		expect(chatOf({ tools: [fn("f", { parameters, ...more })] }).tools).toEqual([
			made("f", { parameters, ...expected }),
		]);
	});

	test("in namespaces get names that hold both, and keep them apart", () => {
		const inner = [fn("find", { parameters }), { type: "custom", name: "note" }];
		const long = "x".repeat(60);
		const tools = [
			fn("crm__find"),
			{ type: "namespace", name: "crm", tools: inner },
			{ type: "namespace", name: "mcp__db__", tools: [fn("find"), fn(long), fn(`${long}y`)] },
		];
		const names = chatOf({ tools }).tools.map((tool: Loose) => tool["function"].name);
		expect(names.slice(0, 4)).toEqual([
			"crm__find",
			expect.stringMatching(/^crm__find_\w{8}$/),
			"crm__note",
			"mcp__db__find",
		]);
		expect(new Set(names).size).toBe(names.length);
		for (const name of names) expect(name).toMatch(/^[\w-]{1,64}$/);
	});

	test("with names longer than a chat takes go out short, are chosen and remembered so, and come back whole", () => {
		const name = `mcp__${"x".repeat(90)}`;
		const tools = [fn(name), { type: "custom", name: `${name}_note` }];
		const input = [user("hi"), called("a", { name }), output("a"), called("b", { name: `${name}_gone` }), output("b")];
		const body = { tools, input, tool_choice: { type: "function", name } };
		const chat = chatOf(body);
		const [short, note] = chat.tools.map((tool: Loose) => tool["function"].name);
		expect([short, note]).toEqual([expect.stringMatching(/^[\w-]{64}$/), expect.stringMatching(/^[\w-]{64}$/)]);
		expect(note).not.toBe(short);
		expect(chat.tool_choice).toEqual({ type: "function", function: { name: short } });
		const [first, second] = [chat.messages[1], chat.messages[3]].map(
			(each: Loose) => each["tool_calls"][0].function.name,
		);
		expect(first).toBe(short);
		expect(second).toMatch(/^[\w-]{64}$/);
		const { response } = readStream([callChunk(0, "c", short, "{}"), callChunk(1, "d", note, '{"input":"x"}')], body);
		expect(response["output"]).toMatchObject([
			{ name },
			{ type: "custom_tool_call", name: `${name}_note`, input: "x" },
		]);
	});

	test("that take a text become functions of one", () => {
		const grammar = { type: "grammar", syntax: "lark", definition: "start: /a+/" };
		const [tool] = chatOf({
			tools: [{ type: "custom", name: "patch", description: "Patches.", format: grammar }],
		}).tools;
		expect(tool.function).toMatchObject({
			name: "patch",
			parameters: { required: ["input"], properties: { input: { type: "string" } } },
		});
		expect(tool.function.description).toContain("Patches.");
		expect(tool.function.description).toContain("start: /a+/");
		const [, message, result] = chatOf({
			tools: [{ type: "custom", name: "patch" }],
			input: [
				user("hi"),
				{ type: "custom_tool_call", call_id: "a", name: "patch", input: "*** x" },
				{ type: "custom_tool_call_output", call_id: "a", output: "ok" },
			],
		}).messages;
		expect(message.tool_calls).toEqual([
			{ id: "a", type: "function", function: { name: "patch", arguments: '{"input":"*** x"}' } },
		]);
		expect(result).toEqual({ role: "tool", tool_call_id: "a", content: "ok" });
	});

	test("that OpenAI runs are left out, and told, and nothing else of tools is said then", () => {
		const tools = [
			{ type: "web_search", external_web_access: true },
			{ type: "image_generation" },
			{ type: "web_search" },
		];
		const parsed = readResponses({ model: "m", input: "hi", tools, tool_choice: "auto", parallel_tool_calls: false });
		expect(JSON.parse(parsed.body().raw)).toEqual({ model: "m", messages: [user("hi")] });
		expect(parsed.leftOut?.()).toEqual(["tools.web_search", "tools.image_generation"]);
	});

	const tools = [fn("f"), fn("g"), { type: "namespace", name: "n", tools: [fn("h")] }];
	test.each([
		["auto", "auto", ["f", "g", "n__h"], undefined],
		["none", "none", ["f", "g", "n__h"], "none"],
		["required", "required", ["f", "g", "n__h"], "required"],
		["a function", fn("g"), ["f", "g", "n__h"], made("g")],
		["a function in a namespace", fn("h", { namespace: "n" }), ["f", "g", "n__h"], made("n__h")],
		["a function in a namespace that is not named", fn("h"), ["f", "g", "n__h"], made("n__h")],
		["some", { type: "allowed_tools", mode: "auto", tools: [fn("g"), { type: "web_search" }] }, ["g"], undefined],
		["one of some", { type: "allowed_tools", mode: "required", tools: [fn("f"), fn("h")] }, ["f", "n__h"], "required"],
	] as const)("of which are chosen: %s", (_, tool_choice, names, expected) => {
		const { tools: sent, tool_choice: choice } = chatOf({ tools, tool_choice });
		expect([sent.map((tool: Loose) => tool["function"].name), choice]).toEqual([[...names], expected as never]);
	});

	test("of the history keep their names, also where a client leaves the namespace out", () => {
		const input = [
			called("a", { name: "h", namespace: "n" }),
			output("a"),
			called("b", { name: "h" }),
			output("b"),
			called("c", { name: "old", namespace: "gone" }),
			output("c"),
		];
		const names = chatOf({ tools, input }).messages.flatMap((message: Loose) =>
			(message["tool_calls"] ?? []).map((each: Loose) => each["function"].name),
		);
		expect(names).toEqual(["n__h", "n__h", "gone__old"]);
	});
});

describe("settings", () => {
	const schema = { type: "object", properties: { a: { type: "string" } } };
	test.each([
		["the limit", { max_output_tokens: 20 }, { max_completion_tokens: 20 }],
		["how hard it is thought", { reasoning: { effort: "high", summary: "auto" } }, { reasoning_effort: "high" }],
		["a summary of thoughts alone", { reasoning: { summary: "auto" } }, {}],
		[
			"a schema",
			{ text: { format: { type: "json_schema", name: "n", schema, strict: true } } },
			{ response_format: { type: "json_schema", json_schema: { name: "n", schema, strict: true } } },
		],
		[
			"JSON",
			{ text: { format: { type: "json_object" }, verbosity: "low" } },
			{ response_format: { type: "json_object" }, verbosity: "low" },
		],
		["text", { text: { format: { type: "text" } } }, {}],
		[
			"probabilities",
			{ include: ["message.output_text.logprobs"], top_logprobs: 2 },
			{ logprobs: true, top_logprobs: 2 },
		],
		["thoughts in a cipher", { include: ["reasoning.encrypted_content"], store: false }, {}],
		[
			"several calls at a time",
			{ tools: [fn("f")], parallel_tool_calls: true },
			{ tools: [{ type: "function", function: { name: "f" } }] },
		],
		[
			"one call at a time",
			{ tools: [fn("f")], parallel_tool_calls: false },
			{ tools: [{ type: "function", function: { name: "f" } }], parallel_tool_calls: false },
		],
		["no tools", { tools: [], tool_choice: "auto", parallel_tool_calls: false }, {}],
		["a tier", { service_tier: "flex" }, { service_tier: "flex" }],
		["whichever tier", { service_tier: "auto" }, {}],
		[
			"who asks",
			{ user: "u", safety_identifier: "s", prompt_cache_key: "k" },
			{ user: "u", safety_identifier: "s", prompt_cache_key: "k" },
		],
		["labels", { metadata: { a: "b" }, client_metadata: { c: "d" } }, {}],
		["sampling", { temperature: 0, top_p: 0.5, seed: 4, top_k: 3 }, { temperature: 0, top_p: 0.5, seed: 4, top_k: 3 }],
		[
			"nothing at all",
			{
				tools: null,
				text: null,
				reasoning: null,
				temperature: null,
				instructions: null,
				stream: null,
				background: false,
				previous_response_id: null,
			},
			{},
		],
	] as const)("%s", (_, sent, expected) => {
		const { messages, ...rest } = chatOf(sent as Json);
		expect(messages).toEqual([user("hi")]);
		expect(rest).toEqual(expected as never);
	});

	test("what nobody knows here is left out, and told", () => {
		const parsed = readResponses({
			model: "m",
			input: "hi",
			truncation: "auto",
			store: true,
			context_management: [],
			new_field: null,
			other_field: 1,
		});
		expect(JSON.parse(parsed.body().raw)).toEqual({ model: "m", messages: [user("hi")] });
		expect(parsed.leftOut?.()).toEqual(["truncation", "store", "context_management", "other_field"]);
	});

	test("facts are read of them", () => {
		const { facts, stream } = readResponses({
			model: "m",
			input: "hi",
			stream: true,
			max_output_tokens: 7,
			safety_identifier: "s",
			temperature: 0.5,
			reasoning: { effort: "low" },
		});
		expect(stream).toBe(true);
		expect(facts).toMatchObject({
			model: "m",
			maxTokens: 7,
			user: "s",
			temperature: 0.5,
			showsUsage: true,
			choices: 1,
			hasEffects: false,
		});
		expect([facts.isReasoning("m"), facts.usesLiveData()]).toEqual([true, false]);
		expect(facts.promptSizes().parts).toMatchObject([{ kind: "messages", count: 1 }]);
	});

	test("a request that names other models is said to", () => {
		const { facts } = readResponses({ model: "m", input: "hi", models: ["a", "b"] });
		expect([facts.fallbackModels, facts.routingField()]).toEqual([["a", "b"], "models"]);
	});
});
