/** Mistakes in the YAML of a file in words, and only those that the user made: the parser's errors that follow from others are left out. */
import { type Document, isMap, visit, type YAMLError } from "yaml";

/** A mistake at an offset of the text. */
export interface TextProblem {
	readonly offset: number;
	readonly message: string;
}

/** Of an alias (`*name`), which a text or a name that begins with a star is to YAML. */
export const NO_ANCHOR = 'unknown alias, no anchor has its name; text that begins with * or & needs quotes: "*fast"';

/**
 * The parser's own messages quote the source, which may hold a secret, so each code has a message here.
 * Codes: https://eemeli.org/yaml/#errors
 */
const SYNTAX: Record<string, string> = {
	DUPLICATE_KEY: "this setting stands here twice; keep one",
	TAB_AS_INDENT: "indented with a tab; YAML wants spaces",
	BAD_INDENT: "the indentation does not fit the lines around it",
	MISSING_CHAR: 'something is missing here: a closing quote, a "," or a ": "',
	UNEXPECTED_TOKEN: "this does not belong here; text with special characters needs quotes",
	BAD_SCALAR_START: "text that begins with this character needs quotes",
	BAD_ALIAS: NO_ANCHOR,
	ALIAS_PROPS: "an alias (*name) has a tag or an anchor of its own; text that begins with * needs quotes",
	BAD_DQ_ESCAPE:
		"a \\ in double quotes begins an escape that is not known; write \\\\, or put the text in single quotes",
	BAD_DIRECTIVE: "text that begins with % needs quotes",
	KEY_OVER_1024_CHARS: 'a name is too long, or a ": " is missing',
	MULTIPLE_ANCHORS: "one value has two anchors; text that begins with & needs quotes",
	BAD_COLLECTION_TYPE: "a tag does not fit what follows it; text that begins with ! needs quotes",
	TAG_RESOLVE_FAILED: "tags (!name) are not known here; text that begins with ! needs quotes",
	MULTIPLE_DOCS: "only one document may stand in the file; remove the ---",
	BLOCK_IN_FLOW:
		"this can't stand inside { } or [ ]: a , is missing before it, or text that holds { } [ ] or , needs quotes",
	BLOCK_AS_IMPLICIT_KEY: "two settings stand on one line, or a text with a : needs quotes",
	RESOURCE_EXHAUSTION: "is nested too deeply to read",
	MULTILINE_IMPLICIT_KEY: 'a name must stand on one line and be followed by ": "',
};

const REFERENCE = '${…} needs quotes inside { } and [ ]: "${NAME}"';
const DEEPER =
	"the next line is indented further than this one, which has a value already; settings beside each other begin at one depth";

/** What to say of the parser's errors. `text`: all of the file. */
export function syntaxProblems(document: Document.Parsed, errors: readonly YAMLError[], text: string): TextProblem[] {
	// Errors after the parser has given up are meaningless.
	const fatal = errors.find((error) => error.code === "RESOURCE_EXHAUSTION");
	return (fatal ? [fatal] : withoutEchoes(errors, text)).map((error): TextProblem => {
		const [offset] = error.pos;
		if (isReference(error, text)) return { offset: offset - 1, message: REFERENCE };
		const bracket = openBracket(document, error);
		if (bracket) return bracket;
		const isDeeper = error.code === "BLOCK_AS_IMPLICIT_KEY" && isAlsoMultiline(error, errors);
		return { offset, message: isDeeper ? DEEPER : (SYNTAX[error.code] ?? `is not valid YAML (${error.code})`) };
	});
}

/** Whether the parser took the brace of a `${NAME}` for the beginning of a mapping. */
const isReference = ({ pos: [offset] }: YAMLError, text: string): boolean =>
	text.slice(offset - 1, offset + 1) === "${";

/**
 * Without what the parser misread because of an error before: the rest of a line with a name that begins with a star (`*gpt*: 1`), all
 * that follows a token that does not belong there, and the second of two errors of one place.
 */
function withoutEchoes(errors: readonly YAMLError[], text: string): YAMLError[] {
	const lineStart = (offset: number) => text.lastIndexOf("\n", offset - 1);
	const lineOf = ({ pos }: YAMLError) => lineStart(pos[0]);
	const stars = new Set(errors.filter(({ code }) => code === "BAD_ALIAS").map(lineOf));
	const lost = errors.find(({ code }) => code === "UNEXPECTED_TOKEN");
	return errors.filter((error) => {
		const { code } = error;
		if (code === "BAD_ALIAS" || isReference(error, text)) return true;
		if (stars.has(lineOf(error))) return false;
		if (code === "MULTILINE_IMPLICIT_KEY") return !errors.some((other) => other !== error && isSamePlace(other, error));
		if (lost === undefined || error === lost) return true;
		return !(code === "UNEXPECTED_TOKEN" && (lineOf(error) === lineOf(lost) || /in YAML stream/.test(error.message)));
	});
}

const isSamePlace = (a: YAMLError, b: YAMLError): boolean => a.pos[0] === b.pos[0];

function isAlsoMultiline(error: YAMLError, errors: readonly YAMLError[]): boolean {
	return errors.some((other) => other.code === "MULTILINE_IMPLICIT_KEY" && isSamePlace(other, error));
}

/** The bracket whose end the parser missed at `offset`; undefined where it missed none, and the indentation is at fault. */
function openBracket(document: Document.Parsed, { code, message, pos: [offset] }: YAMLError): TextProblem | undefined {
	const kind = code === "BAD_INDENT" ? /^Flow (map|sequence) /.exec(message)?.[1] : undefined;
	let found: TextProblem | undefined;
	if (kind === undefined) return undefined;
	const [open, close] = kind === "map" ? "{}" : "[]";
	visit(document, {
		Collection(_, node) {
			if (isMap(node) !== (kind === "map") || !node.flow || node.range?.[1] !== offset) return undefined;
			const advice = `end it with "${close}", on a line indented further than the setting it belongs to`;
			found = { offset: node.range[0], message: `the "${open}" here is never closed; ${advice}` };
			return visit.BREAK;
		},
	});
	return found;
}
