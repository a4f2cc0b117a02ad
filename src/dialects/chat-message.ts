/** What wires read of a message of OpenAI's. */
import { objectIn } from "../openai/usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** A text; "" for all else. Of content in parts, their texts. */
export function contentText(value: unknown): string {
	if (typeof value === "string") return value;
	if (!Array.isArray(value)) return "";
	return value.map((part) => contentText(objectIn(part)?.["text"])).join("");
}

/** What it thought, under either of its names. */
export const reasoningIn = (message: Json): string =>
	contentText(message["reasoning_content"]) || contentText(message["reasoning"]);

/** The calls of a message, in the newer and in the older form. */
export function toolCallsIn(message: Json): Json[] {
	const { tool_calls, function_call } = message;
	if (Array.isArray(tool_calls)) return tool_calls.map((call) => objectIn(call) ?? {});
	return objectIn(function_call) ? [{ function: function_call }] : [];
}

/**
 * The arguments of a call as a JSON object, in its model's own text, so that big numbers survive. What is no object is the value of one field: its client reads
 * what was said, and refuses it.
 */
export function argumentsText(args: unknown): string {
	if (objectIn(args)) return JSON.stringify(args);
	const text = contentText(args).trim();
	if (text === "") return "{}";
	try {
		if (objectIn(JSON.parse(text))) return text;
	} catch {
		// Said below.
	}
	return JSON.stringify({ arguments: text });
}
