/**
 * JSON schemas in the subset that Anthropic's structured outputs take. What only restricts a value (lengths, ranges, patterns)
 * goes into the description, as Anthropic's own SDK does it: the model reads it, the grammar does not hold it. What would
 * make another shape of answer (free-form objects, schemas that take anything) is refused by name.
 */
import { unsupported } from "../../openai/chat.ts";

/** A schema, or part of one. */
export type Json = Record<string, unknown>;
/** Whether it is an object. */
export const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);

const FORMATS = new Set(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]);
/** Words whose value is a list of schemas. */
export const BRANCHES = ["anyOf", "oneOf", "allOf"] as const;
/** Words that change which shapes are taken, in ways the subset can't say. */
const SHAPING = [
	"patternProperties",
	"not",
	"if",
	"dependentSchemas",
	"prefixItems",
	"contains",
	"$dynamicRef",
] as const;

/** Words that give a shape: two of them at one path would have to be one shape, and each object here is closed. */
const SHAPES = [...BRANCHES, "properties", "items", "enum", "const"] as const;

/** Schemas in one: one that allows several types is said once a type, and all inside it with it. */
const MOST_SCHEMAS = 10_000;
interface SchemasLeft {
	schemas: number;
}

/**
 * The schema in the subset. `path` is where it stands in the request, `left` how many more schemas may come. Throws
 * `unsupported_parameter` naming what it can't say.
 */
export function strictSchema(schema: unknown, path: string, left: SchemasLeft = { schemas: MOST_SCHEMAS }): Json {
	if (!isObject(schema)) throw unsupported(path, "a schema here must be an object");
	if (--left.schemas < 0)
		throw unsupported(path, "with what allows several types written out, the schema is too large");
	const { $defs, definitions, ...own } = schema;
	const defs = { ...(isObject(definitions) ? definitions : {}), ...(isObject($defs) ? $defs : {}) };
	const result: Json = {};
	if (Object.keys(defs).length > 0) {
		result["$defs"] = mapped(defs, (inner, name) => strictSchema(inner, `${path}.$defs.${name}`, left));
	}
	if (typeof own["$ref"] === "string") {
		result["$ref"] = own["$ref"].replace(/^#\/definitions\//, "#/$defs/");
		return result;
	}
	for (const word of SHAPING) {
		if (own[word] !== undefined) throw unsupported(`${path}.${word}`, "structured outputs have no such rule");
	}
	return Object.assign(result, described(own, shapeOf(own, path, left)));
}

/** The part of a schema that the grammar holds. */
function shapeOf(schema: Json, path: string, left: SchemasLeft): Json {
	const { type } = schema;
	if (Array.isArray(type) && type.some((one) => one === "object" || one === "array")) {
		const { description, title, ...rest } = schema;
		return {
			anyOf: [...new Set(type)].map((one) => strictSchema({ ...only(rest, String(one)), type: one }, path, left)),
		};
	}
	const branch = BRANCHES.find((word) => Array.isArray(schema[word]));
	if (branch) {
		const beside = SHAPES.find((word) => word !== branch && schema[word] !== undefined && !isEmpty(schema[word]));
		if (beside) throw unsupported(`${path}.${beside}`, `structured outputs take none beside ${branch}`);
		const inner = (schema[branch] as unknown[]).map((each, index) =>
			strictSchema(each, `${path}.${branch}[${index}]`, left),
		);
		return { [branch === "oneOf" ? "anyOf" : branch]: inner };
	}
	const literals: Json = {};
	if (Array.isArray(schema["enum"])) literals["enum"] = schema["enum"];
	if (schema["const"] !== undefined) literals["const"] = schema["const"];
	if (Object.keys(literals).length > 0) return literals;
	if (type === "object") return objectShape(schema, path, left);
	if (type === "array") return arrayShape(schema, path, left);
	if (type === undefined)
		throw unsupported(path, "a schema without a type takes anything, which structured outputs can't");
	const { format } = schema;
	return typeof format === "string" && type === "string" && FORMATS.has(format) ? { type, format } : { type };
}

const isEmpty = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0;

function objectShape(schema: Json, path: string, left: SchemasLeft): Json {
	const { properties, required, additionalProperties } = schema;
	if (isObject(additionalProperties) || additionalProperties === true) {
		throw unsupported(`${path}.additionalProperties`, "structured outputs name every field");
	}
	if (!isObject(properties) && additionalProperties !== false) {
		throw unsupported(path, "structured outputs name every field of an object, and this one names none");
	}
	const inner = isObject(properties) ? properties : {};
	return {
		type: "object",
		properties: mapped(inner, (each, name) => strictSchema(each, `${path}.properties.${name}`, left)),
		...(required === undefined ? {} : { required }),
		additionalProperties: false,
	};
}

function arrayShape({ items, minItems }: Json, path: string, left: SchemasLeft): Json {
	return {
		type: "array",
		...(items === undefined ? {} : { items: strictSchema(items, `${path}.items`, left) }),
		...(minItems === 0 || minItems === 1 ? { minItems } : {}),
	};
}

/** Says nothing of an answer's shape. */
const SILENT = new Set(["$schema", "$id", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"]);

/** `shape` with the title and description of `schema`, and all that only restricts a value as part of the latter. */
function described(schema: Json, shape: Json): Json {
	const rules = Object.entries(schema).filter(
		([word, value]) =>
			!(word in shape) &&
			!SILENT.has(word) &&
			!isEmpty(value) &&
			!["type", "title", "description", "oneOf"].includes(word),
	);
	const isSaid = !("anyOf" in shape && Array.isArray(schema["type"]));
	const words =
		isSaid && rules.length > 0
			? `{${rules.map(([word, value]) => `${word}: ${JSON.stringify(value)}`).join(", ")}}`
			: "";
	const description = [schema["description"], words]
		.filter((text) => typeof text === "string" && text !== "")
		.join("\n\n");
	return {
		...shape,
		...(schema["title"] === undefined ? {} : { title: schema["title"] }),
		...(description === "" ? {} : { description }),
	};
}

/** The words that concern values of one type, for a schema that allows several. */
function only(schema: Json, type: string): Json {
	const words: Record<string, readonly string[]> = {
		object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
		array: ["items", "minItems", "maxItems", "uniqueItems"],
		string: ["format", "pattern", "minLength", "maxLength"],
	};
	const others = new Set(Object.keys(words).flatMap((each) => (each === type ? [] : (words[each] ?? []))));
	return Object.fromEntries(Object.entries(schema).filter(([word]) => !others.has(word)));
}

function mapped(object: Json, map: (value: unknown, key: string) => Json): Json {
	return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
}
