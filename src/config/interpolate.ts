/**
 * References in the file's texts: `${NAME}` becomes the environment variable's value, `${file:/path}` the content of a file. The forms
 * of a shell and of compose are known, too: `${NAME:-default}`, `${NAME:?message}`, `${NAME:+other}`.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { shortText } from "../short-text.ts";
import type { Finding } from "./config-error.ts";
import { fromText } from "./describe-type.ts";
import { mapLeaves } from "./schema-walk.ts";

/** The process's environment. An empty variable counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable's name, and what is to be used in its place. With or without the colon: an empty variable counts as unset. */
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]*)(?::?([-?+])(.*))?$/s;
const FILE = "file:";
/** Longest file, bytes: a longer one is not a secret. */
const LONGEST_FILE = 64 * 1024;
/** Most references inside each other. */
const DEEPEST = 16;
/** Longest message of a `${NAME:?message}` that is shown, characters. */
const LONGEST_MESSAGE = 200;

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
		const text = new References(env, cwd, report).resolved(value, 0);
		if (!isValid) return value;
		return leaf.type === "array" ? text : fromText(leaf, text);
	});
	return { values: resolved, findings };
}

/** The references of one text. */
class References {
	constructor(
		private readonly env: Environment,
		private readonly cwd: string,
		/** Told what is wrong; gives "". */
		private readonly report: (message: string) => string,
	) {}

	/** @param depth references around this text */
	resolved(text: string, depth: number): string {
		let made = "";
		for (let at = 0; ; ) {
			const open = text.indexOf("${", at);
			if (open === -1) return made + text.slice(at);
			if (open > at && text[open - 1] === "$") {
				made += `${text.slice(at, open - 1)}\${`;
				at = open + 2;
				continue;
			}
			const close = closing(text, open + 2);
			if (close === -1) return this.report("has a ${ that is never closed; write $${ for a literal ${");
			made += text.slice(at, open) + this.#value(text.slice(open + 2, close), depth);
			at = close + 1;
		}
	}

	#value(reference: string, depth: number): string {
		if (reference.startsWith(FILE)) return readReference(resolve(this.cwd, reference.slice(FILE.length)), this.report);
		const [, name, operator, rest = ""] = REFERENCE.exec(reference) ?? [];
		if (name === undefined) {
			return this.report("has a ${…} that holds no variable's name; write $${ for a literal ${");
		}
		const value = this.env[name] ?? "";
		if (operator === "+" ? value === "" : value !== "") return value;
		if (operator === undefined || operator === "?") return this.report(unset(name, rest.trim()));
		if (depth >= DEEPEST) return this.report("has references nested too deeply");
		return this.resolved(rest, depth + 1);
	}
}

function unset(name: string, message: string): string {
	const why = message === "" ? "" : `: ${shortText(message, LONGEST_MESSAGE)}`;
	return `the environment variable ${name} is not set${why}`;
}

/** Where the reference that begins before `from` ends, others inside it passed over; -1 where nowhere. */
function closing(text: string, from: number): number {
	let depth = 1;
	for (let at = from; at < text.length; at++) {
		if (text[at] === "}" && --depth === 0) return at;
		if (text[at] === "$" && text[at + 1] === "{" && text[at - 1] !== "$") depth++;
	}
	return -1;
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
