/** Names of tools that are longer than every server takes: they go out short, and come back whole. */

/** Longest name of a function that OpenAI's chat takes, characters. Anthropic's and OpenAI's Responses take 128, which MCP's need. */
const LONGEST = 64;
/** Of a hash, in hex. */
const HASH_LENGTH = 8;

/** The name that is sent: the same each time, so that the upstream's cached prompt holds. */
export const sentToolName = (name: string): string => (name.length <= LONGEST ? name : hashedToolName(name, name));

/** The beginning of a name with a hash behind it. @param of the text that is hashed */
export function hashedToolName(name: string, of: string): string {
	const hash = new Bun.SHA256().update(of).digest("hex").slice(0, HASH_LENGTH);
	return `${name.slice(0, LONGEST - HASH_LENGTH - 1)}_${hash}`;
}

const NOT_PLAIN = /[^\w-]/g;

/** The same of a name that may hold dots and colons, as Google's do: others take letters, digits, `_` and `-`. */
export function plainToolName(name: string): string {
	const plain = name.replace(NOT_PLAIN, "_");
	return plain === name ? sentToolName(name) : hashedToolName(plain, name);
}

/**
 * The names that are sent as others, with the whole ones; undefined where there are none.
 * @param sentAs as what each is sent
 */
export function wholeToolNames(
	names: readonly string[],
	sentAs: (name: string) => string,
): ReadonlyMap<string, string> | undefined {
	let whole: Map<string, string> | undefined;
	for (const name of names) {
		const sent = sentAs(name);
		if (sent === name) continue;
		whole ??= new Map();
		whole.set(sent, name);
	}
	return whole;
}
