/** Reads a request's JSON, whichever of Google's two spellings it has, and says what is wrong with it. */
import { RouterError } from "../../errors.ts";
import type { Field } from "../../openai/json.ts";
import { objectIn } from "../../openai/usage.ts";
import { describe } from "../../openai/validation.ts";
import { requestObject } from "../request-object.ts";
import { CHECKS } from "./request-schema.ts";

/** The refusal of a field. `path` as it stands in the request, `contents[0].parts[1]`. */
export function refusal(path: string, what: string): RouterError {
	return new RouterError("invalid_value", `The field "${path}" ${what}.`, { param: path });
}

/** A request, and where its top-level fields stand in its text, as its client has spelt them. */
export interface CheckedRequest<Request> {
	readonly request: Request;
	readonly fields: readonly Field[];
}

/**
 * The request, checked, with names as JavaScript writes them. Throws `invalid_json`, `duplicate_key`, `body_too_large` or `invalid_value`; messages
 * never quote the request.
 */
export function readRequest<Request>(text: string, kind: keyof typeof CHECKS): CheckedRequest<Request> {
	const { compiled: check } = CHECKS[kind];
	const { value, fields } = requestObject(text, { noObject: "The body must be a JSON object." });
	const request = normalized(value);
	if (check.Check(request)) return { request: request as Request, fields };
	const first = check.Errors(request).First();
	const { param, message } = first ? describe(first) : { param: undefined, message: "A field has a wrong type." };
	throw new RouterError("invalid_value", message, { param });
}

/** Fields whose values are the client's own, names in them too. */
const OWN = new Set(["args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "partMetadata"]);
/** Schemas: names of properties are the client's. */
const SCHEMAS = new Set(["parameters", "responseSchema"]);
/** Lists, of which Google takes one item without the brackets, too. */
const LISTS = new Set(["contents", "parts", "tools", "functionDeclarations", "requests", "safetySettings"]);

/** With names in camel case (Python's clients write `inline_data`), and lists as lists. Throws `duplicate_key` for one in both spellings: nobody knows which holds. */
export function normalized(value: unknown): unknown {
	if (Array.isArray(value)) return normalizedItems(value);
	const object = objectIn(value);
	if (!object || isRaw(object)) return value;
	// Nearly all are as they are to be, and are not copied.
	let made: Record<string, unknown> | undefined;
	for (const sent in object) {
		const name = sent.includes("_") ? camelCase(sent) : sent;
		if (name !== sent && Object.hasOwn(object, name)) {
			const param = sent.slice(0, 64);
			const message = `The field "${param}" stands twice, in two spellings; send it once.`;
			throw new RouterError("duplicate_key", message, { param });
		}
		const inner = object[sent];
		const read = OWN.has(name) || SCHEMAS.has(name) ? inner : normalized(inner);
		const listed = LISTS.has(name) && objectIn(read) ? [read] : read;
		if (!made && name === sent && listed === inner) continue;
		made ??= fieldsBefore(object, sent);
		made[name] = listed;
	}
	return made ?? object;
}

function normalizedItems(items: readonly unknown[]): readonly unknown[] {
	let made: unknown[] | undefined;
	for (const [at, item] of items.entries()) {
		const read = normalized(item);
		if (read === item) continue;
		made ??= [...items];
		made[at] = read;
	}
	return made ?? items;
}

/** A copy of the fields that stand before this one. */
function fieldsBefore(object: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
	const fields: Record<string, unknown> = {};
	for (const before in object) {
		if (before === name) break;
		fields[before] = object[before];
	}
	return fields;
}

/** A number as it was written. */
const isRaw = (value: object): boolean => "rawJSON" in value && Object.getPrototypeOf(value) === null;

const camelCase = (name: string): string => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
