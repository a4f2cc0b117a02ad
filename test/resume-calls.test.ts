/** An answer that broke off goes on elsewhere: the call for the rest. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import { fieldsOf } from "../src/openai/json.ts";
import { ParsedBody } from "../src/openai/parsed-body.ts";
import { SentRecord } from "../src/openai/sent-so-far.ts";
import { claude, hasTrait } from "../src/providers/anthropic/models.ts";
import { ChunkDecoder } from "../src/providers/openai/stream.ts";
import { resumedDecoder } from "../src/proxy/resume-decoder.ts";
import { type FollowUp, obstacleOf } from "../src/proxy/resume-request.ts";
import { choiceEvent, event, finishEvent, textEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { callOf, folded, messages, sentFor, told, toldBy, toolDelta, upstream, waysOf } from "./kit/resumed.ts";

describe("the call for the rest", () => {
	const partial = toldBy(["Hello ", "wor"].map(textEvent));
	const bodyOf = ({ call }: FollowUp) => JSON.parse(call.body().raw) as Json;

	test("vLLM is given the beginning as the message to continue; all else of the caller's text stays", () => {
		const plain = callOf({ extra: { big: 1 } });
		const raw = plain.body().raw.replace('"big":1', '"big":12345678901234567890');
		const body = ParsedBody.of(raw, fieldsOf(raw), JSON.parse(raw));
		const call: Call = { ...plain, body: () => body };
		const [first, second] = waysOf(call, partial, "continue_final_message");
		expect(bodyOf(first!)).toMatchObject({
			messages: [...messages, { role: "assistant", content: "Hello wor" }],
			add_generation_prompt: false,
			continue_final_message: true,
		});
		expect(first?.call.body().raw).toContain('"extra":{"big":12345678901234567890}');
		expect([first?.mode, second?.mode]).toEqual(["continue", "replay"]);
		expect(second?.call.body().raw).toBe(raw);
	});

	test("white space at its end is left out, and what comes back of it is not sent twice", () => {
		const spaced = toldBy([textEvent("Hello"), textEvent(" \n")]);
		const [first] = waysOf(callOf(), spaced, "continue_final_message");
		expect((bodyOf(first!)["messages"] as Json[]).at(-1)).toEqual({ role: "assistant", content: "Hello" });
		for (const pieces of [[" \nworld"], [" ", "\nworld"], ["world"], [" ", "world"]]) {
			const decoder = resumedDecoder(new ChunkDecoder(upstream, first!.call), spaced, first!);
			const { sent } = sentFor(decoder, told("two", ...pieces.map(textEvent)));
			expect(folded(sent.join("")).content).toBe("world");
		}
	});

	test("a text completion goes on from its prompt and what that led to", () => {
		const said = toldBy([event({ id: "c", choices: [{ index: 0, text: " a time ", finish_reason: null }] })]);
		const [first] = waysOf(callOf({ prompt: "Once upon" }, "completions"), said, "continue_final_message");
		expect(bodyOf(first!)["prompt"]).toBe("Once upon a time ");
	});

	test("the caller's limit shrinks by what was told", () => {
		const [first] = waysOf(callOf({ max_tokens: 10, max_completion_tokens: 3 }), partial, "prefill");
		expect(bodyOf(first!)).toMatchObject({ max_tokens: 8, max_completion_tokens: 1 });
		expect("continue_final_message" in bodyOf(first!)).toBe(false);
	});

	test("text alone is no grammar", () => {
		const modes = waysOf(callOf({ response_format: { type: "text" } }), partial, "continue_final_message");
		expect(modes.map(({ mode }) => mode)).toEqual(["continue", "replay"]);
	});

	test.each([
		["inside its thinking", [choiceEvent({ reasoning_content: "Hm" })], {}],
		["inside a tool call", [textEvent("Look"), toolDelta(0, "{", "call_1", "f")], {}],
		["before any text", [choiceEvent({ role: "assistant", content: "" })], {}],
		["of JSON by a schema", [textEvent("{")], { response_format: { type: "json_object" } }],
		["of a grammar of vLLM's", [textEvent("a")], { structured_outputs: { regex: "a+" } }],
		["at the limit of its tokens", [textEvent("a"), textEvent("b")], { max_tokens: 2 }],
		[
			"behind an assistant's words",
			[textEvent("a")],
			{ messages: [...messages, { role: "assistant", content: "So" }] },
		],
	] as [string, string[], Json][])("an answer that broke off %s is only asked for again", (_, sent, body) => {
		expect(waysOf(callOf(body), toldBy(sent), "continue_final_message").map(({ mode }) => mode)).toEqual(["replay"]);
	});

	test.each([
		["several choices asked for", { n: 2 }, [textEvent("a")]],
		["a finished answer", {}, [textEvent("a"), finishEvent()]],
		["several choices told", {}, [event({ choices: [{ index: 1, delta: { content: "a" } }] })]],
		["several prompts", { prompt: ["a", "b"] }, [event({ choices: [{ index: 0, text: "a" }] })]],
		["sound", {}, [choiceEvent({ audio: { data: "AAAA" } })]],
	] as [string, Json, string[]][])("%s can't go on", (_, body, sent) => {
		expect(obstacleOf(callOf(body), toldBy(sent))).toBeString();
	});
});

test.each([
	["claude-sonnet-4-5-20250929", true],
	["claude-3-7-sonnet-20250219", true],
	["claude-opus-4-6", false],
	["claude-sonnet-5", false],
	["claude-of-some-future", false],
])("%s takes the beginning of an answer: %p", (model, takes) => {
	expect(hasTrait(claude(model), "refusesPrefill")).toBe(!takes);
});

test("the rest counts what was told before as answer, and the totals stay", () => {
	const call = callOf({ stream_options: { include_usage: true } });
	const before = ["one ", "two "].map(textEvent);
	const followUp = waysOf(call, toldBy(before), "continue_final_message")[0]!;
	const decoder = resumedDecoder(new ChunkDecoder(upstream, followUp.call), toldBy(before), followUp);
	sentFor(decoder, told("two", textEvent("three")));
	const { usage } = JSON.parse(decoder.flush?.().usage ?? "{}");
	expect(usage).toMatchObject({ prompt_tokens: 4, completion_tokens: 4, total_tokens: 8, estimated: true });
});

test("a long answer is kept as text, not as the chunks it came in", () => {
	const transcript = new SentRecord();
	for (let i = 0; i < 5000; i++) transcript.add(Buffer.from(textEvent(`w${i} `)));
	expect(transcript.soFar().deltas).toBe(5000);
	expect(transcript.soFar().content.split(" ")).toHaveLength(5001);
});
