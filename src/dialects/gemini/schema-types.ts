/** Google's schemas (OpenAPI 3.0, types in capitals) as JSON Schema. */
import { objectIn } from "../../openai/usage.ts";

/** Levels that are looked into: deeper ones stay as they are, and are refused by whoever counts them. */
const MOST_LEVELS = 100;
/** Texts that JSON Schema has as numbers. */
const COUNTS = new Set(["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"]);

/** The schema. One that is JSON Schema already stays what it is. */
export function toJsonSchema(sent: unknown, levels = 0): unknown {
	const schema = objectIn(sent);
	if (!schema || levels > MOST_LEVELS) return sent;
	const made: Record<string, unknown> = {};
	for (const [name, value] of Object.entries(schema)) {
		if (name === "nullable" || name === "propertyOrdering" || name === "property_ordering" || value == null) continue;
		if (name === "type") made["type"] = typeof value === "string" ? value.toLowerCase() : value;
		else if (name === "properties") made["properties"] = ofProperties(value, levels);
		else if (name === "anyOf" || name === "any_of") made["anyOf"] = ofAll(value, levels);
		else if (name === "items" || name === "additionalProperties") made[name] = toJsonSchema(value, levels + 1);
		// An enumeration of texts is one without being called so.
		else if (name === "format" && value === "enum") continue;
		else if (COUNTS.has(name) && typeof value === "string") made[name] = Number(value);
		else made[name] = value;
	}
	// Nobody says what it is.
	if (made["type"] === "type_unspecified") delete made["type"];
	return schema["nullable"] === true ? orNull(made) : made;
}

function ofProperties(sent: unknown, levels: number): unknown {
	const properties = objectIn(sent);
	if (!properties) return sent;
	return Object.fromEntries(
		Object.entries(properties).map(([name, schema]) => [name, toJsonSchema(schema, levels + 1)]),
	);
}

const ofAll = (sent: unknown, levels: number): unknown =>
	Array.isArray(sent) ? sent.map((schema) => toJsonSchema(schema, levels + 1)) : sent;

function orNull(schema: Record<string, unknown>): unknown {
	const { type, enum: words } = schema;
	if (typeof type !== "string") return { anyOf: [schema, { type: "null" }] };
	return { ...schema, type: [type, "null"], ...(Array.isArray(words) ? { enum: [...words, null] } : {}) };
}
