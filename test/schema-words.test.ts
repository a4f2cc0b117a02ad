/** Schemas whose words have values of another shape: Claude and Gemini are not asked, the refusal names the word, and nothing is a 500. */
import { describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import { encoded } from "../src/openai/chat.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";
import type { Json } from "./kit/exchange.ts";
import { random } from "./kit/random.ts";

const encode = (model: string, body: Json) => {
	const parsed = parseRequest("chat", JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }], ...body }));
	const { value } = parsed.body();
	return encoded(() =>
		model.startsWith("claude")
			? messagesRequest(value, model, false, NO_INPUTS).body
			: generateRequest(value, model, "https://g/v1beta", NO_INPUTS),
	);
};
const tool = (parameters: Json, strict?: boolean) => ({
	tools: [{ type: "function", function: { name: "look", parameters, strict } }],
});
const form = (schema: Json) => ({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
const TOOL = "tools[0].function.parameters";
const FORMS: readonly (readonly [string, string, (schema: Json) => Json])[] = [
	["a tool's", TOOL, (schema) => tool(schema)],
	["a strict tool's", TOOL, (schema) => tool(schema, true)],
	["an answer's", "response_format.json_schema.schema", form],
];
const MODELS = ["claude-sonnet-4-5", "claude-opus-4-8", "gemini-2.5-flash", "gemini-3-flash-preview"];

const refusal = (model: string, body: Json): RouterError | undefined => {
	try {
		encode(model, body);
		return undefined;
	} catch (thrown) {
		if (!(thrown instanceof RouterError)) throw thrown;
		return thrown;
	}
};

/** A schema, where its fault is, and what it is told. */
const WRONG: readonly (readonly [Json, string, string])[] = [
	[{ anyOf: "x" }, "anyOf", "must be a list of schemas"],
	[{ oneOf: {} }, "oneOf", "must be a list of schemas"],
	[{ allOf: [1] }, "allOf[0]", "must be a schema"],
	[{ type: "object", properties: [] }, "properties", "must be an object of schemas by name"],
	[{ type: "object", properties: { city: "string" } }, "properties.city", "must be a schema"],
	[
		{ type: "object", properties: { city: { type: 5 } } },
		"properties.city.type",
		"must be the name of a type, or a list of them",
	],
	[{ type: "object", properties: {}, required: "a" }, "required", "must be a list of names"],
	[{ type: "object", properties: { a: { enum: {} } } }, "properties.a.enum", "must be a list of values"],
	[{ type: "object", properties: { a: { items: "string" } } }, "properties.a.items", "must be a schema"],
	[{ type: "object", properties: { a: { items: [{}, 7] } } }, "properties.a.items[1]", "must be a schema"],
	[{ type: "object", $defs: [] }, "$defs", "must be an object of schemas by name"],
	[{ type: "object", properties: { a: { $ref: 7 } } }, "properties.a.$ref", "must be a text"],
	[{ type: "object", additionalProperties: "no" }, "additionalProperties", "must be a schema"],
];

describe.each(MODELS)("%s", (model) => {
	test.each(WRONG)("%j is refused at %s", (schema, at, words) => {
		for (const [, path, body] of FORMS) {
			const error = refusal(model, body(schema))!;
			expect([error.status, error.errorCode, error.body.error.param]).toEqual([400, "invalid_value", `${path}.${at}`]);
			expect(error.message).toBe(`The field "${path}.${at}" ${words}.`);
		}
	});

	test.each([
		["parameters", { name: "look", parameters: "x" }, "must be an object; it is a string"],
		["name", { name: 5 }, "must be a string; it is a number"],
		["strict", { name: "look", strict: "yes" }, "must be true or false; it is a string"],
		["name", {}, "is missing"],
	])("a tool's wrong %s is told by its own words: %j", (field, fn, words) => {
		const error = refusal(model, { tools: [{ type: "function", function: fn }] })!;
		expect(error.message).toBe(`The field "tools[0].function.${field}" ${words}.`);
	});

	test.each([
		["nothing said", { type: "object", properties: { a: { type: "string", enum: null, anyOf: null } } }],
		[
			"fields that are called like words",
			{ type: "object", properties: { anyOf: { type: "string" }, required: { type: "integer" } } },
		],
		[
			"a field required by itself, as in draft 3",
			{ type: "object", properties: { a: { type: "string", required: true } } },
		],
		[
			"a list of items, as before 2020-12",
			{ type: "object", properties: { a: { type: "array", items: [{ type: "string" }] } } },
		],
		["schemas that are yes or no", { type: "object", properties: { a: true }, additionalProperties: false }],
	])("%s goes on", (_, schema) => {
		expect(refusal(model, tool(schema as Json))).toBeUndefined();
	});

	test("whatever words hold, it goes on or is refused by a name that the request has", () => {
		const WORDS = [
			"anyOf",
			"oneOf",
			"allOf",
			"properties",
			"required",
			"type",
			"enum",
			"const",
			"items",
			"$defs",
			"definitions",
		];
		const MORE = [
			"$ref",
			"not",
			"if",
			"prefixItems",
			"additionalProperties",
			"description",
			"title",
			"format",
			"minItems",
			"default",
		];
		const VALUES = [
			null,
			0,
			"",
			"x",
			"object",
			true,
			[],
			{},
			[null],
			["a"],
			[{}],
			{ a: null },
			{ a: {} },
			[[]],
			{ a: [] },
		];
		for (let seed = 0; seed < 1_500; seed++) {
			const rng = random(seed);
			const schema = (level: number): Json => {
				const made: Json = rng.below(2) === 0 ? { type: "object" } : {};
				for (let words = rng.below(4); words >= 0; words--) {
					const inner = level < 3 && rng.below(2) === 0 ? schema(level + 1) : undefined;
					const around = inner && rng.pick<unknown>([inner, [inner], { a: inner }]);
					made[rng.pick([...WORDS, ...MORE])] = around ?? rng.pick<unknown>(VALUES);
				}
				return made;
			};
			const error = refusal(model, rng.pick(FORMS)[2](schema(0)));
			if (error) expect([seed, error.status, typeof error.body.error.param]).toEqual([seed, 400, "string"]);
		}
	});
});
