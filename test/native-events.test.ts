/** Events of Claude's and Google's go to clients of the same wire as they came, byte for byte, unless something in them is not for clients. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { MessagesStream } from "../src/dialects/anthropic-messages/messages-stream.ts";
import { readRequest } from "../src/dialects/gemini/read-request.ts";
import { chatRequest } from "../src/dialects/gemini/request.ts";
import type { GenerateRequest } from "../src/dialects/gemini/request-schema.ts";
import { EVENTS, GeminiStream } from "../src/dialects/gemini/stream.ts";
import { ollamaChat } from "../src/dialects/ollama/ollama-dialect.ts";
import type { Call } from "../src/openai/call.ts";
import { textOf } from "../src/openai/sse.ts";
import type { Json } from "./kit/exchange.ts";
import { begins, streams } from "./kit/faults.ts";
import { MODELS, messagesRig, user } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart({
		models: [{ name: "two", policy: "order", targets: ["anthropic/claude-opus-4-7", "anthropic/claude-sonnet-4-6"] }],
	});
});

const asking = (more: Json = {}) => ({
	model: MODELS.claude,
	max_tokens: 100,
	stream: true,
	messages: [user("hi")],
	...more,
});
const event = (type: string, more: Json = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
const start = (index: number, content_block: Json, more: Json = {}) =>
	event("content_block_start", { index, content_block, ...more });
const delta = (index: number, piece: Json) => event("content_block_delta", { index, delta: piece });
const stop = (index: number) => event("content_block_stop", { index });
const message = { id: "msg_own", type: "message", role: "assistant", model: "claude-opus-4-7", content: [] };
const BEGUN = event("message_start", { message: { ...message, usage: { input_tokens: 3, output_tokens: 1 } } });
const END = [
	event("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 9 } }),
	event("message_stop"),
];
const text = (index: number, said: string) => delta(index, { type: "text_delta", text: said });

/** Of so many bytes each. */
function cut(pieces: readonly string[], size: number): Uint8Array[] {
	const bytes = Buffer.from(pieces.join(""));
	return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
}

describe("Claude's", () => {
	const pieces = [
		BEGUN,
		start(0, { type: "thinking", thinking: "", signature: "" }, { a_field_of_next_year: 1 }),
		delta(0, { type: "thinking_delta", thinking: "Hm" }),
		delta(0, { type: "signature_delta", signature: "c2ln" }),
		stop(0),
		start(1, { type: "redacted_thinking", data: "c2VjcmV0" }),
		stop(1),
		start(2, { type: "text", text: "" }, { a_field_of_next_year: 1e21 }),
		text(2, "Bern "),
		text(2, "is a city — 模型 🙂."),
		// Padded, as Claude's API does it.
		text(2, " It has").replace("}\n\n", "   }\n\n"),
		text(2, " bears.").replace('"index":2', '"index": 2'),
		stop(2),
		start(3, { type: "text", text: "" }),
		stop(3),
		start(4, { type: "of_next_year", some: { thing: 1 } }),
		delta(4, { type: "of_next_year_delta", more: 1 }),
		stop(4),
		start(5, { type: "tool_use", id: "toolu_1", name: "f", input: {} }),
		// The first piece of a call is written by the router, as it is here.
		...['{"city', '": "Be', 'rn \\"', "\\ \n", ' 模型 🙂"', "}"].map((json) =>
			delta(5, { type: "input_json_delta", partial_json: json }),
		),
		stop(5),
	];

	test.each([
		["at once", [[...pieces, ...END].join("")]],
		["one by one", [...pieces, ...END]],
		["cut anywhere", cut([...pieces, ...END], 37)],
	] as [string, (string | Uint8Array)[]][])("that come %s", async (_, reads) => {
		rig.upstream.run(streams(reads));
		const answer = await rig.send(asking());
		expect(answer.text).toStartWith(pieces.join(""));
		expect(answer.text.slice(pieces.join("").length)).toStartWith(": router ");
		expect(answer.events.at(-1)).toMatchObject({ type: "message_stop" });
		expect(answer.events.at(-2)).toMatchObject({ delta: { stop_reason: "end_turn" }, usage: { output_tokens: 9 } });
	});

	test.each([
		["a ping is the router's to send", event("ping")],
		["a comment is none of the answer", ": comment\n\n"],
		["a field beside name and data is none for clients", `id: 7\n${text(0, "lo")}`],
	])("%s", async (_, odd) => {
		const others = [BEGUN, start(0, { type: "text", text: "" }), text(0, "Hel")];
		rig.upstream.run(streams([[...others, odd, text(0, " you"), stop(0), ...END].join("")]));
		const { text: sent } = await rig.send(asking());
		expect(sent).toStartWith(others.join(""));
		expect(sent).not.toMatch(/ping|comment|^id:/m);
		expect(sent).toContain(odd.includes("lo") ? `${text(0, "lo")}${text(0, " you")}` : text(0, " you"));
	});

	test("in the place of a whole answer they are one, counts included", async () => {
		rig.upstream.run(
			streams([BEGUN, start(0, { type: "text", text: "" }), text(0, "Hel"), text(0, "lo"), stop(0), ...END]),
		);
		const { json } = await rig.send(asking({ stream: false }));
		expect(json).toMatchObject({ content: [{ text: "Hello" }], usage: { input_tokens: 3, output_tokens: 9 } });
	});

	test("a line's end inside an event's JSON does not cut the event in two", async () => {
		const odd = text(0, "lo").replace(',"index"', ',\r"index"');
		rig.upstream.run(streams([BEGUN, start(0, { type: "text", text: "" }), text(0, "Hel"), odd, stop(0), ...END]));
		const { text: sent, events } = await rig.send(asking());
		expect(sent).not.toContain("\r");
		expect(events.map(({ delta: piece }) => piece?.text ?? "").join("")).toBe("Hello");
	});

	test("a call of a tool between texts leaves each block its number", async () => {
		const call = { type: "tool_use", id: "toolu_1", name: "f", input: {} };
		const all = [
			BEGUN,
			start(0, { type: "text", text: "" }),
			text(0, "I call."),
			stop(0),
			start(1, call),
			delta(1, { type: "input_json_delta", partial_json: '{"a":' }),
			delta(1, { type: "input_json_delta", partial_json: "1}" }),
			stop(1),
			start(2, { type: "text", text: "" }),
			text(2, "I have "),
			text(2, "called."),
			stop(2),
			...END,
		];
		for (const reads of [all, [all.join("")]]) {
			rig.upstream.run(streams(reads));
			const { events } = await rig.send(asking());
			const opened = events.flatMap(({ type, index, content_block: block }) =>
				type === "content_block_start" ? [[index, block.type]] : [],
			);
			expect(opened).toEqual([
				[0, "text"],
				[1, "tool_use"],
				[2, "text"],
			]);
			const said = ["", "", ""];
			for (const { index, delta: piece } of events)
				if (typeof index === "number") said[index] += piece?.text ?? piece?.partial_json ?? "";
			expect(said).toEqual(["I call.", '{"a":1}', "I have called."]);
		}
	});

	test("an answer that broke inside a thought, and is made again by Claude, is told once", async () => {
		const thought = [
			BEGUN,
			start(0, { type: "thinking", thinking: "", signature: "" }),
			delta(0, { type: "thinking_delta", thinking: "Hm, " }),
		];
		rig.upstream.run(async (connection) => {
			if (connection.nth === 0) {
				await begins(thought)(connection);
				await Bun.sleep(50);
				return connection.destroy();
			}
			const rest = [
				delta(0, { type: "thinking_delta", thinking: "well." }),
				delta(0, { type: "signature_delta", signature: "c2ln" }),
				stop(0),
				start(1, { type: "text", text: "" }),
				text(1, "Bern"),
				stop(1),
			];
			return streams([...thought, ...rest, ...END])(connection);
		});
		const { events } = await rig.send(asking({ model: "two" }));
		expect(rig.upstream.received.map(({ path }) => path)).toEqual(["/v1/messages", "/v1/messages"]);
		const count = (type: string) => events.filter((each) => each["type"] === type).length;
		expect(["message_start", "content_block_start", "content_block_stop", "message_stop"].map(count)).toEqual([
			1, 2, 2, 1,
		]);
		expect(events.map(({ delta: piece }) => piece?.thinking ?? "").join("")).toBe("Hm, well.");
		expect(events.map(({ delta: piece }) => piece?.text ?? "").join("")).toBe("Bern");
	});
});

describe("Google's", () => {
	const piece = (said: string, more: Json = {}) =>
		`data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text: said }], role: "model" }, ...more, index: 0 }], usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 9, totalTokenCount: 12 }, modelVersion: "gemini-2.5-flash", responseId: "own" })}\r\n\r\n`;
	const all = [
		piece("Bern "),
		piece("is a city — 模型 🙂."),
		piece(" It has"),
		piece(" bears."),
		piece("", { finishReason: "STOP" }),
	];
	const stream = (query: string) =>
		rig.send(
			{ contents: [{ role: "user", parts: [{ text: "hi" }] }] },
			{},
			`/v1beta/models/${MODELS.gemini}:streamGenerateContent${query}`,
		);

	test.each([
		["at once", [all.join("")]],
		["one by one", all],
		["cut anywhere", cut(all, 41)],
	] as [string, (string | Uint8Array)[]][])("that come %s, in both forms", async (_, reads) => {
		rig.upstream.run(streams(reads));
		expect((await stream("?alt=sse")).text).toBe(all.join(""));
		expect((await stream("")).json as unknown).toEqual(all.map((each) => JSON.parse(each.slice(6)) as Json));
	});

	test("a line's end inside an event's JSON does not cut the event in two", async () => {
		rig.upstream.run(streams([all[0]!.replace(',"usage', ',\r"usage'), ...all.slice(1)]));
		expect((await stream("?alt=sse")).text.replaceAll("\r\n", "\n")).not.toContain("\r");
	});
});

describe("words of OpenAI's chunks, as bytes", () => {
	const chunk = (content: string) =>
		`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }] })}\n\n`;
	const words = ["a", " b", ' "c"', "d\\", "e\nf", "", "模型", "g\u2028h", "\u0085", '"},', "i"];
	const bytes = Buffer.from([...words, ...words].map(chunk).join(""));

	test("are the same in Claude's", () => {
		const writer = new MessagesStream({ id: "req_1", facts: { model: "m" } } as never);
		const sent = textOf(writer.push(bytes));
		const said = [...sent.matchAll(/"text_delta","text":("(?:[^"\\]|\\.)*")/g)].map(([, json]) => JSON.parse(json!));
		expect(said).toEqual([...words, ...words].filter((each) => each !== ""));
	});

	test("and in Google's, where no line ends inside an event for any client", () => {
		const writer = new GeminiStream({ id: "req_1", showsThoughts: false, names: undefined }, "m", EVENTS);
		const sent = textOf(writer.push(bytes));
		expect(sent).not.toMatch(/[\u0085\u2028\u2029]/);
		const events = sent
			.trimEnd()
			.split("\n\n")
			.map((each) => JSON.parse(each.slice(6)));
		const said = events.map(({ candidates }) => candidates[0].content.parts[0].text);
		expect(said).toEqual([...words, ...words].filter((each) => each !== ""));
	});

	test("and in Ollama's, each in a line of its own", () => {
		const writer = ollamaChat.stream({ id: "req_1", facts: { model: "m" }, stream: true } as unknown as Call);
		const sent = textOf(writer.push(bytes));
		expect(sent).not.toMatch(/[\u0085\u2028\u2029]/);
		const said = sent
			.trimEnd()
			.split("\n")
			.map((line) => JSON.parse(line).message.content);
		expect(said).toEqual([...words, ...words].filter((each) => each !== ""));
	});
});

test("a request of Google's that is spelt as it is to be is read without a copy, any other in both spellings alike", () => {
	const read = (sent: object) => readRequest<GenerateRequest>(JSON.stringify(sent), "generate").request;
	const plain = {
		contents: [{ parts: [{ text: "hi" }] }],
		generationConfig: { topK: 3 },
		tools: [{ functionDeclarations: [{ name: "f", parameters: { type: "OBJECT", a_b: 1 } }] }],
	};
	const odd = {
		contents: { parts: { text: "hi" } },
		generation_config: { top_k: 3 },
		tools: { function_declarations: { name: "f", parameters: { type: "OBJECT", a_b: 1 } } },
	};
	expect(read(odd)).toEqual(read(plain));
	expect(Object.keys(read(odd))).toEqual(Object.keys(plain));
	const asked = { model: "m", stream: false };
	expect(chatRequest(read(odd), asked, "others").text).toBe(chatRequest(read(plain), asked, "others").text);
});
