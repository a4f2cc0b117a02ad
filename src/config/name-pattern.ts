/** Names of models as the configuration gives them: `*` stands for any text. The one matcher of keys, limits and prices. Pure. */

/** Tells whether a name fits. */
export type Fits = (name: string) => boolean;

/** Whether a name fits one of these patterns. Upper and lower case differ. */
export function fitting(patterns: readonly string[]): Fits {
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
 * Whether the text is these parts with any text between them. By hand: as a regular expression, a pattern of twelve stars
 * and a long model name keep the process busy for hours.
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
