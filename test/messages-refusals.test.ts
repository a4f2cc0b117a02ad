/** Requests of Anthropic's Messages API that are refused: in its words, by the field, and before any upstream is asked. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { asking, hello, MODELS, messagesRig, user } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart();
	rig.upstream.run(hello);
});

const block = (more: Json) => asking({ messages: [user([more])] });

describe("is refused in Anthropic's words, and asked of nobody", () => {
	test.each([
		["no JSON", "hi", "The request body is not valid JSON."],
		["a list", [], "The request body must be a JSON object."],
		["a field twice", '{"model":"box/m","model":"box/m"}', "model: the field stands twice; send it once"],
		["no model", { max_tokens: 1, messages: [user("hi")] }, "model: Field required"],
		["no limit", { model: "box/m", messages: [user("hi")] }, "max_tokens: Field required"],
		["no messages", { model: "box/m", max_tokens: 1 }, "messages: Field required"],
		["empty messages", asking({ messages: [] }), "messages: at least one message is required"],
		["a limit that is no number", asking({ max_tokens: "1" }), "max_tokens: Input should be a valid integer"],
		["a limit below 0", asking({ max_tokens: -1 }), "max_tokens: Input should be greater than or equal to 0"],
		[
			"a role that is none",
			asking({ messages: [{ role: "tool", content: "x" }] }),
			"messages.0.role: Input should be 'user' or 'assistant'",
		],
		["no content", asking({ messages: [{ role: "user" }] }), "messages.0.content: Field required"],
		[
			"content that is a number",
			asking({ messages: [user("hi"), user(7)] }),
			"messages.1.content: Input should be a valid string or a list of content blocks",
		],
		["a block without a type", block({ text: "x" }), "messages.0.content.0.type: Field required"],
		["a text without text", block({ type: "text" }), "messages.0.content.0.text.text: Field required"],
		[
			"an image from nowhere",
			block({ type: "image", source: { type: "tape" } }),
			"messages.0.content.0.image.source: Input tag 'tape' does not match any of the expected tags",
		],
		[
			"an image without data",
			block({ type: "image", source: { type: "base64", media_type: "image/png" } }),
			"messages.0.content.0.image.source.base64.data: Field required",
		],
		[
			"a call whose input is a text",
			asking({
				messages: [user("hi"), { role: "assistant", content: [{ type: "tool_use", id: "a", name: "f", input: "x" }] }],
			}),
			"messages.1.content.0.tool_use.input: Input should be a valid dictionary",
		],
		[
			"a result in a result's list",
			block({ type: "tool_result", tool_use_id: "a", content: [{ type: "text" }] }),
			"messages.0.content.0.tool_result.content.0.text.text: Field required",
		],
		[
			"a system prompt that is a number",
			asking({ system: 1 }),
			"system: Input should be a valid string or a list of text blocks",
		],
		["a tool without a name", asking({ tools: [{ input_schema: {} }] }), "tools.0.custom.name: Field required"],
		["a tool without a schema", asking({ tools: [{ name: "f" }] }), "tools.0.custom.input_schema: Field required"],
		["stop sequences that are a text", asking({ stop_sequences: "x" }), "stop_sequences: Input should be a valid list"],
		["a temperature that is a text", asking({ temperature: "1" }), "temperature: Input should be a valid number"],
		["a stream that is a number", asking({ stream: 1 }), "stream: Input should be a valid boolean"],
	] as [string, Json | string, string][])("%s", async (_, body, message) => {
		const { status, json, headers } = await rig.send(body);
		expect([status, json["error"]]).toEqual([400, { type: "invalid_request_error", message }]);
		expect(json["type"]).toBe("error");
		expect(json["request_id"]).toBe(headers.get("request-id"));
		expect(headers.get("request-id")).toBe(headers.get("x-request-id"));
		expect(rig.upstream.received.length).toBe(0);
	});

	test("no refusal quotes what was sent", async () => {
		const secret = "the client's secret words";
		for (const body of [
			asking({ system: { secret } }),
			block({ type: "text", text: { secret } }),
			`{"model": "${secret}`,
		]) {
			expect((await rig.send(body)).text).not.toContain("secret");
		}
	});

	test("a model that nobody serves", async () => {
		const { status, json } = await rig.send(asking({}, "nobody"));
		expect([status, json["error"].type]).toEqual([404, "not_found_error"]);
	});

	test("a body with more parts than a parse should see", async () => {
		const { status, json } = await rig.send(`{"model":"box/m","messages":[${"[],".repeat(120_000)}[]]}`);
		expect([status, json["error"].type]).toEqual([413, "request_too_large"]);
	});

	test("a thread, by the code on which the SDK sends the whole conversation", async () => {
		for (const thread of [{ type: "create" }, { type: "continue", previous_message_id: "msg_1" }]) {
			const { status, json } = await rig.send(asking({ thread }));
			expect(status).toBe(400);
			expect(json["error"].details).toEqual({ error_code: "thread_unsupported_request" });
		}
	});
});

describe("version 2026-10-21", () => {
	const version = { "anthropic-version": "2026-10-21" };

	test.each(["temperature", "top_p", "top_k"])("refuses %s at any value, also beside a cached answer", async (name) => {
		const body = asking({ temperature: 0, ...(name === "temperature" ? {} : { temperature: undefined, [name]: 1 }) });
		expect((await rig.send(body)).status).toBe(200);
		expect((await rig.send(body)).status).toBe(200);
		const { status, json } = await rig.send(body, version);
		expect([status, json["error"].message]).toEqual([400, expect.stringContaining(`${name}: `)]);
		expect((await rig.send(body, { "anthropic-version": "2027-01-01" })).status).toBe(400);
	});

	test("refuses documents of the assistant's and citations on a user's text", async () => {
		const document = { type: "document", source: { type: "text", media_type: "text/plain", data: "x" } };
		const said = asking({ messages: [user("hi"), { role: "assistant", content: [document] }, user("go on")] });
		const cited = block({ type: "text", text: "x", citations: [] });
		for (const [body, path] of [
			[said, "messages.1.content.0: "],
			[cited, "messages.0.content.0.text.citations: "],
		] as const) {
			expect((await rig.send(body)).status).toBe(200);
			const { status, json } = await rig.send(body, version);
			expect([status, json["error"].message]).toEqual([400, expect.stringContaining(path)]);
		}
	});

	test("takes all else", async () => {
		expect((await rig.send(asking(), version)).status).toBe(200);
	});
});

describe("what an upstream has no form for is named as its client wrote it", () => {
	test.each([
		["stop_sequences", { stop_sequences: ["a", "b", "c", "d", "e", "f"] }],
		["tools.0.name", { tools: [{ name: "a name with spaces", input_schema: {} }] }],
	] as [string, Json][])("%s", async (field, more) => {
		const { status, json } = await rig.send(asking(more, MODELS.gemini));
		expect([status, json["error"].type]).toEqual([400, "invalid_request_error"]);
		expect(json["error"].message).toContain(`"${field}"`);
	});
});
