/**
 * Which values the words of a JSON schema have (json-schema.org, 2020-12 and the drafts before it). Whoever reads a schema to put it in
 * other words reads lists as lists: a word of another shape would be passed over, or be the vendor's 400 about its own words.
 */
import { RouterError } from "../errors.ts";

type Shape = "schema" | "schemas" | "schemas by name" | "names" | "values" | "type" | "text";

/** Words that are not here, and words of older drafts, are the vendor's to judge. */
const WORDS = new Map<string, Shape>([
	...["additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"].map((word): [string, Shape] => [
		word,
		"schema",
	]),
	...["anyOf", "oneOf", "allOf", "prefixItems"].map((word): [string, Shape] => [word, "schemas"]),
	...["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"].map((word): [string, Shape] => [
		word,
		"schemas by name",
	]),
	["items", "schema"],
	["required", "names"],
	["enum", "values"],
	["type", "type"],
	["$ref", "text"],
]);

/** Throws `invalid_value` naming the word whose value is of another shape. @param path where the schema stands in the request */
export function checkSchema(schema: object, path: string): void {
	for (const word in schema) {
		const shape = WORDS.get(word);
		if (shape === undefined) continue;
		const value = (schema as Record<string, unknown>)[word];
		// Said, and nothing said with it.
		if (value != null) checkWord(word, shape, value, `${path}.${word}`);
	}
}

function checkWord(word: string, shape: Shape, value: unknown, path: string): void {
	switch (shape) {
		case "schema":
			// Before 2020-12 `items` could be a list.
			if (word === "items" && Array.isArray(value)) checkAll(value, path);
			else checkInner(value, path);
			return;
		case "schemas":
			if (!Array.isArray(value)) throw wrong(path, "must be a list of schemas");
			checkAll(value, path);
			return;
		case "schemas by name":
			if (typeof value !== "object" || Array.isArray(value)) throw wrong(path, "must be an object of schemas by name");
			for (const name in value) checkInner((value as Record<string, unknown>)[name], `${path}.${name}`);
			return;
		case "names":
			// Draft 3 said it of a field by itself.
			if (typeof value !== "boolean" && !areTexts(value)) throw wrong(path, "must be a list of names");
			return;
		case "values":
			if (!Array.isArray(value)) throw wrong(path, "must be a list of values");
			return;
		case "type":
			if (typeof value !== "string" && !areTexts(value))
				throw wrong(path, "must be the name of a type, or a list of them");
			return;
		default:
			if (typeof value !== "string") throw wrong(path, "must be a text");
	}
}

function checkAll(schemas: readonly unknown[], path: string): void {
	for (let index = 0; index < schemas.length; index++) checkInner(schemas[index], `${path}[${index}]`);
}

function checkInner(schema: unknown, path: string): void {
	if (typeof schema === "boolean") return;
	if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw wrong(path, "must be a schema");
	checkSchema(schema, path);
}

const areTexts = (value: unknown): boolean => Array.isArray(value) && value.every((each) => typeof each === "string");

const wrong = (param: string, why: string): RouterError =>
	new RouterError("invalid_value", `The field "${param}" ${why}.`, { param });
