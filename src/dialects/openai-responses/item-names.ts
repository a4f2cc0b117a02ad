/** Names that stand twice in an item, or in a part of one: the router would read the last one, and another parser may take the first. */
import { RouterError } from "../../errors.ts";
import { type Field, fieldsOf, itemsOf, repeatedKey } from "../../openai/json.ts";

/** Fields of items that hold parts. */
const PARTS = new Set(["content", "output", "summary"]);

/**
 * Throws `duplicate_key` naming the first of them as `input[2].content[0].text`. What is in objects of the client's own (schemas, arguments) may be as it likes.
 * @param text JSON
 * @param start where the input stands in it
 */
export function refuseRepeatedNames(text: string, start: number): void {
	if (text[start] !== "[") return;
	for (const [nth, item] of itemsOf(text, start).entries()) {
		for (const { key, start: at } of fieldsAt(text, item.start, `input[${nth}]`)) {
			if (text[at] !== "[" || !PARTS.has(key)) continue;
			for (const [part, { start: from }] of itemsOf(text, at).entries()) {
				fieldsAt(text, from, `input[${nth}].${key}[${part}]`);
			}
		}
	}
}

function fieldsAt(text: string, start: number, path: string): readonly Field[] {
	if (text[start] !== "{") return NONE;
	const fields = fieldsOf(text, start);
	const repeated = repeatedKey(fields);
	if (repeated === undefined) return fields;
	const param = `${path}.${repeated.slice(0, 64)}`;
	throw new RouterError("duplicate_key", `The field "${param}" stands twice; send it once.`, { param });
}

const NONE: readonly Field[] = [];
