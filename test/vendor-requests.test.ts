/** Corners of requests, the same at Anthropic and Gemini, that the table of features has no row for. */
import { describe, expect, test } from "bun:test";
import { encoded } from "../src/openai/chat.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";
import { call, PIXEL, refusal, request, toClaude, toGemini, user } from "./kit/vendor-requests.ts";

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
				? messagesRequest(request({ messages }), "c", false, NO_INPUTS).body
				: generateRequest(request({ messages }), "g", "", NO_INPUTS);
		expect(text).toContain('{"n": 12345678901234567890, "f": 1e400}');
	});

	test("a request nested too deeply for the stack is the caller's fault", () => {
		const deep = `${'{"type":"array","items":'.repeat(50_000)}{"type":"string"}${"}".repeat(50_000)}`;
		const raw = `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":${deep}}}]}`;
		const body = JSON.parse(raw);
		const run = encode === toClaude ? messagesRequest : generateRequest;
		expect(refusal(() => encoded(() => run(body, "m", "" as never, NO_INPUTS)))).toEqual(["invalid_value", null]);
	});

	test("the other vendor's field is not this one's", () => {
		const other = encode === toClaude ? { gemini: { cachedContent: "x" } } : { anthropic: { speed: "fast" } };
		expect(JSON.stringify(encode(other))).toBe(JSON.stringify(encode({})));
	});
});
