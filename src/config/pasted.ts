/**
 * Secrets and addresses as people paste them: what came along and can be taken off, and what is no value at all. Nothing here
 * repeats any part of a value.
 */

/**
 * What a value is, which decides what may stand in it. `secret`: a key or token, visible ASCII. `address`: a URL. `header`: any
 * header's text, where quotes, spaces and `Bearer` are good. `text`: a name, a number, a path.
 */
export type PastedKind = "secret" | "address" | "header" | "text";

/** A value after the look at it. */
export interface Pasted {
	/** Without what came along. */
	readonly text: string;
	/** What that was, as `has …`; absent where nothing was taken off. */
	readonly mended?: string;
	/** Why it can't be the value, as `is …` or `has …`, and what to do. */
	readonly problem?: string;
}

/** Spaces of every kind, line ends, byte order marks, and what has no width. */
const EDGES = /^[\s\u200b-\u200d\u2060\ufeff]+|[\s\u200b-\u200d\u2060\ufeff]+$/g;

/** Opening and closing. */
const QUOTES = ['""', "''", "``", "“”", "„“", "‘’", "«»"];

/** Forms in which other programs name a variable or a store: whoever reads them literally sends them upstream as the key. */
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
 * One value. Pure.
 * @param isLiteral whoever wrote it said that its `${` is meant as it stands
 */
export function pasted(given: string, kind: PastedKind, isLiteral = false): Pasted {
	const trimmed = given.replace(EDGES, "");
	const open = kind === "header" ? undefined : quoteAround(trimmed);
	const text = open ? trimmed.slice(1, -1).replace(EDGES, "") : trimmed;
	if (text === "" && given !== "") return { text, problem: "has nothing in it but spaces or quotes" };
	const problem = problemOf(isLiteral ? text.replaceAll("${", "") : text, kind);
	if (problem !== undefined) return { text, problem };
	const parts = [...(open ? ["quotes"] : []), ...(trimmed === given ? [] : [edgeOf(given)])];
	return parts.length === 0 ? { text } : { text, mended: `has ${parts.join(" and ")} around it` };
}

/**
 * A comma separated list. Its quotes may be around the whole or around each; parts with nothing in them are left out. The words
 * name a part by its number, from 1.
 */
export function pastedList(given: string, kind: PastedKind): Pasted {
	const trimmed = given.replace(EDGES, "");
	const open = quoteAround(trimmed);
	const parts = (open ? trimmed.slice(1, -1) : trimmed).split(",").map((part) => pasted(part, kind));
	const good = parts.filter(({ text }) => text !== "");
	const text = good.map((part) => part.text).join(",");
	const of = (at: number) => (good.length === 1 ? "" : `, in number ${at + 1},`);
	const wrong = good.findIndex(({ problem }) => problem !== undefined);
	if (given !== "" && good.length === 0) return { text, problem: "has nothing in it but commas, spaces or quotes" };
	if (wrong !== -1) return { text, problem: good[wrong]!.problem!.replace(/^(\w+)/, `$1${of(wrong)}`) };
	// A space behind a comma is how lists are written, and so is a comma at the end.
	const quoted = open ?? good.find(({ mended }) => mended?.includes("quotes"));
	const edge = trimmed === given ? undefined : edgeOf(given);
	const found = [...(quoted ? ["quotes"] : []), ...(edge === undefined || edge === "spaces" ? [] : [edge])];
	return found.length === 0 ? { text } : { text, mended: `has ${found.join(" and ")} around it` };
}

/** The quotes around the whole of a text, where none of them stands inside it. */
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

function problemOf(text: string, kind: PastedKind): string | undefined {
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
