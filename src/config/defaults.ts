/** Fills in what a configuration leaves out. */
import type { TSchema } from "@sinclair/typebox";
import { isRecord } from "./document.ts";
import { branchFor, schemaOf } from "./schema-walk.ts";

/**
 * A copy of `value` with the schema's defaults where it says nothing. What it does say stays as it is, of whatever shape: TypeBox's own
 * `Value.Default` makes an empty list of a mapping that stands where a list belongs, and an empty mapping of an empty list.
 */
export function withDefaults(schema: TSchema, value: unknown): unknown {
	if (value === undefined) return schema.default === undefined ? undefined : withDefaults(schema, schema.default);
	const branch = branchFor(schema, value);
	if (branch.type === "array" && Array.isArray(value)) return value.map((item) => withDefaults(branch["items"], item));
	if (branch.type !== "object" || !isRecord(value)) return value;
	const said = Object.entries(value).map(([name, child]): [string, unknown] => {
		const childSchema = schemaOf(branch, name);
		return [name, childSchema ? withDefaults(childSchema, child) : child];
	});
	const unsaid = Object.entries<TSchema>(branch["properties"] ?? {})
		.filter(([name]) => !Object.hasOwn(value, name))
		.map(([name, child]): [string, unknown] => [name, withDefaults(child, undefined)])
		.filter(([, child]) => child !== undefined);
	return Object.fromEntries([...said, ...unsaid]);
}
