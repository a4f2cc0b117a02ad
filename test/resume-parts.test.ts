/** An answer that broke off goes on elsewhere: what was told, and how the rest is joined on. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import { SseSplitter } from "../src/openai/sse.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import { GenerateDecoder } from "../src/providers/gemini/stream.ts";
import { ChunkDecoder } from "../src/providers/openai/stream.ts";
import type { StreamDecoder } from "../src/providers/provider.ts";
import { DIVERGED, resumedDecoder } from "../src/proxy/resume-decoder.ts";
import { type FollowUp, obstacleOf } from "../src/proxy/resume-request.ts";
import { choiceEvent, event, textEvent } from "./kit/events.ts";
import { chunksOf, type Json } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { recordings } from "./kit/recordings.ts";
import { callOf, folded, NOTHING_SPENT, sentFor, told, toldBy, toolDelta, upstream, waysOf } from "./kit/resumed.ts";

/** Cuts a stream behind each of its events and lets it go on: by `again`, the same answer as another upstream tells it. */
function everyCut(whole: string, again: string, call: Call, mode: FollowUp["mode"] = "replay") {
	const { sent } = sentFor(new ChunkDecoder(upstream, call), whole);
	const expected = folded(sent.join(""));
	let cuts = 0;
	for (let cut = 1; cut < sent.length; cut++) {
		const before = sent.slice(0, cut);
		const told = toldBy(before);
		if (obstacleOf(call, told) !== undefined || told.deltas === 0) continue;
		const decoder = resumedDecoder(new ChunkDecoder(upstream, call), told, {
			call,
			mode,
			trimmed: "",
			spent: NOTHING_SPENT,
		});
		const { sent: after, failure } = sentFor(decoder, again);
		expect(failure).toBeUndefined();
		const joined = folded([...before, ...after].join(""));
		expect({ ...joined, ids: [...joined.ids] }).toEqual({ ...expected, ids: [...expected.ids] });
		cuts++;
	}
	return cuts;
}

describe("asked again, an answer goes on wherever it was cut", () => {
	test("text, in whatever pieces it comes the second time", () => {
		const one = told(
			"one",
			choiceEvent({ role: "assistant", content: "" }),
			...["The ", "quick", " brown ", "fox "].map(textEvent),
		);
		const two = told("two", choiceEvent({ role: "assistant" }), ...["Th", "e quick b", "rown fo", "x "].map(textEvent));
		expect(everyCut(one, two, callOf())).toBe(4);
	});

	test("thinking, then text", () => {
		const think = (reasoning_content: string) => choiceEvent({ reasoning_content });
		const one = told("one", think("Let me "), think("see. "), textEvent("Four"), textEvent("."));
		const two = told("two", think("Let me see. "), textEvent("Four."));
		expect(everyCut(one, two, callOf())).toBe(4);
	});

	test("thinking that is told under both of its names, as vLLM does", () => {
		const think = (text: string) => choiceEvent({ reasoning: text, reasoning_content: text });
		const one = told("one", think("ha"), think(" ha"), think(" hm"), textEvent("Four"), textEvent("."));
		const two = told("two", think("ha"), think(" ha hm"), textEvent("Four."));
		expect(everyCut(one, two, callOf())).toBe(5);
	});

	test("tool calls, inside their arguments too; the ids that were told stay", () => {
		const one = told(
			"one",
			textEvent("Look: "),
			toolDelta(0, "", "call_1", "weather"),
			toolDelta(0, '{"ci'),
			toolDelta(0, 'ty":"Rome"}'),
			toolDelta(1, "", "call_2", "time"),
			toolDelta(1, "{}"),
		);
		const two = told(
			"two",
			textEvent("Look: "),
			toolDelta(0, '{"city":"Ro', "call_a", "weather"),
			toolDelta(0, 'me"}'),
			toolDelta(1, "{}", "call_b", "time"),
		);
		const call = callOf();
		const { sent } = sentFor(new ChunkDecoder(upstream, call), one);
		for (let cut = 2; cut < sent.length - 1; cut++) {
			const before = sent.slice(0, cut);
			const decoder = resumedDecoder(new ChunkDecoder(upstream, call), toldBy(before), {
				call,
				mode: "replay",
				trimmed: "",
				spent: NOTHING_SPENT,
			});
			const { sent: after, failure } = sentFor(decoder, two);
			expect(failure).toBeUndefined();
			const { calls, content, ids } = folded([...before, ...after].join(""));
			expect(content).toBe("Look: ");
			expect(calls.map(({ name, arguments: args }) => [name, args])).toEqual([
				["weather", '{"city":"Rome"}'],
				["time", "{}"],
			]);
			expect(calls[0]?.id).toBe("call_1");
			expect(calls[1]?.id).toBe(cut > 4 ? "call_2" : "call_b");
			expect([...ids]).toEqual(["one"]);
		}
	});

	test("behind a first chunk without an id, as Azure's is, it has the id of those that follow", () => {
		const before = [
			event({ id: "", object: "", created: 0, model: "", choices: [], prompt_filter_results: [] }),
			...[choiceEvent({ role: "assistant", content: "" }), textEvent("The ")].map((each) =>
				each.replaceAll("chatcmpl-kit", "one"),
			),
		];
		for (const [cut, id] of [
			[1, "two"],
			[2, "one"],
			[3, "one"],
		] as const) {
			const call = callOf();
			const followUp = { call, mode: "replay", trimmed: "", spent: NOTHING_SPENT } as const;
			const decoder = resumedDecoder(new ChunkDecoder(upstream, call), toldBy(before.slice(0, cut)), followUp);
			const { sent } = sentFor(decoder, told("two", textEvent("The "), textEvent("end.")));
			expect(new Set(chunksOf(sent.join("")).map((chunk) => chunk["id"]))).toEqual(new Set([id]));
		}
	});

	test("an id that comes again with what the client has, which was told none, is told with the next piece, once", () => {
		const before = [toolDelta(0, '{"a', undefined, "f")];
		const call = callOf();
		const decoder = resumedDecoder(new ChunkDecoder(upstream, call), toldBy(before), {
			call,
			mode: "replay",
			trimmed: "",
			spent: NOTHING_SPENT,
		});
		const { sent } = sentFor(
			decoder,
			told("two", toolDelta(0, "", "call_b", "f"), toolDelta(0, '{"a":'), toolDelta(0, "1}")),
		);
		expect(sent.join("").match(/call_b/g)).toHaveLength(1);
		expect(folded([...before, ...sent].join("")).calls).toEqual([{ id: "call_b", name: "f", arguments: '{"a":1}' }]);
	});

	test.each([
		["Claude's", "toolu_2", true],
		["Gemini's", "call_2", false],
	])("what a later call of %s will need is kept by the id that was told", (_, id, isClaude) => {
		const data = (value: Json) => `event: ${value["type"]}\ndata: ${JSON.stringify(value)}\n\n`;
		const block = (index: number, content_block: Json, delta: Json) =>
			data({ type: "content_block_start", index, content_block }) +
			data({ type: "content_block_delta", index, delta }) +
			data({ type: "content_block_stop", index });
		const again = isClaude
			? data({ type: "message_start", message: { id: "m", model: "c" } }) +
				block(0, { type: "thinking", thinking: "", signature: "signed" }, { type: "thinking_delta", thinking: "Hm" }) +
				block(1, { type: "tool_use", id, name: "f" }, { type: "input_json_delta", partial_json: '{"a":1}' }) +
				data({ type: "message_delta", delta: { stop_reason: "tool_use" } }) +
				data({ type: "message_stop" })
			: event({
					responseId: "r",
					candidates: [
						{
							content: {
								parts: [
									{ text: "Hm", thought: true },
									{ functionCall: { id, name: "f", args: { a: 1 } }, thoughtSignature: "signed" },
								],
							},
							finishReason: "STOP",
						},
					],
				});
		const before = [choiceEvent({ reasoning_content: "Hm" }), toolDelta(0, '{"a"', "call_1", "f")];
		const call = callOf();
		const inner = new (isClaude ? MessageDecoder : GenerateDecoder)(upstream, call);
		const decoder = resumedDecoder(inner, toldBy(before), { call, mode: "replay", trimmed: "", spent: NOTHING_SPENT });
		const splitter = new SseSplitter();
		const outs = splitter.push(Buffer.from(again)).map((each) => decoder.push(each));
		const keeps = [...outs, decoder.flush!()].flatMap((out) => out.thinking ?? []);
		expect(keeps.map((keep) => keep.id)).toEqual(["call_1"]);
		expect(JSON.stringify(keeps)).toContain("signed");
	});

	test.each([
		["says something else", ["The ", "slow", " fox"]],
		["stops short", ["The "]],
		["thinks where it did not", []],
	])("an upstream that %s is not taken for the same", (_, pieces) => {
		const before = ["The ", "quick", " brown "].map(textEvent);
		const again = told(
			"two",
			...pieces.map(textEvent),
			...(pieces.length === 0 ? [choiceEvent({ reasoning_content: "Hm" })] : []),
		);
		const call = callOf();
		const decoder = resumedDecoder(new ChunkDecoder(upstream, call), toldBy(before), {
			call,
			mode: "replay",
			trimmed: "",
			spent: NOTHING_SPENT,
		});
		const { sent, failure } = sentFor(decoder, again);
		expect(failure).toBe(DIVERGED.message);
		expect(sent.join("")).toBe("");
	});
});

test("text that a reasoning parser takes for thinking, having seen no end of that, is not put there", () => {
	const before = ["The ", "quick"].map(textEvent);
	const call = callOf();
	const followUp = waysOf(call, toldBy(before), "continue_final_message")[0]!;
	const decoder = resumedDecoder(new ChunkDecoder(upstream, followUp.call), toldBy(before), followUp);
	const { sent, failure } = sentFor(
		decoder,
		told("two", choiceEvent({ reasoning: " brown", reasoning_content: " brown" })),
	);
	expect([sent.join(""), failure]).toEqual(["", DIVERGED.message]);
});

test("citations of the rest are over the same words in the whole answer", () => {
	const before = ["Grüße 🙂. ", "Es regnet.  "].map(textEvent);
	const call = callOf();
	const followUp = waysOf(call, toldBy(before), "continue_final_message")[0]!;
	const decoder = resumedDecoder(new ChunkDecoder(upstream, followUp.call), toldBy(before), followUp);
	const cite = (start_index: number, end_index: number) => ({
		type: "url_citation",
		url_citation: { url: "https://rain.example/", title: "", start_index, end_index },
	});
	const annotations = [cite(2, 16), cite(0, 0)];
	const { sent, failure } = sentFor(
		decoder,
		told("two", textEvent("  Morgen schneit "), textEvent("es 🙂."), choiceEvent({ annotations })),
	);
	expect(failure).toBeUndefined();
	const { content } = toldBy([...before, ...sent]);
	const deltas = chunksOf(sent.join("")).flatMap(({ choices }) => choices as Json[]);
	const cited = deltas.flatMap(({ delta }) => (delta as { annotations?: typeof annotations })?.annotations ?? []);
	expect(cited).toEqual([cite(21, 35), cite(0, 0)]);
	expect([...content].slice(21, 35).join("")).toBe("Morgen schneit");
});

test.each(["replay", "continue"] as const)("several choices of the rest are no rest: %s", (mode) => {
	const call = callOf();
	const decoder = resumedDecoder(new ChunkDecoder(upstream, call), toldBy([textEvent("a")]), {
		call,
		mode,
		trimmed: "",
		spent: NOTHING_SPENT,
	});
	const { failure } = sentFor(decoder, event({ choices: [{ index: 1, delta: { content: "ab" } }] }));
	expect(failure).toBe(DIVERGED.message);
});

describe("recorded answers, cut behind every event", () => {
	const streams = ["openai", "openrouter", "xai", "vllm"]
		.flatMap(recordings)
		.filter(
			({ response, request }) =>
				response.sse?.includes("[DONE]") &&
				!response.sse.includes('"error"') &&
				request.path.endsWith("/chat/completions"),
		);
	needing("recordings").test("there are such", () => expect(streams.length).toBeGreaterThan(5));
	test.each(streams.map((each) => [each.id, each] as const))(
		"%s goes on as itself, or says why not",
		(_, { response, request }) => {
			const call = callOf({ ...request.body, stream: true });
			everyCut(response.sse!, response.sse!.replaceAll(/"id":"(chatcmpl|gen)-/g, '"id":"again-'), call);
		},
	);
});

describe("answers of Claude and Gemini, whose events make several chunks, and whose end brings more", () => {
	const read = (decoder: StreamDecoder, text: string) => {
		const { sent, failure } = sentFor(decoder, text);
		const last = failure === undefined ? decoder.flush?.() : undefined;
		return { sent: [...sent, last?.bytes ?? ""].join(""), failure: failure ?? last?.failure?.message };
	};
	const vendors = [
		["anthropic", MessageDecoder],
		["gemini", GenerateDecoder],
	] as const;
	const streams = vendors.flatMap(([name, Decoder]) =>
		recordings(name)
			.filter(({ response }) => response.sse && !response.sse.includes('"error"'))
			.map((each) => [each.id, Decoder, each.response.sse!] as const)
			.filter(([, , text]) => read(new Decoder(upstream, callOf()), text).failure === undefined),
	);
	needing("recordings").test("there are such", () => expect(streams.length).toBeGreaterThan(5));
	test.each(streams)("%s goes on as itself behind every chunk", (_, Decoder, text) => {
		const call = callOf({ stream_options: { include_usage: true } });
		const vendor = { ...upstream, name: "vendor" };
		const whole = read(new Decoder(vendor, call), text);
		const chunks = whole.sent.split(/(?<=\n\n)/);
		const expected = folded(whole.sent);
		for (let cut = 1; cut < chunks.length; cut++) {
			const before = chunks.slice(0, cut);
			const told = toldBy(before);
			if (obstacleOf(call, told) !== undefined) continue;
			const decoder = resumedDecoder(new Decoder(vendor, call), told, {
				call,
				mode: "replay",
				trimmed: "",
				spent: NOTHING_SPENT,
			});
			const after = read(decoder, text);
			expect(after.failure).toBeUndefined();
			expect(folded([...before, after.sent].join(""))).toEqual(expected);
		}
	});
});
