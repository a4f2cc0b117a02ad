/** A chat's stream as `/v1/responses` sends it on: a break is told, what is cut off says so, and it says the same as a whole answer. */
import { describe, expect, test } from "bun:test";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { type ErrorCode, RouterError } from "../src/errors.ts";
import type { Loose } from "./kit/exchange.ts";
import { responseEvents } from "./kit/response-events.ts";
import { responseFaults } from "./kit/response-schema.ts";
import { callChunk, callOf, chunk, fn, ROLE, readStream, saying, written } from "./kit/responses.ts";

describe("a stream that breaks off fails", () => {
	test("before its first word", () => {
		const { types, response } = readStream([], {}, new RouterError("upstream_unreachable", "box can't be reached."));
		expect(types).toEqual(["created", "in_progress", "failed"]);
		expect(response).toMatchObject({
			status: "failed",
			output: [],
			usage: null,
			error: { code: "server_error", message: "box can't be reached." },
		});
	});

	test("before the first chunk has begun when its call did", () => {
		const call = { ...callOf(), id: "req_01a22a82-a45e-763c-b454-a6c8e426b5a7" };
		const failed = openAiResponses.stream(call).error(new RouterError("upstream_unreachable", "box can't be reached."));
		expect(responseEvents(failed).response["created_at"]).toBe(Math.floor(0x01a22a82a45e / 1000));
	});

	test("in the middle of its words, which are shown as cut off", () => {
		const { types, response } = readStream(
			[ROLE, chunk({ content: "Hel" })],
			{},
			new RouterError("upstream_truncated", "box broke off."),
		);
		expect(types.slice(2)).toEqual(["output_item.added", "content_part.added", "output_text.delta", "failed"]);
		expect(response["output"]).toMatchObject([{ type: "message", status: "incomplete", content: [{ text: "Hel" }] }]);
	});

	test("in the middle of a call, which nobody gets to see as one", () => {
		const { types, response } = readStream(
			[ROLE, chunk({ content: "I look." }), callChunk(0, "a", "f", '{"x":')],
			{ tools: [fn("f")] },
			new RouterError("upstream_truncated", "box broke off."),
		);
		expect(types.at(-1)).toBe("failed");
		expect(types).not.toContain("function_call_arguments.done");
		expect(response["output"].map(({ type, status }: Loose) => [type, status])).toEqual([["message", "completed"]]);
	});

	test.each([
		["context_length_exceeded", "context_length_exceeded"],
		["rate_limit_exceeded", "rate_limit_exceeded"],
		["model_busy", "rate_limit_exceeded"],
		["insufficient_quota", "insufficient_quota"],
		["upstream_overloaded", "server_is_overloaded"],
		["invalid_value", "invalid_prompt"],
		["upstream_timeout", "server_error"],
		["engine_died", "server_error"],
		["internal_error", "server_error"],
	] as [ErrorCode, string][])("%s as %s", (code, told) => {
		const { response } = readStream([ROLE], {}, new RouterError(code, "It did not work."));
		expect(response["error"]).toEqual({ code: told, message: "It did not work." });
	});
});

describe("a stream that is cut off is incomplete", () => {
	test.each([
		["length", "max_output_tokens"],
		["content_filter", "content_filter"],
	])("by %s", (finish, reason) => {
		const { types, response } = readStream(saying([chunk({ content: "one two" })], finish));
		expect(types.at(-1)).toBe("incomplete");
		expect(response).toMatchObject({
			status: "incomplete",
			incomplete_details: { reason },
			completed_at: null,
			output: [{ status: "incomplete" }],
		});
	});

	test("in its last item alone", () => {
		const { response } = readStream(
			saying([chunk({ content: "I look." }), callChunk(0, "a", "f", "{}"), callChunk(1, "b", "f", '{"x"')], "length"),
			{ tools: [fn("f")] },
		);
		expect(response["output"].map(({ status }: Loose) => status)).toEqual(["completed", "completed", "incomplete"]);
	});
});

test("words come as they are said, with their counts at the end", () => {
	const { types, response, events, comments } = readStream(
		saying([chunk({ content: "Grüße, " }), chunk({ content: "你好 🙂" })]),
	);
	expect(types).toEqual([
		...["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done"],
		...["content_part.done", "output_item.done", "completed"],
	]);
	expect(events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta)).toEqual([
		"Grüße, ",
		"你好 🙂",
	]);
	expect(response).toMatchObject({
		...{ id: "resp_1a2b", status: "completed", model: "m-1", created_at: 7, completed_at: 7 },
		output: [
			{
				type: "message",
				role: "assistant",
				status: "completed",
				content: [{ type: "output_text", text: "Grüße, 你好 🙂" }],
			},
		],
		usage: {
			...{ input_tokens: 9, input_tokens_details: { cached_tokens: 3 }, output_tokens: 4 },
			...{ output_tokens_details: { reasoning_tokens: 1 }, total_tokens: 13 },
		},
	});
	expect(comments).toEqual([expect.stringContaining('"provider":"box"')]);
});

test("what is said is the same however its chunks are cut", () => {
	const pieces = saying([chunk({ reasoning_content: "Hm." }), chunk({ content: "Hi" }), callChunk(0, "a", "f", "{}")]);
	const body = { tools: [fn("f")] };
	const expected = written(pieces, body);
	expect(written([pieces.join("")], body)).toBe(expected);
	expect(written([Buffer.from(pieces.join(""))], body)).toBe(expected);
	expect(
		written(
			pieces.map((piece) => Buffer.from(piece)),
			body,
		),
	).toBe(expected);
	expect(written([pieces.join("").replaceAll("\n", "\r\n")], body)).toBe(expected);
});

describe("chunks that differ in their text alone say just that text", () => {
	const texts = [
		"a",
		'"',
		"\\",
		"\n",
		"\t\u0001",
		"🙂",
		"}]",
		'"content":"',
		'","x":"',
		"data: ",
		"\u2028",
		"[DONE]",
		"a",
		"content",
	];
	const shapes: [string, (text: string) => string][] = [
		["of most servers", (content) => chunk({ content })],
		[
			"with fields that say nothing",
			(content) => chunk({ role: "assistant", content, reasoning_content: null, tool_calls: [] }),
		],
		["with text elsewhere", (content) => chunk({ content }, null, { matched: '"content":"a"', content: "a" })],
		["with spaces", (content) => chunk({ content }).replace(/"(\w+)":/g, '"$1": ')],
		["with another id each", (content) => chunk({ content }).replace('"x"', `"${Math.random()}"`)],
	];
	test.each(shapes)("%s", (_, shape) => {
		for (const between of [[], [chunk({})], [chunk({ content: "" })]]) {
			const pieces = texts.flatMap((text) => [shape("plain"), ...between, shape(text)]);
			const { response, events } = readStream(saying(pieces));
			const expected = texts.flatMap((text) => ["plain", text]);
			expect(events.flatMap(({ type, delta }) => (type === "response.output_text.delta" ? [delta] : []))).toEqual(
				expected,
			);
			expect(response["output"][0].content[0].text).toBe(expected.join(""));
		}
	});

	test("and what follows them is read for what it is", () => {
		const log = { token: "b", logprob: -1, bytes: null, top_logprobs: [] };
		const pieces = [
			chunk({ content: "a" }),
			chunk({ content: "b" }, null, { logprobs: { content: [log] } }),
			chunk({ content: "c", refusal: "No." }),
			chunk({ content: "d" }, "length"),
		];
		const { response } = readStream([ROLE, ...pieces]);
		expect(response).toMatchObject({
			status: "incomplete",
			output: [
				{ content: [{ text: "abc", logprobs: [{ ...log, bytes: [98] }] }, { refusal: "No." }] },
				{ content: [{ text: "d" }] },
			],
		});
	});
});

test("an answer that says nothing is a message that says nothing", () => {
	const { types, response } = readStream(saying([]));
	expect(types).toContain("content_part.done");
	expect(response["output"]).toMatchObject([{ type: "message", content: [{ type: "output_text", text: "" }] }]);
});

test("a comment of the upstream's goes on, and nobody takes what is no JSON for an event", () => {
	const { comments, response } = readStream([
		": OPENROUTER PROCESSING\n\n",
		ROLE,
		"data: {nonsense\n\n",
		"data: [1]\n\n",
		...saying([chunk({ content: "Hi" })]),
		"data: [DONE]\n\n",
	]);
	expect(comments[0]).toBe(": OPENROUTER PROCESSING");
	expect(response["output"][0].content[0].text).toBe("Hi");
});

test("no response says what the request said to servers of tools in secret", () => {
	const tool = { type: "mcp", server_label: "a", server_url: "https://a.example" };
	const tools = [{ ...tool, authorization: "hidden-1", headers: { Authorization: "Bearer hidden-2" } }];
	const text = written(saying([chunk({ content: "Hi" })]), { tools });
	expect(text).not.toContain("hidden");
	expect(responseEvents(text).response["tools"]).toEqual([tool]);
});

test("every response says what the request said", () => {
	const body = {
		...{
			instructions: "Be brief.",
			max_output_tokens: 9,
			max_tool_calls: 2,
			parallel_tool_calls: false,
			temperature: 0.1,
			top_p: 0.2,
		},
		...{
			metadata: { a: "b" },
			user: "u",
			safety_identifier: "s",
			prompt_cache_key: "k",
			tool_choice: "none",
			truncation: "auto",
		},
		...{ tools: [fn("f"), { type: "web_search" }], reasoning: { effort: "low" }, store: true },
		text: { format: { type: "json_schema", name: "n", schema: {}, strict: true }, verbosity: "low" },
	};
	const { events } = readStream(saying([chunk({ content: "{}" })]), body);
	for (const { response } of events.filter((event) => event["response"])) {
		expect(response).toMatchObject({
			...{
				instructions: "Be brief.",
				max_output_tokens: 9,
				max_tool_calls: 2,
				parallel_tool_calls: false,
				temperature: 0.1,
				top_p: 0.2,
			},
			...{ metadata: { a: "b" }, user: "u", safety_identifier: "s", prompt_cache_key: "k", tool_choice: "none" },
			...{ reasoning: { effort: "low", summary: null }, store: false, truncation: "disabled", background: false },
			tools: [
				{ type: "function", name: "f", description: null, parameters: null, strict: false },
				{ type: "web_search" },
			],
			text: {
				format: { type: "json_schema", name: "n", schema: {}, strict: true, description: null },
				verbosity: "low",
			},
		});
	}
});

describe("a stream and a whole answer say the same", () => {
	const log = { token: "Hi", logprob: -0.5, bytes: null, top_logprobs: [] };
	const tools = [fn("f"), { type: "namespace", name: "crm", tools: [fn("find")] }, { type: "custom", name: "patch" }];
	test.each([
		["words", saying([chunk({ content: "Hi" }, null, { logprobs: { content: [log] } })])],
		["nothing", saying([])],
		[
			"thoughts, words and calls",
			saying(
				[
					chunk({ reasoning_content: "Hm." }),
					chunk({ content: "Hi" }),
					callChunk(0, "a", "f", '{"n":12345678901234567890}'),
					callChunk(1, "b", "crm__find", "{}"),
					callChunk(2, "c", "patch", '{"input":"x"}'),
				],
				"tool_calls",
			),
		],
		[
			"what was signed",
			saying(
				[
					chunk({ reasoning_content: "Hm." }),
					chunk({ content: "Hi", extra_content: { google: { thought_signature: "s" } } }),
					chunk({
						tool_calls: [
							{
								index: 0,
								id: "a",
								function: { name: "f", arguments: "{}" },
								extra_content: { google: { thought_signature: "t" } },
							},
						],
					}),
					chunk({ reasoning_details: [{ type: "reasoning.encrypted", data: "AA", index: 0 }] }),
				],
				"tool_calls",
			),
		],
		["a refusal", saying([chunk({ refusal: "No." })], "content_filter")],
		["words that are cut off", saying([chunk({ content: "one" })], "length")],
		[
			"sources",
			saying([
				chunk({ content: "Hi" }),
				chunk({
					annotations: [
						{
							type: "url_citation",
							url_citation: { url: "https://x.example/", title: "", start_index: 0, end_index: 2 },
						},
					],
				}),
			]),
		],
		["a picture", saying([chunk({ images: [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }] })])],
	])("%s", (_, pieces) => {
		const call = callOf({ tools });
		const sse = written(pieces, { tools });
		const folded = openAiResponses.fold(call, Buffer.from(sse));
		const whole = JSON.parse(String(openAiResponses.answer(folded!, call, undefined)));
		expect(responseFaults(whole)).toEqual([]);
		const { response } = responseEvents(sse);
		const plain = ({ output, usage, ...rest }: Loose) => ({
			...rest,
			output: output.map(({ id, ...item }: Loose) => item),
		});
		expect(plain(whole)).toEqual(plain(response));
	});

	test("and a stream that failed is no answer for anyone else", () => {
		const failed = written(
			[ROLE, chunk({ content: "Hel" })],
			{},
			new RouterError("upstream_truncated", "box broke off."),
		);
		expect(openAiResponses.fold(callOf(), Buffer.from(failed))).toBeUndefined();
	});
});
