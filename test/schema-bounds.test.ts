/** Schemas that lead into themselves, or multiply: a client's schema costs a bounded time, and ends in an answer or a refusal. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { encoded } from "../src/openai/chat.ts";
import { inputSchema } from "../src/providers/anthropic/input-schema.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { strictSchema } from "../src/providers/anthropic/tool-schema.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";
import { conforms } from "../src/providers/schema-check.ts";
import type { Json } from "./kit/exchange.ts";
import { claudeReply } from "./kit/sample-replies.ts";

const LOOPS: readonly (readonly [string, Json])[] = [
	["a reference to itself", { $ref: "#" }],
	["alternatives that are itself", { anyOf: [{ $ref: "#" }, { $ref: "#" }] }],
	[
		"two that refer to each other",
		{ $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" },
	],
	["a field that is itself", { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }],
	["items that are itself", { type: "array", items: { $ref: "#" } }],
	["a reference to nothing", { $ref: "#/$defs/none" }],
	["all of itself, and not itself", { allOf: [{ $ref: "#" }], not: { $ref: "#" } }],
	// biome-ignore lint/suspicious/noThenProperty: a word of JSON Schema
	["a condition on itself", { if: { $ref: "#" }, then: { $ref: "#" }, else: { $ref: "#" } }],
	["a field by any name that is itself", { type: "object", additionalProperties: { $ref: "#" } }],
];

const tool = (parameters: Json, strict = false) => ({
	type: "function",
	function: { name: "look", parameters, strict },
});
const messages = [{ role: "user", content: [{ type: "text", text: "Hi" }] }];
const form = (schema: Json) => ({ type: "json_schema", json_schema: { name: "x", schema } });
const calls = (schema: Json): readonly (readonly [string, Json])[] => [
	["a tool's", { messages, tools: [tool(schema)] }],
	["a strict tool's", { messages, tools: [tool(schema, true)] }],
	["an answer's", { messages, response_format: form(schema) }],
	["an answer's, beside tools", { messages, tools: [tool({})], response_format: form(schema) }],
];
const claude = (model: string, body: Json) => encoded(() => messagesRequest(body as never, model, false, NO_INPUTS));
const gemini = (model: string, body: Json) =>
	encoded(() => generateRequest(body as never, model, "https://g", NO_INPUTS));
const ENCODERS: readonly (readonly [string, (body: Json) => unknown])[] = [
	["Claude", (body) => claude("claude-sonnet-4-5", body)],
	["an older Claude", (body) => claude("claude-3-5-sonnet-20241022", body)],
	["Gemini", (body) => gemini("gemini-3-flash-preview", body)],
	["an older Gemini", (body) => gemini("gemini-2.5-flash", body)],
];

/** The code of the refusal; undefined where there is none. Throws whatever is no refusal. */
function refusal(encode: () => unknown): string | undefined {
	try {
		encode();
		return undefined;
	} catch (thrown) {
		if (!(thrown instanceof RouterError)) throw thrown;
		return thrown.errorCode;
	}
}

describe.each(LOOPS)("%s", (_, schema) => {
	test.each(ENCODERS)("goes on, or is refused, at %s", (__, encode) => {
		for (const [, body] of calls(schema)) {
			const code = refusal(() => encode(body));
			if (code !== undefined) expect(["unsupported_parameter", "invalid_value"]).toContain(code);
		}
	});

	test("holds an answer or does not", () => {
		for (const value of [null, 1, "a", [[[]]], { a: { a: { a: {} } } }]) {
			expect(typeof conforms(value, schema)).toBe("boolean");
		}
	});

	test("is answered by the tests' own model", () => {
		const [block] = claudeReply({ messages, output_config: { format: { schema } } });
		expect(block!["type"]).toBe("text");
	});
});

describe("a schema that multiplies is refused by name", () => {
	const nested = (levels: number, around: (inner: Json) => Json): Json => {
		let schema: Json = { type: "string" };
		for (let level = 0; level < levels; level++) schema = around(schema);
		return schema;
	};

	test("where types stand beside alternatives, level by level", () => {
		const schema = nested(22, (inner) => ({ type: ["object", "array"], anyOf: [inner] }));
		expect(refusal(() => strictSchema(schema, "x"))).toBe("unsupported_parameter");
	});

	test("but not where one type is only said again and again", () => {
		const schema = nested(22, (a) => ({ type: ["object", "object"], properties: { a }, additionalProperties: false }));
		expect(refusal(() => strictSchema(schema, "x"))).toBeUndefined();
	});

	test("where alternatives are made of what others were made of", () => {
		const $defs: Json = { d0: { type: "object", properties: { a: { const: 0 } } } };
		const either = (level: number, only: number) => ({
			allOf: [{ $ref: `#/$defs/d${level}` }, { type: "object", properties: { a: { const: only } } }],
		});
		for (let level = 0; level < 22; level++) $defs[`d${level + 1}`] = { anyOf: [either(level, 1), either(level, 2)] };
		const parameters = { $defs, anyOf: [{ $ref: "#/$defs/d22" }] };
		expect(refusal(() => inputSchema(parameters, "x"))).toBe("unsupported_parameter");
	});

	test("where many alternatives lead to many fields", () => {
		const properties = Object.fromEntries(Array.from({ length: 4_000 }, (_, at) => [`f${at}`, {}]));
		const anyOf = Array.from({ length: 4_000 }, () => ({ anyOf: [{ $ref: "#/$defs/a" }] }));
		const parameters = { $defs: { a: { type: "object", properties } }, anyOf };
		expect(refusal(() => inputSchema(parameters, "x"))).toBe("unsupported_parameter");
	});
});

describe("an answer is taken to conform once it was looked at for long", () => {
	const twice = [{ $ref: "#" }, { $ref: "#" }];

	test("at lists of allowed values", () => {
		const values = Array.from({ length: 50_000 }, (_, at) => `value ${at}`);
		expect(conforms("value 49999", { enum: values, allOf: twice })).toBe(true);
	});

	test("at long texts and lists", () => {
		expect(conforms("a".repeat(1_000_000), { maxLength: 1_000_001, allOf: twice })).toBe(true);
		expect(
			conforms(
				Array.from({ length: 20_000 }, (_, at) => at),
				{ uniqueItems: true, allOf: twice },
			),
		).toBe(true);
		expect(conforms(Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [at, at])), { allOf: twice })).toBe(
			true,
		);
	});

	test("at references that are long themselves", () => {
		const $ref = `#${"/allOf".repeat(100_000)}`;
		expect(conforms(1, { allOf: Array.from({ length: 20_000 }, () => ({ $ref })) })).toBe(true);
	});
});
