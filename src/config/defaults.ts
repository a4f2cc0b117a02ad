/** Filling in the defaults of a configuration. */
import type { TSchema } from "@sinclair/typebox";
import { isRecord } from "./document.ts";
import { branchFor, schemaOf } from "./schema-walk.ts";

/**
 * A copy of `value` with the schema's defaults for settings that are absent. Present values stay as they are, of whatever type: TypeBox's
 * own `Value.Default` replaces a mapping by an empty list where the schema wants a list, and an empty list by an empty mapping.
 */
export function withDefaults(schema: TSchema, value: unknown): unknown {
	if (value === undefined) return schema.default === undefined ? undefined : withDefaults(schema, schema.default);
	const branch = branchFor(schema, value);
	if (branch.type === "array" && Array.isArray(value)) return value.map((item) => withDefaults(branch["items"], item));
	if (branch.type !== "object" || !isRecord(value)) return value;
	const present = Object.entries(value).map(([name, child]): [string, unknown] => {
		const childSchema = schemaOf(branch, name);
		return [name, childSchema ? withDefaults(childSchema, child) : child];
	});
	const absent = Object.entries<TSchema>(branch["properties"] ?? {})
		.filter(([name]) => !Object.hasOwn(value, name))
		.map(([name, child]): [string, unknown] => [name, withDefaults(child, undefined)])
		.filter(([, child]) => child !== undefined);
	return Object.fromEntries([...present, ...absent]);
}
