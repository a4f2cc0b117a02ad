/**
 * Names of fields, as clients are told them: in an error's words, where upstreams and providers name them as OpenAI does and clients of other
 * wires have written others; and in the header that says what is left out.
 */

/** Fields of OpenAI's by their beginning, and what the client calls them; `$1` is what the pattern's first group has found. */
export type FieldNames = readonly (readonly [pattern: RegExp, name: string])[];

/** Longest name of a field, characters. */
const QUOTED = /"([\w.[\]]{1,200})"/g;

/** The field as the client has written it; the same where the names have none of it. */
export function clientField(field: string, names: FieldNames): string {
	const [pattern, name] = names.find(([each]) => each.test(field)) ?? [];
	return pattern && name !== undefined ? field.replace(pattern, name) : field;
}

/** The words with fields, which stand in quotes, as the client has written them. */
export function inClientsFields(message: string, names: FieldNames): string {
	return message.replace(QUOTED, (_, field: string) => `"${clientField(field, names)}"`);
}

/** Most names of what is left out that are told, and the longest one, characters. */
const MOST_NAMED = 32;
const LONGEST_NAMED = 64;
const ODD = /[^\w.:-]/g;

/** Names of what is left out, each once. They are the client's, and go into a header: other characters than a field's become `_`. */
export function leftOutNames(names: Iterable<string>): readonly string[] {
	const clean = new Set<string>();
	for (const name of names) {
		if (clean.size === MOST_NAMED) break;
		clean.add(name.slice(0, LONGEST_NAMED).replace(ODD, "_"));
	}
	return [...clean];
}
