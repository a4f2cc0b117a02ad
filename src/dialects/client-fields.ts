/**
 * Fields in an error's words: upstreams and providers name them as OpenAI does, and clients of other wires have written others.
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
