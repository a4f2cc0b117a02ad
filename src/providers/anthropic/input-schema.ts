/**
 * The schemas of tools that are not strict. The API takes all of JSON Schema but `anyOf`, `oneOf` and `allOf` at the top
 * ("input_schema does not support oneOf, allOf, or anyOf at the top level"): their fields are put together there, and which of them
 * go together is said in the description, which the model reads.
 */
import { unsupported } from "../../openai/chat.ts";
import { BRANCHES, isObject, type Json } from "./tool-schema.ts";

/** What some alternatives say together of an object. */
interface Fields {
	readonly properties: Json;
	readonly required: readonly string[];
}

/** The schema as the API takes it. `path` is where it stands in the request. Throws `unsupported_parameter` for alternatives that are no objects. */
export function inputSchema(parameters: Json, path: string): Json {
	if (!BRANCHES.some((word) => Array.isArray(parameters[word]))) {
		const { type = "object", ...rest } = parameters;
		return { type: Array.isArray(type) && type.includes("object") ? "object" : type, ...rest };
	}
	const { anyOf, oneOf, allOf, description, ...rest } = parameters;
	const { properties, required } = new FieldReader(parameters).read(parameters, path);
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

/** Characters of JSON that are compared for one schema: alternatives made of alternatives are as many as their product. */
const MOST_COMPARED = 4_000_000;
/** What a field or a demanded name counts for, beside its JSON. */
const EACH = 16;

/** Reads the fields of objects, their alternatives' among them; what a reference leads to once, however many there are. */
class FieldReader {
	/** By reference; undefined while it is read. */
	readonly #referred = new Map<string, Fields | undefined>();
	/** The JSON of what fields may be. */
	readonly #texts = new Map<unknown, string>();
	#left = MOST_COMPARED;

	constructor(private readonly root: Json) {}

	/** Throws `unsupported_parameter` for alternatives that are no objects. */
	read(schema: Json, path: string): Fields {
		const { $ref, type } = schema;
		if (typeof $ref === "string") return this.#follow($ref, path);
		const isOpen = type === undefined || type === "object" || (Array.isArray(type) && type.includes("object"));
		if (!isOpen) throw unsupported(path, "a tool of Claude's takes an object only");
		const properties = new Map(Object.entries(isObject(schema["properties"]) ? schema["properties"] : {}));
		const required = new Set(namesIn(schema["required"]));
		for (const word of BRANCHES) {
			const alternatives = schema[word];
			if (!Array.isArray(alternatives)) continue;
			const all = alternatives.map((each, index) => {
				const at = `${path}.${word}[${index}]`;
				if (!isObject(each)) throw unsupported(at, "a tool of Claude's takes an object only");
				return this.read(each, at);
			});
			this.#join(properties, all, word === "allOf" ? "allOf" : "anyOf", path);
			for (const name of demandedBy(all, word === "allOf")) required.add(name);
		}
		return {
			properties: Object.fromEntries(properties),
			required: [...required].filter((name) => properties.has(name)),
		};
	}

	/** Puts the alternatives' fields with those that there are: one that several have may be what each of them says. */
	#join(properties: Map<string, unknown>, all: readonly Fields[], word: "anyOf" | "allOf", path: string): void {
		/** What is said of each, by its JSON. */
		const said = new Map<string, Map<string, unknown>>();
		for (const fields of all) {
			const entries = Object.entries(fields.properties);
			this.#spend(EACH * (entries.length + fields.required.length), path);
			for (const [name, value] of entries) {
				let values = said.get(name);
				if (!values) {
					const before = valuesOf(properties.get(name), word);
					values = new Map(before.map((each) => [this.#textOf(each, path), each]));
					said.set(name, values);
				}
				values.set(this.#textOf(value, path), value);
			}
		}
		for (const [name, values] of said) {
			const [first] = values.values();
			properties.set(name, values.size === 1 ? first : { [word]: [...values.values()] });
		}
	}

	#textOf(value: unknown, path: string): string {
		let text = this.#texts.get(value);
		if (text !== undefined) return text;
		text = JSON.stringify(value);
		this.#spend(text.length, path);
		this.#texts.set(value, text);
		return text;
	}

	#spend(characters: number, path: string): void {
		this.#left -= characters;
		if (this.#left < 0)
			throw unsupported(path, "its alternatives are too many to be put together at the top of a tool");
	}

	#follow(ref: string, path: string): Fields {
		const known = this.#referred.get(ref);
		if (known) return known;
		const target = this.#referred.has(ref) ? undefined : referred(ref, this.root);
		if (!target) throw unsupported(`${path}.$ref`, "at the top of a tool's schema it must lead to an object");
		this.#referred.set(ref, undefined);
		const fields = this.read(target, path);
		this.#referred.set(ref, fields);
		return fields;
	}
}

/** Names that all alternatives demand; `isAll`: that any of them does, as all hold together. */
function demandedBy(all: readonly Fields[], isAll: boolean): Iterable<string> {
	if (isAll) return all.flatMap(({ required }) => required);
	const [first, ...others] = all.map(({ required }) => new Set(required));
	return [...(first ?? [])].filter((name) => others.every((also) => also.has(name)));
}

function referred(ref: string, root: Json): Json | undefined {
	const [, place, name] = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(ref) ?? [];
	const defs = place === undefined ? undefined : root[place];
	const target = isObject(defs) && name !== undefined ? defs[name] : undefined;
	return isObject(target) ? target : undefined;
}

const namesIn = (required: unknown): string[] =>
	Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];

/** What a field is known to be. */
function valuesOf(value: unknown, word: "anyOf" | "allOf"): readonly unknown[] {
	if (value === undefined) return [];
	return isObject(value) && Object.keys(value).length === 1 && Array.isArray(value[word])
		? (value[word] as unknown[])
		: [value];
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
