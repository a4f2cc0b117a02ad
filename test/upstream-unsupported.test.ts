/** Refusals that say what an upstream, or one of its models, can't do: told from a caller's fault by the upstreams' own words. */
import { expect, test } from "bun:test";
import { errorOf, type Failure, type FailureKind } from "../src/providers/failure.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import { failureOf, readError } from "../src/providers/upstream-error.ts";
import { configOf } from "./kit/pipeline.ts";

const upstream = configureUpstreams(configOf(), {}).find(({ name }) => name === "openai")!;
const openai = (message: string, code: string | null = null, type = "invalid_request_error") => ({
	error: { message, type, param: null, code },
});
const anthropic = (type: string, message: string) => ({ type: "error", error: { type, message }, request_id: "req_1" });

const ROWS: [string, number, unknown, FailureKind, string][] = [
	...[
		"This model does not support assistant message prefill. The conversation must end with a user message.",
		"messages: final assistant content cannot end with trailing whitespace",
		"`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.",
		"`temperature` is deprecated for this model.",
		"`temperature` and `top_p` cannot both be specified for this model.",
		"Thinking may not be enabled when tool_choice forces tool use.",
		"tool_choice forces tool use is not compatible with this model",
		'tool_choice: type "tool" and "any" are not supported for this model.',
		"tools.9.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
		"output_config.format: Extra inputs are not permitted",
		"role 'system' is not supported on this model",
		"adaptive thinking is not supported on this model",
		'"thinking.type.enabled" is not supported for this model.',
		"tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12",
		"stop_sequences: each stop sequence must contain non-whitespace",
		"Requests which include tool_use or tool_result blocks must define tools.",
		"The compiled grammar is too large, which would cause performance issues.",
		"Schema is too complex for compilation. Try reducing the number of tools or simplifying tool schemas.",
	].map((words): [string, number, unknown, FailureKind, string] => [
		`Anthropic, ${words.slice(0, 40)}`,
		400,
		anthropic("invalid_request_error", words),
		"unsupported",
		words,
	]),
	...[
		"max_tokens: 200000 > 128000",
		"messages.0.content: Input should be a valid list",
		"messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
		"temperature: range: 0..1",
		"thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
	].map((words): [string, number, unknown, FailureKind, string] => [
		`Anthropic, the caller's fault: ${words.slice(0, 40)}`,
		400,
		anthropic("invalid_request_error", words),
		"caller",
		words,
	]),
	[
		"OpenAI, what a model takes none of",
		400,
		openai("Unsupported parameter: 'max_tokens' is not supported with this model.", "unsupported_parameter"),
		"unsupported",
		"max_tokens",
	],
	[
		"OpenAI, a value that a model takes none but one of",
		400,
		openai("Unsupported value: 'temperature' does not support 0.2 with this model.", "unsupported_value"),
		"unsupported",
		"temperature",
	],
	[
		"xAI, what a model takes none of",
		400,
		{ code: "Client specified an invalid argument", error: "Argument not supported on this model: stop" },
		"unsupported",
		"stop",
	],
	...[
		"Penalty is not enabled for this model",
		"Multiple candidates is not enabled for models/gemini-3-flash",
		"Function calling with a response mime type: 'application/json' is unsupported",
	].map((words): [string, number, unknown, FailureKind, string] => [
		`Gemini, ${words.slice(0, 30)}`,
		400,
		[{ error: { code: 400, message: words, status: "INVALID_ARGUMENT" } }],
		"unsupported",
		words,
	]),
	[
		"vLLM, tools that it was not started for",
		400,
		openai(
			'"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
			null,
			"BadRequestError",
		),
		"unsupported",
		"tool choice",
	],
	[
		"vLLM, an image for a model without eyes",
		400,
		{ object: "error", message: "x is not a multimodal model", type: "BadRequestError", code: 400 },
		"unsupported",
		"multimodal",
	],
	[
		"Mistral, a field that it does not know",
		422,
		{ detail: [{ loc: ["body", "seed"], msg: "Extra inputs are not permitted" }] },
		"unsupported",
		"body.seed",
	],
	["a body too large, whatever is not supported", 413, openai("Bodies of 9 MB are not supported"), "caller", "9 MB"],
];

test.each(ROWS)("%s (%i)", (_, status, body, kind, words) => {
	const failure = failureOf(upstream, status, readError(JSON.stringify(body), status));
	expect(failure.kind).toBe(kind);
	expect(failure.message).toContain(words);
});

const FAILURE: Failure = { kind: "unsupported", message: "its words" };
const TARGET = { model: "m", provider: { name: "p", keySetting: "providers.p.api_key" } };

test("what an upstream can't do keeps its words, type, param and code, as a caller's fault does", () => {
	const error = errorOf({ ...FAILURE, status: 422, type: "t", param: "p", code: "c" }, TARGET);
	expect([error.status, error.errorCode, error.body.error]).toEqual([
		422,
		"unsupported_parameter",
		{ message: "its words", type: "t", param: "p", code: "c" },
	]);
	expect(errorOf(FAILURE, TARGET).body.error.code).toBe("unsupported_parameter");
});
