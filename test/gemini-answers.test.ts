/** What Gemini's own words in answers and refusals come to. */
import { describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import { candidateFinish, generatedAnswer } from "../src/providers/gemini/response.ts";
import { failureKindOf } from "../src/providers/upstream-error.ts";

describe("a finish reason", () => {
	test.each([
		["STOP", "stop"],
		["MAX_TOKENS", "length"],
		["CONTINUATION", "length"],
		["ESCALATION", "content_filter"],
		["SAFETY", "content_filter"],
		["LANGUAGE", "content_filter"],
		["IMAGE_RECITATION", "content_filter"],
	] as const)("%s is %s", (reason, finish) => expect(candidateFinish(reason, false)).toBe(finish));

	test.each([
		["MALFORMED_RESPONSE", "transport"],
		["MALFORMED_FUNCTION_CALL", "transport"],
		["UNEXPECTED_TOOL_CALL", "transport"],
		["TOO_MANY_TOOL_CALLS", "transport"],
		["OTHER", "transport"],
		["MISSING_THOUGHT_SIGNATURE", "unsupported"],
	] as const)("%s is no answer but a failure, %s, that names it", (reason, kind) => {
		const failure = candidateFinish(reason, true);
		expect(failure).toMatchObject({ kind, message: expect.stringContaining(reason) });
	});
});

test.each([
	[
		"is of another form",
		{
			candidates: [{ content: { parts: [{ functionCall: { name: "json_answer", args: {} } }] }, finishReason: "STOP" }],
		},
		"unsupported",
	],
	["has no end", { candidates: [{ content: { parts: [{ text: "Hi" }] } }] }, "truncated"],
	["stopped for another reason", { candidates: [{ finishReason: "MALFORMED_FUNCTION_CALL" }] }, "transport"],
	["was not begun", { promptFeedback: { blockReason: "SAFETY" } }, "content_filter"],
] as const)("what an answer cost that %s is known", (_, answer, kind) => {
	const request = {
		model: "m",
		messages: [{ role: "user", content: "Hi" }],
		tools: [{ type: "function", function: { name: "look" } }],
		response_format: { type: "json_object" },
	};
	const usageMetadata = { promptTokenCount: 5, candidatesTokenCount: 9, totalTokenCount: 14 };
	const call = parseRequest("chat", JSON.stringify(request)) as Call;
	const made = generatedAnswer({ ...answer, usageMetadata }, call, "gemini-2.5-flash");
	expect(made).toMatchObject({ kind, tokens: { input: 5, output: 9 } });
});

describe("a 400 about what this model, or Gemini, does not take goes elsewhere", () => {
	test.each([
		"Function calling with a response mime type: 'application/json' is unsupported",
		"Tool use with a response mime type: 'application/json' is unsupported",
		"Tool use with function calling is unsupported",
		"Penalty is not enabled for models/gemini-2.5-flash",
		"Logprobs is not enabled for models/gemini-2.5-pro",
		"Logprobs is not supported for the current model.",
		"Unable to submit request because Logprobs is not supported for this model.",
		"Multiple candidates is not enabled for this model",
		"Only one candidate can be specified",
		"Unable to submit request because candidateCount must be 1 but the entered value was 3. Update the candidateCount value and try again.",
		"Unable to submit request because it has a stopSequences value of 10 but the supported range is from 1 (inclusive) to 6 (exclusive). Update the value and try again.",
		"Requests ending with a model turn are not supported.",
		"Requests ending with a model turn are not supported unless the last part is a function response.",
		"Please ensure that single turn requests end with a user role or the role field is empty.",
		"Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly.",
		"Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
		"* GenerateContentRequest.tools[0].function_declarations[3].name: Invalid function name. Must start with a letter or an underscore.",
		"The GenerateContentRequest proto is invalid:\n  * tools[0].function_declarations[12].name: [FIELD_INVALID] Invalid function name.",
		"Invalid JSON payload received. Unknown name \"propertyNames\" at 'tools[0].function_declarations[14].parameters.properties[1].value': Cannot find field.",
		"$ref 'QuestionOption' was set alongside unsupported fields. If a schema node has $ref set, then only description and default can be set alongside it",
		"reference to undefined schema at properties.target_object.anyOf.1",
		"Unable to submit request because look functionDeclaration parameters schema should be of type OBJECT.",
		"For controlled generation of only function calls (forced function calling), please set 'tool_config.function_calling_config.mode' field to ANY instead of populating 'response_mime_type' and 'response_schema' fields.",
		"Budget 0 is invalid. This model only works in thinking mode.",
		"Thinking level MINIMAL is not supported for this model.",
		"Unable to submit request because thinking is not supported by this model.",
	])("%s", (message) => {
		expect(failureKindOf(400, { message, code: "INVALID_ARGUMENT" })).toBe("unsupported");
	});

	test.each([
		"Request contains an invalid argument.",
		"Unable to submit request because it has a temperature value of 7 but the supported range is from 0 (inclusive) to 2.0 (inclusive).",
		"Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
		"Corrupted thought signature.",
		"* GenerateContentRequest.contents: contents is not specified",
		"Provided image is not valid.",
	])("%s: is the caller's", (message) => {
		expect(failureKindOf(400, { message, code: "INVALID_ARGUMENT" })).toBe("caller");
	});
});
