/** Arguments of vLLM that were written as for a shell, which would split them: vLLM gets each entry of the list as it is. Pure. */

/** A flag with something behind it that a blank divides, or blanks around it. After `=` all is the value's, and texts have dashes, too. */
const SEVERAL = /^(--[A-Za-z][\w.-]*|-[A-Za-z]{1,3}(?=\s+\d))(?:\s+([\s\S]+))?$/;
/** JSON in the quotes that keep a shell's hands off it. */
const QUOTED = /^(?:--?[A-Za-z][\w.-]*=)?'\s*[[{][\s\S]*[\]}]\s*'$/;
/** Flags whose values are shown to nobody. */
const SECRET = /key|token|secret|password/i;
/** Longest correction, characters. */
const LONGEST = 200;

/** Why an entry of `args` is not the one argument that it should be, and what to write instead; undefined where it is. */
export function argumentProblem(word: string): string | undefined {
	if (QUOTED.test(word))
		return "has a shell's quotes around its JSON, which vLLM would take for a part of it: leave them out";
	const [, flag, rest] = SEVERAL.exec(word.trim()) ?? [];
	if (flag === undefined || word === flag) return undefined;
	if (rest === undefined) return `has a blank around "${flag}", which vLLM would take for a part of it: leave it out`;
	const words = [flag, ...(SECRET.test(flag) ? ["…"] : wordsOf(rest))].map((each) => JSON.stringify(each)).join(", ");
	const shown = words.length > LONGEST ? `${words.slice(0, LONGEST)}…` : words;
	return `is one argument of several words, which vLLM does not know: each is an entry of its own, ${shown}`;
}

/** What a shell would make of the words behind a flag: of JSON and of what is in quotes, one. */
function wordsOf(rest: string): string[] {
	const value = rest.replace(/^=\s*/, "");
	const [, , inside] = /^(['"])([\s\S]*)\1$/.exec(value) ?? [];
	if (inside !== undefined) return [inside];
	return /^[[{]/.test(value) ? [value] : value.split(/\s+/);
}
