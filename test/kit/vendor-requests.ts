/** Requests of the chat API as Anthropic and Gemini get them, and the smallest parts to make them of. */

import { parseRequest } from "../../src/dialects/openai-chat.ts";
import { RouterError } from "../../src/errors.ts";
import { messagesRequest } from "../../src/providers/anthropic/request.ts";
import { generateRequest } from "../../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../../src/providers/provider.ts";
import type { Json, Loose } from "./exchange.ts";

/** The body of a request that says hi, and more. */
export const request = (more: Json) =>
	parseRequest("chat", JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }], ...more })).body()
		.value;
/** What Anthropic gets of it. */
export const toClaude = (more: Json, model = "claude-opus-4-7"): Loose =>
	JSON.parse(messagesRequest(request(more), model, false, NO_INPUTS).body);
/** What Gemini gets of it. */
export const toGemini = (more: Json, model = "gemini-3-flash"): Loose =>
	JSON.parse(generateRequest(request(more), model, "https://g/v1beta", NO_INPUTS));

/** Code and field of the refusal. */
export function refusal(run: () => unknown): [string, string | null] {
	try {
		run();
	} catch (error) {
		if (error instanceof RouterError) return [error.errorCode, error.body.error.param];
		throw error;
	}
	throw new Error("it was not refused");
}

/** A message of the user. */
export const user = (content: unknown, more: Json = {}) => ({ role: "user", content, ...more });
/** A call of the function `f`. */
export const call = (args: string, id = "call_1") => ({
	id,
	type: "function",
	function: { name: "f", arguments: args },
});
/** An answer that calls it twice. */
export const TWO_CALLS = { role: "assistant", content: null, tool_calls: [call("{}"), call("{}", "call_2")] };
/** What a call of it came to. */
export const result = (id: string) => ({ role: "tool", tool_call_id: id, content: "r" });
/** A thought of Claude's, signed. */
export const THOUGHT = [{ type: "reasoning.text", text: "t", signature: "s", format: "anthropic-claude-v1" }];
/** An image as a part of a message. */
export const PIXEL = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
