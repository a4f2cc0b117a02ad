/** Streams of the Messages API: what they end in, in which order blocks come, and what keeps them alive. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import { overflowMessage } from "../src/dialects/anthropic-messages/messages-error.ts";
import { MessagesStream } from "../src/dialects/anthropic-messages/messages-stream.ts";
import { type Json, type Loose, namedEvents } from "./kit/exchange.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { MODELS, messagesRig } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => void rig.restart());

const DONE = "data: [DONE]\n\n";
const chunk = (delta: Json, finish_reason: string | null = null, more: Json = {}) =>
	`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason, ...more }] })}\n\n`;
const usage = (counts: Json) =>
	`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage: counts })}\n\n`;
const BEGINNING = [chunk({ role: "assistant", content: "" }), chunk({ content: "Hel" }), chunk({ content: "lo" })];
const asking = (more: Json = {}) => ({
	model: MODELS.openai,
	max_tokens: 100,
	stream: true,
	messages: [{ role: "user", content: "hi" }],
	...more,
});
/** The blocks that the events come to, with what was written into each. */
function blocksOf(events: readonly Loose[]): Loose[] {
	const blocks: Loose[] = [];
	let open: number | undefined;
	for (const { type, index, delta, content_block } of events) {
		if (type === "content_block_start") {
			expect([open, index]).toEqual([undefined, blocks.length]);
			open = index;
			blocks.push({ ...content_block, said: "" });
		} else if (type === "content_block_delta") {
			expect(index).toBe(open);
			blocks[index]!["said"] += delta.text ?? delta.thinking ?? delta.partial_json;
		} else if (type === "content_block_stop") {
			expect(index).toBe(open);
			open = undefined;
		}
	}
	expect(open).toBeUndefined();
	return blocks;
}
const call = (index: number, id: string | undefined, args?: string) =>
	chunk({
		tool_calls: [
			{
				index,
				...(id ? { id, type: "function" } : {}),
				function: { ...(id ? { name: `f${index}` } : {}), ...(args === undefined ? {} : { arguments: args }) },
			},
		],
	});
async function streamed(pieces: readonly string[], more?: Json): Promise<Loose[]> {
	rig.upstream.run(streams(pieces));
	return [...(await rig.send(asking(more))).events];
}

describe("a stream that breaks ends in an error, and has no end of a message", () => {
	test.each([
		["without a word", BEGINNING, "api_error", "broke off"],
		["inside a call", [...BEGINNING, call(0, "c", '{"command":"rm -')], "api_error", "broke off"],
		[
			"behind a call that goes on after its end",
			[call(0, "a", "{}"), call(1, "b", "{}"), call(0, undefined, "{}")],
			"api_error",
			"behind its end",
		],
	] as [string, string[], string, string][])("%s", async (_, pieces, type, words) => {
		const events = await streamed(pieces);
		const last = events.at(-1)!;
		expect([last["type"], last["error"].type]).toEqual(["error", type]);
		expect(last["error"].message).toContain(words);
		expect(last["request_id"]).toMatch(/^req_/);
		expect(events.map((event) => event["type"])).not.toContain("message_stop");
		expect(events.map((event) => event["type"])).not.toContain("message_delta");
	});

	test("with an error of its server's", async () => {
		rig.upstream.run(async (connection) => {
			await begins(BEGINNING)(connection);
			await Bun.sleep(20);
			await connection.write('data: {"error":{"message":"overloaded","type":"overloaded","code":503}}\n\n');
		});
		const { events } = await rig.send(asking());
		expect(events.at(-1)).toMatchObject({ type: "error", error: { type: "overloaded_error" } });
		expect(blocksOf([...events, { type: "content_block_stop", index: 0 }])).toMatchObject([{ said: "Hello" }]);
	});

	test("one that is refused before its first event is an answer with a status", async () => {
		rig.upstream.run(answers("429 Too Many Requests", '{"error":{"message":"slow down"}}', { "retry-after": "61" }));
		const { status, json, headers } = await rig.send(asking());
		expect([status, json["error"].type]).toEqual([429, "rate_limit_error"]);
		expect(headers.get("retry-after")).toBe("61");
		// Older SDKs take so long a wait for a mistake, and call again at once.
		expect(headers.get("x-should-retry")).toBe("false");
	});
});

test("a client that hears nothing for long is sent pings, also before the message begins", async () => {
	rig.restart({ server: { keep_alive: "20ms" } });
	const gate = Promise.withResolvers<void>();
	rig.upstream.run(async (connection) => {
		await gate.promise;
		await streams([...BEGINNING, chunk({}, "stop"), DONE])(connection);
	});
	const answer = await rig.open(asking());
	let text = "";
	for await (const bytes of answer.body!) {
		text += Buffer.from(bytes).toString();
		gate.resolve();
	}
	const events = namedEvents(text);
	expect(events[0]).toEqual({ type: "ping" });
	expect(events.findIndex(({ type }) => type === "message_start")).toBeGreaterThan(0);
	expect(blocksOf(events)).toEqual([{ type: "text", text: "", said: "Hello" }]);
});

test("what an upstream says beside its answer is a ping", () => {
	const stream = new MessagesStream({
		id: "req_1",
		operation: "chat",
		stream: true,
		facts: { model: "m" } as never,
		body: undefined as never,
	});
	expect(stream.push(": OPENROUTER PROCESSING\n\n")).toBe('event: ping\ndata: {"type": "ping"}\n\n');
	expect(stream.keepAlive).toBe('event: ping\ndata: {"type": "ping"}\n\n');
});

describe("blocks come one after the other", () => {
	test("thoughts under either name, text, calls", async () => {
		for (const name of ["reasoning_content", "reasoning"]) {
			const events = await streamed(
				[
					chunk({ role: "assistant", [name]: "Hm" }),
					chunk({ [name]: ", yes." }),
					chunk({ content: "Fine." }),
					call(0, "call_1", ""),
					call(0, undefined, '{"a":'),
					call(0, undefined, "1}"),
					chunk({}, "tool_calls"),
					usage({
						prompt_tokens: 10,
						completion_tokens: 5,
						total_tokens: 15,
						prompt_tokens_details: { cached_tokens: 4 },
					}),
					DONE,
				],
				{ system: name },
			);
			expect(blocksOf(events)).toEqual([
				{ type: "thinking", thinking: "", signature: "", said: "Hm, yes." },
				{ type: "text", text: "", said: "Fine." },
				{ type: "tool_use", id: "call_1", name: "f0", input: {}, said: '{"a":1}' },
			]);
			expect(events.at(-2)).toEqual({
				type: "message_delta",
				delta: { stop_reason: "tool_use", stop_sequence: null },
				usage: {
					input_tokens: 6,
					cache_creation_input_tokens: 0,
					cache_read_input_tokens: 4,
					output_tokens: 5,
				},
			});
		}
	});

	test.each([
		["one call after the other", [call(0, "a", '{"x":"}'), call(0, undefined, '"}'), call(1, "b", "{}")]],
		[
			"begun together, their pieces in turn",
			[
				call(0, "a"),
				call(1, "b"),
				call(0, undefined, '{"x":"}'),
				call(1, undefined, "{"),
				call(0, undefined, '"}'),
				call(1, undefined, "}"),
			],
		],
		["the second first", [call(0, "a", '{"x":'), call(1, "b", "{}"), call(0, undefined, '"}"}')]],
		["text behind them", [call(0, "a", '{"x":"}"}'), call(1, "b", "{}"), chunk({ content: "Done." })]],
		["a call without arguments", [call(0, "a", '{"x":"}"}'), call(1, "b")]],
	] as [string, string[]][])("calls: %s", async (name, pieces) => {
		const events = await streamed([...pieces, chunk({}, "tool_calls"), DONE]);
		const [first, second, third] = blocksOf(events);
		expect([first!["id"], JSON.parse(first!["said"])]).toEqual(["a", { x: "}" }]);
		expect([second!["id"], second!["said"] || "{}"]).toEqual(["b", "{}"]);
		expect(third?.["said"]).toBe(name === "text behind them" ? "Done." : undefined);
	});

	test("a call without an id has one, the same in all its pieces", async () => {
		const events = await streamed([
			chunk({ tool_calls: [{ function: { name: "f", arguments: "{}" } }] }),
			chunk({}, "stop"),
			DONE,
		]);
		const id = expect.stringMatching(/^toolu_[0-9a-f]+_0$/);
		expect(blocksOf(events)).toMatchObject([{ type: "tool_use", id, name: "f", said: "{}" }]);
		// Some servers say `stop` behind a call.
		expect(events.at(-2)!["delta"].stop_reason).toBe("tool_use");
	});
});

test.each([
	["stop", {}, { stop_reason: "end_turn", stop_sequence: null }],
	["stop", { stop_reason: "END" }, { stop_reason: "stop_sequence", stop_sequence: "END" }],
	["stop", { matched_stop: "END" }, { stop_reason: "stop_sequence", stop_sequence: "END" }],
	["stop", { stop_reason: 128_001 }, { stop_reason: "end_turn", stop_sequence: null }],
	["length", {}, { stop_reason: "max_tokens", stop_sequence: null }],
	[
		"content_filter",
		{},
		{
			stop_reason: "refusal",
			stop_sequence: null,
			stop_details: { type: "refusal", category: null, explanation: null },
		},
	],
] as [string, Json, Json][])("a choice that ends with %s %j ends the message with %j", async (finish, more, delta) => {
	const events = await streamed([...BEGINNING, chunk({}, finish, more), DONE]);
	expect(events.at(-2)!["delta"]).toEqual(delta);
	rig.upstream.run(
		answers(
			"200 OK",
			JSON.stringify({ id: "x", choices: [{ index: 0, message: { content: "Hi" }, finish_reason: finish, ...more }] }),
		),
	);
	expect((await rig.send(asking({ stream: false }))).json).toMatchObject(delta);
});

test("tokens that nobody has counted are estimated, and marked so", async () => {
	const events = await streamed([...BEGINNING, chunk({}, "stop"), DONE]);
	expect(events.at(-2)!["usage"]).toMatchObject({ estimated: true });
	expect(events.at(-2)!["usage"].input_tokens).toBeGreaterThan(0);
});

test("arguments that are no JSON object are the value of one field of a whole answer's input", () => {
	const answer = (args: unknown) =>
		JSON.parse(
			anthropicMessages.answer(
				JSON.stringify({
					choices: [{ message: { tool_calls: [{ id: "c", function: { name: "f", arguments: args } }] } }],
				}),
				{ id: "req_1" } as never,
				undefined,
			) as string,
		)["content"][0]["input"];
	expect(answer("not JSON")).toEqual({ arguments: "not JSON" });
	expect(answer("[1]")).toEqual({ arguments: "[1]" });
	expect(answer("")).toEqual({});
	expect(answer('{"a":1}')).toEqual({ a: 1 });
	expect(answer({ a: 1 })).toEqual({ a: 1 });
});

describe("a prompt that is too long is said so", () => {
	test.each([
		[
			"Anthropic",
			"prompt is too long: 3333404 tokens > 200000 maximum",
			"prompt is too long: 3333404 tokens > 200000 maximum",
		],
		[
			"OpenAI",
			"This model's maximum context length is 8192 tokens. However, your messages resulted in 10010 tokens. Please reduce the length of the messages.",
			"prompt is too long: 10010 tokens > 8192 maximum",
		],
		[
			"vLLM",
			"This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. Please reduce the length of the input messages.",
			"prompt is too long: 5000 tokens > 4096 maximum",
		],
		[
			"vLLM, prompt and answer together",
			"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
			"prompt is too long: 4500 tokens > 4096 maximum",
		],
		[
			"Google",
			"The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
			"prompt is too long: 1100000 tokens > 1048576 maximum",
		],
		[
			"xAI",
			"This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
			"prompt is too long: 150000 tokens > 131072 maximum",
		],
		[
			"llama.cpp",
			"the request exceeds the available context size (9000 tokens), try increasing it",
			"prompt is too long: the request exceeds the available context size (9000 tokens), try increasing it",
		],
		["one that says no numbers", "Input too long.", "prompt is too long: Input too long."],
	])("%s", async (_, words, expected) => {
		expect(overflowMessage(words)).toBe(expected);
		rig.upstream.run(
			answers("400 Bad Request", JSON.stringify({ error: { message: words, code: "context_length_exceeded" } })),
		);
		const { status, json } = await rig.send(asking());
		expect([status, json["error"]]).toEqual([400, { type: "invalid_request_error", message: expected }]);
	});

	test("where it is the answer that has no room, in the words on which Claude Code asks for a shorter one", () => {
		const words =
			"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (3000 in the messages, 2000 in the completion).";
		expect(overflowMessage(words)).toBe(
			"input length and `max_tokens` exceed context limit: 3000 + 2000 > 4096, decrease input length or `max_tokens` and try again",
		);
	});
});

test("each answer has an id of its own, whatever its upstream calls it: Claude Code takes two of one id for one", async () => {
	const ids: unknown[] = [];
	for (let call = 0; call < 2; call++) {
		rig.upstream.run(streams([...BEGINNING, chunk({}, "stop"), DONE]));
		const cached = asking({ temperature: 0 });
		ids.push((await rig.send(cached)).events[0]!["message"].id, (await rig.send(cached)).events[0]!["message"].id);
		ids.push((await rig.send({ ...cached, stream: false })).json["id"]);
	}
	expect(new Set(ids).size).toBe(6);
	for (const id of ids) expect(id).toMatch(/^msg_[0-9a-f]+$/);
});

describe("what is kept of an answer serves both wires", () => {
	const chat = {
		model: MODELS.openai,
		messages: [{ role: "user", content: "hi" }],
		max_completion_tokens: 100,
		temperature: 0,
	};
	const message = asking({ temperature: 0, stream: false });
	const pieces = [
		chunk({ role: "assistant", reasoning_content: "Hm" }),
		chunk({ content: "Hello" }),
		call(0, "c", '{"a":1}'),
		chunk({}, "tool_calls"),
		usage({ prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, prompt_tokens_details: { cached_tokens: 4 } }),
		DONE,
	];

	test.each([
		["a stream of this one", asking({ temperature: 0 }), "/v1/messages"],
		["a stream of OpenAI's", { ...chat, stream: true }, "/v1/chat/completions"],
	] as [string, Json, string][])("%s", async (_, body, path) => {
		rig.upstream.run(streams(pieces));
		await rig.send(body, {}, path);
		for (let round = 0; round < 2; round++) {
			const own = await rig.send(message);
			expect(own.headers.get("x-router-cache")).toBe("hit");
			expect(own.headers.get("request-id")).toMatch(/^req_/);
			expect(own.json).toMatchObject({
				id: expect.stringMatching(/^msg_[0-9a-f]+$/),
				content: [
					{ type: "thinking", thinking: "Hm", signature: "" },
					{ type: "text", text: "Hello" },
					{ type: "tool_use", id: "c", name: "f0", input: { a: 1 } },
				],
				stop_reason: "tool_use",
				usage: { input_tokens: 6, cache_read_input_tokens: 4, output_tokens: 5 },
			});
			const again = await rig.send(asking({ temperature: 0 }));
			expect(blocksOf(again.events).map(({ said }) => said)).toEqual(["Hm", "Hello", '{"a":1}']);
			expect(again.events.at(-2)!["usage"]).toMatchObject({ input_tokens: 6, output_tokens: 5 });
			const other = (await rig.send(chat, {}, "/v1/chat/completions")).json;
			expect(other["choices"][0]).toMatchObject({
				finish_reason: "tool_calls",
				message: {
					content: "Hello",
					reasoning_content: "Hm",
					tool_calls: [{ id: "c", type: "function", function: { name: "f0", arguments: '{"a":1}' } }],
				},
			});
			expect(other["usage"]).toMatchObject({ prompt_tokens: 10, completion_tokens: 5 });
		}
		expect(rig.upstream.received.length).toBe(1);
	});

	test("a call that asks Claude to think otherwise is another call", async () => {
		rig.upstream.run(streams(pieces));
		await rig.send(asking({ temperature: 0 }));
		for (const thinking of [{ type: "enabled", budget_tokens: 1024 }, { type: "disabled" }]) {
			const { headers } = await rig.send(asking({ temperature: 0, thinking }));
			expect(headers.get("x-router-cache")).toBe("miss");
		}
	});
});
