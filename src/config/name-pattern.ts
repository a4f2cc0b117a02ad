/** Patterns of model names, with `*` for any text: the matcher of keys, limits, prices and `models:`. Pure. */

/** Whether a name matches. */
export type NameMatcher = (name: string) => boolean;

/** What a pattern has for any text. */
export const STAR = "*";

/** How many a name has; 0 makes it no pattern. */
export const starsIn = (name: string): number => name.split(STAR).length - 1;

/** What each star of a pattern stands for in a name, in order; undefined where the name does not fit. */
export type NameCaptures = (name: string) => readonly string[] | undefined;

/** Compiles a pattern. Each star takes as little as it can, the last what is left. */
export function nameCaptures(pattern: string): NameCaptures {
	const shape = shapeOf(pattern);
	const { first, middle, last = "" } = shape;
	return (name) => {
		if (!fits(shape, name)) return undefined;
		const captures: string[] = [];
		let at = first.length;
		for (const part of middle) {
			const found = name.indexOf(part, at);
			captures.push(name.slice(at, found));
			at = found + part.length;
		}
		captures.push(name.slice(at, name.length - last.length));
		return captures;
	};
}

/** A name with captured texts in the place of its stars; one without stars as it is. */
export function filled(pattern: string, captures: readonly string[]): string {
	return pattern
		.split(STAR)
		.map((part, at) => (at === 0 ? part : (captures[at - 1] ?? "") + part))
		.join("");
}

/** Compiles patterns: a name matches when one of them does. Upper and lower case differ. */
export function nameMatcher(patterns: readonly string[]): NameMatcher {
	if (patterns.includes(STAR)) return () => true;
	const shapes = patterns.map(shapeOf);
	return (name) => {
		for (const shape of shapes) if (fits(shape, name)) return true;
		return false;
	};
}

/** A pattern, taken apart once: every call is compared with those of its key and of all models' limits. */
interface Shape {
	readonly first: string;
	readonly middle: readonly string[];
	/** Undefined where the pattern has no star. */
	readonly last: string | undefined;
}

function shapeOf(pattern: string): Shape {
	const [first = "", ...middle] = pattern.split(STAR);
	const last = middle.pop();
	return { first, middle, last };
}

/**
 * Whether the text consists of these parts with any text between them. Not a regular expression: its backtracking on a pattern of many
 * stars and a long model name takes hours.
 */
function fits({ first, middle, last }: Shape, text: string): boolean {
	if (last === undefined) return text === first;
	if (!text.startsWith(first)) return false;
	let at = first.length;
	for (const part of middle) {
		const found = text.indexOf(part, at);
		if (found === -1) return false;
		at = found + part.length;
	}
	return text.length - last.length >= at && text.endsWith(last);
}
