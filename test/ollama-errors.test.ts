/** Errors of Ollama's API name what is at fault as its clients have written it. */
import { expect, test } from "bun:test";
import type { Dialect } from "../src/dialects/dialect.ts";
import { ollamaChat, ollamaGenerate } from "../src/dialects/ollama/ollama-dialect.ts";
import { RouterError } from "../src/errors.ts";
import type { Json, Loose } from "./kit/exchange.ts";

const CHAT: Json = {
	model: "m",
	messages: [
		{ role: "user", content: "hi" },
		{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: {} } }] },
		{ role: "tool", content: "done", images: ["/9j/4AAQ"] },
		{ role: "user", content: "And?" },
	],
};
const PROMPT: Json = { model: "m", system: "Be brief.", prompt: "hi" };

/** What a client reads of a failure that names a field of OpenAI's. */
async function told(dialect: Dialect, body: Json, field: string): Promise<string> {
	const parsed = dialect.parse("chat", Buffer.from(JSON.stringify(body)));
	const call = { id: "req_1", operation: "chat", ...parsed } as const;
	const failed = new RouterError("unsupported_parameter", `The upstream of this model can't take "${field}": so.`);
	const answer = dialect.error(failed, { "x-request-id": "req_1" }, call);
	expect([answer.status, answer.headers.get("x-request-id")]).toEqual([400, "req_1"]);
	const text = ((await answer.json()) as Loose)["error"] as string;
	expect(JSON.parse(dialect.stream(call).error(failed))).toEqual({ error: text });
	return /"([^"]*)"/.exec(text)![1]!;
}

test.each([
	["response_format.json_schema.schema.a", "format.a"],
	["response_format", "format"],
	["reasoning_effort", "think"],
	["max_completion_tokens", "options.num_predict"],
	["repetition_penalty", "options.repeat_penalty"],
	["stop[2]", "options.stop[2]"],
	["messages[0].content", "messages[0].content"],
	["messages[2].content", "messages[2].content"],
	// The pictures of the result.
	["messages[3].content[1]", "messages[2].content[1]"],
	["messages[4].content", "messages[3].content"],
	["tools[0].function.parameters", "tools[0].function.parameters"],
])("of a chat, %s is %s", async (field, expected) => {
	expect(await told(ollamaChat, CHAT, field)).toBe(expected);
});

test.each([
	["messages[0].content", "system"],
	["messages[1].content[0].image_url", "prompt"],
	["temperature", "options.temperature"],
])("of a prompt, %s is %s", async (field, expected) => {
	expect(await told(ollamaGenerate, PROMPT, field)).toBe(expected);
});
