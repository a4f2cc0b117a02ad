/** References in the file's texts: `${NAME}` becomes the environment variable's value, `${file:/path}` the content of a file. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import type { Finding } from "./config-error.ts";
import { fromText } from "./describe-type.ts";
import { mapLeaves } from "./schema-walk.ts";

/** The process's environment. An empty variable counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** `$${` (a literal `${`), a whole reference, or one that is never closed. */
const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const FILE = "file:";
/** Longest file, bytes: a longer one is not a secret. */
const LONGEST_FILE = 64 * 1024;

/**
 * The file's values with their references resolved. It works on parsed values, so nothing in a variable can
 * become YAML. A setting that is a number or true/false takes the variable's text as such. A section
 * with nothing in it (`server:`) becomes `{}`.
 * @param cwd the directory that relative paths of `${file:…}` start from
 */
export function interpolate(
	schema: TSchema,
	values: unknown,
	env: Environment,
	cwd = "",
): { values: unknown; findings: Finding[] } {
	const findings: Finding[] = [];
	const resolved = mapLeaves(schema, values, (value, leaf, path) => {
		if (value === null && leaf["mayBeEmpty"]) return {};
		if (typeof value !== "string" || !value.includes("${")) return value;
		let isValid = true;
		const report = (message: string) => {
			isValid = false;
			findings.push({ path, message });
			return "";
		};
		const text = value.replace(REFERENCE, (match: string, name: string, end: string) => {
			if (match === "$${") return "${";
			if (end === "") return report("has a ${ that is never closed; write $${ for a literal ${");
			if (name.startsWith(FILE)) return readReference(resolve(cwd, name.slice(FILE.length)), report);
			if (!NAME.test(name)) return report("has a ${…} that holds no variable's name; write $${ for a literal ${");
			return env[name] || report(`the environment variable ${name} is not set`);
		});
		if (!isValid) return value;
		return leaf.type === "array" ? text : fromText(leaf, text);
	});
	return { values: resolved, findings };
}

/** The file's text, without the line end that editors add. */
function readReference(path: string, report: (message: string) => string): string {
	let text: string;
	try {
		text = readFileSync(path, "utf8").replace(/\r?\n$/, "");
	} catch (error) {
		return report(`the file ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`);
	}
	if (text === "") return report(`the file ${path} is empty`);
	return text.length > LONGEST_FILE ? report(`the file ${path} is too long for a setting`) : text;
}
