/** Numbers that a parse would round, kept as they were sent. */

/** Numbers that a parse may round. */
const LONG_NUMBER = /[[:,\s]-?\d[\d.]{15,}(?:[eE][+-]?\d+)?\s*[,\]}]|[[:,\s]-?[\d.]+[eE][+-]?\d{3}/;

/** What stands in each of them, and in next to no other text: it is looked for in a fraction of the time. */
const LONG_DIGITS = /\d[\d.]{15}|[\d.][eE][+-]?\d{3}/;

/** Whether a JSON text may hold such. */
export const hasLongNumbers = (text: string): boolean => LONG_DIGITS.test(text) && LONG_NUMBER.test(text);

/** The text, parsed; numbers that JavaScript's can't hold are written by `JSON.stringify` as they were sent. */
export function parsedExactly<Value>(text: string): Value {
	const kept = (_: string, value: unknown, { source }: { source?: string }) =>
		typeof value === "number" && source !== undefined && String(value) !== source ? rawJson(source) : value;
	return JSON.parse(text, kept as Parameters<typeof JSON.parse>[1]) as Value;
}

/** ECMAScript's, which its types don't have yet. */
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;
