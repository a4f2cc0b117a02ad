/** Every place of the configuration's schema, with a value that fits, and values of every shape that does not. */
import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Path } from "../../src/config/config-error.ts";
import { isRecord } from "../../src/config/document.ts";

/** The file that stands in for every PEM file: settings that name one get this name as their text. */
export const FILE = "10.0.0.7";

/** Texts one of which fits every setting that takes text; each must also be sound where only `semantics` looks. */
const TEXTS = [
	FILE,
	"sample-text",
	"10m",
	"1MB",
	"https://a.example",
	"redis://h:6379",
	"NAME",
	"a",
	"10%",
	"52:54:00:12:34:56",
];

let made = 0;

/** A value of this schema with everything in it that there can be. Throws where no text fits: then TEXTS lacks one. */
export function sample(schema: TSchema): unknown {
	if (schema.anyOf) return schema.anyOf[0].const ?? sample(schema.anyOf[0]);
	switch (schema.type) {
		case "integer":
		case "number":
			return Math.max(schema["minimum"] ?? 0, 1);
		case "boolean":
			return true;
		case "array": {
			const branches: TSchema[] = schema["items"].anyOf ?? [];
			const isMixed = branches.some(({ type }) => type === "object");
			return (isMixed ? branches : [schema["items"]]).map(sample);
		}
		case "object": {
			const [free] = Object.values<TSchema>(schema["patternProperties"] ?? {});
			// A provider of this name needs no address; prices are of `provider/model`.
			if (free) return { [free["properties"]?.["gpu_hour"] ? "openrouter/x" : "openrouter"]: sample(free) };
			const properties = Object.entries<TSchema>(schema["properties"]);
			const whole = Object.fromEntries(properties.map(([name, child]) => [name, sample(child)]));
			// A model's shadow is another model.
			return isRecord(whole["shadow"]) ? { ...whole, name: "shadowed" } : whole;
		}
	}
	// Two keys must not have one secret.
	const texts = schema["secret"] ? [...TEXTS.slice(1), `sample-secret-${++made}`].reverse() : TEXTS;
	const text = texts.find((candidate) => Value.Check(schema, candidate));
	if (text === undefined) throw new Error(`no sample fits ${JSON.stringify(schema)}`);
	return text;
}

/** One value somewhere in the sample. */
export interface Place {
	readonly path: Path;
	readonly schema: TSchema;
	readonly valid: unknown;
}

/** All of them: sections, settings, lists, entries of lists and of free names, and what stands in them. */
export function places(schema: TSchema, value: unknown, path: Path = []): Place[] {
	const own: Place[] = path.length === 0 ? [] : [{ path, schema, valid: value }];
	if (Array.isArray(value)) {
		return [...own, ...value.flatMap((item, at) => places(schema["items"], item, [...path, at]))];
	}
	if (!isRecord(value)) return own;
	const mapping: TSchema = schema.anyOf?.find(({ type }: TSchema) => type === "object") ?? schema;
	const [free] = Object.values<TSchema>(mapping["patternProperties"] ?? {});
	return [
		...own,
		...Object.entries(value).flatMap(([name, child]) =>
			places(mapping["properties"]?.[name] ?? free, child, [...path, name]),
		),
	];
}

/** What it is called, and the value. */
export type Shape = readonly [name: string, value: unknown];

/** The seven kinds of JSON (true and false, whole and broken numbers apart), and `valid` wrapped in lists and mappings. */
export function shapes(valid: unknown): Shape[] {
	return [
		["null", null],
		["true", true],
		["false", false],
		["0", 0],
		["7", 7],
		["1.5", 1.5],
		["-1", -1],
		["1e300", 1e300],
		["empty text", ""],
		["text", "text"],
		["its own value as text", String(valid)],
		["[]", []],
		["{}", {}],
		["[null]", [null]],
		["{ a: null }", { a: null }],
		["in a list", [valid]],
		["in a mapping", { a: valid }],
		["in a list in a list", [[valid]]],
		["in a mapping in a mapping", { a: { a: valid } }],
		["in a mapping in a list", [{ a: valid }]],
		["in a list in a mapping", { a: [valid] }],
	];
}

/** Whether a value is of the shape that the schema wants, whatever its content: `"x"` is text although a duration is wanted. */
export function isShaped(schema: TSchema, value: unknown): boolean {
	if (schema.anyOf) return schema.anyOf.some((part: TSchema) => isShaped(part, value));
	if (schema.const !== undefined) return typeof value === typeof schema.const;
	switch (schema.type) {
		case "integer":
			return Number.isInteger(value);
		case "array":
			return Array.isArray(value) && value.every((item) => isShaped(schema["items"], item));
		case "object": {
			const [free] = Object.values<TSchema>(schema["patternProperties"] ?? {});
			const of = (name: string): TSchema | undefined => schema["properties"]?.[name] ?? free;
			return isRecord(value) && Object.entries(value).every(([name, child]) => of(name) && isShaped(of(name)!, child));
		}
		default:
			return typeof value === schema.type;
	}
}
