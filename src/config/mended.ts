/** Secrets and addresses in the file, mended where they were pasted with something around them. */
import type { TSchema } from "@sinclair/typebox";
import { type Finding, pathText } from "./config-error.ts";
import { type PastedKind, pasted } from "./pasted.ts";
import { mapLeaves } from "./schema-walk.ts";

/** How the text of this setting is looked at; undefined for those that are taken as they stand. */
export function kindOfSetting(schema: TSchema): PastedKind | undefined {
	return schema["pasted"] ?? (schema["secret"] ? "secret" : undefined);
}

/** What is to be said of the file's secrets and addresses. */
export interface MendedSettings {
	/** A copy in which each of them is as it was meant. */
	readonly values: unknown;
	/** What was mended. */
	readonly warnings: Finding[];
	/** What can't be. */
	readonly findings: Finding[];
}

/**
 * Looks at the values of a file whose references are resolved. Pure.
 * @param written the same before that, where `$${` says that a `${` is meant as it stands
 */
export function mendSettings(schema: TSchema, values: unknown, written: unknown): MendedSettings {
	const literal = new Set<string>();
	mapLeaves(schema, written, (value, _, path) => {
		if (typeof value === "string" && value.includes("$${")) literal.add(pathText(path));
		return value;
	});
	const warnings: Finding[] = [];
	const findings: Finding[] = [];
	const mended = mapLeaves(schema, values, (value, leaf, path) => {
		const kind = kindOfSetting(leaf);
		if (kind === undefined || typeof value !== "string") return value;
		const found = pasted(value, kind, literal.has(pathText(path)));
		if (found.problem !== undefined) findings.push({ path, message: found.problem });
		else if (found.mended !== undefined) warnings.push({ path, message: `${found.mended}; it is read without` });
		return found.text;
	});
	return { values: mended, warnings, findings };
}
