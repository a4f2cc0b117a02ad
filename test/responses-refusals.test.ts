/** Requests to `/v1/responses` that are refused, naming the field at fault as its client wrote it. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import type { Json } from "./kit/exchange.ts";
import { called, fn, output, readResponses, user } from "./kit/responses.ts";

function refusal(body: Json | string) {
	try {
		readResponses(body);
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
		throw thrown;
	}
	throw new Error("it was taken");
}

describe("is refused", () => {
	const asking = { model: "m", input: "hi" };
	const item = (...items: Json[]) => ({ model: "m", input: items });
	test.each([
		["what is no JSON", "hi", "invalid_json", null],
		["a list", "[1]", "invalid_value", null],
		["a field that stands twice", '{"model":"m","model":"n","input":"hi"}', "duplicate_key", "model"],
		[
			"a field of an item that stands twice",
			'{"model":"m","input":[{"role":"user","role":"system","content":"hi"}]}',
			"duplicate_key",
			"input[0].role",
		],
		[
			"a field of an item that stands twice, once with an escape",
			'{"model":"m","input":[{"role":"user","r\\u006fle":"system","content":"hi"}]}',
			"duplicate_key",
			"input[0].role",
		],
		[
			"a field that the router does not read, twice",
			'{"model":"m","input":[{"role":"user","content":"hi","status":"a","status":"b"}]}',
			"duplicate_key",
			"input[0].status",
		],
		[
			"a field of a part that stands twice",
			'{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a","text":"b"}]}]}',
			"duplicate_key",
			"input[0].content[0].text",
		],
		[
			"a field that stands twice in a request whose names have escapes",
			'{"m\\u006fdel":"m","input":[{"role":"user","content":"a","content":"b"}]}',
			"duplicate_key",
			"input[0].content",
		],
		[
			"more levels than anyone reads",
			`{"model":"m","input":${"[".repeat(2000)}${"]".repeat(2000)}}`,
			"invalid_value",
			null,
		],
		["a call without a model", { input: "hi" }, "invalid_value", "model"],
		["a call without input", { model: "m" }, "invalid_value", "input"],
		["input that holds nothing", { model: "m", input: [] }, "invalid_value", "input"],
		["a number for input", { model: "m", input: 5 }, "invalid_value", "input"],
		["a limit of no tokens", { ...asking, max_output_tokens: 0 }, "invalid_value", "max_output_tokens"],
		["a limit that is a text", { ...asking, max_output_tokens: "9" }, "invalid_value", "max_output_tokens"],
		["a stream that is a text", { ...asking, stream: "yes" }, "invalid_value", "stream"],
		[
			"an answer that was kept elsewhere",
			{ ...asking, previous_response_id: "resp_x" },
			"previous_response_not_found",
			"previous_response_id",
		],
		["a call in the background", { ...asking, background: true }, "unsupported_parameter", "background"],
		["a conversation that is kept", { ...asking, conversation: "conv_1" }, "unsupported_parameter", "conversation"],
		["a prompt that is kept", { ...asking, prompt: { id: "pmpt_1" } }, "unsupported_parameter", "prompt"],
		[
			"an item that is kept",
			item(user("hi"), { type: "item_reference", id: "msg_1" }),
			"unsupported_parameter",
			"input[1]",
		],
		[
			"a compaction of what comes before it and behind it",
			item(user("hi"), { type: "compaction_trigger" }, user("and now?")),
			"invalid_value",
			"input[1]",
		],
		[
			"a compaction that was made elsewhere",
			item({ type: "compaction", encrypted_content: "gAAAA" }),
			"unsupported_parameter",
			"input[0].encrypted_content",
		],
		["an item of no kind", item({ content: "hi" }), "invalid_value", "input[0].type"],
		["an item of a kind that nobody knows", item({ type: "song" }), "invalid_value", "input[0].type"],
		["a role that nobody has", item({ role: "critic", content: "hi" }), "invalid_value", "input[0].role"],
		["a message without content", item({ role: "user" }), "invalid_value", "input[0].content"],
		[
			"a part of a kind that nobody knows",
			item(user("hi"), user([{ type: "smell" }])),
			"invalid_value",
			"input[1].content[0].type",
		],
		[
			"a text that is a number",
			item(user([{ type: "input_text", text: 5 }])),
			"invalid_value",
			"input[0].content[0].text",
		],
		["a picture that is nowhere", item(user([{ type: "input_image" }])), "invalid_value", "input[0].content[0]"],
		[
			"a picture by its id",
			item(user([{ type: "input_image", file_id: "file-1" }])),
			"unsupported_parameter",
			"input[0].content[0].file_id",
		],
		[
			"a file that is nowhere",
			item(user([{ type: "input_file", filename: "a.pdf" }])),
			"invalid_value",
			"input[0].content[0]",
		],
		[
			"a picture of the system's",
			item({ role: "system", content: [{ type: "input_image", image_url: "https://x.example/a.png" }] }),
			"unsupported_parameter",
			"input[0].content[0].type",
		],
		[
			"a refusal of the user's",
			item(user([{ type: "refusal", refusal: "no" }])),
			"invalid_value",
			"input[0].content[0].type",
		],
		[
			"a call without an id",
			item(user("hi"), { type: "function_call", name: "f", arguments: "{}" }),
			"invalid_value",
			"input[1].call_id",
		],
		[
			"arguments that are no text",
			item(user("hi"), called("a", { arguments: {} })),
			"invalid_value",
			"input[1].arguments",
		],
		["a result of no call", item(user("hi"), output("a")), "invalid_value", "input[1].call_id"],
		["a second result of a call", item(called("a"), output("a"), output("a")), "invalid_value", "input[2].call_id"],
		["two calls of one id", item(called("a"), called("a")), "invalid_value", "input[1].call_id"],
		["a call without its result", item(user("hi"), called("a"), called("b"), output("b")), "invalid_value", "input[1]"],
		["a result that is a number", item(called("a"), output("a", 5)), "invalid_value", "input[1].output"],
		["a function without a name", { ...asking, tools: [{ type: "function" }] }, "invalid_value", "tools[0].name"],
		[
			"a function of a chat's form",
			{ ...asking, tools: [{ type: "function", function: { name: "f" } }] },
			"invalid_value",
			"tools[0].name",
		],
		[
			"parameters that are no schema",
			{ ...asking, tools: [fn("f"), fn("g", { parameters: [] })] },
			"invalid_value",
			"tools[1].parameters",
		],
		["two functions of one name", { ...asking, tools: [fn("f"), fn("f")] }, "invalid_value", "tools[1].name"],
		[
			"a namespace without tools",
			{ ...asking, tools: [{ type: "namespace", name: "n" }] },
			"invalid_value",
			"tools[0].tools",
		],
		[
			"a nested function without a name",
			{ ...asking, tools: [{ type: "namespace", name: "n", tools: [{ type: "function" }] }] },
			"invalid_value",
			"tools[0].tools[0].name",
		],
		[
			"a choice that nobody knows",
			{ ...asking, tools: [fn("f")], tool_choice: "maybe" },
			"invalid_value",
			"tool_choice",
		],
		[
			"a choice of a tool that is not there",
			{ ...asking, tools: [fn("f")], tool_choice: fn("g") },
			"invalid_value",
			"tool_choice.name",
		],
		["a tool that must be called, of none", { ...asking, tool_choice: "required" }, "invalid_value", "tool_choice"],
		[
			"a search that must be made",
			{ ...asking, tools: [{ type: "web_search" }], tool_choice: "required" },
			"unsupported_parameter",
			"tool_choice",
		],
		[
			"a search that is chosen",
			{ ...asking, tools: [{ type: "web_search" }], tool_choice: { type: "web_search" } },
			"unsupported_parameter",
			"tool_choice.type",
		],
		[
			"an allowed tool that is not there",
			{ ...asking, tools: [fn("f")], tool_choice: { type: "allowed_tools", mode: "auto", tools: [fn("f"), fn("g")] } },
			"invalid_value",
			"tool_choice.tools[1].name",
		],
		[
			"a form of text that nobody knows",
			{ ...asking, text: { format: { type: "xml" } } },
			"invalid_value",
			"text.format.type",
		],
		[
			"a schema without a name",
			{ ...asking, text: { format: { type: "json_schema", schema: {} } } },
			"invalid_value",
			"text.format.name",
		],
	] as const)("%s", (_, body, code, param) => {
		const { errorCode, message, body: said } = refusal(body as Json | string);
		expect([errorCode, said.error.param]).toEqual([code, param]);
		if (param !== null && code !== "previous_response_not_found") expect(message).toContain(`"${param}"`);
	});

	test("with the words that OpenAI has for an answer that it does not know", () => {
		expect(refusal({ ...asking, previous_response_id: "resp_x" }).body).toEqual({
			error: {
				message: "Previous response with id 'resp_x' not found.",
				type: "invalid_request_error",
				param: "previous_response_id",
				code: "previous_response_not_found",
			},
		});
	});

	test("without a word of the request in the message", () => {
		const secret = "SECRET-WORDS";
		for (const body of [
			{ model: "m", input: [{ role: "user", content: [{ type: "input_text", text: [secret] }] }] },
			{ model: "m", input: [{ type: secret, role: secret, content: secret }] },
			{ model: "m", input: [{ role: "user", content: [{ type: secret }] }] },
			{ model: "m", input: "hi", tool_choice: secret },
			`{"model": "m", "input": "${secret}`,
		]) {
			expect(JSON.stringify(refusal(body).body)).not.toContain(secret);
		}
	});
});
