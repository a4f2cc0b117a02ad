/** Compaction over `/v1/responses`: Codex asks for its conversation in short, and sends what it got in the conversation's place. */
import { describe, expect, test } from "bun:test";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { RouterError } from "../src/errors.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { responseFaults } from "./kit/response-schema.ts";
import {
	callChunk,
	called,
	callOf,
	chatOf,
	chunk,
	fn,
	output,
	ROLE,
	readStream,
	saying,
	user,
	written,
} from "./kit/responses.ts";

const history = [user("Mend it."), called("a"), output("a")];
const asking = { input: [...history, { type: "compaction_trigger" }], tools: [fn("f")] };
const SUMMARY = "The user wants it mended. Grüße 🙂";
const compacted = (pieces: readonly string[]) => readStream(pieces, asking).response["output"] as Loose[];

describe("is no item", () => {
	test("where the stream breaks off", () => {
		const error = new RouterError("upstream_truncated", "box broke off.");
		expect(readStream([ROLE, chunk({ content: "The user" })], asking, error).response).toMatchObject({
			status: "failed",
			output: [],
		});
	});

	test("where it was cut off by its limit, streamed, whole or from the cache", () => {
		const pieces = saying([chunk({ content: "The user" })], "length");
		expect(readStream(pieces, asking).response).toMatchObject({ status: "incomplete", output: [] });
		const call = callOf(asking);
		const chat = { choices: [{ message: { content: "The user" }, finish_reason: "length" }] };
		const response = JSON.parse(String(openAiResponses.answer(JSON.stringify(chat), call, undefined)));
		expect(response).toMatchObject({ status: "incomplete", output: [] });
		// Nobody else may get an answer without the words.
		expect(openAiResponses.fold(call, Buffer.from(written(pieces, asking)))).toBeUndefined();
	});

	test("where the model says nothing, so that the client keeps what it has", () => {
		expect(compacted(saying([chunk({ content: " \n" })]))).toEqual([]);
	});
});

test("the model is asked behind the conversation, with the tools it had, none of which it may call, and for plain words", () => {
	const text = { format: { type: "json_schema", name: "n", schema: {} } };
	const { messages, tools, ...rest } = chatOf({ ...asking, text });
	expect(messages.slice(0, -1)).toEqual(chatOf({ input: history })["messages"]);
	expect(messages.at(-1)).toMatchObject({ role: "user", content: expect.stringContaining("summary") });
	expect([tools.length, rest]).toEqual([1, { tool_choice: "none" }]);
	expect(chatOf({ input: asking.input })).not.toHaveProperty("tool_choice");
});

test("exactly one item comes, whatever else the model does", () => {
	const pieces = saying([
		chunk({ reasoning_content: "Hm." }),
		chunk({ content: SUMMARY.slice(0, 9) }),
		chunk({ content: SUMMARY.slice(9) }),
		callChunk(0, "b", "f", "{}"),
	]);
	const { types, response } = readStream(pieces, asking);
	expect(types).toEqual(["created", "in_progress", "output_item.added", "output_item.done", "completed"]);
	expect(response["output"]).toEqual([
		{ type: "compaction", id: expect.stringMatching(/^cmp_/), encrypted_content: expect.any(String) },
	]);
});

test("a whole answer has the same item, and so has one from the cache", () => {
	const call = callOf(asking);
	const chat = openAiResponses.fold(call, Buffer.from(written(saying([chunk({ content: SUMMARY })]), asking)))!;
	expect(JSON.parse(chat).choices).toMatchObject([{ message: { content: SUMMARY }, finish_reason: "stop" }]);
	const response = JSON.parse(String(openAiResponses.answer(chat, call, undefined)));
	expect(responseFaults(response)).toEqual([]);
	expect(response.output).toEqual(compacted(saying([chunk({ content: SUMMARY })])));
});

test("the item takes the conversation's place", () => {
	const [item] = compacted(saying([chunk({ content: SUMMARY })]));
	const { messages } = chatOf({ input: [user("Mend it."), item as Json, user("Go on.")] });
	expect(messages).toEqual([user(expect.stringMatching(/^Mend it\.\n\n.*\n\nGo on\.$/s))]);
	expect(messages[0].content).toContain(`:\n\n${SUMMARY}\n\n`);
});
