/** Arguments of vLLM that were written as for a shell, which would split them: vLLM gets each entry of the list as it is. Pure. */

import { shortText } from "../short-text.ts";

/** A flag with something behind it that a blank divides, or blanks around it. After `=` all is the value's, and texts have dashes, too. */
const SEVERAL = /^(--[A-Za-z][\w.-]*|-[A-Za-z]{1,3}(?=\s+\d))(?:\s+([\s\S]+))?$/;
/** JSON in the quotes that keep a shell's hands off it. */
const QUOTED = /^(?:--?[A-Za-z][\w.-]*=)?'\s*[[{][\s\S]*[\]}]\s*'$/;
/** A value, in an entry of its own or behind `=`, with a further flag behind it. Jinja and JSON may have such text inside. */
const VALUE_AND_FLAG =
	/^(?![\s\S]*[{}])\s*((?:--?[A-Za-z][\w.-]*=)?[^\s"'][^\s]*)\s+(--[A-Za-z][\s\S]*|-[A-Za-z]{1,3}(?:=|\s+)\d[\s\S]*)$/;
/** The same behind JSON. */
const JSON_AND_FLAG = /^((?:--?[A-Za-z][\w.-]*=)?\s*)([[{][\s\S]*[\]}])\s+(--?[A-Za-z][\w.-]*(?:[=\s][^{}]*)?)$/;
/** A number that blanks divide. */
const DIVIDED = /^(?:--?[A-Za-z][\w.-]*=)?\s*\d+(?:\s+\d+)+\s*$/;
/** The dash of a word processor, or a minus. */
const DASH = /^[\u2010-\u2015\u2212]/;
/** What of a value is shown: no text, which may be a secret. */
const SHOWN = /^(?:--?[A-Za-z][\w.-]*(?:=\d*)?|\d[\w.]*)$/;
/** Flags whose values are shown to nobody. */
const SECRET = /key|token|secret|password/i;
/** Longest correction, characters. */
const LONGEST = 200;

/** Why an entry of `args` is not the one argument that it should be, and what to write instead; undefined where it is. */
export function argumentProblem(word: string): string | undefined {
	if (QUOTED.test(word))
		return "has a shell's quotes around its JSON, which vLLM would take for a part of it: leave them out";
	if (DASH.test(word)) return "begins with a dash that no keyboard has for flags: write --, two hyphens";
	if (DIVIDED.test(word)) return "has a blank inside its number: write its digits in one";
	const [, before, json, behind] = JSON_AND_FLAG.exec(word) ?? [];
	if (json !== undefined && behind !== undefined && isJson(json))
		return severalWords([`${before?.trim()}…`, ...behind.trim().split(/\s+/).map(shown)]);
	const [, value, more] = VALUE_AND_FLAG.exec(word) ?? [];
	if (value !== undefined && more !== undefined) return severalWords([value, ...more.trim().split(/\s+/)].map(shown));
	const [, flag, rest] = SEVERAL.exec(word.trim()) ?? [];
	if (flag === undefined || word === flag) return undefined;
	if (rest === undefined) return `has a blank around "${flag}", which vLLM would take for a part of it: leave it out`;
	return severalWords([flag, ...(SECRET.test(flag) ? ["…"] : wordsOf(rest))]);
}

/** A text of arguments as the list that it should be: `["--max-model-len", "100"]`. What may be a secret is `…`. */
export function argumentList(text: string): string {
	const words = text.match(/'[^']*'|"[^"]*"|\S+/g) ?? [];
	const entries = words.map((word, index) => (SECRET.test(words[index - 1] ?? "") ? "…" : shown(word)));
	return `[${shortText(entries.map((each) => JSON.stringify(each)).join(", "), LONGEST)}]`;
}

function isJson(text: string): boolean {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
}

function severalWords(words: readonly string[]): string {
	const entries = shortText(words.map((each) => JSON.stringify(each)).join(", "), LONGEST);
	return `is one argument of several words, which vLLM does not know: each is an entry of its own, ${entries}`;
}

/** A word as it may be shown: a flag, a number, or `…` in place of what is neither. */
function shown(word: string): string {
	return SHOWN.test(word) ? word : word.replace(/^(--?[A-Za-z][\w.-]*=)?[\s\S]*$/, "$1…");
}

/** What a shell would make of the words behind a flag: of JSON and of what is in quotes, one. */
function wordsOf(rest: string): string[] {
	const value = rest.replace(/^=\s*/, "");
	const [, , inside] = /^(['"])([\s\S]*)\1$/.exec(value) ?? [];
	if (inside !== undefined) return [inside];
	return /^[[{]/.test(value) ? [value] : value.split(/\s+/);
}
