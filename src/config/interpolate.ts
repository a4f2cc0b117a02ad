/** `${NAME}` inside the file's texts becomes the environment variable's value. */
import type { TSchema } from "@sinclair/typebox";
import { fromText } from "./expects.ts";
import type { Finding } from "./mistake.ts";
import { mapLeaves } from "./walk.ts";

/** The process's environment. An empty variable counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** `$${` (kept as a literal `${`), a whole reference, or one that is never closed. */
const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * The file's values with their references resolved. It works on parsed values, so nothing in a variable can
 * become YAML. A setting that is a number or true/false takes the variable's text as such. An empty
 * mapping (`server:` and nothing below) becomes `{}`.
 */
export function interpolate(
	schema: TSchema,
	values: unknown,
	env: Environment,
): { values: unknown; findings: Finding[] } {
	const findings: Finding[] = [];
	const resolved = mapLeaves(schema, values, (value, leaf, path) => {
		if (value === null && leaf.type === "object") return {};
		if (typeof value !== "string" || !value.includes("${")) return value;
		let sound = true;
		const complain = (message: string) => {
			sound = false;
			findings.push({ path, message });
			return "";
		};
		const text = value.replace(REFERENCE, (match: string, name: string, end: string) => {
			if (match === "$${") return "${";
			if (end === "") return complain("has a ${ that is never closed; write $${ for a literal ${");
			if (!NAME.test(name)) return complain("has a ${…} that holds no variable's name; write $${ for a literal ${");
			return env[name] || complain(`the environment variable ${name} is not set`);
		});
		if (!sound) return value;
		return leaf.type === "array" ? text : fromText(leaf, text);
	});
	return { values: resolved, findings };
}
