/**
 * JSON schemas as `parametersJsonSchema` and `responseJsonSchema` take them (ai.google.dev, GenerationConfig): words that are a 400 there, or that
 * the model would pass over, are put in others that mean the same. What only restricts values (lengths, patterns) is the vendor's to read.
 */

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);

/** Words that need others; most schemas have none, and are not looked through. */
const REWRITTEN = /"(?:\$ref|const|allOf|definitions)"/;
/** Words whose value is a schema, a list of them, and an object of them by name. */
const INNER = ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"];
const LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];
const MAPS = ["properties", "$defs", "patternProperties", "dependentSchemas"];

/** The schema in words that are taken. */
export function allowedSchema(schema: Json): Json {
	return REWRITTEN.test(JSON.stringify(schema)) ? (rewritten(schema) as Json) : schema;
}

/** The JSON of a function's parameters, which must be an object's schema by their own word: one that has branches only is a 400. */
export function parametersText(parameters: Json): string {
	const { type } = parameters;
	const isOpen = parameters["$ref"] === undefined && (type === undefined || isMaybeObject(type));
	const schema = isOpen ? { ...parameters, type: "object" } : parameters;
	const text = JSON.stringify(schema);
	return REWRITTEN.test(text) ? JSON.stringify(rewritten(schema)) : text;
}

const isMaybeObject = (type: unknown): boolean => Array.isArray(type) && type.includes("object");

function rewritten(schema: unknown): unknown {
	if (!isObject(schema)) return schema;
	const { definitions, $ref, const: only, allOf, ...result } = schema;
	if (isObject(definitions)) {
		result["$defs"] = { ...definitions, ...(isObject(result["$defs"]) ? result["$defs"] : {}) };
	}
	if (only !== undefined) Object.assign(result, isEnumerable(only) ? { enum: [only] } : { const: only });
	// One branch alone means the same in either word.
	const isOneOf = Array.isArray(allOf) && allOf.length === 1 && result["anyOf"] === undefined;
	if (allOf !== undefined) result[isOneOf ? "anyOf" : "allOf"] = allOf;
	if (typeof $ref === "string") {
		const reference = $ref.replace(/^#\/definitions\//, "#/$defs/");
		// Beside a reference nothing else may stand.
		const isAlone = Object.keys(result).every((word) => word.startsWith("$")) || result["anyOf"] !== undefined;
		if (isAlone) result["$ref"] = reference;
		else result["anyOf"] = [{ $ref: reference }];
	}
	for (const word of INNER) if (word in result) result[word] = rewritten(result[word]);
	for (const word of LISTS) {
		const list = result[word];
		if (Array.isArray(list)) result[word] = list.map(rewritten);
	}
	for (const word of MAPS) {
		const map = result[word];
		if (isObject(map)) {
			result[word] = Object.fromEntries(Object.entries(map).map(([name, inner]) => [name, rewritten(inner)]));
		}
	}
	return result;
}

const isEnumerable = (value: unknown): boolean => typeof value === "string" || typeof value === "number";
