/** Patterns of model names, with `*` for any text: the matcher of keys, limits and prices. Pure. */

/** Whether a name matches. */
export type NameMatcher = (name: string) => boolean;

/** Compiles patterns: a name matches when one of them does. Upper and lower case differ. */
export function nameMatcher(patterns: readonly string[]): NameMatcher {
	if (patterns.includes("*")) return () => true;
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
	const [first = "", ...middle] = pattern.split("*");
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
