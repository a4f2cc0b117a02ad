/** One kept answer serves streams and whole answers: a stream is folded into JSON, and JSON replayed as a stream. */
import { describe, expect, test } from "bun:test";
import { ChatCompletionStream } from "openai/lib/ChatCompletionStream";
import { foldStream, replayEvents } from "../src/openai/answer-forms.ts";
import { withoutCost, withUsage } from "../src/openai/usage-edits.ts";
import { DIALECTS } from "./kit/dialects.ts";
import { DONE, event } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { fixture } from "./kit/fixtures.ts";
import { needing } from "./kit/needing.ts";
import { recordings } from "./kit/recordings.ts";
import { SCENARIO_NAMES } from "./kit/scenarios.ts";

const bytes = (text: string) => Buffer.from(text);
const fold = (sse: string, operation: "chat" | "completions" = "chat") => {
	const text = foldStream(operation, bytes(sse));
	return text === undefined ? undefined : (JSON.parse(text) as Json);
};
const choicesOf = (sse: string) => fold(sse)?.["choices"] as Json[];
const head = { id: "x", object: "chat.completion.chunk", created: 1, model: "m" };
const chunk = (delta: Json, finish_reason: string | null = null, index = 0, more: Json = {}) =>
	event({ ...head, choices: [{ index, delta, finish_reason, ...more }] });

/** What the official client makes of a stream; of text fields that it does not know it keeps the last piece only. */
async function read(sse: string) {
	const lines = sse
		.split("\n\n")
		.filter((each) => each.startsWith("data: ") && each !== "data: [DONE]")
		.map((each) => `${each.slice(6)}\n`);
	const stream = ChatCompletionStream.fromReadableStream(new Response(lines.join("")).body!);
	const { choices, id, usage } = await stream.finalChatCompletion();
	const said = choices.map(({ index, message, finish_reason, logprobs }) => {
		const { content, role, tool_calls, refusal } = message;
		return { index, content, role, tool_calls, refusal, finish_reason, logprobs };
	});
	return { id, usage, said };
}

test("texts are put together, choice by choice", () => {
	const sse = [
		chunk({ role: "assistant", content: "" }),
		chunk({ content: "Hel" }),
		chunk({ content: "other" }, null, 1),
		chunk({ content: "lo", reasoning_content: "hm" }),
		chunk({}, "stop"),
		chunk({ content: "" }, "length", 1),
		": a comment\n\n",
		event({ ...head, choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }),
		DONE,
	];
	expect(fold(sse.join(""))).toEqual({
		...head,
		object: "chat.completion",
		choices: [
			{ index: 0, message: { role: "assistant", content: "Hello", reasoning_content: "hm" }, finish_reason: "stop" },
			{ index: 1, message: { role: "assistant", content: "other" }, finish_reason: "length" },
		],
		usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
	});
});

test("tool calls are put together by their place, wherever it begins", () => {
	const call = (index: number, piece: Json) => chunk({ tool_calls: [{ index, ...piece }] });
	const sse = [
		call(2, { id: "b", type: "function", function: { name: "two", arguments: "" } }),
		call(1, { id: "a", type: "function", function: { name: "one", arguments: '{"x"' } }),
		call(1, { function: { arguments: ":1}" } }),
		call(2, { function: { name: null, arguments: "{}" } }),
		chunk({}, "tool_calls"),
	];
	expect(choicesOf(sse.join(""))).toEqual([
		{
			index: 0,
			message: {
				role: "assistant",
				content: null,
				tool_calls: [
					{ id: "a", type: "function", function: { name: "one", arguments: '{"x":1}' } },
					{ id: "b", type: "function", function: { name: "two", arguments: "{}" } },
				],
			},
			finish_reason: "tool_calls",
		},
	]);
});

test("log probabilities and lists of vendors' own grow", () => {
	const logprobs = (token: string) => ({ logprobs: { content: [{ token, logprob: -1 }], refusal: null } });
	const sse = [
		chunk({ content: "a", annotations: [{ url: "1" }] }, null, 0, logprobs("a")),
		chunk({ content: "b", annotations: [{ url: "2" }] }, "stop", 0, logprobs("b")),
	];
	const [choice] = choicesOf(sse.join(""));
	expect(choice!["logprobs"]).toEqual({
		content: [
			{ token: "a", logprob: -1 },
			{ token: "b", logprob: -1 },
		],
		refusal: null,
	});
	expect(choice!["message"]).toMatchObject({ annotations: [{ url: "1" }, { url: "2" }] });
});

test("text completions", () => {
	const piece = (text: string, finish_reason: string | null = null) =>
		event({ id: "x", object: "text_completion", choices: [{ index: 0, text, logprobs: null, finish_reason }] });
	const sse = piece("a") + piece("b") + piece("", "stop") + DONE;
	const answer = {
		id: "x",
		object: "text_completion",
		choices: [{ index: 0, text: "ab", logprobs: null, finish_reason: "stop" }],
	};
	expect(fold(sse, "completions")).toEqual(answer);
	expect(fold(replayEvents("completions", JSON.stringify(answer), false), "completions")).toEqual(answer);
});

test("no choice, no answer", () => {
	expect(fold(event({ ...head, choices: [] }) + DONE)).toBeUndefined();
	expect(fold(": router {}\n\ndata: no json\n\n")).toBeUndefined();
});

/** That a kept stream, replayed, says what it said. */
async function expectSame(sse: string): Promise<void> {
	const text = foldStream("chat", bytes(sse))!;
	const replayed = replayEvents("chat", text, true);
	expect(fold(replayed)).toEqual(JSON.parse(text));
	expect(await read(replayed)).toEqual(await read(sse));
}

describe("a replayed stream reads as the one it was made of", () => {
	for (const dialect of DIALECTS) {
		for (const name of SCENARIO_NAMES) {
			const { sse } = fixture(dialect, name, { stream: true, usage: true }).response;
			if (sse) test(`${dialect.name}: ${name}`, () => expectSame(sse));
		}
	}
});

needing("recordings").describe("recorded streams, replayed, read as they came", () => {
	for (const provider of ["openai", "openrouter", "xai", "venice", "vllm"]) {
		for (const { id, request, response } of recordings(provider)) {
			if (
				!response.sse?.includes("[DONE]") ||
				response.sse.includes('"error":{') ||
				!request.path.endsWith("/chat/completions")
			)
				continue;
			test(id, () => expectSame(response.sse!));
		}
	}
});

describe("usage", () => {
	const answer =
		'{ "id":"x", "usage": {"prompt_tokens":1, "cost":0.25,"cost_in_usd_ticks":99, "more":{"cost":1}}, "n":12345678901234567890 }';

	test("an answer that is given again tells no cost; all else stays as it was written", () => {
		expect(withoutCost(answer)).toBe(answer.replace("0.25", "0").replace("99", "0"));
		expect(withoutCost('{"usage":null}')).toBe('{"usage":null}');
		expect(withoutCost('{"a":1}')).toBe('{"a":1}');
	});

	test("a stream whose client did not ask for usage has it all the same once it is folded", () => {
		const tokens = { input: 5, output: 3, cached: 2, reasoning: 1 };
		expect(JSON.parse(withUsage('{"a":1}', tokens, false))).toEqual({
			a: 1,
			usage: {
				prompt_tokens: 5,
				completion_tokens: 3,
				total_tokens: 8,
				prompt_tokens_details: { cached_tokens: 2 },
				completion_tokens_details: { reasoning_tokens: 1 },
			},
		});
		expect(withUsage(answer, tokens, true)).toBe(answer);
		expect(withUsage("{}", undefined, false)).toBe("{}");
	});
});
