/** Walking a value along its schema. */
import type { TSchema } from "@sinclair/typebox";
import type { Path } from "./config-error.ts";
import { isRecord } from "./document.ts";

/** What begins the names at the top of a file that are left alone, as in a compose file. */
export const EXTENSION = "x-";

/** Called for each leaf: a scalar, or a value of a wrong type. Returns its replacement. */
export type LeafVisitor = (value: unknown, schema: TSchema, path: Path) => unknown;

/** A copy of `value` with each leaf replaced by `visit`. Unknown settings are copied unvisited: validation reports them. */
export function mapLeaves(schema: TSchema, value: unknown, visit: LeafVisitor, path: Path = []): unknown {
	const branch = branchFor(schema, value);
	if (branch.type === "object" && isRecord(value)) {
		return Object.fromEntries(
			Object.entries(value).map(([key, child]) => {
				const childSchema = schemaOf(branch, key);
				return [key, childSchema ? mapLeaves(childSchema, child, visit, [...path, key]) : child];
			}),
		);
	}
	if (branch.type === "array" && Array.isArray(value)) {
		return value.map((child, index) => mapLeaves(branch["items"], child, visit, [...path, index]));
	}
	return visit(value, branch, path);
}

/** A setting with a fixed path: `["server", "port"]`. */
export interface Setting {
	readonly path: readonly string[];
	readonly schema: TSchema;
}

/** The settings of a schema of sections, without those inside lists and free names. */
export function settings(schema: TSchema, path: readonly string[] = []): Setting[] {
	return Object.entries<TSchema>(schema["properties"]).flatMap(([key, child]) => {
		const at = [...path, key];
		return child["properties"] ? settings(child, at) : [{ path: at, schema: child }];
	});
}

/** The schema of the setting `key` inside an object or a record; undefined where there is none. */
export function schemaOf(schema: TSchema, key: string): TSchema | undefined {
	const properties: Record<string, TSchema> = schema["properties"] ?? {};
	if (Object.hasOwn(properties, key)) return properties[key];
	const patterns: Record<string, TSchema> = schema["patternProperties"] ?? {};
	return Object.entries(patterns).find(([pattern]) => new RegExp(pattern).test(key))?.[1];
}

/** Of a union the branch of the value's kind; else the schema itself. */
export function branchFor(schema: TSchema, value: unknown): TSchema {
	if (!schema.anyOf || !isRecord(value)) return schema;
	return schema.anyOf.find((branch: TSchema) => branch.type === "object") ?? schema;
}
