/** JSON schemas in the subset of Anthropic's structured outputs: the same shapes, or a refusal that names the place. */
import { expect, test } from "bun:test";
import Ajv from "ajv";
import { strictSchema } from "../src/providers/anthropic/tool-schema.ts";
import type { Json } from "./kit/exchange.ts";

const object = (properties: Json, more: Json = {}) => ({
	type: "object",
	properties,
	additionalProperties: false,
	...more,
});

test.each([
	["an object is closed", { type: "object", properties: { a: { type: "string" } } }, object({ a: { type: "string" } })],
	[
		"required and titles stay",
		object({ a: { type: "integer", title: "A" } }, { required: ["a"], title: "T", description: "D" }),
		object({ a: { type: "integer", title: "A" } }, { required: ["a"], title: "T", description: "D" }),
	],
	[
		"what only restricts goes into the description",
		{ type: "string", description: "A name.", minLength: 2, pattern: "^a" },
		{ type: "string", description: 'A name.\n\n{minLength: 2, pattern: "^a"}' },
	],
	[
		"known formats stay, others are described",
		{ type: "string", format: "email" },
		{ type: "string", format: "email" },
	],
	["other formats", { type: "string", format: "iban" }, { type: "string", description: '{format: "iban"}' }],
	["numbers", { type: "number", minimum: 0 }, { type: "number", description: "{minimum: 0}" }],
	[
		"arrays",
		{ type: "array", items: { type: "string" }, minItems: 1 },
		{ type: "array", items: { type: "string" }, minItems: 1 },
	],
	[
		"arrays of more",
		{ type: "array", items: { type: "string" }, minItems: 2, maxItems: 3 },
		{ type: "array", items: { type: "string" }, description: "{minItems: 2, maxItems: 3}" },
	],
	["enums", { type: "string", enum: ["a", "b"] }, { enum: ["a", "b"] }],
	["constants", { const: 7 }, { const: 7 }],
	["oneOf", { oneOf: [{ type: "string" }, { type: "null" }] }, { anyOf: [{ type: "string" }, { type: "null" }] }],
	["allOf", { allOf: [object({})] }, { allOf: [object({})] }],
	["several plain types", { type: ["string", "null"] }, { type: ["string", "null"] }],
	[
		"several types, one of them an object",
		{ type: ["object", "null"], properties: { a: { type: "string" } }, description: "D" },
		{ anyOf: [object({ a: { type: "string" } }), { type: "null" }], description: "D" },
	],
	[
		"definitions, by either name",
		{
			definitions: { X: { type: "object", properties: {} } },
			type: "object",
			properties: { x: { $ref: "#/definitions/X" } },
		},
		{ $defs: { X: object({}) }, ...object({ x: { $ref: "#/$defs/X" } }) },
	],
	[
		"a reference at the top",
		{ $ref: "#/$defs/X", $defs: { X: object({}) } },
		{ $ref: "#/$defs/X", $defs: { X: object({}) } },
	],
	[
		"what says nothing of the shape goes",
		{ $schema: "http://json-schema.org/draft-07/schema#", type: "string", default: "x", examples: ["y"] },
		{ type: "string" },
	],
	[
		"a branch of an object without fields of its own",
		{ type: "object", properties: {}, anyOf: [object({})] },
		{ anyOf: [object({})] },
	],
	["an object of nothing", { type: "object", additionalProperties: false }, object({})],
] as const)("%s", (_, schema, wanted) => {
	const made = strictSchema(schema, "schema");
	expect(made).toEqual(wanted as Json);
	// A schema for its own keywords is one for everybody's.
	expect(() => new Ajv({ strict: false, logger: false }).compile(made)).not.toThrow();
});

test.each([
	["a free-form object", { type: "object" }, "schema"],
	[
		"a map",
		object({ m: { type: "object", additionalProperties: { type: "string" } } }),
		"schema.properties.m.additionalProperties",
	],
	["an open object", { type: "object", properties: {}, additionalProperties: true }, "schema.additionalProperties"],
	["anything", object({ a: {} }), "schema.properties.a"],
	["anything in a list", { type: "array", items: {} }, "schema.items"],
	["true", object({ a: true }), "schema.properties.a"],
	["patterns of names", { type: "object", properties: {}, patternProperties: {} }, "schema.patternProperties"],
	["not", { type: "string", not: { const: "a" } }, "schema.not"],
	["if", { type: "object", properties: {}, if: {} }, "schema.if"],
	["tuples", { type: "array", prefixItems: [] }, "schema.prefixItems"],
	["a branch that is no shape", { anyOf: [{ type: "string" }, { required: ["a"] }] }, "schema.anyOf[1]"],
	[
		"fields beside a branch, which its closed objects could never have",
		object(
			{ a: { type: "string" } },
			{ anyOf: [object({ b: { type: "string" } }), object({ c: { type: "string" } })] },
		),
		"schema.properties",
	],
	["one branch beside another", { anyOf: [object({})], allOf: [object({})] }, "schema.allOf"],
	["choices beside a branch", { anyOf: [{ type: "string" }], enum: ["a"] }, "schema.enum"],
	["a definition that is none", { $defs: { X: {} }, type: "string" }, "schema.$defs.X"],
] as const)("%s is refused by its place", (_, schema, place) => {
	expect(() => strictSchema(schema, "schema")).toThrow(`"${place}"`);
});
