/** Of all answers that were asked for in a form: a stream is the whole answer in pieces, what is sent is of the form, and what was signed is never moved. */
import { expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import type { Chat } from "../src/openai/chat-schema.ts";
import { SseSplitter, sseData } from "../src/openai/sse.ts";
import { answerPlan } from "../src/providers/anthropic/answer-plan.ts";
import { claude } from "../src/providers/anthropic/models.ts";
import { plannedAnswer, plannedMessage } from "../src/providers/anthropic/planned-answer.ts";
import { PlannedDecoder } from "../src/providers/anthropic/planned-stream.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import type { Failure } from "../src/providers/failure.ts";
import type { Answer, StoredThinking } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import { conforms } from "../src/providers/schema-check.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { folded } from "./kit/folded.ts";
import { configOf } from "./kit/pipeline.ts";
import { type Random, random } from "./kit/random.ts";

const upstream = configureUpstreams(configOf(), {}).find(({ name }) => name === "anthropic")!;
const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"] };
const list = { type: "array", items: { type: "string" } };
const formOf = (of: Json) => ({ type: "json_schema", json_schema: { name: "s", schema: of } });
const TOOLS = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
const OLD = "claude-opus-4-1";
/** What is asked, of which model, and what the answer must be. */
const ASKS: readonly [model: string, ask: Json, form: Json][] = [
	[OLD, { response_format: formOf(schema) }, schema],
	[OLD, { response_format: formOf(schema), tools: TOOLS }, schema],
	[OLD, { response_format: formOf(schema), reasoning_effort: "low" }, schema],
	[OLD, { response_format: formOf(list) }, list],
	["claude-opus-5-5", { response_format: { type: "json_object" }, tools: TOOLS }, { type: "object" }],
	["claude-opus-5-5", { tools: TOOLS, tool_choice: "required" }, {}],
	[
		"claude-opus-5-5",
		{ tools: TOOLS, tool_choice: { type: "function", function: { name: "f" } }, response_format: formOf(schema) },
		schema,
	],
];

const TEXTS = ["So: ", '{"a":"Grüße 🙂"}', '["x"]', "```json\n", '{"a":1}', "\n```", "{", " "];
const INPUTS: readonly Json[] = [{ a: "Grüße 🙂" }, { a: 1 }, {}, { answer: ["x", "你"] }, { answer: 1 }];

function blockOf(rng: Random, index: number, tool: string | undefined): Loose {
	switch (rng.below(6)) {
		case 0:
			return { type: "thinking", thinking: rng.pick(["", "Hm."]), signature: `sig${index}` };
		case 1:
			return { type: "redacted_thinking", data: `data${index}` };
		case 2:
			return { type: "tool_use", id: `toolu_${index}`, name: rng.pick(["f", "g"]), input: rng.pick(INPUTS) };
		case 3:
			return { type: "text", text: rng.pick(TEXTS) + rng.pick(TEXTS) };
		default:
			return tool === undefined
				? { type: "text", text: rng.pick(TEXTS) }
				: { type: "tool_use", id: `toolu_${index}`, name: tool, input: rng.pick(INPUTS) };
	}
}

/** A text in pieces, cut anywhere but inside a character. */
function pieces(rng: Random, text: string): string[] {
	const characters = [...text];
	const made: string[] = [];
	while (characters.length > 0) made.push(characters.splice(0, 1 + rng.below(4)).join(""));
	return made;
}

function eventsOf(rng: Random, block: Loose, index: number): Loose[] {
	const { type, text, thinking, signature, input } = block;
	const deltas: Loose[] =
		type === "text"
			? pieces(rng, text).map((each) => ({ type: "text_delta", text: each }))
			: type === "tool_use"
				? pieces(rng, rng.below(2) === 0 && Object.keys(input).length === 0 ? "" : JSON.stringify(input)).map(
						(each) => ({ type: "input_json_delta", partial_json: each }),
					)
				: type === "thinking"
					? [
							...pieces(rng, thinking).map((each) => ({ type: "thinking_delta", thinking: each })),
							{ type: "signature_delta", signature },
						]
					: [];
	const start =
		type === "text"
			? { type, text: "" }
			: type === "tool_use"
				? { ...block, input: {} }
				: type === "thinking"
					? { type, thinking: "", signature: "" }
					: block;
	return [
		{ type: "content_block_start", index, content_block: start },
		...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
		{ type: "content_block_stop", index },
	];
}

/** What a decoder makes of the events: what the client is sent, or the failure; and whether anything had left before that. */
function streamed(
	rng: Random,
	decoder: PlannedDecoder,
	events: readonly Loose[],
): { text: string; keeps: StoredThinking[]; failure?: Failure; hasLeft: boolean } {
	const bytes = Buffer.from(
		events.map((event) => `event: ${event["type"]}\ndata: ${JSON.stringify(event)}\n\n`).join(""),
	);
	const splitter = new SseSplitter();
	let text = "";
	let hasLeft = false;
	for (let at = 0; at < bytes.length; ) {
		const end = at + 1 + rng.below(150);
		for (const event of splitter.push(bytes.subarray(at, end))) {
			const out = decoder.push(event);
			expect(out.bytes).toBeString();
			if (out.failure) return { text, keeps: [], failure: out.failure, hasLeft };
			text += out.bytes;
			if (out.held) expect([out.bytes, out.delta]).toEqual(["", undefined]);
			else if (out.delta) hasLeft = true;
		}
		at = end;
	}
	expect(decoder.end()).toBeUndefined();
	const { bytes: rest = "", usage, thinking = [] } = decoder.flush();
	return {
		text: `${text}${rest}${usage === undefined ? "" : sseData(usage)}data: [DONE]\n\n`,
		keeps: [...thinking],
		hasLeft,
	};
}

const comparable = ({ message, finish_reason }: Loose) => ({
	finish_reason,
	content: message.content || null,
	refusal: message.refusal ?? null,
	reasoning: message.reasoning_content ?? null,
	details: message.reasoning_details ?? [],
	calls: (message.tool_calls ?? []).map(({ id, function: fn }: Loose) => [id, fn.name, JSON.parse(fn.arguments)]),
});

test("a stream is the whole answer in pieces, and what is sent is of the form", () => {
	const seen = { answers: 0, calls: 0, refusals: 0, cut: 0 };
	for (let seed = 0; seed < 4000; seed++) {
		const rng = random(seed);
		const [model, ask, form] = rng.pick(ASKS);
		const request = {
			model,
			messages: [{ role: "user", content: "Hi" }],
			stream_options: { include_usage: true },
			...ask,
		};
		const call = parseRequest("chat", JSON.stringify(request)) as Call;
		const { reading } = answerPlan(call.body().value as unknown as Chat, undefined, claude(model));
		const content = Array.from({ length: rng.below(5) }, (_, index) => blockOf(rng, index, reading!.tool));
		const hasCalls = content.some(({ type }) => type === "tool_use");
		const stop_reason = rng.below(8) === 0 ? rng.pick(["max_tokens", "refusal"]) : hasCalls ? "tool_use" : "end_turn";
		const message = {
			id: "msg_1",
			type: "message",
			role: "assistant",
			model,
			content,
			stop_reason,
			usage: { input_tokens: 3, output_tokens: 7 },
		};
		const events = [
			{ type: "message_start", message: { ...message, content: [], stop_reason: null } },
			...content.flatMap((block, index) => [...eventsOf(rng, block, index), { type: "ping" }]),
			{ type: "message_delta", delta: { stop_reason }, usage: { output_tokens: 7 } },
			{ type: "message_stop" },
		];
		const whole: Answer | Failure = plannedMessage(JSON.stringify(message), message, reading!);
		const stream = streamed(rng, new PlannedDecoder(new MessageDecoder(upstream, call), reading!), events);
		if ("kind" in whole) {
			seen.refusals++;
			expect([seed, whole.kind, stream.failure?.param]).toEqual([seed, "unsupported", whole.param]);
			// Only a forced tool's answer goes on at once, and what comes of calls that were asked for.
			if (reading!.isChecked && reading!.mustCall === undefined) expect([seed, stream.hasLeft]).toEqual([seed, false]);
			continue;
		}
		const { choices, usage } = JSON.parse(whole.body);
		const sent = folded(stream.text);
		expect([seed, comparable(sent["choices"][0])]).toEqual([seed, comparable(choices[0])]);
		expect([sent["usage"], stream.keeps.length]).toEqual([usage, whole.thinking?.length ?? 0]);
		const { message: said, finish_reason } = choices[0];
		if (finish_reason === "stop") {
			seen.answers++;
			expect(reading!.mustCall).toBeUndefined();
			const made = JSON.parse(said.content);
			if (reading!.isChecked) expect([seed, conforms(made, form)]).toEqual([seed, true]);
		} else if (finish_reason === "tool_calls") {
			seen.calls++;
			expect(said.tool_calls.map((each: Loose) => each["function"].name)).not.toContain(reading!.tool);
			if (reading!.isJson) expect(said.content).toBeNull();
		} else seen.cut++;
		// What is signed comes back only where all before it does.
		const details = (said.reasoning_details ?? []).length;
		const moved = content.findIndex(
			({ type, name }) => (type === "text" && reading!.isJson) || (type === "tool_use" && name === reading!.tool),
		);
		const before = content
			.slice(0, moved === -1 ? content.length : moved)
			.filter(({ type }) => /thinking/.test(type)).length;
		if (finish_reason === "stop" || finish_reason === "tool_calls") expect([seed, details]).toEqual([seed, before]);
	}
	for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
});

test.each([
	['{"answer": ["Bern", "Ba', '["Bern", "Ba'],
	['{"answer":["Bern"]}', '["Bern"]'],
	['{"other":1', '{"other":1'],
])("of a list that is cut off inside %s comes what there is of the list alone", (input, text) => {
	const { reading } = answerPlan(
		{ messages: [], response_format: formOf(list) } as unknown as Chat,
		undefined,
		claude(OLD),
	);
	const block = { type: "tool_use", name: reading!.tool, text: "", input };
	expect(plannedAnswer([block], "max_tokens", reading!)).toEqual({ edits: [{ text }], stopReason: "max_tokens" });
});
