/** Corners of requests to Anthropic and Gemini that the table of features has no row for. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { parseRequest } from "../src/openai/call.ts";
import { encoded } from "../src/openai/chat.ts";
import { messagesRequest } from "../src/providers/anthropic-request.ts";
import { generateRequest } from "../src/providers/gemini-request.ts";
import { GOT_NOTHING } from "../src/providers/provider.ts";
import type { Json, Loose } from "./kit/exchange.ts";

const request = (more: Json) =>
	parseRequest("chat", JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }], ...more })).body;
const toClaude = (more: Json, model = "claude-opus-4-7"): Loose =>
	JSON.parse(messagesRequest(request(more), model, false, GOT_NOTHING).body);
const toGemini = (more: Json, model = "gemini-3-flash"): Loose =>
	JSON.parse(generateRequest(request(more), model, "https://g/v1beta", GOT_NOTHING));

/** Code and field of the refusal. */
function refusal(run: () => unknown): [string, string | null] {
	try {
		run();
	} catch (error) {
		if (error instanceof RouterError) return [error.errorCode, error.body.error.param];
		throw error;
	}
	throw new Error("it was not refused");
}
const user = (content: unknown, more: Json = {}) => ({ role: "user", content, ...more });
const call = (args: string, id = "call_1") => ({ id, type: "function", function: { name: "f", arguments: args } });
const TWO_CALLS = { role: "assistant", content: null, tool_calls: [call("{}"), call("{}", "call_2")] };
const result = (id: string) => ({ role: "tool", tool_call_id: id, content: "r" });
const THOUGHT = [{ type: "reasoning.text", text: "t", signature: "s", format: "anthropic-claude-v1" }];
const PIXEL = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

describe.each([
	["Anthropic", toClaude],
	["Gemini", toGemini],
] as const)("%s", (_, encode) => {
	const odd = (messages: unknown[]) => refusal(() => encode({ messages }));

	test.each([
		["a role of its own", [{ role: "critic", content: "x" }], "messages[0].role"],
		["a function's result", [user("x"), { role: "function", name: "f", content: "x" }], "messages[1].role"],
		["a kind of content of its own", [user([{ type: "video_url", video_url: {} }])], "messages[0].content[0].type"],
		["a field of its own", [user("x", { mood: "good" })], "messages[0].mood"],
		["a field of its own in content", [user([{ type: "text", text: "x", lang: "de" }])], "messages[0].content[0].lang"],
		[
			"audio it made before",
			[user("x"), { role: "assistant", content: null, audio: { id: "a" } }],
			"messages[1].audio",
		],
		[
			"a call that is no function's",
			[user("x"), { role: "assistant", tool_calls: [{ id: "1", type: "custom", custom: {} }] }],
			"messages[1].tool_calls[0].type",
		],
		["instructions alone", [{ role: "system", content: "x" }], "messages"],
		["an image in the system prompt", [{ role: "system", content: [PIXEL] }, user("x")], "messages[0].content[0].type"],
		[
			"an image that the assistant said",
			[user("x"), { role: "assistant", content: [PIXEL] }],
			"messages[1].content[0].type",
		],
	] as const)("refuses %s", (_, messages, param) =>
		expect(odd([...messages])).toEqual(["unsupported_parameter", param]),
	);

	test.each([
		["no text in a text", [user([{ type: "text" }])], "messages[0].content[0].text"],
		["a number as text", [user([{ type: "text", text: 7 }])], "messages[0].content[0].text"],
		["no id with a result", [{ role: "tool", content: "x" }], "messages[0].tool_call_id"],
		[
			"arguments that are no JSON",
			[user("x"), { role: "assistant", tool_calls: [call('{"a":')] }],
			"messages[1].tool_calls[0].function.arguments",
		],
		[
			"arguments that are no object",
			[user("x"), { role: "assistant", tool_calls: [call("[1]")] }],
			"messages[1].tool_calls[0].function.arguments",
		],
		["a file without a file", [user([{ type: "file", file: { filename: "a" } }])], "messages[0].content[0].file"],
		[
			"a file in no known form",
			[user([{ type: "file", file: { file_data: "AAAA" } }])],
			"messages[0].content[0].file.file_data",
		],
	] as const)("finds fault with %s", (_, messages, param) =>
		expect(odd([...messages])).toEqual(["invalid_value", param]),
	);

	test.each([
		[{ tool_choice: "required" }, "tool_choice"],
		[{ tool_choice: "sometimes" }, "tool_choice"],
		[{ reasoning_effort: "huge" }, "reasoning_effort"],
		[{ tools: [{ type: "function", function: {} }] }, "tools[0].function.name"],
		[{ response_format: { type: "json_schema" } }, "response_format.json_schema"],
	] as const)("finds fault with %j", (more, param) => {
		expect(refusal(() => encode({ ...more }))).toEqual(["invalid_value", param]);
	});

	test("a field that is null says nothing", () => {
		const nulls = {
			n: null,
			seed: null,
			logprobs: null,
			tools: null,
			stop: null,
			brand_new: null,
			response_format: null,
		};
		const messages = [
			user("Hi", { mood: null, name: null }),
			{ role: "assistant", content: "x", refusal: null, audio: null },
			user("y"),
		];
		expect(() => encode({ ...nulls, messages })).not.toThrow();
	});

	test("what the official client adds to its own answers may come back", () => {
		const said = {
			role: "assistant",
			content: "x",
			refusal: null,
			parsed: null,
			annotations: [],
			tool_calls: undefined,
		};
		const called = {
			role: "assistant",
			content: null,
			tool_calls: [{ ...call("{}"), function: { name: "f", arguments: "{}", parsed_arguments: {} } }],
		};
		const messages = [user("Hi"), said, user("y"), called, { role: "tool", tool_call_id: "call_1", content: "z" }];
		expect(() => encode({ messages })).not.toThrow();
	});

	test("big numbers in arguments go on digit by digit", () => {
		const messages = [
			user("x"),
			{ role: "assistant", tool_calls: [call('{"n": 12345678901234567890, "f": 1e400}')] },
			{ role: "tool", tool_call_id: "call_1", content: "y" },
		];
		const text =
			encode === toClaude
				? messagesRequest(request({ messages }), "c", false, GOT_NOTHING).body
				: generateRequest(request({ messages }), "g", "", GOT_NOTHING);
		expect(text).toContain('{"n": 12345678901234567890, "f": 1e400}');
	});

	test("a request nested too deeply for the stack is the caller's fault", () => {
		const deep = `${'{"type":"array","items":'.repeat(50_000)}{"type":"string"}${"}".repeat(50_000)}`;
		const raw = `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":${deep}}}]}`;
		const { body } = parseRequest("chat", raw);
		const run = encode === toClaude ? messagesRequest : generateRequest;
		expect(refusal(() => encoded(() => run(body, "m", "" as never, GOT_NOTHING)))).toEqual(["invalid_value", null]);
	});

	test("the other vendor's field is not this one's", () => {
		const other = encode === toClaude ? { gemini: { cachedContent: "x" } } : { anthropic: { speed: "fast" } };
		expect(JSON.stringify(encode(other))).toBe(JSON.stringify(encode({})));
	});
});

describe("Anthropic's own fields", () => {
	test.each([
		[{ anthropic: { model: "claude-other" } }, "unsupported_parameter", "anthropic.model"],
		[{ anthropic: { messages: [] } }, "unsupported_parameter", "anthropic.messages"],
		[{ anthropic: { stream: true } }, "unsupported_parameter", "anthropic.stream"],
		[{ anthropic: "x" }, "invalid_value", "anthropic"],
		[{ anthropic: { thinking: { type: "disabled" } }, reasoning_effort: "low" }, "invalid_value", "anthropic.thinking"],
		[
			{ anthropic: { output_config: { effort: "low" } }, reasoning_effort: "low" },
			"invalid_value",
			"anthropic.output_config.effort",
		],
	] as const)("%j", (more, code, param) => expect(refusal(() => toClaude({ ...more }))).toEqual([code, param]));

	test("join what OpenAI's say", () => {
		const schema = { type: "object", properties: { a: { type: "string" } } };
		const sent = toClaude({
			anthropic: { output_config: { effort: "max" }, inference_geo: "eu" },
			response_format: { type: "json_schema", json_schema: { name: "s", schema } },
		});
		expect(sent["output_config"]).toEqual({ effort: "max", format: expect.objectContaining({ type: "json_schema" }) });
		expect(sent["inference_geo"]).toBe("eu");
	});
});

describe("Gemini's own fields", () => {
	test.each([
		[{ gemini: { contents: [] } }, "unsupported_parameter", "gemini.contents"],
		[
			{ gemini: { generationConfig: { temperature: 1 } }, temperature: 0 },
			"invalid_value",
			"gemini.generationConfig.temperature",
		],
		[{ gemini: { generationConfig: "x" } }, "invalid_value", "gemini.generationConfig"],
	] as const)("%j", (more, code, param) => expect(refusal(() => toGemini({ ...more }))).toEqual([code, param]));
});

describe("Anthropic", () => {
	test.each([
		["temperature", { temperature: 0.5 }],
		["top_p", { top_p: 0.5 }],
		["top_k", { top_k: 5 }],
	])("models that take no %s get none, and say so", (param, more) => {
		expect(refusal(() => toClaude(more))).toEqual(["unsupported_parameter", param]);
	});

	test("the default of a field that a model refuses is left out", () => {
		expect(toClaude({ temperature: 1, top_p: 1 })).toEqual(toClaude({}));
	});

	test("consecutive messages of one role are one turn, results first", () => {
		const messages = [
			user("a"),
			user("b"),
			{ role: "assistant", content: "c" },
			{ role: "assistant", content: null, tool_calls: [call("{}")] },
			{ role: "tool", tool_call_id: "call_1", content: "d" },
			user("e"),
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ role, content }) => [role, content.map(({ type }: Loose) => type)])).toEqual([
			["user", ["text", "text"]],
			["assistant", ["text", "tool_use"]],
			["user", ["tool_result", "text"]],
		]);
	});

	test("empty text, which the API refuses, is left out", () => {
		const messages = [
			user([
				{ type: "text", text: "" },
				{ type: "text", text: "x" },
			]),
			{ role: "assistant", content: "", tool_calls: [call("")] },
			{ role: "tool", tool_call_id: "call_1", content: "" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ content }) => content)).toEqual([
			[{ type: "text", text: "x" }],
			[{ type: "tool_use", id: "call_1", name: "f", input: {} }],
			[{ type: "tool_result", tool_use_id: "call_1" }],
		]);
	});

	test("text that is all space, which the API refuses where none stands beside it, is left out", () => {
		const messages = [
			user([{ type: "text", text: " " }, PIXEL]),
			{ role: "assistant", content: "\n\n", tool_calls: [call("")], reasoning_details: THOUGHT },
			{ role: "tool", tool_call_id: "call_1", content: " " },
			user([
				{ type: "text", text: "\n" },
				{ type: "text", text: "x" },
			]),
			{ role: "assistant", content: " " },
			{ role: "user", content: "y" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ content }) => content.map((block: Loose) => block["text"] ?? block["type"]))).toEqual([
			["image"],
			["thinking", "tool_use"],
			["tool_result", "\n", "x", "y"],
		]);
		expect(turns[2]?.["content"][0]).toEqual({ type: "tool_result", tool_use_id: "call_1" });
	});

	test.each([
		["a question that says nothing", [user("")], "messages[0].content"],
		["null", [user(null)], "messages[0].content"],
		// Left out, it would have Claude go on with its own words.
		[
			"an empty one behind an answer",
			[user("x"), { role: "assistant", content: "y" }, user(" ")],
			"messages[2].content",
		],
	])("what leaves nothing to answer is refused: %s", (_, messages, param) => {
		expect(refusal(() => toClaude({ messages }))).toEqual(["unsupported_parameter", param]);
	});

	test("an empty question behind another is left out", () => {
		expect(toClaude({ messages: [user("x"), user("")] })["messages"]).toEqual(
			toClaude({ messages: [user("x")] })["messages"],
		);
	});

	const SYSTEM = { role: "system", content: "s" };
	test.each([
		["before a user's", [user("x"), SYSTEM, user("y")], "messages[1].role"],
		["behind an answer", [user("x"), { role: "assistant", content: "y" }, SYSTEM, user("z")], "messages[2].role"],
		["before any turn", [user(""), SYSTEM, user("z")], "messages[1].role"],
		["among results", [user("x"), TWO_CALLS, result("call_1"), SYSTEM, result("call_2")], "messages[3].role"],
	])("a later system message where the API takes none is refused: %s", (_, messages, param) => {
		expect(refusal(() => toClaude({ messages }, "claude-opus-5"))).toEqual(["unsupported_parameter", param]);
	});

	test("temperature and top_p, which the API takes one of, go together where one says nothing", () => {
		const sonnet = (more: Json) => toClaude(more, "claude-sonnet-4-5");
		expect(sonnet({ temperature: 0.5, top_p: 1 })).toEqual(sonnet({ temperature: 0.5 }));
		expect(sonnet({ temperature: 1, top_p: 0.5 })).toEqual(sonnet({ top_p: 0.5 }));
		expect(sonnet({ temperature: 1, top_p: 1 })).toEqual(sonnet({ temperature: 1 }));
		expect(sonnet({ top_p: 1 })["top_p"]).toBe(1);
		expect(sonnet({ temperature: 0.5, top_p: 0.5 })).toMatchObject({ temperature: 0.5, top_p: 0.5 });
	});

	test("ids of other vendors are written in letters that the API takes, call and result alike", () => {
		const messages = [
			user("x"),
			{ role: "assistant", tool_calls: [call("{}", "functions.f:0")] },
			{ role: "tool", tool_call_id: "functions.f:0", content: "y" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns[1]!["content"][0].id).toBe("functions_2ef_3a0");
		expect(turns[2]!["content"][0].tool_use_id).toBe("functions_2ef_3a0");
	});

	test("markers for the cache stand on tools, messages and the whole request, too", () => {
		const cache_control = { type: "ephemeral" };
		const sent = toClaude({
			cache_control,
			tools: [{ type: "function", function: { name: "f" }, cache_control }],
			messages: [
				{ role: "system", content: "s", cache_control },
				user(
					[
						{ type: "text", text: "a" },
						{ type: "text", text: "b" },
					],
					{ cache_control },
				),
			],
		});
		expect(sent["cache_control"]).toEqual(cache_control);
		expect(sent["tools"][0]).toEqual({ name: "f", input_schema: { type: "object", properties: {} }, cache_control });
		expect(sent["system"]).toEqual([{ type: "text", text: "s", cache_control }]);
		expect(sent["messages"][0].content).toEqual([
			{ type: "text", text: "a" },
			{ type: "text", text: "b", cache_control },
		]);
	});

	test("an image in a form that Claude can't read is refused by its place", () => {
		const messages = [user([{ type: "image_url", image_url: { url: "data:image/tiff;base64,AAAA" } }])];
		expect(refusal(() => toClaude({ messages }))).toEqual([
			"unsupported_parameter",
			"messages[0].content[0].image_url.url",
		]);
	});

	test("a refusal in the history is what the assistant said", () => {
		const messages = [user("x"), { role: "assistant", content: null, refusal: "No." }, user("y")];
		expect(toClaude({ messages })["messages"][1].content).toEqual([{ type: "text", text: "No." }]);
	});

	test("thoughts that a client has bent are passed over, those of others, too", () => {
		const reasoning_details = [
			{ type: "reasoning.text", text: "no signature", format: "anthropic-claude-v1" },
			{ type: "reasoning.text", text: "x", signature: "s", format: "google-gemini-v1" },
			{ type: "reasoning.summary", summary: "x" },
			"x",
			null,
			{
				type: "reasoning.text",
				text: "good",
				signature: "s",
				format: "anthropic-claude-v1",
				after: { text: 999, calls: 7 },
			},
		];
		const messages = [user("x"), { role: "assistant", content: "said", reasoning_details }, user("y")];
		expect(toClaude({ messages })["messages"][1].content).toEqual([
			{ type: "text", text: "said" },
			{ type: "thinking", thinking: "good", signature: "s" },
		]);
	});
});

describe("Gemini", () => {
	test("a result for a call that was never made is an error with its place", () => {
		const messages = [user("x"), { role: "tool", tool_call_id: "call_9", content: "y" }];
		expect(refusal(() => toGemini({ messages }))).toEqual(["invalid_value", "messages[1].tool_call_id"]);
	});

	test.each([
		['{"a":1}', { a: 1 }],
		['{"n":12345678901234567890}', { output: '{"n":12345678901234567890}' }],
		['{"n":1e400}', { output: '{"n":1e400}' }],
		["[1]", { output: "[1]" }],
		["{broken", { output: "{broken" }],
		["", { output: "" }],
	])("the result %j is %j", (content, response) => {
		const messages = [
			user("x"),
			{ role: "assistant", tool_calls: [call("{}")] },
			{ role: "tool", tool_call_id: "call_1", content },
		];
		expect(toGemini({ messages })["contents"][2].parts).toEqual([
			{ functionResponse: { id: "call_1", name: "f", response } },
		]);
	});

	test("files in results stand behind them before the third generation", () => {
		const messages = [
			user("x"),
			{ role: "assistant", tool_calls: [call("{}"), call("{}", "call_2")] },
			{ role: "tool", tool_call_id: "call_1", content: [PIXEL] },
			{ role: "tool", tool_call_id: "call_2", content: "y" },
			user("z"),
		];
		const contents = toGemini({ messages }, "gemini-2.5-flash")["contents"] as Loose[];
		expect(contents.slice(2).map(({ parts }) => parts.map((part: Json) => Object.keys(part)[0]))).toEqual([
			["functionResponse", "functionResponse"],
			["inlineData"],
			["text"],
		]);
	});

	test("a file that Google has is named; one that it can't have is refused", () => {
		const file = (file_id: string) => ({ messages: [user([{ type: "file", file: { file_id } }])] });
		expect(toGemini(file("files/a-1"))["contents"][0].parts).toEqual([
			{ fileData: { fileUri: "https://g/v1beta/files/a-1" } },
		]);
		expect(refusal(() => toGemini(file("file-of-openai")))).toEqual([
			"unsupported_parameter",
			"messages[0].content[0].file.file_id",
		]);
		const video = { type: "file", file: { file_data: "https://www.youtube.com/watch?v=1" } };
		expect(toGemini({ messages: [user([video])] })["contents"][0].parts).toEqual([
			{ fileData: { fileUri: "https://www.youtube.com/watch?v=1" } },
		]);
	});
});
