/** What a call cost, told in its `usage`, as OpenRouter does. */
import { fieldNamed, fieldsOf } from "./json.ts";

/** An answer or a chunk as JSON text, with `usage.cost` in it; as it was where there is no usage, or a cost already. */
export function withCost(json: string, usd: number): string {
	const start = usageAtEnd(json) ?? usageAnywhere(json);
	if (start === undefined) return json;
	const fields = fieldsOf(json, start);
	if (fieldNamed(fields, "cost")) return json;
	// No exponent: some parsers of money take none.
	const last = fields.at(-1);
	const cost = `"cost":${decimal(usd)}`;
	const at = last?.end ?? start + 1;
	return `${json.slice(0, at)}${last ? "," : ""}${cost}${json.slice(at)}`;
}

/** Where the usage's `{` stands. 2 µs a KB. */
function usageAnywhere(json: string): number | undefined {
	const usage = fieldNamed(fieldsOf(json), "usage");
	return usage && json[usage.start] === "{" ? usage.start : undefined;
}

/** The same where only plain fields come behind it, as most upstreams have it: no walk over the whole answer. Undefined where that is not so. */
function usageAtEnd(json: string): number | undefined {
	const key = json.lastIndexOf('"usage":{');
	// Behind a backslash it would be the end of some text.
	if (key < 1 || (json[key - 1] !== "," && json[key - 1] !== "{")) return undefined;
	const start = key + '"usage":'.length;
	const end = json.indexOf("}", fieldsOf(json, start).at(-1)?.end ?? start);
	return PLAIN_END.test(json.slice(end + 1)) ? start : undefined;
}

/** Some fields, and the one brace that ends an answer: what stands before them is the answer's own. */
const PLAIN_END = /^(?:,"\w+":(?:"[\w.-]*"|null|\d+))*\}\s*$/;

/** A number as JSON without an exponent, to 1e-12. */
export function decimal(usd: number): string {
	const text = String(usd);
	return text.includes("e") ? usd.toFixed(12).replace(/\.?0+$/, "") : text;
}

/** What of a message no model has written. */
const FRAME = new Set(["role", "type", "id"]);

/** What a picture or a sound counts for, whose bytes stand in the answer: some 500 tokens. */
const MEDIA_CHARACTERS = 2000;

/** Characters of all that an answer says, as far as it can be read. */
export function answerCharacters(json: string): number {
	let characters = 0;
	const add = (value: unknown): void => {
		if (typeof value === "string") characters += value.startsWith("data:") ? MEDIA_CHARACTERS : value.length;
		else if (typeof value === "object" && value !== null) {
			for (const [name, part] of Object.entries(value)) if (!FRAME.has(name)) add(part);
		}
	};
	try {
		const { choices } = JSON.parse(json) as { choices?: unknown };
		for (const choice of Array.isArray(choices) ? choices : []) {
			const { message, text } = (choice ?? {}) as { message?: unknown; text?: unknown };
			add(message ?? text);
		}
	} catch {
		return 0;
	}
	return characters;
}
