/**
 * The schemas of tools that are not strict. The API takes all of JSON Schema but `anyOf`, `oneOf` and `allOf` at the top
 * ("input_schema does not support oneOf, allOf, or anyOf at the top level"): their fields are put together there, and which of them
 * go together is said in the description, which the model reads.
 */
import { unsupported } from "../../openai/chat.ts";
import { BRANCHES, isObject, type Json } from "./tool-schema.ts";

/** A `$ref` that leads to itself ends here. */
const MOST_REFS = 16;

/** What some alternatives say together of an object. */
interface Fields {
	readonly properties: Json;
	readonly required: readonly string[];
}

/** The schema as the API takes it. `path` is where it stands in the request. Throws `unsupported_parameter` for alternatives that are no objects. */
export function inputSchema(parameters: Json, path: string): Json {
	if (!BRANCHES.some((word) => Array.isArray(parameters[word]))) return { type: "object", ...parameters };
	const { anyOf, oneOf, allOf, description, ...rest } = parameters;
	const { properties, required } = fieldsOf(parameters, parameters, path, 0);
	// One that is closed would take none of the others' fields.
	delete rest["additionalProperties"];
	const rules = Object.entries({ anyOf, oneOf, allOf })
		.filter(([, alternatives]) => Array.isArray(alternatives))
		.map(([word, alternatives]) => `${word}: ${JSON.stringify((alternatives as unknown[]).map(outline))}`);
	const words = [description, `{${rules.join(", ")}}`].filter((text) => typeof text === "string" && text !== "");
	return {
		...rest,
		type: "object",
		properties,
		...(required.length > 0 ? { required } : {}),
		description: words.join("\n\n"),
	};
}

/** The fields of an object, its alternatives' among them. */
function fieldsOf(schema: Json, root: Json, path: string, refs: number): Fields {
	const { $ref, type } = schema;
	if (typeof $ref === "string") {
		const target = refs < MOST_REFS ? referred($ref, root) : undefined;
		if (target === undefined)
			throw unsupported(`${path}.$ref`, "at the top of a tool's schema it must lead to an object");
		return fieldsOf(target, root, path, refs + 1);
	}
	const isOpen = type === undefined || type === "object" || (Array.isArray(type) && type.includes("object"));
	if (!isOpen) throw unsupported(path, "a tool of Claude's takes an object only");
	const properties: Json = isObject(schema["properties"]) ? { ...schema["properties"] } : {};
	const required = new Set(namesIn(schema["required"]));
	for (const word of BRANCHES) {
		const alternatives = schema[word];
		if (!Array.isArray(alternatives)) continue;
		const all = alternatives.map((each, index) => {
			const at = `${path}.${word}[${index}]`;
			if (!isObject(each)) throw unsupported(at, "a tool of Claude's takes an object only");
			return fieldsOf(each, root, at, refs);
		});
		for (const fields of all) {
			for (const [name, value] of Object.entries(fields.properties)) {
				properties[name] = either(properties[name], value, word === "allOf" ? "allOf" : "anyOf");
			}
		}
		const [first, ...others] = all;
		for (const name of first?.required ?? []) {
			if (word === "allOf" || others.every(({ required: also }) => also.includes(name))) required.add(name);
		}
		if (word === "allOf") for (const { required: also } of others) for (const name of also) required.add(name);
	}
	return { properties, required: [...required].filter((name) => Object.hasOwn(properties, name)) };
}

function referred(ref: string, root: Json): Json | undefined {
	const [, place, name] = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(ref) ?? [];
	const defs = place === undefined ? undefined : root[place];
	const target = isObject(defs) && name !== undefined ? defs[name] : undefined;
	return isObject(target) ? target : undefined;
}

const namesIn = (required: unknown): string[] =>
	Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];

/** What a field may be that several alternatives have. */
function either(one: unknown, other: unknown, word: "anyOf" | "allOf"): unknown {
	if (one === undefined || JSON.stringify(one) === JSON.stringify(other)) return other;
	const known =
		isObject(one) && Object.keys(one).length === 1 && Array.isArray(one[word]) ? (one[word] as unknown[]) : [one];
	if (known.some((each) => JSON.stringify(each) === JSON.stringify(other))) return one;
	return { [word]: [...known, other] };
}

/** An alternative without what the fields themselves say: their names, which value tells it from others, and what it demands. */
function outline(schema: unknown): unknown {
	if (!isObject(schema)) return schema;
	const { properties, $defs, definitions, title, ...rest } = schema;
	for (const word of BRANCHES) if (Array.isArray(rest[word])) rest[word] = rest[word].map(outline);
	if (!isObject(properties)) return rest;
	const fields = Object.entries(properties).map(([name, value]) => [name, isObject(value) ? fixed(value) : value]);
	return { properties: Object.fromEntries(fields), ...rest };
}

const fixed = (value: Json): Json => ({
	...(value["const"] === undefined ? {} : { const: value["const"] }),
	...(value["enum"] === undefined ? {} : { enum: value["enum"] }),
});
