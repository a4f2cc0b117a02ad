/** The JSON Schema that `router init --schema` prints: editors complete and check `router.yaml` with it. */
import type { TSchema } from "@sinclair/typebox";
import { isRecord } from "./document.ts";
import { ConfigSchema } from "./schema.ts";
import { EXTENSION } from "./schema-walk.ts";

/** Keywords of this schema alone, which a validator in strict mode would refuse. */
const OWN = new Set(["env", "secret", "unit", "expects", "mayBeEmpty", "valueKind", "ofWords"]);

/** Names at the top that are the owner's. */
const EXTENSIONS = { [`^${EXTENSION}`]: {} };

/** `router.yaml` as plain JSON Schema (draft 7), descriptions, defaults and ranges included. */
export function jsonSchema(): Record<string, unknown> {
	const schema = plain(ConfigSchema) as Record<string, unknown>;
	return {
		$schema: "http://json-schema.org/draft-07/schema#",
		title: "router.yaml",
		...schema,
		patternProperties: EXTENSIONS,
	};
}

/** A copy of a schema without those keywords and without TypeBox's symbols. */
function plain(schema: TSchema): unknown {
	const copy = Object.entries(schema).flatMap(([keyword, value]): [string, unknown][] => {
		if (OWN.has(keyword)) return [];
		if (keyword === "properties" || keyword === "patternProperties") return [[keyword, members(value)]];
		if (keyword === "items") return [[keyword, plain(value)]];
		if (keyword === "anyOf") return [[keyword, value.map(plain)]];
		// The loader fills defaults in before it checks, so a setting with a default is not required in the file.
		if (keyword === "required") return withoutDefaults(schema, value);
		// An empty section (`server:`) is null in YAML; the loader takes it as an empty mapping.
		if (keyword === "type" && schema["mayBeEmpty"]) return [[keyword, ["object", "null"]]];
		return [[keyword, value]];
	});
	return Object.fromEntries(copy);
}

function members(schemas: Record<string, TSchema>): Record<string, unknown> {
	return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, plain(schema)]));
}

function withoutDefaults(schema: TSchema, required: string[]): [string, unknown][] {
	const properties: unknown = schema["properties"];
	const needed = required.filter(
		(name) => !(isRecord(properties) && (properties[name] as TSchema).default !== undefined),
	);
	return needed.length > 0 ? [["required", needed]] : [];
}
