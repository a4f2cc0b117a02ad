/** How many tokens a prompt may have: a guess that is near enough to reserve by, and cheap. */
import { describe, expect, test } from "bun:test";
import { estimatedTokens, mostAnswerTokens } from "../src/gate/estimate.ts";
import { type Operation, parseRequest } from "../src/openai/call.ts";
import { estimates, percentile } from "./kit/estimates.ts";
import type { Json } from "./kit/exchange.ts";
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

	test("of a picture, a file or a sound is no matter of its bytes", () => {
		const data = "A".repeat(2_000_000);
		for (const part of [
			{ type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
			{ type: "input_audio", input_audio: { data, format: "wav" } },
			{ type: "file", file: { file_data: `data:application/pdf;base64,${data}` } },
		]) {
			expect(estimate(user([{ type: "text", text: "what is this?" }, part]))).toBeWithin(500, 600);
		}
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
		[{}, 0],
		[{ max_tokens: 100 }, 100],
		[{ max_completion_tokens: 50, max_tokens: 100 }, 50],
		[{ max_tokens: 100, n: 3 }, 300],
		[{ max_tokens: -1 }, 0],
		[{ max_tokens: null }, 0],
	])("of the longest answer is what the client allows: %j", (body, tokens) => {
		expect(mostAnswerTokens({ body: { model: "m", ...body } as never })).toBe(tokens);
	});
});

needing("recordings").test("on recorded calls half are off by less than 160 tokens, 95 % by less than 700", () => {
	const off = estimates().map(({ estimated, counted }) => Math.abs(estimated - counted));
	expect(off.length).toBeGreaterThan(55);
	expect(percentile(off, 0.5)).toBeLessThan(160);
	expect(percentile(off, 0.95)).toBeLessThan(700);
});
