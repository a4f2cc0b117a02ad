/** Claude behind the Messages API: its client's own bytes go up, and all that it says comes down, also what OpenAI's words have no form for. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO, hello, MODELS, messagesRig } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart({
		models: [
			{ name: "opus", targets: ["anthropic/claude-opus-4-7"] },
			{ name: "both", policy: "order", targets: ["anthropic/claude-opus-4-7", "box/m"] },
		],
	});
	rig.upstream.run(hello);
});

const user = (content: unknown) => ({ role: "user", content });
const asking = (more: Json = {}) => ({ model: MODELS.claude, max_tokens: 100, messages: [user("hi")], ...more });
const event = (type: string, more: Json = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
const start = (index: number, content_block: Json) => event("content_block_start", { index, content_block });
const delta = (index: number, piece: Json) => event("content_block_delta", { index, delta: piece });
const stop = (index: number) => event("content_block_stop", { index });

/** A message with kinds of blocks that no other vendor has. */
const SEARCHED = [
	event("message_start", {
		message: {
			id: "msg_own",
			type: "message",
			role: "assistant",
			model: "claude-opus-4-7",
			content: [],
			container: null,
			stop_reason: null,
			stop_sequence: null,
			usage: { input_tokens: 30, cache_read_input_tokens: 20, cache_creation_input_tokens: 10, output_tokens: 1 },
		},
	}),
	start(0, { type: "thinking", thinking: "", signature: "" }),
	delta(0, { type: "thinking_delta", thinking: "I look it up." }),
	delta(0, { type: "signature_delta", signature: "c2lnbmVk" }),
	stop(0),
	start(1, { type: "redacted_thinking", data: "c2VjcmV0" }),
	stop(1),
	start(2, { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: {} }),
	delta(2, { type: "input_json_delta", partial_json: '{"query":"Bern"}' }),
	stop(2),
	start(3, {
		type: "web_search_tool_result",
		tool_use_id: "srvtoolu_1",
		content: [{ type: "web_search_result", url: "https://example.com", title: "Bern" }],
	}),
	stop(3),
	start(4, { type: "text", text: "" }),
	delta(4, { type: "text_delta", text: "Bern is " }),
	delta(4, { type: "text_delta", text: "a city." }),
	stop(4),
	start(5, { type: "text", text: "" }),
	delta(5, {
		type: "citations_delta",
		citation: { type: "web_search_result_location", url: "https://example.com", cited_text: "Bern" },
	}),
	delta(5, { type: "text_delta", text: "It has bears." }),
	stop(5),
	start(6, { type: "tool_use", id: "toolu_1", name: "f", input: {}, caller: { type: "direct" } }),
	delta(6, { type: "input_json_delta", partial_json: '{"a":' }),
	delta(6, { type: "input_json_delta", partial_json: "1}" }),
	stop(6),
	event("message_delta", {
		delta: { stop_reason: "pause_turn", stop_sequence: null },
		usage: { input_tokens: 30, output_tokens: 42, server_tool_use: { web_search_requests: 1 } },
		context_management: { applied_edits: [] },
	}),
	event("message_stop"),
];
const eventsOf = (pieces: readonly string[]) => pieces.map((piece) => JSON.parse(piece.split("data: ")[1]!) as Loose);
/** Pieces of one block in a row are one: how a text is cut is the reader's matter. */
function joined(events: readonly Loose[]): Loose[] {
	const all: Loose[] = [];
	for (const each of events) {
		const { type, index, delta: piece } = each;
		const last = all.at(-1);
		if (
			type === "content_block_delta" &&
			last !== undefined &&
			last["type"] === type &&
			last["index"] === index &&
			last["delta"].type === piece.type
		) {
			const field = Object.keys(piece).find((name) => name !== "type")!;
			all[all.length - 1] = { ...last, delta: { ...piece, [field]: last["delta"][field] + piece[field] } };
		} else all.push(each);
	}
	return all;
}

describe("what others have said is translated, since Anthropic would refuse it", () => {
	test.each([
		[
			"a thought without a signature",
			[
				{ type: "thinking", thinking: "Hm", signature: "" },
				{ type: "text", text: "Hi" },
			],
		],
		["a call with another vendor's id", [{ type: "tool_use", id: "functions.f:0", name: "f", input: {} }]],
	] as [string, Json[]][])("%s", async (_, content) => {
		const result = { type: "tool_result", tool_use_id: "functions.f:0", content: "done" };
		const isCall = content[0]!["type"] === "tool_use";
		const messages = [user("hi"), { role: "assistant", content }, user(isCall ? [result] : "go on")];
		expect((await rig.send(asking({ messages, a_field_of_next_year: 1 }))).status).toBe(200);
		const asked = rig.asked();
		expect(JSON.stringify(asked)).not.toContain('"signature":""');
		expect(JSON.stringify(asked)).not.toContain("functions.f:0");
		expect("a_field_of_next_year" in asked).toBe(false);
	});
});

test("models that a call names besides its own are left out: its key may not be for them", async () => {
	const { headers } = await rig.send(asking({ fallbacks: [{ model: "claude-haiku-4-5" }] }));
	expect(headers.get("x-router-dropped")).toBe("fallbacks");
	expect("fallbacks" in rig.asked()).toBe(false);
});

test.each([
	["tools", { tools: [{ type: "advisor_20260301", name: "advisor", model: "claude-opus-4-8" }] }, "advisor_20260301"],
	["models", { models: ["claude-haiku-4-5"] }, "models"],
	["Route", { Route: "fallback" }, "Route"],
] as [string, Json, string][])(
	"nor by its %s does a call reach models besides its own",
	async (name, more, dropped) => {
		const { status, headers } = await rig.send(asking(more));
		expect([status, headers.get("x-router-dropped")]).toEqual([200, dropped]);
		expect(name in rig.asked()).toBe(false);
	},
);

test("what Claude is told of tools, thoughts and documents beyond OpenAI's words is part of what a call asks", async () => {
	const tool = { name: "f", input_schema: { type: "object", properties: {}, additionalProperties: false } };
	const thought = (thinking: string) => ({
		messages: [
			user("hi"),
			{
				role: "assistant",
				content: [
					{ type: "thinking", thinking, signature: "c2ln" },
					{ type: "text", text: "Hello" },
				],
			},
			user("go on"),
		],
	});
	const result = (is_error: boolean) => ({
		messages: [
			user("hi"),
			{ role: "assistant", content: [{ type: "tool_use", id: "a", name: "f", input: {} }] },
			user([{ type: "tool_result", tool_use_id: "a", content: "Error: none", is_error }]),
		],
	});
	for (const more of [
		{ tools: [tool] },
		{ tools: [{ ...tool, strict: true }] },
		{ tools: [{ ...tool, input_examples: [{}] }] },
		thought("Hm"),
		thought("Oh"),
		result(true),
		result(false),
	]) {
		const { headers } = await rig.send(asking({ temperature: 0, ...more }));
		expect(headers.get("x-router-cache")).toBe("miss");
	}
});

test("calls that Claude alone can tell apart have answers of their own", async () => {
	const tools = [{ type: "bash_20250124", name: "bash" }];
	const document = (enabled: boolean) =>
		user([{ type: "document", source: { type: "text", media_type: "text/plain", data: "x" }, citations: { enabled } }]);
	for (const more of [
		{},
		{ tools },
		{ speed: "fast" },
		{ messages: [document(true)] },
		{ messages: [document(false)] },
	]) {
		const { headers } = await rig.send(asking({ temperature: 0, ...more }));
		expect(headers.get("x-router-cache")).toBe("miss");
	}
	expect((await rig.send(asking({ temperature: 0, tools }))).headers.get("x-router-cache")).toBe("hit");
});

test("the client's bytes, version and betas go up as they came, nothing is left out", async () => {
	const body = JSON.stringify(
		asking({
			tools: [{ type: "web_search_20250305", name: "web_search" }],
			mcp_servers: [],
			context_management: { edits: [] },
			metadata: { user_id: "x".repeat(100) },
			messages: [user([{ type: "text", text: "hi", cache_control: { type: "ephemeral", ttl: "1h" } }])],
		}),
		undefined,
		"\t",
	).replace('"max_tokens": 100', '"max_tokens": 100, "big": 12345678901234567890');
	const headers = { "anthropic-version": "2026-10-21", "anthropic-beta": "a-beta-2026-01-01,another-2026-02-02" };
	const { status, text, headers: got } = await rig.send(body, headers);
	expect([status, text, got.get("x-router-dropped")]).toEqual([200, HELLO.claude, null]);
	const { body: sent, headers: asked } = rig.upstream.received[0]!;
	expect(sent).toBe(body);
	expect([asked.get("anthropic-version"), asked.get("anthropic-beta")]).toEqual(Object.values(headers));
	expect(asked.get("x-api-key")).toBe("sk-ant-of-the-router");
});

test("of a model by another name, that name alone is replaced", async () => {
	const body = JSON.stringify({ ...asking(), model: "opus", tail: { model: "opus" } });
	await rig.send(body);
	expect(rig.upstream.received[0]!.body).toBe(body.replace('"model":"opus"', '"model":"claude-opus-4-7"'));
});

test("a whole answer comes as it came, with kinds of blocks that no other vendor has", async () => {
	const message = JSON.stringify({
		...JSON.parse(HELLO.claude),
		content: [
			{ type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "Bern" } },
			{ type: "text", text: "Bern", citations: [{ type: "web_search_result_location", url: "https://example.com" }] },
		],
		stop_reason: "pause_turn",
		a_field_of_next_year: 12345678901234567890n.toString(),
	});
	rig.upstream.run(answers("200 OK", message));
	expect((await rig.send(asking())).text).toBe(message);
});

test("a stream comes with each of its events in its place", async () => {
	rig.upstream.run(streams(SEARCHED));
	const { events, headers } = await rig.send(asking({ stream: true }));
	expect(headers.get("x-router-dropped")).toBeNull();
	expect(joined(events)).toEqual(
		joined(eventsOf(SEARCHED)).map((each) =>
			each["type"] === "message_delta"
				? {
						...each,
						usage: {
							...each["usage"],
							cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 0 },
							cache_creation_input_tokens: 10,
							cache_read_input_tokens: 20,
						},
					}
				: each,
		),
	);
});

test("its words are none of a client's of OpenAI's", async () => {
	rig.upstream.run(streams(SEARCHED));
	const chat = { model: MODELS.claude, stream: true, messages: [user("hi")] };
	const { text } = await rig.send(chat, {}, "/v1/chat/completions");
	expect(text).toContain("It has bears.");
	expect(text).not.toContain('"anthropic":');
});

test("an answer that can't be said in OpenAI's words is not kept for others", async () => {
	rig.upstream.run(streams(SEARCHED));
	for (let call = 1; call <= 2; call++) {
		const { headers } = await rig.send(asking({ stream: true, temperature: 0 }));
		expect([headers.get("x-router-cache"), rig.upstream.received.length]).toEqual(["miss", call]);
	}
});

test("nor is a whole one: each caller gets all of its own", async () => {
	const text = { type: "text", text: "Bern", citations: [{ type: "char_location", cited_text: "Bern" }] };
	const message = JSON.stringify({ ...JSON.parse(HELLO.claude), content: [text] });
	rig.upstream.run(answers("200 OK", message));
	for (let call = 1; call <= 2; call++) {
		const { headers, text } = await rig.send(asking({ temperature: 0 }));
		expect([headers.get("x-router-cache"), text]).toEqual(["miss", message]);
	}
});

test.each(["model_context_window_exceeded", "pause_turn"])(
	"a stream that ends with %s is no complete one in the cache either",
	async (stop_reason) => {
		const pieces = [
			SEARCHED[0]!,
			start(0, { type: "text", text: "" }),
			delta(0, { type: "text_delta", text: "Bern is" }),
			stop(0),
			event("message_delta", { delta: { stop_reason }, usage: { output_tokens: 2 } }),
			event("message_stop"),
		];
		rig.upstream.run(streams(pieces));
		await rig.send(asking({ stream: true, temperature: 0 }));
		const { headers, json } = await rig.send(asking({ temperature: 0 }));
		expect([headers.get("x-router-cache"), json["stop_reason"]]).toEqual(["hit", "max_tokens"]);
	},
);

test("one that can is, thoughts signed and in their place", async () => {
	const pieces = SEARCHED.filter((_, index) => index < 7 || index > 22 || (index >= 12 && index <= 15));
	rig.upstream.run(streams([...pieces]));
	await rig.send(asking({ stream: true, temperature: 0 }));
	const { headers, json } = await rig.send(asking({ temperature: 0 }));
	expect(headers.get("x-router-cache")).toBe("hit");
	expect(json["content"].slice(0, 3)).toEqual([
		{ type: "thinking", thinking: "I look it up.", signature: "c2lnbmVk" },
		{ type: "redacted_thinking", data: "c2VjcmV0" },
		{ type: "text", text: "Bern is a city." },
	]);
});

test("a stream of Claude's that breaks goes on at another vendor's model, as one message", async () => {
	rig.upstream.run(async (connection) => {
		if (connection.nth === 0) {
			await begins([
				SEARCHED[0]!,
				start(0, { type: "text", text: "" }),
				delta(0, { type: "text_delta", text: "Hello " }),
				delta(0, { type: "text_delta", text: "wor" }),
			])(connection);
			await Bun.sleep(50);
			return connection.destroy();
		}
		const chunk = (piece: Json, finish_reason: string | null = null) =>
			`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: piece, finish_reason }] })}\n\n`;
		return streams([
			chunk({ role: "assistant", content: "" }),
			chunk({ content: "ld." }),
			chunk({}, "stop"),
			"data: [DONE]\n\n",
		])(connection);
	});
	const { events } = await rig.send(asking({ model: "both", stream: true }));
	expect(rig.upstream.received.map(({ path }) => path)).toEqual(["/v1/messages", "/v1/chat/completions"]);
	expect(rig.asked()["messages"].at(-1)).toEqual({ role: "assistant", content: "Hello wor" });
	expect(events.map(({ type, delta: piece }) => piece?.text ?? type)).toEqual(
		[
			"message_start",
			"content_block_start",
			"Hello ",
			"wor",
			"ld.",
			"content_block_stop",
			undefined as never,
			"message_stop",
		].map((each) => each ?? "message_delta"),
	);
});

test("its errors are its own words", async () => {
	const error = { type: "invalid_request_error", message: "messages.0: something only Claude minds" };
	rig.upstream.run(answers("400 Bad Request", JSON.stringify({ type: "error", error, request_id: "req_theirs" })));
	const { status, json, headers } = await rig.send(asking());
	expect([status, json["error"], json["request_id"]]).toEqual([400, error, headers.get("request-id")]);
});

test("Claude behind OpenRouter gets cache markers and the thoughts that it has signed; no other model there does", async () => {
	rig.restart({ providers: { openrouter: { api_key: "sk-or-of-the-router", base_url: rig.upstream.origin } } });
	const mark = { cache_control: { type: "ephemeral" } };
	const body = {
		max_tokens: 100,
		system: [
			{ type: "text", text: "x-anthropic-billing-header: x" },
			{ type: "text", text: "Be brief.", ...mark },
		],
		messages: [
			user("hi"),
			{ role: "system", content: "It is late." },
			{
				role: "assistant",
				content: [
					{ type: "thinking", thinking: "Hm", signature: "c2ln" },
					{ type: "tool_use", id: "a", name: "f", input: {} },
				],
			},
			user([{ type: "tool_result", tool_use_id: "a", content: "done", ...mark }]),
		],
	};
	expect((await rig.send({ ...body, model: "openrouter/anthropic/claude-opus-4.7" })).status).toBe(200);
	const call = { id: "a", type: "function", function: { name: "f", arguments: "{}" } };
	const thought = { type: "reasoning.text", text: "Hm", signature: "c2ln", format: "anthropic-claude-v1", index: 0 };
	expect(rig.asked()["messages"]).toEqual([
		{ role: "system", content: [{ type: "text", text: "Be brief.", ...mark }] },
		user("hi\n<system>\nIt is late.\n</system>"),
		{
			role: "assistant",
			content: null,
			tool_calls: [call],
			reasoning_details: [{ ...thought, after: { text: 0, calls: 0 } }],
		},
		{ role: "tool", tool_call_id: "a", content: [{ type: "text", text: "done", ...mark }] },
	]);
	await rig.send({ ...body, model: "openrouter/qwen/qwen3-8b" });
	expect(rig.asked()["messages"]).toEqual([
		{ role: "system", content: "Be brief." },
		user("hi\n<system>\nIt is late.\n</system>"),
		{ role: "assistant", content: null, tool_calls: [call] },
		{ role: "tool", tool_call_id: "a", content: "done" },
	]);
});
