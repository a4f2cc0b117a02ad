/** Names of functions: Google takes dots, colons and 128 characters, OpenAI 64 letters, digits, `_` and `-`. Others go out in that form and come back whole. */

/** Characters that every server takes. */
const MOST = 64;
/** Of a hash, in hex. */
const HASH = 8;
const PLAIN = /^[\w-]{1,64}$/;

/** The name that is sent to upstreams that are not Google's; the same each time. */
export function sentFunctionName(name: string): string {
	if (PLAIN.test(name)) return name;
	const hash = new Bun.SHA256().update(name).digest("hex").slice(0, HASH);
	return `${name.replace(/[^\w-]/g, "_").slice(0, MOST - HASH - 1)}_${hash}`;
}

/** The names that were sent in another form, with the whole ones; undefined where there are none. */
export function wholeNames(names: readonly string[]): ReadonlyMap<string, string> | undefined {
	let whole: Map<string, string> | undefined;
	for (const name of names) {
		if (PLAIN.test(name)) continue;
		whole ??= new Map();
		whole.set(sentFunctionName(name), name);
	}
	return whole;
}
