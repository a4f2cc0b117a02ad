/** Corners of requests to Anthropic that the table of features has no row for. */
import { describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { call, PIXEL, refusal, result, THOUGHT, TWO_CALLS, toClaude, user } from "./kit/vendor-requests.ts";

describe("Anthropic's own fields", () => {
	test.each([
		[{ anthropic: { model: "claude-other" } }, "unsupported_parameter", "anthropic.model"],
		[{ anthropic: { messages: [] } }, "unsupported_parameter", "anthropic.messages"],
		[{ anthropic: { stream: true } }, "unsupported_parameter", "anthropic.stream"],
		[{ anthropic: "x" }, "invalid_value", "anthropic"],
		[{ anthropic: { thinking: { type: "disabled" } }, reasoning_effort: "low" }, "invalid_value", "anthropic.thinking"],
		[
			{ anthropic: { output_config: { effort: "low" } }, reasoning_effort: "low" },
			"invalid_value",
			"anthropic.output_config.effort",
		],
	] as const)("%j", (more, code, param) => expect(refusal(() => toClaude({ ...more }))).toEqual([code, param]));

	test("join what OpenAI's say", () => {
		const schema = { type: "object", properties: { a: { type: "string" } } };
		const sent = toClaude({
			anthropic: { output_config: { effort: "max" }, inference_geo: "eu" },
			response_format: { type: "json_schema", json_schema: { name: "s", schema } },
		});
		expect(sent["output_config"]).toEqual({ effort: "max", format: expect.objectContaining({ type: "json_schema" }) });
		expect(sent["inference_geo"]).toBe("eu");
	});
});

describe("Anthropic", () => {
	test.each([
		["temperature", { temperature: 0.5 }],
		["top_p", { top_p: 0.5 }],
		["top_k", { top_k: 5 }],
	])("models that take no %s get none, and say so", (param, more) => {
		expect(refusal(() => toClaude(more))).toEqual(["unsupported_parameter", param]);
	});

	test("documents that are to be cited go with no schema, and pictures are never cited", () => {
		const cited = (file_data: string) => ({ type: "file", file: { file_data }, citations: { enabled: true } });
		const document = cited("data:application/pdf;base64,AAAA");
		const schema = { type: "object", properties: {} };
		const response_format = { type: "json_schema", json_schema: { name: "s", schema } };
		const beside = refusal(() => toClaude({ messages: [user([document])], response_format }));
		expect(beside).toEqual(["unsupported_parameter", "messages[0].content[0].citations"]);
		const picture = refusal(() => toClaude({ messages: [user([cited("data:image/png;base64,AAAA")])] }));
		expect(picture).toEqual(["unsupported_parameter", "messages[0].content[0].citations"]);
		const plain = { ...document, citations: { enabled: false } };
		const [sent] = toClaude({ messages: [user([plain])] })["messages"];
		expect(sent.content[0]).not.toHaveProperty("citations");
	});

	test.each([
		["a stop that is all blanks", { stop: "\n" }, "stop"],
		["one of several", { stop: ["END", " "] }, "stop[1]"],
		["none at all", { stop: "" }, "stop"],
		[
			"a tool with a dot in its name",
			{ tools: [{ type: "function", function: { name: "a.b" } }] },
			"tools[0].function.name",
		],
		["one without a name", { tools: [{ type: "function", function: { name: "" } }] }, "tools[0].function.name"],
	] as const)("what no model takes is refused by its place: %s", (_, more, param) => {
		expect(refusal(() => toClaude({ ...more }))).toEqual(["unsupported_parameter", param]);
	});

	test("the default of a field that a model refuses is left out", () => {
		expect(toClaude({ temperature: 1, top_p: 1 })).toEqual(toClaude({}));
	});

	test("consecutive messages of one role are one turn, results first", () => {
		const messages = [
			user("a"),
			user("b"),
			{ role: "assistant", content: "c" },
			{ role: "assistant", content: null, tool_calls: [call("{}")] },
			{ role: "tool", tool_call_id: "call_1", content: "d" },
			user("e"),
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ role, content }) => [role, content.map(({ type }: Loose) => type)])).toEqual([
			["user", ["text", "text"]],
			["assistant", ["text", "tool_use"]],
			["user", ["tool_result", "text"]],
		]);
	});

	test("empty text, which the API refuses, is left out", () => {
		const messages = [
			user([
				{ type: "text", text: "" },
				{ type: "text", text: "x" },
			]),
			{ role: "assistant", content: "", tool_calls: [call("")] },
			{ role: "tool", tool_call_id: "call_1", content: "" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ content }) => content)).toEqual([
			[{ type: "text", text: "x" }],
			[{ type: "tool_use", id: "call_1", name: "f", input: {} }],
			[{ type: "tool_result", tool_use_id: "call_1" }],
		]);
	});

	test("text that is all space, which the API refuses where none stands beside it, is left out", () => {
		const messages = [
			user([{ type: "text", text: " " }, PIXEL]),
			{ role: "assistant", content: "\n\n", tool_calls: [call("")], reasoning_details: THOUGHT },
			{ role: "tool", tool_call_id: "call_1", content: " " },
			user([
				{ type: "text", text: "\n" },
				{ type: "text", text: "x" },
			]),
			{ role: "assistant", content: " " },
			{ role: "user", content: "y" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns.map(({ content }) => content.map((block: Loose) => block["text"] ?? block["type"]))).toEqual([
			["image"],
			["thinking", "tool_use"],
			["tool_result", "\n", "x", "y"],
		]);
		expect(turns[2]?.["content"][0]).toEqual({ type: "tool_result", tool_use_id: "call_1" });
	});

	test.each([
		["a question that says nothing", [user("")], "messages[0].content"],
		["null", [user(null)], "messages[0].content"],
		// Left out, it would have Claude go on with its own words.
		[
			"an empty one behind an answer",
			[user("x"), { role: "assistant", content: "y" }, user(" ")],
			"messages[2].content",
		],
	])("what leaves nothing to answer is refused: %s", (_, messages, param) => {
		expect(refusal(() => toClaude({ messages }))).toEqual(["unsupported_parameter", param]);
	});

	test("an empty question behind another is left out", () => {
		expect(toClaude({ messages: [user("x"), user("")] })["messages"]).toEqual(
			toClaude({ messages: [user("x")] })["messages"],
		);
	});

	const SYSTEM = { role: "system", content: "s" };
	const MARKED = "<system>\ns\n</system>";
	const ANSWER = { role: "assistant", content: "y" };
	const RESULTS = [user("x"), TWO_CALLS, result("call_1"), SYSTEM, result("call_2")];
	/** Each turn's role and what its blocks say. */
	const turnsOf = (messages: unknown[], model: string) =>
		(toClaude({ messages }, model)["messages"] as Loose[]).map(({ role, content }) => [
			role,
			content.map((block: Loose) => block["text"] ?? block["type"]),
		]);
	test.each([
		["before a user's", [user("x"), SYSTEM, user("z")], [["user", ["x", MARKED, "z"]]]],
		[
			"behind an answer",
			[user("x"), ANSWER, SYSTEM, user("z")],
			[
				["user", ["x"]],
				["assistant", ["y"]],
				["user", [MARKED, "z"]],
			],
		],
		[
			"behind the last answer",
			[user("x"), ANSWER, SYSTEM],
			[
				["user", ["x"]],
				["assistant", ["y"]],
				["user", [MARKED]],
			],
		],
		[
			"between answers",
			[user("x"), ANSWER, SYSTEM, ANSWER, user("z")],
			[
				["user", ["x"]],
				["assistant", ["y"]],
				["user", [MARKED]],
				["assistant", ["y"]],
				["user", ["z"]],
			],
		],
		["before any turn", [user(""), SYSTEM, user("z")], [["user", ["z"]]]],
		[
			"among results, with more of the user's behind",
			[...RESULTS, user("z")],
			[
				["user", ["x"]],
				["assistant", ["tool_use", "tool_use"]],
				["user", ["tool_result", "tool_result", MARKED, "z"]],
			],
		],
	])("a later system message where the API takes none is marked in the user's turn: %s", (_, messages, turns) => {
		expect(turnsOf(messages, "claude-opus-5")).toEqual(turns as never);
		expect(turnsOf(messages, "claude-opus-4-7")).toEqual(turns as never);
	});

	test.each([
		[
			"behind the user's last",
			[user("x"), SYSTEM],
			[
				["user", ["x"]],
				["system", ["s"]],
			],
			[["user", ["x", MARKED]]],
		],
		[
			"among the last results",
			RESULTS,
			[
				["user", ["x"]],
				["assistant", ["tool_use", "tool_use"]],
				["user", ["tool_result", "tool_result"]],
				["system", ["s"]],
			],
			[
				["user", ["x"]],
				["assistant", ["tool_use", "tool_use"]],
				["user", ["tool_result", "tool_result", MARKED]],
			],
		],
		[
			"between a question and an answer",
			[user("x"), SYSTEM, SYSTEM, ANSWER, user("z")],
			[
				["user", ["x"]],
				["system", ["s", "s"]],
				["assistant", ["y"]],
				["user", ["z"]],
			],
			[
				["user", ["x", MARKED, MARKED]],
				["assistant", ["y"]],
				["user", ["z"]],
			],
		],
	])("where newer models take it, it stands as such: %s", (_, messages, newer, older) => {
		expect(turnsOf(messages, "claude-opus-5")).toEqual(newer as never);
		expect(turnsOf(messages, "claude-sonnet-5")).toEqual(older as never);
	});

	test("a system message before any turn is one of those at the beginning", () => {
		expect(toClaude({ messages: [user(""), SYSTEM, user("z")] })["system"]).toEqual([{ type: "text", text: "s" }]);
	});

	test("an assistant's message that the conversation begins with has a user's before it", () => {
		expect(turnsOf([ANSWER, user("z")], "claude-opus-5")).toEqual([
			["user", ["(The assistant begins.)"]],
			["assistant", ["y"]],
			["user", ["z"]],
		]);
	});

	test.each([
		["in the text", "said  ", "said"],
		[
			"that are all of the last part",
			[
				{ type: "text", text: "said " },
				{ type: "text", text: " \n" },
			],
			"said",
		],
	])("blanks at the end of the last answer are left out: %s", (_, content, text) => {
		expect(turnsOf([user("x"), { role: "assistant", content }], "claude-opus-4-5").at(-1)).toEqual([
			"assistant",
			[text],
		]);
	});

	test("a name in front of the words that Claude has signed thoughts among would move them, and is left out", () => {
		const thought = { role: "assistant", name: "Bob", content: "y", reasoning_details: THOUGHT };
		expect(turnsOf([user("x"), thought, user("z")], "claude-opus-5")[1]).toEqual(["assistant", ["thinking", "y"]]);
	});

	test("temperature and top_p, which the API takes one of, go together where one says nothing", () => {
		const sonnet = (more: Json) => toClaude(more, "claude-sonnet-4-5");
		expect(sonnet({ temperature: 0.5, top_p: 1 })).toEqual(sonnet({ temperature: 0.5 }));
		expect(sonnet({ temperature: 1, top_p: 0.5 })).toEqual(sonnet({ top_p: 0.5 }));
		expect(sonnet({ temperature: 1, top_p: 1 })).toEqual(sonnet({ temperature: 1 }));
		expect(sonnet({ top_p: 1 })["top_p"]).toBe(1);
		expect(sonnet({ temperature: 0.5, top_p: 0.5 })).toMatchObject({ temperature: 0.5, top_p: 0.5 });
	});

	test("ids of other vendors are written in letters that the API takes, call and result alike", () => {
		const messages = [
			user("x"),
			{ role: "assistant", tool_calls: [call("{}", "functions.f:0")] },
			{ role: "tool", tool_call_id: "functions.f:0", content: "y" },
		];
		const turns = toClaude({ messages })["messages"] as Loose[];
		expect(turns[1]!["content"][0].id).toBe("functions_2ef_3a0");
		expect(turns[2]!["content"][0].tool_use_id).toBe("functions_2ef_3a0");
	});

	test("markers for the cache stand on tools, messages and the whole request, too", () => {
		const cache_control = { type: "ephemeral" };
		const sent = toClaude({
			cache_control,
			tools: [{ type: "function", function: { name: "f" }, cache_control }],
			messages: [
				{ role: "system", content: "s", cache_control },
				user(
					[
						{ type: "text", text: "a" },
						{ type: "text", text: "b" },
					],
					{ cache_control },
				),
			],
		});
		expect(sent["cache_control"]).toEqual(cache_control);
		expect(sent["tools"][0]).toEqual({ name: "f", input_schema: { type: "object", properties: {} }, cache_control });
		expect(sent["system"]).toEqual([{ type: "text", text: "s", cache_control }]);
		expect(sent["messages"][0].content).toEqual([
			{ type: "text", text: "a" },
			{ type: "text", text: "b", cache_control },
		]);
	});

	test("an image in a form that Claude can't read is refused by its place", () => {
		const messages = [user([{ type: "image_url", image_url: { url: "data:image/tiff;base64,AAAA" } }])];
		expect(refusal(() => toClaude({ messages }))).toEqual([
			"unsupported_parameter",
			"messages[0].content[0].image_url.url",
		]);
	});

	test("a refusal in the history is what the assistant said", () => {
		const messages = [user("x"), { role: "assistant", content: null, refusal: "No." }, user("y")];
		expect(toClaude({ messages })["messages"][1].content).toEqual([{ type: "text", text: "No." }]);
	});

	test.each([
		["as the last message", []],
		["before another", [user("y")]],
	])("a refusal of blanks says nothing, %s", (_, behind) => {
		const messages = [user("x"), { role: "assistant", content: null, refusal: "  " }, ...behind];
		const said = [user("x"), ...behind].map(({ content }) => ({ type: "text", text: content }));
		expect(toClaude({ messages })["messages"]).toEqual([{ role: "user", content: said }]);
	});

	test("thoughts that a client has bent are passed over, those of others, too", () => {
		const reasoning_details = [
			{ type: "reasoning.text", text: "no signature", format: "anthropic-claude-v1" },
			{ type: "reasoning.text", text: "x", signature: "s", format: "google-gemini-v1" },
			{ type: "reasoning.summary", summary: "x" },
			"x",
			null,
			{
				type: "reasoning.text",
				text: "good",
				signature: "s",
				format: "anthropic-claude-v1",
				after: { text: 999, calls: 7 },
			},
		];
		const messages = [user("x"), { role: "assistant", content: "said", reasoning_details }, user("y")];
		expect(toClaude({ messages })["messages"][1].content).toEqual([
			{ type: "text", text: "said" },
			{ type: "thinking", thinking: "good", signature: "s" },
		]);
	});
});

test("instructions alone are answered, as OpenAI's models answer them, unless they say nothing", () => {
	const { system, messages } = toClaude({ messages: [{ role: "system", content: "x" }] });
	expect([system, messages]).toEqual([
		[{ type: "text", text: "x" }],
		[{ role: "user", content: [{ type: "text", text: "(The assistant begins.)" }] }],
	]);
	const nothing = [{ role: "system", content: " " }];
	expect(refusal(() => toClaude({ messages: nothing }))).toEqual(["unsupported_parameter", "messages"]);
});
