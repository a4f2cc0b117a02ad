/**
 * Cleaning of values that users paste into the environment or the file: quotes, spaces and line ends around a secret or an address are
 * removed, and text that can't be such a value is refused. Messages repeat no part of a value.
 */
import type { TSchema } from "@sinclair/typebox";
import { type Finding, pathText } from "./config-error.ts";
import { mapLeaves } from "./schema-walk.ts";

/**
 * The kind of a value, which decides what it may contain. `secret`: a key or token, visible ASCII. `address`: a URL. `header`: any
 * header's text, where quotes, spaces and `Bearer` are allowed. `text`: a name, a number, a path.
 */
export type ValueKind = "secret" | "address" | "header" | "text";

/** The result for one value. */
export interface CleanedValue {
	/** The value without what was around it. */
	readonly text: string;
	/** What was removed, as `has …`; absent where nothing was. */
	readonly removed?: string;
	/** Why the text can't be such a value, as `is …` or `has …`, and what to do. */
	readonly problem?: string;
}

/** Spaces of every kind, line ends, byte order marks, and what has no width. */
const EDGES = /^[\s\u200b-\u200d\u2060\ufeff]+|[\s\u200b-\u200d\u2060\ufeff]+$/g;

const TYPOGRAPHIC = 'has typographic quotes around it, which YAML takes for a part of the text: write " in their place';

/** Opening and closing. */
const QUOTES = ['""', "''", "``", "“”", "„“", "‘’", "«»"];

/** References to a variable or a secret store in the syntax of other programs: taken literally, they would be sent upstream as the key. */
const REFERENCES: readonly [RegExp, string][] = [
	[/\$\{[^}]*\}/, "${…}"],
	[/\$\([A-Za-z_]\w*\)/, "$(…)"],
	[/\{\{.*\}\}/, "{{…}}"],
	[/^\$[A-Z_][A-Z0-9_]*$/, "$NAME"],
	[/^%[A-Za-z_]\w*%$/, "%NAME%"],
	[/^(?:os\.environ|os\.getenv|process\.env)\b/, "os.environ/NAME"],
	[/^env[:./][A-Za-z_]\w*$/, "env:NAME"],
	[/^op:\/\//, "op://…"],
	[/^@Microsoft\.KeyVault\(/, "@Microsoft.KeyVault(…)"],
	[/^<[^<>]*>$/, "<…>"],
];

/** `OPENAI_API_KEY=sk-…` as a whole. Base64 may end in `=`, and has no `_` before more of it. */
const ASSIGNMENT = /^(?:export\s+|set\s+)?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\s*=\s*[^=\s]/;

/** A header line, or the half of one. */
const HEADER = /^(?:bearer\s|(?:proxy-)?authorization\s*:|(?:x-(?:goog-)?)?api-key\s*:)/i;

const INVISIBLE = /[\s\u200b-\u200d\u2060\ufeff]/;

/**
 * Cleans one value. Pure.
 * @param isLiteral a `${` in it is meant literally: the file wrote it as `$${`
 */
export function cleanValue(given: string, kind: ValueKind, isLiteral = false): CleanedValue {
	const trimmed = given.replace(EDGES, "");
	const open = kind === "header" ? undefined : quoteAround(trimmed);
	const text = open ? trimmed.slice(1, -1).replace(EDGES, "") : trimmed;
	if (text === "" && given !== "") return { text, problem: "has nothing in it but spaces or quotes" };
	const problem = problemOf(isLiteral ? text.replaceAll("${", "") : text, kind);
	if (problem !== undefined) return { text, problem };
	const parts = [...(open ? ["quotes"] : []), ...(trimmed === given ? [] : [edgeOf(given)])];
	return parts.length === 0 ? { text } : { text, removed: `has ${parts.join(" and ")} around it` };
}

/**
 * Cleans a comma separated list. Quotes may be around the whole or around each entry; empty entries are left out. Messages name an
 * entry by its number, from 1.
 */
export function cleanList(given: string, kind: ValueKind): CleanedValue {
	const trimmed = given.replace(EDGES, "");
	const open = quoteAround(trimmed);
	const all = (open ? trimmed.slice(1, -1) : trimmed).split(",").map((entry) => cleanValue(entry, kind));
	const entries = all.filter((entry) => entry.text !== "");
	const text = entries.map((entry) => entry.text).join(",");
	if (given !== "" && entries.length === 0) return { text, problem: "has nothing in it but commas, spaces or quotes" };
	const wrong = entries.findIndex(({ problem }) => problem !== undefined);
	if (wrong !== -1) {
		const number = entries.length === 1 ? "" : `, in number ${wrong + 1},`;
		return { text, problem: entries[wrong]!.problem!.replace(/^(\w+)/, `$1${number}`) };
	}
	// A space behind a comma is how lists are written, and so is a comma at the end.
	const quoted = open ?? entries.find(({ removed }) => removed?.includes("quotes"));
	const edge = trimmed === given ? undefined : edgeOf(given);
	const found = [...(quoted ? ["quotes"] : []), ...(edge === undefined || edge === "spaces" ? [] : [edge])];
	return found.length === 0 ? { text } : { text, removed: `has ${found.join(" and ")} around it` };
}

/** The kind of this setting's value; undefined where the value is taken as it is. */
export function valueKindOf(schema: TSchema): ValueKind | undefined {
	return schema["valueKind"] ?? (schema["secret"] ? "secret" : undefined);
}

/** The cleaned settings of a file. */
export interface CleanedSettings {
	/** A copy of the settings with cleaned secrets and addresses. */
	readonly values: unknown;
	/** Settings from whose value something was removed. */
	readonly warnings: Finding[];
	/** Settings whose text can't be such a value. */
	readonly findings: Finding[];
}

/**
 * Cleans the secrets and addresses of a file whose references are resolved. Pure.
 * @param written the same settings before that, in which `$${` marks a literal `${`
 */
export function cleanSettings(schema: TSchema, values: unknown, written: unknown): CleanedSettings {
	const literal = new Set<string>();
	mapLeaves(schema, written, (value, _, path) => {
		if (typeof value === "string" && value.includes("$${")) literal.add(pathText(path));
		return value;
	});
	const warnings: Finding[] = [];
	const findings: Finding[] = [];
	const cleaned = mapLeaves(schema, values, (value, leaf, path) => {
		const kind = valueKindOf(leaf);
		if (typeof value !== "string") return value;
		if (kind === undefined) {
			if (/[^"'`]/.test(quoteAround(value)?.[0] ?? '"')) findings.push({ path, message: TYPOGRAPHIC });
			return value;
		}
		const found = cleanValue(value, kind, literal.has(pathText(path)));
		if (found.problem !== undefined) findings.push({ path, message: found.problem });
		else if (found.removed !== undefined) warnings.push({ path, message: `${found.removed}; it is read without` });
		return found.text;
	});
	return { values: cleaned, warnings, findings };
}

/** The quotes around a whole text that has none of them inside. */
function quoteAround(text: string): string | undefined {
	if (text.length < 2) return undefined;
	return QUOTES.find(([open = "", close = ""]) => {
		if (!text.startsWith(open) || !text.endsWith(close)) return false;
		const inside = text.slice(1, -1);
		return !inside.includes(open) && !inside.includes(close);
	});
}

function edgeOf(given: string): string {
	const edges = (given.match(EDGES) ?? []).join("");
	if (edges.includes("\ufeff")) return "a byte order mark";
	if (edges.includes("\r")) return "a carriage return";
	return edges.includes("\n") ? "a line end" : "spaces";
}

function problemOf(text: string, kind: ValueKind): string | undefined {
	const reference = REFERENCES.find(([form]) => form.test(text));
	if (reference) return `is a reference (${reference[1]}) that nothing has resolved: put the value itself there`;
	if (kind !== "header" && ASSIGNMENT.test(text)) return "is a whole NAME=value: leave the name out";
	if (/[\r\n]/.test(text)) return "has a line break inside: one value in one line belongs there";
	if (kind === "text" || kind === "header") return undefined;
	if (HEADER.test(text)) return "is a header (`Bearer …` or the like): leave all but the key out";
	if (/^["'`]|["'`]$/.test(text)) return "has a quote at one end only: paste it again";
	if (INVISIBLE.test(text)) return "has a space, or a character that can't be seen, inside: paste it again";
	return kind === "secret" && /[^\x21-\x7e]/.test(text)
		? "has a character that no key has, such as a typographic quote: paste it again"
		: undefined;
}
