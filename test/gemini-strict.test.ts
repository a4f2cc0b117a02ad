/** What OpenAI's clients may send, by the unmodified official client, at a Gemini that refuses what the real one refuses: whole and streamed. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { PIXEL } from "./kit/scenarios.ts";
import { type Script, type StrictGemini, startStrictGemini } from "./kit/strict-gemini.ts";

let gemini: StrictGemini;
let router: RunningRouter;
let client: OpenAI;

beforeAll(async () => {
	gemini = startStrictGemini();
	router = await startRouter({ env: { GEMINI_BASE_URL: gemini.origin, GEMINI_API_KEY: "AIza-strict" } });
	client = openAiClient(router.url);
});
afterAll(async () => {
	await router.stop();
	await gemini.stop();
});
beforeEach(() => gemini.play([]));

/** The answer's message: whole, or put together of a stream's chunks. */
async function answer(ask: Json, stream: boolean): Promise<Loose> {
	const request = { model: "gemini-3-flash", messages: [user("Hi")], ...ask } as never;
	if (!stream) return (await client.chat.completions.create(request)).choices[0]!.message;
	const chunks = client.chat.completions.stream(request);
	return (await chunks.finalChatCompletion()).choices[0]!.message;
}

const user = (content: unknown, more: Json = {}) => ({ role: "user", content, ...more });
const assistant = (content: unknown, more: Json = {}) => ({ role: "assistant", content, ...more });
const system = (content: string) => ({ role: "system", content });
const image = { type: "image_url", image_url: { url: PIXEL } };
const calling = (...ids: string[]) => ({
	tool_calls: ids.map((id) => ({ id, type: "function", function: { name: "look", arguments: "{}" } })),
});
const result = (id: string) => ({ role: "tool", tool_call_id: id, content: "r" });
const tool = (name: string, parameters?: Json) => ({ type: "function", function: { name, parameters } });
const call = (name: string, args: Json = {}) => ({ functionCall: { id: `id-${name}`, name, args }, sign: true });
const said = ({ contents }: Loose): unknown[] =>
	contents.map(({ role, parts }: Loose) => [
		role,
		...parts.map(({ text, ...part }: Loose) => text ?? Object.keys(part)[0]),
	]);

describe.each([
	["whole", false],
	["streamed", true],
] as const)("%s", (_, stream) => {
	test.each([
		["instructions alone", [system("Say hi.")], [["user", ""]]],
		["a name", [user("Hi", { name: "Ann" })], [["user", "Ann: Hi"]]],
		[
			"a name before an image",
			[user([image, { type: "text", text: "what?" }], { name: "Ann" })],
			[["user", "Ann:", "inlineData", "what?"]],
		],
		[
			"words in two messages before a call",
			[user("Hi"), assistant("Hm."), assistant("So:"), assistant(null, calling("a")), result("a")],
			[
				["user", "Hi"],
				["model", "Hm.", "So:", "functionCall"],
				["user", "functionResponse"],
			],
		],
		[
			"a system message at the end",
			[user("Hi"), assistant("Ho"), system("Be brief.")],
			[
				["user", "Hi"],
				["model", "Ho"],
				["user", "<system>\nBe brief.\n</system>"],
			],
		],
		[
			"a system message before the user's, joined to that",
			[user("Hi"), assistant("Ho"), system("Be brief."), user("Hey")],
			[
				["user", "Hi"],
				["model", "Ho"],
				["user", "<system>\nBe brief.\n</system>", "Hey"],
			],
		],
		[
			"a system message behind the user's, and another one",
			[user("Hi"), system("Be brief."), system("Be nice.")],
			[["user", "Hi", "<system>\nBe brief.\n</system>", "<system>\nBe nice.\n</system>"]],
		],
		[
			"a system message between calls and their results",
			[user("Hi"), assistant(null, calling("1", "2")), result("1"), system("Be brief."), result("2")],
			[
				["user", "Hi"],
				["model", "functionCall", "functionCall"],
				["user", "functionResponse", "functionResponse"],
				["user", "<system>\nBe brief.\n</system>"],
			],
		],
		[
			"results in another order than their calls",
			[user("Hi"), assistant(null, calling("1", "2", "3")), result("3"), result("1"), result("2")],
			[
				["user", "Hi"],
				["model", "functionCall", "functionCall", "functionCall"],
				["user", "functionResponse", "functionResponse", "functionResponse"],
			],
		],
		[
			"a call behind the assistant's own words",
			[user("Hi"), assistant("Wait."), assistant(null, calling("1")), result("1")],
			[
				["user", "Hi"],
				["model", "Wait.", "functionCall"],
				["user", "functionResponse"],
			],
		],
		[
			"a conversation that begins with a call",
			[system("Look."), assistant(null, calling("1")), result("1"), user("And?")],
			[
				["user", ""],
				["model", "functionCall"],
				["user", "functionResponse"],
				["user", "And?"],
			],
		],
		[
			"an assistant's message that says nothing",
			[user("Hi"), assistant(""), user("Hello?")],
			[
				["user", "Hi"],
				["user", "Hello?"],
			],
		],
	])("%s is taken, each thing in its place", async (_, messages, contents) => {
		gemini.play([[{ text: "Fine." }]]);
		expect((await answer({ messages }, stream))["content"]).toBe("Fine.");
		expect(gemini.refusals).toEqual([]);
		expect(said(gemini.bodies[0]!)).toEqual(contents as unknown[]);
	});

	test("a conversation that goes on keeps its bytes, names and marks too", async () => {
		const messages: Json[] = [
			system("Look."),
			user("Hi", { name: "Ann" }),
			assistant("Ho", { name: "Bot" }),
			system("Be brief."),
		];
		await answer({ messages }, stream);
		await answer({ messages: [...messages, user("Hey", { name: "Bob" })] }, stream);
		const [first, second] = gemini.bodies.map(({ contents }) => JSON.stringify(contents));
		expect(second).toStartWith(first!.slice(0, -"]}]".length));
	});

	test("an answer that begins with the assistant's name comes without it", async () => {
		gemini.play([[{ text: "Bo" }, { text: "t: Fi" }, { text: "ne." }]]);
		const messages = [user("Hi"), assistant("Ho", { name: "Bot" }), user("Hey")];
		expect((await answer({ messages }, stream))["content"]).toBe("Fine.");
	});

	test("of several calls the first is kept where the client wants no more", async () => {
		const script: Script = [
			[{ text: "Let me see." }, call("look"), { functionCall: { id: "id-2", name: "wait", args: {} } }],
		];
		const tools = [tool("look"), tool("wait")];
		gemini.play(script);
		const message = await answer({ tools, parallel_tool_calls: false }, stream);
		expect(message["content"]).toBe("Let me see.");
		expect(message["tool_calls"].map(({ id }: Loose) => id)).toEqual(["id-look"]);
		gemini.play(script);
		expect((await answer({ tools }, stream))["tool_calls"].map(({ id }: Loose) => id)).toEqual(["id-look", "id-2"]);
	});

	test("functions whose names Gemini does not take are called by their own names", async () => {
		gemini.play([[call("_2fa")], [{ text: "Done." }]]);
		const tools = [tool("2fa"), tool("-x")];
		const choice = { type: "function", function: { name: "2fa" } };
		const message = await answer({ tools, tool_choice: choice }, stream);
		expect(message["tool_calls"][0].function.name).toBe("2fa");
		const messages = [user("Hi"), message, result(message["tool_calls"][0].id)];
		expect((await answer({ tools, messages }, stream))["content"]).toBe("Done.");
		expect(gemini.refusals).toEqual([]);
	});

	test.each([
		["branches alone", { anyOf: [{ type: "object", properties: { a: { type: "string" } } }] }],
		["an object or nothing", { type: ["object", "null"], properties: {} }],
		["nothing", {}],
		[
			"a reference with a description, and definitions",
			{
				type: "object",
				properties: {
					at: { $ref: "#/definitions/Place", description: "where" },
					to: { allOf: [{ $ref: "#/definitions/Place" }] },
				},
				definitions: { Place: { type: "object", properties: { kind: { const: "home" } } } },
			},
		],
	])("a tool whose schema has %s is taken", async (_, parameters) => {
		gemini.play([[call("look")]]);
		const message = await answer({ tools: [tool("look", parameters)] }, stream);
		expect(message["tool_calls"][0].function.name).toBe("look");
		expect(gemini.refusals).toEqual([]);
	});

	test.each([
		["n", { n: 2 }],
		["tools[0].function.name", { tools: [tool("a b")] }],
		[
			"messages[0].content[0].image_url.url",
			{ messages: [user([{ type: "image_url", image_url: { url: "data:image/gif;base64,R0lGODlh" } }])] },
		],
		["messages[1].role", { model: "gemini-3.6-flash", messages: [user("Hi"), assistant("Ho")] }],
		["messages[0].role", { model: "gemini-2.5-flash", messages: [assistant("Ho")] }],
		["tools", { model: "gemini-2.5-flash", tools: [tool("look")], gemini: { tools: [{ googleSearch: {} }] } }],
		[
			"response_format",
			{
				model: "gemini-2.5-flash",
				response_format: { type: "json_object" },
				gemini: { tools: [{ googleSearch: {} }] },
			},
		],
		["stop", { stop: ["a", "b", "c", "d", "e", "f"] }],
		["temperature", { temperature: 2.5 }],
	])("%s is refused by its name where it can't be sent, and nothing is sent", async (param, ask) => {
		const error = await answer(ask, stream).catch((thrown) => thrown);
		expect([error.status, error.code, error.param]).toEqual([400, "unsupported_parameter", param]);
		expect([gemini.bodies, gemini.refusals]).toEqual([[], []]);
	});

	test.each([
		["several answers", { model: "gemini-2.5-flash", n: 2 }, { candidateCount: 2 }],
		["seeds of 32 bits", { seed: -7 }, { seed: -7 }],
		["the lowest bits of a larger seed", { seed: 2 ** 40 + 7 }, { seed: 7 }],
		["no limit", { max_tokens: -1 }, {}],
		["functions beside Google's tools", { tools: [tool("look")], gemini: { tools: [{ googleSearch: {} }] } }, {}],
		["penalties", { model: "gemini-2.0-flash", presence_penalty: 0.5 }, { presencePenalty: 0.5 }],
	])("%s go to the models that take them", async (_, ask, config) => {
		await answer(ask, stream);
		expect(gemini.bodies[0]!["generationConfig"]).toMatchObject(config);
	});

	test("an assistant's message as the last is gone on with by models that take one", async () => {
		gemini.play([[{ text: "you." }]]);
		const messages = [user("Hi"), assistant("How are")];
		expect((await answer({ model: "gemini-3.1-pro-preview", messages }, stream))["content"]).toBe("you.");
		expect(gemini.refusals).toEqual([]);
	});

	test.each([
		["none before it", "gemini-3.1-pro-preview", [assistant("How are")], "Gemini wants a user's message before it"],
		["none before it, and none behind it either", "gemini-3.6-flash", [assistant("How are")], "as the last"],
		["one before it", "gemini-3.6-flash", [user("Hi"), assistant("How are")], "as the last"],
	])("a refused assistant's message with %s is told what is missing", async (_, model, messages, words) => {
		const error = await answer({ model, messages }, stream).catch((thrown) => thrown);
		expect([error.status, error.param]).toEqual([400, `messages[${messages.length - 1}].role`]);
		expect(error.message).toContain(words);
	});

	describe("JSON beside tools, which models before 3 take as one more function", () => {
		const schema = {
			type: "object",
			properties: { a: { type: "integer" } },
			required: ["a"],
			additionalProperties: false,
		};
		const asked = (inner: Json) => ({
			response_format: { type: "json_schema", json_schema: { name: "s", schema: inner } },
		});
		const model = "gemini-2.5-flash";
		const tools = [tool("look")];
		const declared = () =>
			gemini.bodies.at(-1)!["tools"][0].functionDeclarations.map(({ name }: Loose) => name) as string[];

		test.each([
			["a schema", asked(schema), { a: 1 }, '{"a":1}'],
			[
				"a schema that is no object's",
				asked({ type: "array", items: { type: "integer" } }),
				{ json: "[1, 2]" },
				"[1,2]",
			],
			["JSON mode", { response_format: { type: "json_object" } }, { json: '{"b": [] }' }, '{"b":[]}'],
			["JSON mode, an object without a field", { response_format: { type: "json_object" } }, { json: "{}" }, "{}"],
		])("%s is the answer's text", async (_, format, args, content) => {
			gemini.play([[{ text: "Hm.", thought: true }, call("json_answer", args)]]);
			const message = await answer({ model, tools, ...format }, stream);
			expect([message["content"], message["tool_calls"] ?? []]).toEqual([content, []]);
			expect([gemini.refusals, declared()]).toEqual([[], ["look", "json_answer"]]);
			expect(gemini.bodies[0]!["toolConfig"]).toEqual({ functionCallingConfig: { mode: "ANY" } });
		});

		test.each([
			["of another shape", asked(schema), { a: "one" }],
			["with a field too many", asked(schema), { a: 1, b: 2 }],
			["no JSON", { response_format: { type: "json_object" } }, { json: "a = 1" }],
			["no object", { response_format: { type: "json_object" } }, { json: "[]" }],
			["nothing", asked(schema), undefined],
		])("an answer that is %s is none: the call may go elsewhere", async (_, format, args) => {
			gemini.play([[call("json_answer", args)]]);
			const error = await answer({ model, tools, ...format }, stream).catch((thrown) => thrown);
			expect([error.status, error.code, error.param]).toEqual([400, "unsupported_parameter", "response_format"]);
		});

		test("the caller's own calls come first, and the loop ends in the answer", async () => {
			gemini.play([[call("look"), call("json_answer", { a: 0 })], [call("json_answer", { a: 2 })]]);
			const first = await answer({ model, tools, ...asked(schema) }, stream);
			expect(first["tool_calls"].map(({ function: { name } }: Loose) => name)).toEqual(["look"]);
			expect(first["content"] ?? "").toBe("");
			const messages = [user("Hi"), first, result(first["tool_calls"][0].id)];
			expect((await answer({ model, tools, messages, ...asked(schema) }, stream))["content"]).toBe('{"a":2}');
			expect(gemini.refusals).toEqual([]);
			// Without tools, the calls in the history forbid the format as well.
			gemini.play([[call("json_answer", { a: 3 })]]);
			expect((await answer({ model, messages, ...asked(schema) }, stream))["content"]).toBe('{"a":3}');
			expect([gemini.refusals, declared()]).toEqual([[], ["json_answer"]]);
		});

		test.each([
			["an answer", call("json_answer", { a: 1 }), '{"a":1}'],
			["a call of the caller's own", call("look"), ""],
		])("words before %s are left out: clients read all content as JSON", async (_, part, content) => {
			gemini.play([[{ text: "Here " }, { text: "it is:" }, part]]);
			const message = await answer({ model, tools, ...asked(schema) }, stream);
			expect(message["content"] ?? "").toBe(content);
		});

		test("words alone are all that there is", async () => {
			gemini.play([[{ text: '{"a"' }, { text: ":1}" }]]);
			expect((await answer({ model, tools, ...asked(schema) }, stream))["content"]).toBe('{"a":1}');
		});

		test.each([
			["a call is asked for", { tools, tool_choice: "required" }, [call("look")], { mode: "ANY" }, undefined],
			["no call is wanted", { tools, tool_choice: "none" }, [{ text: '{"a":1}' }], undefined, "application/json"],
			["there are no tools", {}, [{ text: '{"a":1}' }], undefined, "application/json"],
		])("where %s the one or the other is asked for", async (_, ask, parts, functionCallingConfig, responseMimeType) => {
			gemini.play([parts]);
			await answer({ model, ...asked(schema), ...ask }, stream);
			const [body] = gemini.bodies;
			expect(gemini.refusals).toEqual([]);
			expect(body!["toolConfig"]?.functionCallingConfig).toEqual(functionCallingConfig);
			expect(body!["generationConfig"].responseMimeType).toBe(responseMimeType);
		});

		test("the function's name is one that the caller has not", async () => {
			gemini.play([[call("json_answer_", { a: 1 })]]);
			const ask = { model, tools: [tool("json_answer")], ...asked(schema) };
			expect((await answer(ask, stream))["content"]).toBe('{"a":1}');
			expect(declared()).toEqual(["json_answer", "json_answer_"]);
		});

		test("from 3 on both are asked for as they are", async () => {
			gemini.play([[{ text: '{"a":1}' }]]);
			expect((await answer({ tools, ...asked(schema) }, stream))["content"]).toBe('{"a":1}');
			expect(declared()).toEqual(["look"]);
			expect(gemini.bodies[0]!["generationConfig"]).toMatchObject({ responseJsonSchema: schema });
		});
	});
});
