/** Corners of requests to Gemini that the table of features has no row for. */
import { describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { call, PIXEL, refusal, toGemini, user } from "./kit/vendor-requests.ts";

describe("Gemini's own fields", () => {
	test.each([
		[{ gemini: { contents: [] } }, "unsupported_parameter", "gemini.contents"],
		[
			{ gemini: { generationConfig: { temperature: 1 } }, temperature: 0 },
			"invalid_value",
			"gemini.generationConfig.temperature",
		],
		[{ gemini: { generationConfig: "x" } }, "invalid_value", "gemini.generationConfig"],
		[{ gemini: { tools: {} } }, "invalid_value", "gemini.tools"],
		[{ gemini: { tools: [{ googleSearch: {} }, 7] } }, "invalid_value", "gemini.tools[1]"],
		[{ gemini: { tools: [{ functionDeclarations: [] }] } }, "invalid_value", "gemini.tools[0].functionDeclarations"],
	] as const)("%j", (more, code, param) => expect(refusal(() => toGemini({ ...more }))).toEqual([code, param]));

	test("Google's own tools stand behind the call's functions, or alone", () => {
		const gemini = { tools: [{ googleSearch: {} }, { urlContext: {} }] };
		expect(toGemini({ gemini })["tools"]).toEqual(gemini.tools);
		expect(toGemini({ gemini })).not.toHaveProperty("toolConfig");
		const tools = [{ type: "function", function: { name: "f" } }];
		expect(toGemini({ gemini, tools })["tools"]).toEqual([{ functionDeclarations: [{ name: "f" }] }, ...gemini.tools]);
		expect(toGemini({ gemini: { tools: null } })).not.toHaveProperty("tools");
	});
});

describe("Gemini", () => {
	test.each([
		["auto", undefined],
		["default", "standard"],
		["flex", "flex"],
		["priority", "priority"],
		["fast", "priority"],
	])("the tier %s is %p", (service_tier, sent) => {
		expect(toGemini({ service_tier })["serviceTier"]).toBe(sent as never);
	});

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
