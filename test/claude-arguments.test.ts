/** Arguments of tool calls that Claude sends and that go on unread: where they stand in OpenAI's words, and what a client of Claude's own wire is sent. */
import { expect, test } from "bun:test";
import { MessagesStream } from "../src/dialects/anthropic-messages/messages-stream.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import { type AnswerPiece, chunksOf, NativePiece, textOf } from "../src/openai/sse.ts";
import { nativeDecoder } from "../src/providers/anthropic/native-stream.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import type { StreamDecoder } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Deadline } from "../src/proxy/deadline.ts";
import { EventReader } from "../src/proxy/event-reader.ts";
import { configOf } from "./kit/pipeline.ts";

const upstream = configureUpstreams(configOf(), {}).find(({ name }) => name === "anthropic")!;
const call = parseRequest("chat", JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }] })) as Call;
const event = (type: string, rest: object = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
const BEGUN = event("message_start", { message: { id: "msg_1", model: "claude", usage: { input_tokens: 3 } } });
const opened = (index: number) =>
	event("content_block_start", {
		index,
		content_block: { type: "tool_use", id: `toolu_${index}`, name: "f", input: {} },
	});
const args = (index: number, json: string) =>
	event("content_block_delta", { index, delta: { type: "input_json_delta", partial_json: json } });
const closed = (index: number) => event("content_block_stop", { index });

/** What is sent of these events, all in one read. */
function read(decoder: StreamDecoder, events: readonly string[]): AnswerPiece {
	const deadline = { touch() {}, abort() {}, clear() {}, within() {}, failure: undefined } as unknown as Deadline;
	const told = { begun() {}, held() {}, firstDelta() {}, finished() {}, comment() {}, keeps() {}, end() {} };
	const reader = new EventReader({ read: () => Promise.resolve(undefined) }, decoder, deadline, told);
	return reader.take(Buffer.from(events.join("")));
}

/** Index and arguments of the calls in OpenAI's chunks. */
function callsIn(chunks: string): string[] {
	const calls: string[] = [];
	for (const [data] of chunks.matchAll(/(?<=^data: )\{.*$/gm)) {
		for (const { index, function: called } of JSON.parse(data).choices[0].delta.tool_calls ?? [])
			calls[index] = (calls[index] ?? "") + called.arguments;
	}
	return calls;
}

/** Of a client of Claude's wire. */
const writer = () =>
	new MessagesStream({ id: "req_1", operation: "chat", facts: call.facts, body: call.body, stream: true });

const TWO = [
	BEGUN,
	opened(0),
	...['{"a":', '"\\"}', '", "b', '": 模型', "}"].map((json) => args(0, json)),
	closed(0),
	opened(1),
	...['{"c', '":[', "]}"].map((json) => args(1, json)),
	closed(1),
];

test("arguments of two calls that come in one read stand each in its own call", () => {
	const chunks = textOf(chunksOf(read(new MessageDecoder(upstream, call), TWO)));
	expect(callsIn(chunks)).toEqual(['{"a":"\\"}", "b": 模型}', '{"c":[]}']);
});

test("for a client of Claude's own wire they are what came", () => {
	const piece = read(nativeDecoder(upstream, call), TWO);
	expect(piece).toBeInstanceOf(NativePiece);
	const sent = textOf(writer().push(piece));
	for (const json of ['"\\"}', '": 模型', "]}"]) expect(sent).toContain(args(json === "]}" ? 1 : 0, json));
	expect([...sent.matchAll(/"partial_json":/g)]).toHaveLength(8);
});

test("a call that goes on in OpenAI's words, behind events that went on unread, ends where its braces do", () => {
	const client = writer();
	client.push(read(nativeDecoder(upstream, call), [BEGUN, opened(0), args(0, '{"a":'), args(0, '{"b":"\\\\\\"{"')]));
	const chunk = (delta: object) =>
		`data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [delta] }, finish_reason: null }] })}\n\n`;
	const other = chunk({ index: 1, id: "call_2", type: "function", function: { name: "g", arguments: "{}" } });
	// The other waits for the braces that are open.
	expect(textOf(client.push(chunk({ index: 0, function: { arguments: ',"c":{}}' } }) + other))).not.toContain("call_2");
	expect(textOf(client.push(chunk({ index: 0, function: { arguments: "}" } })))).toContain("call_2");
});

test("while another call waits they go on in OpenAI's words, and none is lost", () => {
	const client = writer();
	client.push(read(nativeDecoder(upstream, call), [BEGUN, opened(0), args(0, '{"a":')]));
	const other = { index: 1, id: "call_2", type: "function", function: { name: "g", arguments: "{}" } };
	client.push(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [other] } }] })}\n\n`);
	const decoder = nativeDecoder(upstream, call);
	read(decoder, [BEGUN, opened(0), args(0, '{"a":')]);
	const sent = textOf(client.push(read(decoder, [args(0, "1"), args(0, "}")])));
	expect(sent.indexOf('"partial_json":"1')).toBeGreaterThan(-1);
	expect(sent.indexOf("call_2")).toBeGreaterThan(sent.indexOf('"partial_json":"1'));
});
