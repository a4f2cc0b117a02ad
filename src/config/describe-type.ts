/** Types of settings in words, and their values read from text: for messages, the example file, variables and flags. */
import type { TSchema } from "@sinclair/typebox";
import { isRecord } from "./document.ts";

/** `a whole number from 0 to 65535`, `one of order, balanced`: what a value of this schema must be. */
export function expectation(schema: TSchema): string {
	if (typeof schema["expects"] === "string") return schema["expects"];
	if (schema["unit"] === "ms") return "a duration such as 10m (units ms, s, m, h, d)";
	if (schema["unit"] === "bytes") return "a size such as 32MB (units B, KB, MB, GB, KiB, MiB, GiB)";
	if (schema["unit"] === "share") return "a share such as 10%, from 0% to 100%";
	if (typeof schema["const"] === "string") return schema["const"];
	const literals = literalsOf(schema);
	if (literals) return `one of ${literals.join(", ")}`;
	if (schema.anyOf) return schema.anyOf.map(expectation).join(" or ");
	switch (schema.type) {
		case "integer":
			return `a whole number${range(schema["minimum"], schema["maximum"])}`;
		case "number":
			return `a number${range(schema["minimum"], schema["maximum"])}`;
		case "boolean":
			return "true or false";
		case "array":
			return schema["minItems"] ? "a list with at least one entry" : "a list";
		case "object":
			return "a mapping (name: value)";
		default:
			return `text${lengths(schema["minLength"], schema["maxLength"])}`;
	}
}

/**
 * The form of a list or a mapping, with `…` for its values: `keys: [{ name: …, key: … }]`, `server: { host: … }`.
 * Undefined where the schema wants neither.
 * @param name the setting's; none for an entry of a list
 */
export function howToWrite(schema: TSchema, name?: string): string | undefined {
	if (schema.type !== "array" && schema.type !== "object") return undefined;
	return name === undefined ? sketch(schema) : `${name}: ${sketch(schema)}`;
}

function sketch(schema: TSchema): string {
	if (schema.type === "array") return `[${sketch(schema["items"])}]`;
	if (schema.type !== "object") return "…";
	const [named] = Object.values<TSchema>(schema["patternProperties"] ?? {});
	if (named) return `{ NAME: ${sketch(named)} }`;
	const properties: Record<string, TSchema> = schema["properties"] ?? {};
	const needed = Object.keys(properties).filter(
		(field) => schema["required"]?.includes(field) && properties[field]?.default === undefined,
	);
	const shown = needed.length > 0 ? needed : Object.keys(properties).slice(0, 1);
	return `{ ${shown.map((field) => `${field}: ${sketch(properties[field]!)}`).join(", ")} }`;
}

/** The type of a wrong value, for a message that must not quote it: it may be a secret. */
export function typeName(value: unknown): string {
	if (value === null) return "nothing";
	if (Array.isArray(value)) return "a list";
	if (isRecord(value)) return "a mapping";
	if (typeof value === "number") {
		if (!Number.isFinite(value)) return "no finite number";
		return Number.isInteger(value) ? "a number" : "a number with a fraction";
	}
	if (typeof value === "boolean") return "true or false";
	return "text";
}

/**
 * The value that a variable, a flag or a `${NAME}` gives to a setting of this schema. Text that is no such value is returned as it
 * is: validation then reports it.
 */
export function fromText(schema: TSchema, text: string): unknown {
	switch (schema.type) {
		case "integer":
			return /^\d{1,15}$/.test(text) ? Number(text) : text;
		case "number":
			return /^\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text;
		case "boolean":
			if (/^(true|yes|on|1)$/i.test(text)) return true;
			return /^(false|no|off|0)$/i.test(text) ? false : text;
		case "array":
			return list(text);
		default:
			return fromBranch(schema, text);
	}
}

/** The value by one branch of a union. */
function fromBranch(schema: TSchema, text: string): unknown {
	const branches: readonly TSchema[] = schema.anyOf ?? [];
	// LOG_LEVEL=INFO is common in other programs.
	const literal = branches.find((branch) => branch["const"] === text.toLowerCase());
	if (literal) return literal["const"];
	return branches.map((branch) => fromText(branch, text)).find((value) => value !== text) ?? text;
}

/** `a, b,,c` → `["a", "b", "c"]`. */
export function list(text: string): string[] {
	return text
		.split(",")
		.map((entry) => entry.trim())
		.filter((entry) => entry !== "");
}

/** The texts a union of literals allows; undefined for any other schema. */
function literalsOf(schema: TSchema): string[] | undefined {
	const literals: unknown[] | undefined = schema.anyOf?.map((branch: TSchema) => branch["const"]);
	return literals?.every((literal) => typeof literal === "string") ? literals : undefined;
}

function range(minimum: number | undefined, maximum: number | undefined): string {
	if (minimum === undefined) return maximum === undefined ? "" : ` up to ${maximum}`;
	return maximum === undefined ? `, at least ${minimum}` : ` from ${minimum} to ${maximum}`;
}

function lengths(minimum: number | undefined, maximum: number | undefined): string {
	if (minimum !== undefined && minimum > 1) return `, at least ${minimum} characters`;
	return maximum === undefined ? "" : `, at most ${maximum} characters`;
}
