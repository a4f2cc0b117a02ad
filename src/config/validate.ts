/** Checking values against the schema, with messages that quote no value. */
import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { Value } from "@sinclair/typebox/value";
import { type Finding, type Path, pathText } from "./config-error.ts";
import { expectation, howToWrite, typeName } from "./describe-type.ts";
import { didYouMean, nearest } from "./did-you-mean.ts";
import { isRecord } from "./document.ts";
import { branchFor, EXTENSION, settings } from "./schema-walk.ts";

/** Everything in `values` that `schema` does not allow; one finding a setting. Quotes names, never values. */
export function validate(schema: TSchema, values: unknown): Finding[] {
	const findings = new Map<string, Finding>();
	collect(schema, schema, values, [], findings);
	return [...findings.values()];
}

function collect(root: TSchema, schema: TSchema, values: unknown, base: Path, findings: Map<string, Finding>): void {
	for (const error of Value.Errors(schema, values)) {
		const path = [...base, ...pathOf(error.path, values)];
		const branch = branchFor(error.schema, error.value);
		if (error.type === ValueErrorType.Union && branch !== error.schema) {
			collect(root, branch, error.value, path, findings);
			continue;
		}
		// TypeBox reports a missing setting twice, as missing and as no text.
		const key = pathText(path);
		if (!findings.has(key)) findings.set(key, finding(root, error, path));
	}
}

function finding(root: TSchema, error: ValueError, path: Path): Finding {
	switch (error.type) {
		case ValueErrorType.ObjectAdditionalProperties:
			return { path, of: "key", message: unknownSetting(root, error.schema, path) };
		case ValueErrorType.ObjectRequiredProperty:
			return { path, message: `is missing; it must be ${expectation(error.schema)}` };
		case ValueErrorType.StringMinLength:
			if (error.value === "") return { path, message: "is empty" };
			break;
		case ValueErrorType.StringPattern:
		case ValueErrorType.StringMaxLength:
		case ValueErrorType.IntegerMinimum:
		case ValueErrorType.IntegerMaximum:
		case ValueErrorType.NumberMinimum:
		case ValueErrorType.NumberMaximum:
		case ValueErrorType.ArrayMinItems:
			break;
		default:
			if (typeof error.value !== "string" || error.schema.type !== undefined) {
				return { path, message: wrongKind(error.schema, error.value, path) };
			}
	}
	return { path, message: `must be ${expectation(error.schema)}` };
}

function wrongKind(schema: TSchema, value: unknown, path: Path): string {
	const expected = expectation(schema);
	const isBare = typeof value === "number" || typeof value === "boolean";
	const hint = isBare && expected.startsWith("text") ? "; put it in quotes" : shapeHint(schema, value, path);
	return `must be ${expected}, but is ${typeName(value)}${hint}`;
}

/** The form of the list or mapping that the schema wants; where there is no value, also the form of an empty one. */
function shapeHint(schema: TSchema, value: unknown, path: Path): string {
	const name = path.at(-1);
	const written = howToWrite(schema, typeof name === "string" ? name : undefined);
	if (written === undefined) return "";
	const mayBeEmpty = schema["minItems"] === undefined && (schema["required"] ?? []).length === 0;
	const empty = schema.type === "array" ? "[]" : "{}";
	const none = value === null && typeof name === "string" && mayBeEmpty ? `, or \`${name}: ${empty}\` for none` : "";
	return `; write \`${written}\`${none}`;
}

function unknownSetting(root: TSchema, parent: TSchema, path: Path): string {
	const name = String(path.at(-1));
	if (!parent["properties"]) {
		const better = nearest(name, [name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-")])[0];
		const hint = better && better !== name ? `, such as "${better}"` : "";
		return `names here are of lower-case letters, digits, ".", "_" and "-"${hint}`;
	}
	if (name.startsWith(EXTENSION)) return "unknown setting; names with x- are left alone at the top of the file only";
	const known = Object.keys(parent["properties"]);
	const elsewhere = settings(root).find((setting) => setting.path.length > 1 && setting.path.at(-1) === name);
	const hint = didYouMean(name, known) ?? (elsewhere && `did you mean "${pathText(elsewhere.path)}"?`);
	return `unknown setting; ${hint ?? `known here: ${known.join(", ")}`}`;
}

/** TypeBox's JSON pointer as a path: digits count as an index only inside a list. */
function pathOf(pointer: string, values: unknown): Path {
	const path: (string | number)[] = [];
	let value = values;
	for (const escaped of pointer.split("/").slice(1)) {
		const name = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
		path.push(Array.isArray(value) ? Number(name) : name);
		value = Array.isArray(value) ? value[Number(name)] : isRecord(value) ? value[name] : undefined;
	}
	return path;
}
