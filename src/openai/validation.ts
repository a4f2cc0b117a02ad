/** What is wrong with a request: its bytes, and TypeBox's findings in words a caller can act on. Values are never quoted: they may be a prompt. */
import { isUtf8 } from "node:buffer";
import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { RouterError } from "../errors.ts";
import { shortText } from "../short-text.ts";

/**
 * A body as text. Throws `invalid_json` where it is no UTF-8: to replace bytes would send on something else than what came in.
 * @param start where it begins, behind text
 */
export function utf8Text(body: Buffer, start = 0): string {
	if (!isUtf8(body)) throw new RouterError("invalid_json", "The body is no valid UTF-8.");
	return body.toString("utf8", start);
}

/** JSON pointer `/messages/0/role` → `messages[0].role`. */
export function pathOf(pointer: string): string {
	return pointer
		.split("/")
		.slice(1)
		.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
		.reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`), "");
}

/** Of a text at fault, characters. */
const MOST_QUOTED = 60;
const BELOW = new Set([ValueErrorType.IntegerMinimum, ValueErrorType.NumberMinimum]);
const ABOVE = new Set([ValueErrorType.IntegerMaximum, ValueErrorType.NumberMaximum]);

/**
 * What is wrong, in one sentence, and the path of the field at fault.
 * @param isQuoted a text at fault is shown: no prompt and no secret can stand there
 */
export function describe(error: ValueError, isQuoted = false): { param: string; message: string } {
	const deepest = furthest(error);
	const param = pathOf(deepest.path);
	if (deepest.type === ValueErrorType.ObjectRequiredProperty) {
		return { param, message: `The field "${param}" is missing.` };
	}
	if (deepest.type === ValueErrorType.ObjectAdditionalProperties) {
		return { param, message: `There is no field "${param.slice(0, 100)}" here.` };
	}
	const { minimum, maximum } = deepest.schema;
	if (BELOW.has(deepest.type)) return { param, message: `The field "${param}" must be ${minimum} or more.` };
	if (ABOVE.has(deepest.type)) return { param, message: `The field "${param}" must be ${maximum} or less.` };
	const least = boundOf(deepest.schema, "minimum");
	if (least !== undefined && typeof deepest.value === "number" && deepest.value < least) {
		return { param, message: `The field "${param}" must be ${least} or more.` };
	}
	const most = boundOf(deepest.schema, "maximum");
	// JSON.parse makes Infinity of 1e400, which the sentence below names.
	const isAbove = most !== undefined && Number.isInteger(deepest.value) && (deepest.value as number) > most;
	if (isAbove) return { param, message: `The field "${param}" must be ${most} or less.` };
	const { value } = deepest;
	const given = isQuoted && typeof value === "string" ? JSON.stringify(shortText(value, MOST_QUOTED)) : kindOf(deepest);
	const message = `The field "${param}" must be ${expectation(deepest.schema)}; it is ${given}.`;
	return { param, message };
}

/** The least or most that a number may be, also where null is another way. */
function boundOf(schema: TSchema, which: "minimum" | "maximum"): number | undefined {
	const options: TSchema[] = Array.isArray(schema["anyOf"]) ? schema["anyOf"] : [];
	return options.find((option) => option[which] !== undefined)?.[which];
}

/** In a union, the branch that got furthest into the value says most. */
export function furthest(error: ValueError): ValueError {
	let best = error;
	for (const branch of error.errors) {
		for (const inner of branch) {
			const candidate = furthest(inner);
			if (candidate.path.length > best.path.length) best = candidate;
		}
	}
	return best;
}

function expectation(schema: TSchema): string {
	if (typeof schema["expects"] === "string") return schema["expects"];
	if (Array.isArray(schema["anyOf"])) {
		const options = schema["anyOf"].filter((option: TSchema) => option["type"] !== "null");
		return [...new Set(options.map((option: TSchema) => expectation(option)))].join(" or ");
	}
	if (schema["const"] !== undefined) return JSON.stringify(schema["const"]);
	switch (schema["type"]) {
		case "string":
			if (schema["maxLength"]) return `a string of ${schema["minLength"] ?? 0} to ${schema["maxLength"]} characters`;
			return schema["minLength"] ? "a non-empty string" : "a string";
		case "array":
			return schema["minItems"] ? "a non-empty array" : "an array";
		case "integer":
			return "an integer";
		case "object":
			return "an object";
		case "null":
			return "null";
		case "boolean":
			return "true or false";
		default:
			return `a ${schema["type"] ?? "different value"}`;
	}
}

function kindOf({ value, type }: ValueError): string {
	if (value === null) return "null";
	if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
	if (value === "") return "an empty string";
	if (type === ValueErrorType.StringMaxLength) return `a string of ${String(value).length}`;
	if (typeof value === "number") {
		// JSON.parse makes Infinity of 1e400.
		if (!Number.isFinite(value)) return "a number too large to hold";
		return Number.isInteger(value) ? "a number" : "a number with a fraction";
	}
	return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
