/** The arguments of tool calls in a request's history. */
import { invalid } from "../openai/chat.ts";

/** The arguments' text, so that big numbers survive; `{}` where there is none. Throws where it is no JSON object. */
export function argumentsText(text: string, place: string): string {
	const trimmed = text.trim();
	if (trimmed === "") return "{}";
	try {
		JSON.parse(trimmed);
	} catch {
		throw invalid(`${place}.function.arguments`, "must hold JSON");
	}
	if (trimmed[0] !== "{") throw invalid(`${place}.function.arguments`, "must hold a JSON object");
	return trimmed;
}
