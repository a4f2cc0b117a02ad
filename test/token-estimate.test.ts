/** How many tokens a prompt may have: a guess that is near enough to reserve by, and cheap. */
import { describe, expect, test } from "bun:test";
import { answerLimit, estimatedTokens } from "../src/accounts/usage/token-estimate.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Operation } from "../src/openai/operations.ts";
import { estimates, percentile } from "./kit/estimates.ts";
import type { Json } from "./kit/exchange.ts";
import { factsOf } from "./kit/facts.ts";
import { needing } from "./kit/needing.ts";

const estimate = (body: Json, operation: Operation = "chat") =>
	estimatedTokens({ ...parseRequest(operation, JSON.stringify({ model: "m", ...body })), operation });
const user = (content: unknown) => ({ messages: [{ role: "user", content }] });

describe("the estimate", () => {
	test.each([
		// Counted with OpenAI's o200k_base and 7 for the message around it.
		["English", "The quick brown fox jumps over the lazy dog. ".repeat(20), 208],
		["Chinese", "敏捷的棕色狐狸跳过了懒狗。".repeat(20), 267],
	])("of %s is within a third of what is counted", (_, text, counted) => {
		expect(estimate(user(text))).toBeWithin(Math.round(counted * 0.67), Math.round(counted * 1.34));
	});

	const bytes = (count: number) => "A".repeat(Math.ceil((count * 4) / 3));
	const MB = 1_000_000;
	const says = { type: "text", text: "what is this?" };
	test.each([
		[
			"a picture, whatever its bytes",
			{ type: "image_url", image_url: { url: `data:image/png;base64,${bytes(MB)}` } },
			500,
		],
		[
			"a picture whose address stands bare",
			{ type: "image_url", image_url: `data:image/png;base64,${bytes(MB)}` },
			500,
		],
		[
			"a picture in low detail",
			{ type: "image_url", image_url: { url: "https://x.example/a.png", detail: "low" } },
			85,
		],
		["a short sound", { type: "input_audio", input_audio: { data: bytes(1000), format: "wav" } }, 500],
		["a long sound", { type: "input_audio", input_audio: { data: bytes(3 * MB), format: "wav" } }, 2_000],
		["a long packed sound", { type: "input_audio", input_audio: { data: bytes(MB), format: "mp3" } }, 2_000],
		["a long PDF", { type: "file", file: { file_data: `data:application/pdf;base64,${bytes(MB)}` } }, 20_000],
		["a text in a file", { type: "file", file: { file_data: `data:text/plain;base64,${bytes(MB)}` } }, 250_000],
		["a file that the vendor keeps", { type: "file", file: { file_id: "file-1" } }, 500],
		["a film", { type: "video_url", video_url: { url: `data:video/mp4;base64,${bytes(MB)}` } }, 2_000],
		["a kind that nobody knows, all of it", { type: "thing", data: bytes(MB) }, 333_333],
	])("of %s", (_, part, tokens) => {
		expect(estimate(user([says, part]))).toBeWithin(Math.floor(tokens), Math.ceil(tokens * 1.01) + 60);
	});

	const long = "x".repeat(4_000);
	test.each([
		["a system prompt of its own", { ...user("hi"), system: long }],
		["a message's name", { messages: [{ role: "user", name: long, content: "hi" }] }],
		[
			"the arguments of a tool call",
			{ messages: [{ role: "assistant", tool_calls: [{ function: { arguments: long } }] }] },
		],
		["a tool's answer", { messages: [{ role: "tool", tool_call_id: "1", content: long }] }],
		[
			"a tool",
			{ ...user("hi"), tools: [{ type: "function", function: { name: "f", description: `${long}${long}` } }] },
		],
		["a function", { ...user("hi"), functions: [{ name: "f", description: `${long}${long}` }] }],
		["a schema", { ...user("hi"), response_format: { type: "json_schema", json_schema: { schema: { a: long } } } }],
		["a prediction", { ...user("hi"), prediction: { type: "content", content: long } }],
		["documents", { ...user("hi"), documents: [{ text: long }] }],
		["a template's words", { ...user("hi"), chat_template_kwargs: { custom: long } }],
		["a field that nobody knows", { ...user("hi"), context_of_mine: long }],
		["a prompt", { prompt: long }],
		["one prompt of several", { prompt: ["a", long, "b"] }],
		["a suffix", { prompt: "a", suffix: long }],
		["a text to embed", { input: ["a", long] }],
		["tokens to embed", { input: [[1, 2], Array(1_000).fill(7)] }],
		["things to embed", { input: [{ type: "text", text: long }] }],
		["messages to embed", { input: "", messages: [{ role: "user", content: long }] }],
	] as const)("counts %s", (_, body) => {
		const operation = "prompt" in body ? "completions" : "input" in body ? "embeddings" : "chat";
		expect(estimate(body as unknown as Json, operation)).toBeWithin(1_000, 1_900);
	});

	test("counts no setting", () => {
		const settings = { user: long, metadata: { a: long }, stop: [long], logit_bias: { a: 1 }, prompt_cache_key: long };
		expect(estimate({ ...user("hi"), ...settings })).toBe(estimate(user("hi")));
	});

	test("of tools and schemas counts what they say", () => {
		const tool = { type: "function", function: { name: "f", description: "x".repeat(1_000), parameters: {} } };
		const plain = estimate(user("hi"));
		expect(estimate({ ...user("hi"), tools: [tool] }) - plain).toBeWithin(250, 350);
		const response_format = { type: "json_schema", json_schema: { name: "s", schema: { a: "x".repeat(1_000) } } };
		expect(estimate({ ...user("hi"), response_format }) - plain).toBeWithin(230, 300);
	});

	test.each([
		[{ prompt: [1, 2, 3, 4] }, "completions", 4],
		[{ prompt: [[1, 2], [3]] }, "completions", 3],
		[{ input: [5, 6] }, "embeddings", 2],
		[{ input: "" }, "embeddings", 1],
	] as const)("of prompts that are tokens already is their number: %j", (body, operation, tokens) => {
		expect(estimate(body as unknown as Json, operation)).toBe(tokens);
	});

	test.each([
		[{}, undefined, 1],
		[{ max_tokens: 100 }, 100, 1],
		[{ max_completion_tokens: 50, max_tokens: 100 }, 50, 1],
		[{ max_tokens: 100, n: 3 }, 100, 3],
		[{ max_tokens: -1 }, undefined, 1],
		[{ max_tokens: null }, undefined, 1],
		[{ max_tokens: 0 }, undefined, 1],
	])("of the longest answer is what the client allows, for each choice: %j", (body, tokens, choices) => {
		const facts = factsOf(body);
		expect([answerLimit({ operation: "chat", facts }), facts.choices]).toEqual([tokens, choices]);
	});

	test.each([
		[{ prompt: "a", n: 2, best_of: 5 }, "completions", 10, 5],
		[{ prompt: ["a", "b", "c"], n: 2 }, "completions", 10, 6],
		[{ prompt: [1, 2, 3] }, "completions", 10, 1],
		[{ prompt: [[1], [2]] }, "completions", 10, 2],
		[{ input: ["a", "b"] }, "embeddings", 0, 1],
	] as const)(
		"of answers counts those that are made of several prompts, or in vain: %j",
		(body, operation, tokens, choices) => {
			const facts = factsOf({ max_tokens: 10, ...body }, operation);
			expect([answerLimit({ operation, facts }), facts.choices]).toEqual([tokens, choices]);
		},
	);
});

needing("recordings").test("on recorded calls half are off by less than 160 tokens, 95 % by less than 700", () => {
	const off = estimates().map(({ estimated, counted }) => Math.abs(estimated - counted));
	expect(off.length).toBeGreaterThan(55);
	expect(percentile(off, 0.5)).toBeLessThan(160);
	expect(percentile(off, 0.95)).toBeLessThan(700);
});
